"""Files of strangers at every loader: each is read or refused with one line, and nothing else ever happens.

Hypothesis draws what is done to a good file of each kind. Its bytes are damaged (changed, taken out, doubled, reversed, cut off, lines
repeated, hostile words put in), or its values are replaced and the file is written well-formed, which leads further in than damaged bytes
do. It is given to what reads such files. That may return, or raise with one line for the user; of everything else the smallest input that
hypothesis finds is kept.

    python -m benchmarks.fuzz --inputs 2000
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import yaml
from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, NoSuchExample

from ternary_lib import checkpoint, cli, journal, ledger, notebooks, records, sweep_files, training, weights
from ternary_lib.config import PROJECT_ROOT, dump_config, load_config
from ternary_lib.progress import Progress
from ternary_lib.strict_yaml import InputError

MAX_MEGABYTES = 400  # what an input may make a loader allocate: the system refuses more
LONGEST = 1000  # characters of a line that is still read
HOSTILE = [
    b"!!python/object/apply:os.system ['true']", b"&a [*a, *a]", b"*a", b"../../../etc/passwd", b"\0", b"\xff\xfe", b"1e999", b"-1",
    b".nan", b"9" * 400, b"[" * 3000, b"{" * 3000, b"null", b"<<: {}", b"\xe2\x80\xae", b"__class__", b"'", b'"', b"\n---\n", b"\t",
]  # fmt: skip
HARD = [
    10**400, -(10**30), 2**63, 1e308, -0.0, "", " ", "a\nb", "\0", "\x1b[2J", "\u202e", "../up", "nan", "yes", "1", "{x}", "x" * 5000,
    [[[[[]]]]],
]  # fmt: skip
CODE = [
    "a = 1", "a = 2  # twice", "b: float = 0.5", "c: int", "seed = 1", "config = 'configs/smoke.yaml'", "d = [1, {", "e = (1,", "f = '''",
    "g = {[]: 1}", "h = {1, 2}", "i = b'x'", "j = 1e999", "k = 1j", "l = -True", "m = 'a' 'b'", "n = f'{a}'", "o = " + "(" * 400,
    "p, q = 1, 2", "r = " + "-" * 5000 + "1", "s = " + "9" * 5000, "t = {**{}}", "  u = 1", "import os", "v = None; w = []", "\\",
    "x = '\\ud800'", "\0", "y = ...",
]  # fmt: skip
SMALL = {
    "name": "one", "data.train": 1536, "data.validation": 512, "schedules.total_epochs": 2, "schedules.phases": [1, 2, 2],
    "model.latent_dim": 4, "model.encoder_widths": [8], "model.decoder_a_widths": [8], "model.decoder_b_width": 8,
    "model.decoder_b_blocks": 1, "training.checkpoint_every": 1, "evaluation.budgets": [1000], "evaluation.final_draws": 1000,
    "evaluation.cell_draws": 8192, "evaluation.information_samples": 64,
}  # fmt: skip

VERSIONS = records.versions()
Change = tuple[Any, ...]  # what is done, and to which part


class Kind(NamedTuple):
    """A kind of file: where it is written, what may be done to a good one, what writes it so changed, and what reads it."""

    path: Path
    changes: st.SearchStrategy[Sequence[Change]]
    write: Callable[[Sequence[Change]], None]
    load: Callable[[Path], Any]


class Begins(Exception):
    """The command would begin its work: it takes the file, or needs none."""


# ------------------------------------------------------------------------------------------------- damaged bytes


def byte_changes(size: int) -> st.SearchStrategy[Sequence[Change]]:
    """One to four changes of a file of so many bytes; half of them in the first kilobytes, where a format's own description stands."""
    at, width = st.integers(0, min(size, 4096)) | st.integers(0, size), st.sampled_from((1, 2, 8, 64, 1024))
    return st.lists(
        st.one_of(
            st.tuples(st.just("replace"), at, st.binary(min_size=1, max_size=64)),
            st.tuples(st.sampled_from(("remove", "double", "reverse")), at, width),
            st.tuples(st.just("insert"), at, st.sampled_from(HOSTILE)),
            st.tuples(st.just("cut"), at),
            st.tuples(st.just("line"), at, at),
        ),
        min_size=1,
        max_size=4,
    )


