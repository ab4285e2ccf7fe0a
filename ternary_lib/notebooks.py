"""Find, inspect and run the notebooks; parameters are checked before a kernel starts.

papermill only warns about a parameter it does not know and takes any type, so a typo runs the defaults for an hour.
Here the ``parameters`` cell is the contract: names and types come from its assignments.
"""

from __future__ import annotations

import argparse
import ast
import io
import itertools
import os
import shutil
import sys
import tempfile
import tokenize
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ternary_lib import settings
from ternary_lib.files import require_folder
from ternary_lib.strict_yaml import ConfigError, nearest, one_line, parse_yaml, print_error, read_yaml
from ternary_lib.terminal import Relay, shown_progress

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"


class NotebookError(RuntimeError):
    """A notebook that stopped before its end; the message is one line naming notebook, cell and error."""


@dataclass(frozen=True)
class Parameter:
    """One assignment of a ``parameters`` cell: its name, default value and trailing comment."""

    name: str
    default: Any
    help: str = ""


def list_notebooks(folder: Path = FOLDER) -> list[Path]:
    """The source notebooks in reading order."""
    return sorted(p for p in folder.glob("*.ipynb") if not p.name.startswith("."))


def find_notebook(name: str, folder: Path = FOLDER) -> Path:
    """The notebook that ``name`` means: a path, ``03_training``, ``training``, ``03`` or ``3``.

    Raises:
        ConfigError: there is none, or more than one.
    """
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name)
    stem = Path(name).name.removesuffix(".ipynb")
    known = list_notebooks(folder)
    matches = [p for p in known if stem in _names_of(p)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(f"notebook {name!r} is ambiguous: {', '.join(p.stem for p in matches)}")
    raise ConfigError(f"notebook {name[:80]!r} does not exist{nearest(stem, [p.stem for p in known])}")


def _names_of(path: Path) -> set[str]:
    number, _, title = path.stem.partition("_")
    return {path.stem, number, title, number.lstrip("0")} - {""}


def read_parameters(path: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, in order, read from the cell tagged ``parameters``.

    Raises:
        ConfigError: not a notebook, no such cell, or a cell that holds more than plain assignments of literals.
    """
    cells = [c for c in _cells(path) if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise ConfigError(f"{path.name}: expected one cell tagged 'parameters', found {len(cells)}")
    try:
        return _parse_assignments(cells[0]["source"])
    except (SyntaxError, ValueError, TypeError, tokenize.TokenError, RecursionError, MemoryError) as error:  # the parser's, of odd code
        raise ConfigError(f"{path.name}: the parameters cell holds more than literal assignments: {one_line(error)}") from None


def _cells(path: Path) -> list[Any]:
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cell ids, which it mends
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)  # reading only logs what is wrong
        return notebook.cells
    except Exception as error:  # nbformat trips over strangers' files in many ways
        raise ConfigError(f"{path}: not a notebook: {one_line(error)}") from None


def _parse_assignments(source: str) -> dict[str, Parameter]:
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = Parameter(name, ast.literal_eval(value), comments.get(node.end_lineno, ""))
            case _:
                raise ValueError(f"line {node.lineno}")
    return found


def check_parameters(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` if every name is a parameter of the notebook and every type agrees with its default.

    Raises:
        ConfigError: one line naming the parameter, what was expected, and the nearest name for an unknown one.
    """
    known = read_parameters(path)
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{path.stem}: unknown parameter {_short(name)}{nearest(name, list(known))}")
        default = known[name].default
        if not _same_kind(default, value):
            hint = f"; quote it to mean text: -p {name} '\"{value}\"'" if isinstance(default, str) and _is_number(value) else ""
            raise ConfigError(f"{path.stem}: parameter {name!r} must be {_kind(default)}, got {_short(value)} ({_kind(value)}){hint}")
    _check_config(path, {name: p.default for name, p in known.items()} | dict(values), values)
    return dict(values)


def _check_config(path: Path, merged: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Read the configuration now: its faults are worth a line, not a kernel and a traceback."""
    from ternary_lib.config import load_config

    if "config" in merged and given.keys() & {"config", "overrides", "seed"}:
        try:
            load_config(merged["config"], merged.get("overrides"), merged.get("seed"))
        except ConfigError as error:
            raise ConfigError(f"{path.stem}: {error}") from None


def _same_kind(default: Any, value: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, float):
        return _is_number(value)
    if isinstance(default, (bool, int)):
        return type(value) is type(default)
    if isinstance(default, (list, tuple)):
        return isinstance(value, (list, tuple)) and all(_same_kind(default[0], v) for v in value if default)
    return isinstance(value, type(default))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping", type(None): "nothing"}
    if isinstance(value, (list, tuple)):
        return f"a list (each {_kind(value[0])})" if value else "a list"
    return names.get(type(value), type(value).__name__)


def execute(
    source: Path, output: Path, parameters: Mapping[str, Any], failed: Path | None = None, cwd: Path | None = None, stream: Any = None
) -> None:
    """Run a notebook through papermill; ``output`` appears only if every cell succeeded.

    The copy is made beside ``output`` under another name and renamed at the end, so neither an error nor an
    interruption leaves a half-executed notebook there. ``failed`` is where the copy of a failed run is kept,
    ``cwd`` the folder the cells run in, ``stream`` where their printed text is relayed (default: the terminal).

    Raises:
        NotebookError: a cell raised, the kernel died or could not start.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    running = Path(tempfile.mkdtemp(prefix=".running-", dir=output.parent))
    try:
        part = running / output.name
        try:
            relay = stream or Relay(sys.stdout)
            with shown_progress(relay):
                _papermill(source, part, parameters, cwd, relay)
        except Exception as error:  # papermill, nbclient, jupyter_client and zmq each raise their own
            kept = "" if _refused(error) else _keep_failed(part, failed)
            raise NotebookError(f"{source.stem}: {_describe_failure(error)}{kept}") from error
        os.replace(part, output)
    finally:
        shutil.rmtree(running, ignore_errors=True)


def _papermill(source: Path, output: Path, parameters: Mapping[str, Any], cwd: Path | None, stream: Any) -> None:
    import logging

    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kernel's own warnings still reach the notebook
        papermill.execute_notebook(
            str(source),
            str(output),
            dict(parameters),
            cwd=cwd,
            progress_bar=False,
            stdout_file=stream,
            stderr_file=stream,
            extra_arguments=["--Application.log_level=50"],  # the kernel's own chatter; what cells print is relayed
        )


def _keep_failed(part: Path, failed: Path | None) -> str:
    if failed is None or not part.exists():
        return ""
    failed.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(part, failed)
    return f" (the executed part is kept in {_shown(failed)})"


def _refused(error: BaseException | None) -> bool:
    """Whether a cell refused what it was given, before any work; its message then says all there is to say."""
    return getattr(error, "ename", None) in ("InputError", "ConfigError")


def _describe_failure(error: Exception) -> str:
    from papermill.exceptions import PapermillExecutionError

    if _refused(error):
        return one_line(error.evalue)  # type: ignore[attr-defined]
    if not isinstance(error, PapermillExecutionError):
        return f"stopped: {type(error).__name__}: {one_line(error)}"
    first = next((line.strip() for line in error.source.splitlines() if line.strip()), "")
    return f"cell {error.cell_index} ({first[:60]}) raised {error.ename}: {one_line(error.evalue)}"


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ternary notebook``."""
    parser.description = "Run one notebook through papermill; unknown or ill-typed parameters are refused before it starts."
    parser.epilog = "Example: ternary notebook 03_training -p seed 7 -p overrides '{schedules.tau_a.boost: 0.3}'"
    parser.add_argument("name", metavar="NAME", nargs="?", help="03_training, training, 3 or a path; none: list notebooks and parameters")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="set one; VALUE is YAML")
    parser.add_argument("-y", "--yaml", action="append", default=[], metavar="YAML", help="set several, as a YAML mapping")
    parser.add_argument("-f", "--file", action="append", default=[], metavar="FILE", help="set several, from a file; -p beats -y beats -f")
    parser.add_argument("--output", metavar="OUT", help="the executed copy (default: NAME-executed.ipynb in the current folder)")


def run(args: argparse.Namespace) -> int:
    """``ternary notebook``: 0 done, 1 a cell failed, 2 a cell refused its parameters; ConfigError for other mistakes of the caller's."""
    if args.name is None:
        print(_listing(list_notebooks()))
        return 0
    source = find_notebook(args.name)
    values = check_parameters(source, collect_parameters(args.file, args.yaml, args.parameter))
    output = Path(args.output or f"{source.stem}-executed.ipynb")
    if output.suffix != ".ipynb" or output.is_dir():
        raise ConfigError(f"--output {output}: expected a file name ending in .ipynb")
    if output.resolve() == source.resolve():
        raise ConfigError(f"--output {output}: would overwrite the source notebook")
    require_folder(output.parent)
    settings.check()
    numbers = itertools.chain([""], map("-{}".format, itertools.count(2)))  # an earlier copy may be wanted yet
    failed = next(path for n in numbers if not (path := output.with_name(f"{output.stem}-failed{n}.ipynb")).exists())
    try:
        execute(source, output, values, failed=failed)
    except NotebookError as error:
        print_error(error)
        return 2 if _refused(error.__cause__) else 1
    except OSError as error:
        raise ConfigError(f"--output {output}: {error.strerror or error}") from None
    print(f"{source.stem}: executed copy written to {_shown(output)}")
    return 0


def collect_parameters(files: Iterable[str], texts: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Parameters of a command line: files first, then YAML texts, then single ones; later wins.

    Example:
        >>> collect_parameters([], ["{seed: 7}"], [("rate", "1e-3")])
        {'seed': 7, 'rate': 0.001}
    """
    merged: dict[str, Any] = {}
    for file in files:
        merged.update(read_yaml(Path(file)))
    for text in texts:
        value = _yaml(text, "-y")
        if not isinstance(value, dict):
            raise ConfigError(f"-y {text}: expected a mapping such as '{{seed: 7}}', got {_kind(value)}")
        merged.update(value)
    for key, value in pairs:
        merged[key] = _yaml(value, f"-p {key}")
    return merged


def _yaml(text: str, origin: str) -> Any:
    import yaml

    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin}: not readable as YAML: {one_line(error)}") from None


def _listing(paths: list[Path]) -> str:
    lines = []
    for path in paths:
        lines.append(path.stem)
        lines += [f"    {p.name} = {p.default!r}  # {p.help}" for p in read_parameters(path).values()]
    return "\n".join(lines)
