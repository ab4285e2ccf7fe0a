"""The command line: ``ternary`` or ``python -m ternary_lib``. Bad input gets one line and exit status 2."""

from __future__ import annotations

import argparse
import errno
import io
import json
import math
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ternary_lib import __version__, settings

if TYPE_CHECKING:
    from ternary_lib.config import Config
    from ternary_lib.control import Controls
    from ternary_lib.model import TernaryVAE

DESCRIPTION = "Ternary VAE v5.5: train the system, measure it, run the notebooks, build the book."
EPILOG = "To begin with: ternary train --config configs/smoke.yaml --resume. What a command takes: ternary COMMAND --help."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 bad input, 130 interrupted, 143 terminated."""
    from ternary_lib.strict_yaml import InputError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no ρ shows a question mark
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _ended_by(signal.SIGTERM):
            args = build_parser().parse_args(given)
            _require_words(args, given)
            return args.run(args)
    except InputError as error:
        return _fail(error, 2)
    except KeyboardInterrupt as error:
        word, status = ("terminated", 143) if isinstance(error, _Terminated) else ("interrupted", 130)
        return _fail(f"{word}{_resume_hint(given)}", status)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search(r"allocate memory|out of memory", str(error)):
            raise
        return _fail(f"out of memory ({' '.join(str(error).split())[:120]})", 1)
    except BrokenPipeError:
        return 1
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return _fail(f"{str(error.filename)[:80]}…: expected a shorter name ({error.strerror})", 2)
        return _fail(error, 1)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came: a scheduler's or a container's way to end a process; all is left as after Ctrl-C."""


@contextmanager
def _ended_by(number: int) -> Iterator[None]:
    def end(*_: Any) -> NoReturn:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # only the main one may say what a signal does
        yield
        return
    before = signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, before)


def _require_words(args: argparse.Namespace, given: Sequence[str]) -> None:
    from ternary_lib.config import ConfigError

    for name, value in vars(args).items():
        if any(isinstance(word, str) and not word.strip() for word in (value if isinstance(value, list) else [value])):
            option = f"--{name.replace('_', '-')}"
            shown = option if any(word.partition("=")[0] == option for word in given) else name
            raise ConfigError(f"{shown}: expected something, got an empty word")


class Parser(argparse.ArgumentParser):
    """Names a fault in one line, as for all bad input; its help has room for long options beside their words."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=partial(argparse.HelpFormatter, max_help_position=30), **settings)

    def error(self, message: str) -> NoReturn:
        """The fault and where help is; exit status 2."""
        from ternary_lib.strict_yaml import InputError, one_line

        self.exit(2, f"error: {InputError(one_line(message))}; see: {self.prog} --help\n")  # it quotes what was given


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; nothing heavy is imported before one runs."""
    from ternary_lib import book, latent_command, notebooks
    from ternary_lib import experiment_commands as trials

    parser = Parser(prog="ternary", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("-V", "--version", action="version", version=f"ternary {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary, configure, run in (
        ("train", "train one configuration, evaluating every epoch", _configure_train, _train),
        ("evaluate", "measure a checkpoint: reconstruction, rate and distortion, coverage", _configure_evaluate, _evaluate),
        ("latent", "describe a checkpoint's latent space: axes, paths, neighbours, symmetry", latent_command.configure, latent_command.run),
        ("benchmark", "measure an epoch by part, the decoders, coverage and memory, over several trials", _configure_benchmark, _benchmark),
        ("sweep", "train every variant and seed of a sweep file that is not recorded yet", trials.configure_sweep, trials.run_sweep),
        ("compare", "compare configurations on the same seeds: paired differences", trials.configure_compare, trials.run_compare),
        ("notebook", "execute a notebook with checked parameters", notebooks.configure, notebooks.run),
        ("book", "execute the chapters and build the HTML book", book.configure, book.run),
    ):
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        configure(command)
        command.set_defaults(run=run, command=name)
    return parser


def _configure_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="configuration, e.g. configs/ternary_v5_5.yaml")
    parser.add_argument("--run-dir", metavar="DIR", help="where the run goes (default: runs/<name>-seed<seed>-<key>)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run directory, if there is one")
    parser.add_argument("--seed", type=int, metavar="N", help="another seed than the configuration's")
    words = "override one number, e.g. schedules.tau_a.boost=0.4; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=words)
    parser.add_argument("--tensorboard", metavar="DIR", help="write every number of the history there for TensorBoard, epoch by epoch")
    parser.add_argument("--quiet", action="store_true", help="no line of progress")


def _train(args: argparse.Namespace) -> int:
    from ternary_lib.config import load_config

    config = load_config(args.config, dict(override(text) for text in args.set), args.seed)
    settings.check()

    from ternary_lib import records, training
    from ternary_lib.strict_yaml import printable

    args.run_dir = Path(args.run_dir) if args.run_dir else records.default_run_dir(config)
    try:
        with _tensorboard(args.tensorboard) as log:
            run = training.train(config, args.run_dir, args.resume, not args.quiet, log)
    except training.TrainingError as error:
        return _fail(error, 1)
    for line in run.record.get("warnings", ()):
        print(f"warning: {printable(line)}", file=sys.stderr)
    if args.quiet or not run.epochs_trained_now:  # else the line of progress has ended with it
        print(printable(run.describe()))
    print(f"Record: {args.run_dir / 'record.json'}")
    return 0