def damaged(data: bytes, changes: Sequence[Change]) -> bytes:
    """The bytes with these changes."""
    made = bytearray(data)
    for change in changes:
        match change:
            case "replace", at, words:
                made[at : at + len(words)] = words
            case "remove", at, width:
                del made[at : at + width]
            case "double", at, width:
                made[at:at] = made[at : at + width]
            case "reverse", at, width:
                made[at : at + width] = made[at : at + width][::-1]
            case "insert", at, words:
                made[at:at] = words
            case "cut", at:
                del made[at:]
            case "line", at, to:
                lines = made.split(b"\n")
                lines.insert(to % (len(lines) + 1), lines[at % len(lines)])
                made = bytearray(b"\n".join(lines))
    return bytes(made)


# ------------------------------------------------------------------------------------------------- other values


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(HARD)
JSON = st.recursive(SCALAR, lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=8), part, max_size=4), max_leaves=8)
NUMBERS = st.lists(st.none() | st.integers() | st.floats(), max_size=12)
ROWS = st.integers(0, 12)


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of a document's parts, its own among them; of a list of scalars only the first."""
    yield path
    entries = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, inner in entries:
        if key == 0 or isinstance(part, dict) or isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def value_changes(document: Any) -> st.SearchStrategy[Sequence[Change]]:
    """One to three changes of a document's values, half of them near its root, where a format's own keys are."""
    everywhere = list(places(document))
    place = st.sampled_from([path for path in everywhere if len(path) < 3]) | st.sampled_from(everywhere)
    change = st.one_of(
        st.tuples(st.just("put"), place, JSON | NUMBERS),
        st.tuples(st.just("drop"), place),
        st.tuples(st.just("rename"), place, st.text(max_size=12)),
        st.tuples(st.just("copy"), place, place),
        st.tuples(st.just("resize"), place, ROWS),
    )
    return st.lists(change, min_size=1, max_size=3)


def changed(document: Any, changes: Sequence[Change]) -> Any:
    """The document with these changes; one whose place is gone, or cannot be so changed, is left out."""
    made = [copy.deepcopy(document)]  # the root is a place like any other
    for what, path, *more in changes:
        with suppress(LookupError, TypeError, AttributeError):
            *above, last = (0, *path)
            parent = _at(made, above)
            if what == "put":
                parent[last] = copy.deepcopy(more[0])
            elif what == "copy":
                parent[last] = copy.deepcopy(_at(made[0], more[0]))
            elif what == "resize":
                parent[last] = (list(parent[last]) * 12)[: more[0]]
            elif what == "rename" and isinstance(parent, dict):
                parent[more[0]] = parent.pop(last)
            elif what == "drop" and path:
                del parent[last]
    return made[0]


def _at(part: Any, path: Sequence[Any]) -> Any:
    for key in path:
        part = part[key]
    return part


# ------------------------------------------------------------------------------------------------- other tensors


def tensor_changes(tensors: Mapping[str, torch.Tensor], meta: Any) -> st.SearchStrategy[Sequence[Change]]:
    """One to three changes of a checkpoint's tensors or of its description; every group of tensors is as likely as any other."""
    groups: dict[str, list[str]] = {}
    for name in tensors:
        groups.setdefault(name.partition("/")[0], []).append(name)
    name = st.sampled_from(list(groups.values())).flatmap(st.sampled_from)
    other = name | st.builds("{}/{}".format, st.sampled_from(list(groups)), st.text(max_size=8)) | st.text(max_size=8)
    shape = st.lists(st.integers(0, 9), max_size=4)
    dtype = st.sampled_from([torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.float16, torch.bool])
    number = st.sampled_from([float("nan"), float("inf"), float("-inf"), 1e38, 1e300, -1, 0, 0.5, 2**62]) | st.integers(-3, 99)
    change = st.one_of(
        st.tuples(st.just("drop"), name),
        st.tuples(st.just("rename"), name, other),
        st.tuples(st.just("shape"), name, shape),
        st.tuples(st.just("type"), name, dtype),
        st.tuples(st.just("fill"), name, number),
        st.tuples(st.just("entry"), name, ROWS, number),
        st.tuples(st.just("resize"), name | st.just("history/"), ROWS),
        st.tuples(st.just("meta"), value_changes(meta)),
    )
    return st.lists(change, min_size=1, max_size=3)


def with_tensors(tensors: Mapping[str, torch.Tensor], meta: Any, changes: Sequence[Change]) -> tuple[dict[str, torch.Tensor], Any]:
    """Tensors and description with these changes; what a change cannot be done to is left as it is."""
    made = {name: value.clone() for name, value in tensors.items()}
    for what, name, *more in changes:
        if what == "meta":
            meta = changed(meta, name)
            continue
        for each in [key for key in made if key == name or (name == "history/" and key.startswith(name))]:
            with suppress(RuntimeError, IndexError, TypeError, OverflowError):  # a number too large for the type, a scalar cut
                _change(made, each, what, more)
    return made, meta


def _change(made: dict[str, torch.Tensor], name: str, what: str, more: Sequence[Any]) -> None:
    value = made[name]
    if what == "drop":
        del made[name]
    elif what == "rename":
        made[more[0]] = made.pop(name)
    elif what == "shape":
        made[name] = torch.zeros(more[0], dtype=value.dtype)
    elif what == "type":
        made[name] = value.to(more[0])
    elif what == "fill":
        value.fill_(more[0])
    elif what == "entry":
        value.view(-1)[more[0]] = more[1]
    elif what == "resize":
        made[name] = value.repeat(12)[: more[0]].clone()


# ------------------------------------------------------------------------------------------------- files and what reads them


def loaders(scratch: Path) -> dict[str, Kind]:
    """Every kind of file, and what may happen to it."""
    run_dir = _small_run(scratch / "small")
    return {**_of_bytes(scratch, run_dir), **_of_values(scratch), **_of_runs(scratch, run_dir), **_of_checkpoints(scratch, run_dir)}


def _of_bytes(scratch: Path, run_dir: Path) -> dict[str, Kind]:
    good = {
        "configuration": (dump_config(load_config("configs/ternary_v6.yaml")).encode(), ".yaml", load_config),
        "sweep": (yaml.safe_dump(_sweep(), sort_keys=False).encode(), ".yaml", sweep_files.load_sweep),
        "notebook parameters": (_parameters().read_bytes(), ".yaml", _check_parameters),
        "notebook": (notebooks.find_notebook("03_training").read_bytes(), ".ipynb", _read_notebook),
        "run record": ((records.results_dir() / "runs" / "ternary_v6_seed42.json").read_bytes(), ".json", records.read_run),
        "claims ledger": (_ledger(), ".yaml", ledger.load),
        "checkpoint": ((run_dir / "last.safetensors").read_bytes(), ".safetensors", checkpoint.load),
        "released weights": (weights.RELEASED["ternary_v5_5"].path.read_bytes(), ".safetensors", weights.load),
    }
    kinds = {}
    for name, (data, ending, load) in good.items():
        path = scratch / f"{name}, bytes" / f"damaged{ending}"
        kinds[f"{name}, bytes"] = kind_of(path, byte_changes(len(data)), lambda c, d=data: damaged(d, c), load)
    return kinds


def _of_values(scratch: Path) -> dict[str, Kind]:
    notebook = json.loads(notebooks.find_notebook("03_training").read_text(encoding="utf-8"))
    good = {
        "configuration": (load_config("configs/ternary_v6.yaml").model_dump(mode="json"), "yaml", load_config),
        "sweep": (_sweep(), "yaml", sweep_files.load_sweep),
        "notebook parameters": (yaml.safe_load(_parameters().read_text(encoding="utf-8")), "yaml", _check_parameters),
        "notebook": (notebook, "ipynb", _read_notebook),
        "claims ledger": (yaml.safe_load(_ledger()), "yaml", ledger.load),
    }
    kinds = {}
    for name, (document, ending, load) in good.items():
        spelt = _yaml if ending == "yaml" else _json
        changes = value_changes(document) if name != "notebook" else value_changes(document) | _code_changes(document)
        path = scratch / f"{name}, values" / f"changed.{ending}"
        kinds[f"{name}, values"] = kind_of(path, changes, lambda c, d=document, s=spelt: s(changed(d, c)), load)
    return kinds