def _tensorboard(folder: str | None) -> AbstractContextManager[Any]:
    if folder is None:
        return nullcontext()
    from ternary_lib.tensorboard_log import TensorBoardLog

    return closing(TensorBoardLog(folder))


def override(text: str) -> tuple[str, Any]:
    """``KEY=VALUE`` as a dotted key and a YAML value."""
    import yaml

    from ternary_lib.config import ConfigError, parse_yaml
    from ternary_lib.strict_yaml import one_line

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {text[:120]}: expected KEY=VALUE")
    try:
        return key, parse_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text[:120]}: {one_line(error)}") from None


def _configure_evaluate(parser: argparse.ArgumentParser) -> None:
    words = "a run's checkpoint, e.g. runs/…/last.safetensors, or released weights by name or file, e.g. ternary_v5_5"
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help=words)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _evaluate(args: argparse.Namespace) -> int:
    settings.check()
    row = _measure(args.checkpoint)
    print(json.dumps(row, indent=1) if args.json else _report(row))
    return 0


def _measure(source: str) -> dict[str, Any]:
    from ternary_lib import weights

    return measured(*weights.load(source), source)


def measured(model: TernaryVAE, config: Config, controls: Controls, source: str) -> dict[str, Any]:
    """The row of a checkpoint's last epoch, measured anew on the same random streams, so equal to what was recorded.

    Raises:
        CheckpointError: a number is not finite; one line naming ``source``, where the weights are from.
    """
    from dataclasses import asdict

    from ternary_lib.checkpoint import CheckpointError
    from ternary_lib.data import split_indices
    from ternary_lib.evaluation import evaluate_epoch
    from ternary_lib.machine import evaluation_threads, training_device, training_settings

    model.to(training_device())
    last = controls.epoch + 1 == config.schedules.total_epochs
    draws = config.evaluation.final_draws if last else None
    with training_settings(config):  # the threads of training: other numbers of them round differently
        row = evaluate_epoch(model, config, controls, split_indices(config.data), draws, evaluation_threads())
    row = asdict(controls) | row
    if broken := [name for name, value in row.items() if not math.isfinite(value)]:
        raise CheckpointError(f"{source}: gives no finite numbers: {broken[0]} is {row[broken[0]]}")
    return row


def _report(row: dict[str, Any]) -> str:
    from ternary_lib.coverage import MODES, efficiency, uniform_coverage
    from ternary_lib.operations import NUM_OPERATIONS
    from ternary_lib.report import MEASURES

    lines = [f"epoch {row['epoch']}, phase {row['phase']}, ρ = {row['rho']:.3f}, validation loss {row['validation.total']:.4f}", ""]
    lines += [f"{'':52}{'A':>10}{'B':>10}"]
    for label, name, scale, form in MEASURES:
        if f"a.{name}" in row:
            lines.append(f"{label:52}" + "".join(f"{row[f'{p}.{name}'] * scale:>10{form}}" for p in "ab"))
    budgets = sorted({int(key.rsplit(".", 1)[1]) for key in row if key.startswith("a.coverage.")})
    lines += ["", f"{'coverage, % (efficiency)':22}{'draws':>9}{'uniform':>10}{'A':>18}{'B':>18}"]
    for mode in MODES:
        for n in budgets:
            found = [row[f"{p}.coverage.{mode}.{n}"] / NUM_OPERATIONS for p in "ab"]
            cells = "".join(f"{100 * c:9.3f} ({efficiency(c, n):6.3f})" for c in found)
            lines.append(f"{mode:22}{n:9,}{100 * uniform_coverage(n):10.3f}{cells}")
    return "\n".join(lines)


def _configure_benchmark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="configuration, e.g. configs/ternary_v5_5.yaml")
    parser.add_argument("--trials", default="10", metavar="N", help="how often everything is measured, 1 to 1000 (default: 10)")
    parser.add_argument("--output", metavar="FILE", help="JSON of all values (default: runs/benchmark-<name>-seed<seed>.json)")
    parser.add_argument("--seed", type=int, metavar="N", help="another seed than the configuration's")


def _benchmark(args: argparse.Namespace) -> int:
    from ternary_lib.config import WORK_ROOT, ConfigError, load_config
    from ternary_lib.files import require_file

    if not re.fullmatch(r"[0-9]{1,4}", args.trials) or not 1 <= int(args.trials) <= 1000:
        raise ConfigError(f"--trials {args.trials}: expected a whole number from 1 to 1000")
    config = load_config(args.config, seed=args.seed)
    default = WORK_ROOT / "runs" / f"benchmark-{config.name}-seed{config.seed}.json"
    output = default if args.output is None else Path(args.output)
    if args.output is not None and (not output.parent.is_dir() or output.is_dir()):
        raise ConfigError(f"--output {output}: expected a file in a folder that exists")
    require_file(output)
    settings.check()
    output.parent.mkdir(exist_ok=True)

    from ternary_lib import benchmark, records, training

    try:
        record = benchmark.measure(config, int(args.trials))
    except training.TrainingError as error:
        return _fail(error, 1)
    print(benchmark.describe(record))
    records.write_json(output, record)
    print(f"Record: {output}")
    return 0


def _resume_hint(given: Sequence[str]) -> str:
    if given[:1] == ["sweep"]:
        return "; the same command goes on with it"
    if given[:1] != ["train"]:
        return ""
    return f"; go on with: ternary {shlex.join([*given, *([] if '--resume' in given else ['--resume'])])}"


def _fail(error: object, status: int) -> int:
    from ternary_lib.strict_yaml import print_error

    print_error(error)
    return status