def _of_runs(scratch: Path, run_dir: Path) -> dict[str, Kind]:
    """A run's record, read by ``train --resume`` of the finished run and by ``compare`` as one of four."""
    config, record = load_config(run_dir.parent / "small.yaml"), records.read_json(run_dir / "record.json")
    finished = scratch / "gone on with" / "run"
    finished.mkdir(parents=True)
    (finished / "last.safetensors").write_bytes((run_dir / "last.safetensors").read_bytes())

    def go_on(path: Path) -> None:
        run = training.train(config, path.parent, resume=True, progress=False)
        print(run.describe(), *run.record.get("warnings", ()))

    compared = scratch / "compared"
    (compared / "store" / "mine").mkdir(parents=True)
    variants = {"one": {"label": "one"}, "other": {"label": "two"}}
    sweep = {"name": "mine", "config": str(run_dir.parent / "small.yaml"), "seeds": [0, 1], "variants": variants}
    (compared / "mine.yaml").write_bytes(_yaml(sweep))
    stored = record | {"sweep": "mine", "label": "one", "pathways": ["a", "b"]}
    for variant, seed in (("one", 0), ("one", 1), ("other", 0), ("other", 1)):
        again = stored | {"variant": variant, "seed": seed, "config": stored["config"] | {"name": variant, "seed": seed}}
        (compared / "store" / "mine" / f"{variant}-seed{seed}.json").write_bytes(_json(again))
    first = json.loads((compared / "store" / "mine" / "one-seed0.json").read_bytes())

    def kind(path: Path, good: Any, load: Callable[[Path], Any]) -> Kind:
        return kind_of(path, value_changes(good), lambda c: _json(changed(good, c)), load)

    return {
        "run record, gone on with": kind(finished / "record.json", record, go_on),
        "run record, compared": kind(compared / "store" / "mine" / "one-seed0.json", first, lambda _: _compare(compared)),
    }


def _of_checkpoints(scratch: Path, run_dir: Path) -> dict[str, Kind]:
    """A checkpoint, gone on with as ``train --resume`` does and evaluated as ``evaluate`` does; weights as they are released."""
    config = load_config(run_dir.parent / "small.yaml")
    tensors, meta = checkpoint.load(run_dir / "epoch_0001.safetensors")
    released = scratch / "released.safetensors"
    weights.release(run_dir / "last.safetensors", released)
    header = checkpoint.read_header(released)
    theirs = checkpoint.read_tensors(released, header)

    def go_on(path: Path) -> None:
        with patch.dict(os.environ, {"TERNARY_STEP": "plain"}):  # compiling a step takes a minute
            saved = journal.open_run(config, path.parent, resume=True)
            if saved is None:
                raise LookupError("the run was not found")
            trainer = training.Trainer([config], saved.step_path, [saved])
            journal.Journal(config, path.parent, trainer.path).restore(saved)

    def evaluate(path: Path) -> None:
        model, theirs, controls = weights.load(path)
        draws = theirs.model_copy(update={"evaluation": config.evaluation})  # a stranger may ask for hours of them
        cli.measured(model, draws, controls, str(path))

    def kind(where: str, good: tuple[Any, Any], form: str, load: Callable[[Path], Any], stated: bool = False) -> Kind:
        path = scratch / where / "last.safetensors"
        path.parent.mkdir()

        def write(changes: Sequence[Change]) -> None:
            made, described = with_tensors(*good, [c for c in changes if c != HASHED])
            if HASHED in changes and isinstance(described, dict):
                described = described | {"weights_sha256": _hash_of(made)}
            checkpoint.save(path, made, described, form)

        changes = tensor_changes(*good)
        return Kind(path, st.builds(_with_hash, changes, st.booleans()) if stated else changes, write, load)

    return {
        "checkpoint, gone on with": kind("gone on", (tensors, meta), checkpoint.FORMAT, go_on),
        "checkpoint, evaluated": kind("evaluated", (tensors, meta), checkpoint.FORMAT, evaluate),
        "released weights, values": kind("released", (theirs, header.meta), checkpoint.WEIGHTS_FORMAT, weights.load, stated=True),
    }


HASHED: Change = ("hash",)  # the weights' hash stated anew, so that others than the good ones pass its check


def _with_hash(changes: Sequence[Change], again: bool) -> Sequence[Change]:
    return [*changes, HASHED] if again else changes


def _hash_of(tensors: Mapping[str, torch.Tensor]) -> str:
    return journal.weights_hash(SimpleNamespace(state_dict=lambda: tensors))  # type: ignore[arg-type]


def kind_of(
    path: Path, changes: st.SearchStrategy[Sequence[Change]], made: Callable[[Sequence[Change]], bytes], load: Callable[[Path], Any]
) -> Kind:
    """A kind of file whose bytes ``made`` gives."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(chosen: Sequence[Change]) -> None:
        path.write_bytes(made(chosen))

    return Kind(path, changes, write, load)


def _small_run(folder: Path) -> Path:
    folder.mkdir()
    config = load_config("configs/smoke.yaml", SMALL)
    (folder / "small.yaml").write_text(dump_config(config), encoding="utf-8")
    return training.train(config, folder / "run", progress=False).run_dir


def _sweep() -> dict[str, Any]:
    # the guide's, on fewer seeds: each is a configuration to read
    sweep = yaml.safe_load((PROJECT_ROOT / "configs" / "sweeps" / "guide.yaml").read_text(encoding="utf-8"))
    fewer = {name: {**variant, "seeds": [1]} for name, variant in list(sweep["variants"].items())[:2]}
    return {**sweep, "config": "configs/smoke.yaml", "seeds": [0], "variants": fewer}


def _ledger() -> bytes:
    # its first claims, one a paragraph: all of them take a second to read
    return "\n\n".join(ledger.ledger_path().read_text(encoding="utf-8").split("\n\n")[:6]).encode()


def _parameters() -> Path:
    return PROJECT_ROOT / "configs" / "papermill" / "10_transfer.production.yaml"


def _check_parameters(path: Path) -> None:
    notebooks.check_parameters(notebooks.find_notebook("10_transfer"), notebooks.collect_parameters([str(path)], [], []))


def _read_notebook(path: Path) -> None:
    # what it is given by default is what may be given to it
    notebooks.check_parameters(path, {name: parameter.default for name, parameter in notebooks.read_parameters(path).items()})


def _code_changes(notebook: Mapping[str, Any]) -> st.SearchStrategy[Sequence[Change]]:
    index = next(i for i, cell in enumerate(notebook["cells"]) if "parameters" in cell["metadata"].get("tags", []))
    code = st.lists(st.sampled_from(CODE), min_size=1, max_size=4).map("\n".join) | st.text(max_size=60)
    return st.lists(st.tuples(st.just("put"), st.just(("cells", index, "source")), code), min_size=1, max_size=1)


def _compare(folder: Path) -> None:
    from ternary_lib.comparison import METRICS

    finite = [name for name in METRICS if name != "draws_ratio"]  # of so small a run it is infinite, and refused
    given = ["compare", str(folder / "mine.yaml"), "--output", str(folder / "store"), "--jobs", "1", "--quiet", "--metrics", *finite]

    def begin(*_: Any) -> Any:
        raise Begins

    args = cli.build_parser().parse_args(given)
    versions = patch("ternary_lib.records.versions", lambda: VERSIONS)  # asking anew for each record takes longer than all the rest
    with versions, patch("ternary_lib.sweeps.run_task", begin), suppress(Begins):  # of another experiment: its run would be made
        args.run(args)


def _yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, sort_keys=False).encode()


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


# ------------------------------------------------------------------------------------------------- what comes of them


def answer(load: Callable[[Path], Any], path: Path) -> tuple[str, str]:
    """What a loader does with a file: ``read``, ``refused`` or ``other``, and of other things what and where."""
    before, out, err = set(path.parent.iterdir()), io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with bounded_memory(MAX_MEGABYTES):
                load(path)
        out.getvalue().encode()
        found = "read", ""
    except (InputError, training.TrainingError) as error:
        whole = len(str(error).splitlines()) == 1 and len(str(error)) <= LONGEST and not err.getvalue() and not warned
        found = ("refused", "") if whole else ("other", f"not one short line, {_where(error)}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of pydantic's or safetensors' is no Exception
        found = "other", f"{type(error).__name__}, {_where(error)}: {' '.join(str(error).split())[:120]}"
    for left in set(path.parent.iterdir()) - before:
        found = "other", "files were left behind"
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return found


@contextmanager
def bounded_memory(megabytes: int) -> Iterator[None]:
    """Refuse this process more than so much memory beyond what it has; where there is no /proc nothing is refused."""
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(OSError):
        held = int(re.search(r"VmData:\s+([0-9]+) kB", Path("/proc/self/status").read_text(encoding="ascii"))[1])
        resource.setrlimit(resource.RLIMIT_DATA, (1024 * held + megabytes * 2**20, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def _where(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "ternary_lib" in frame.filename]
    return f"{Path(frames[-1].filename).stem}.{frames[-1].name}" if frames else "outside the library"


def measure(name: str, kind: Kind, inputs: int, seed: int) -> dict[str, Any]:
    """Give exactly ``inputs`` files of one kind to what reads them; those by which hypothesis then makes a fault small are not counted.

    ``faults`` has one line for each place at which something else happened, however often it did.
    """
    kind.write(())
    with redirect_stdout(io.StringIO()):
        kind.load(kind.path)  # the good one
    counts, faults, slowest = Counter(), {}, 0.0
    sought: str | None = None
    bar = Progress(inputs, unit="file")

    def breaks(changes: Sequence[Change]) -> bool:
        nonlocal sought, slowest
        drawn = sought is None
        if drawn and counts.total() == inputs:
            return False
        kind.write(changes)
        clock = time.monotonic()
        what, fault = answer(kind.load, kind.path)
        place = fault.partition(":")[0]
        if not drawn:  # hypothesis makes the fault small
            return place == sought
        slowest = max(slowest, time.monotonic() - clock)
        counts[what] += 1
        bar.update(counts.total(), name)
        if place in faults or not fault:
            return False
        sought, faults[place] = place, f"{fault}; input {_shown(changes)}"
        return True

    while (left := inputs - counts.total()) > 0:
        chosen = settings(max_examples=left, database=None, deadline=None, phases=(Phase.generate, Phase.shrink))
        try:
            smallest = find(kind.changes, breaks, settings=chosen, random=Random(f"{seed}-{name}-{left}"))
        except (NoSuchExample, Flaky):  # none, or one that does not come again: it stays as it was drawn
            smallest = None
        if smallest is not None and sought:
            kind.write(smallest)
            faults[sought] = f"{answer(kind.load, kind.path)[1]}; smallest input {_shown(smallest)}"
        sought = None
    bar.close(f"{name}: {inputs} files, {counts['refused']} refused, {counts['read']} read, {counts['other']} with another answer")
    parts = {"inputs": counts.total(), "refused": counts["refused"], "read": counts["read"], "other": counts["other"]}
    return {**parts, "faults": list(faults.values()), "slowest_s": round(slowest, 2)}


def _shown(changes: Sequence[Change]) -> str:
    return repr(list(changes))[:300]


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result; status 1 where a loader did anything else than read or refuse."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000, metavar="N", help="files given to each loader (default: 2000)")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="the kinds whose name has one of these words alone")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws (default: 0)")
    default = records.results_dir() / "fuzz.json"
    parser.add_argument("--output", type=Path, default=default, metavar="FILE", help="the JSON record to write")
    given = parser.parse_args(arguments)
    if given.inputs < 1 or not given.output.parent.is_dir() or given.output.is_dir():
        parser.error("expected --inputs of at least 1 and an --output in a directory that exists")
    found: dict[str, Any] = {"seed": given.seed, **records.provenance(), "loaders": {}}
    with tempfile.TemporaryDirectory() as name:
        for kind, parts in loaders(Path(name)).items():
            if not given.only or any(word in kind for word in given.only):
                found["loaders"][kind] = measure(kind, parts, given.inputs, given.seed)
    records.write_json(given.output, found)
    return int(any(part["other"] for part in found["loaders"].values()))


if __name__ == "__main__":
    sys.exit(main())
