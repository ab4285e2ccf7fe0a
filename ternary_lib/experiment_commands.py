"""``ternary sweep`` and ``ternary compare``: experiments from the command line."""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ternary_lib import settings

if TYPE_CHECKING:
    from ternary_lib.sweeps import Task


def configure_sweep(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ternary sweep``."""
    parser.add_argument("sweep", metavar="FILE", help="a sweep, e.g. configs/sweeps/ablations.yaml")
    parser.add_argument("--only", nargs="+", default=[], metavar="VARIANT", help="these variants alone")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help="these seeds alone")
    parser.add_argument("--output", metavar="DIR", help="where records are stored (default: results/sweeps)")
    parser.add_argument("--list", action="store_true", help="show what is recorded and what is missing, and run nothing")
    words = "run N recorded runs, chosen at random of those made on this kind of processor, again and compare every number"
    parser.add_argument("--verify", type=int, metavar="N", help=words)
    add_machines(parser)


def add_machines(parser: argparse.ArgumentParser) -> None:
    """Where runs are made."""
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time on this machine (default: one a core)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="run on the workers of this dask.distributed scheduler, e.g. tcp://host:8786")
    parser.add_argument("--quiet", action="store_true", help="no bar of progress")


def run_sweep(args: argparse.Namespace) -> int:
    """``ternary sweep``: make every missing record of a sweep."""
    from ternary_lib import sweeps

    _check(args)
    tasks = sweeps.select(sweeps.load_sweep(args.sweep), args.only, args.seeds)
    if args.list:
        for task in tasks:
            print(f"{'recorded' if sweeps.stored(task, args.output) else 'missing ':8}  {task.variant} seed {task.config.seed}")
        return 0
    if args.verify is not None:
        return _verify(tasks, args)
    _make_records(tasks, args.output, args)
    print(f"Records: {sweeps.store_of(tasks[0], args.output)}")
    return 0


def _verify(tasks: list[Task], args: argparse.Namespace) -> int:
    from ternary_lib import records, sweeps

    found = [(task, record) for task in tasks if (record := sweeps.stored(task, args.output))]
    # Another kind of processor rounds otherwise, so that a run of one that differs here says nothing.
    kind = records.hardware()["cpu"]
    here = [task for task, record in found if record.get("hardware", {}).get("cpu") == kind]
    if found and not here:
        print("note: all of these were recorded on another kind of processor, so the last bits may differ", file=sys.stderr)
    recorded = here or [task for task, _ in found]
    chosen = random.sample(recorded, min(args.verify, len(recorded)))
    wrong = 0
    for task, (same, text) in zip(chosen, sweeps.verify(chosen, args.output, args.jobs, args.scheduler, not args.quiet), strict=True):
        print(f"{task.variant} seed {task.config.seed}: {text}")
        wrong += not same
    return int(wrong > 0)


def configure_compare(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ternary compare``."""
    words = "configurations, the first being the reference; or one sweep file, with --reference"
    parser.add_argument("configs", nargs="+", metavar="FILE", help=words)
    parser.add_argument("--reference", metavar="VARIANT", help="with a sweep: what the others are compared with (default: its first)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help="seeds that all are trained on (default: 0 1 2 3 4)")
    words = "what is compared (default: late_efficiency coverage exact_test); METRICS in ternary_lib/comparison.py lists all"
    parser.add_argument("--metrics", nargs="+", default=[], metavar="NAME", help=words)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one number in every configuration")
    parser.add_argument("--output", metavar="DIR", help="where records are stored (default: runs/compare, or results/sweeps for a sweep)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_machines(parser)


def run_compare(args: argparse.Namespace) -> int:
    """``ternary compare``: train what is missing, then paired differences with intervals."""
    from ternary_lib import comparison

    _check(args)
    metrics = args.metrics or ["late_efficiency", "coverage", "exact_test"]
    tasks, root = _tasks_to_compare(args)
    for name in metrics:
        if name not in comparison.METRICS:
            raise _refuse(f"--metrics {name}", list(comparison.METRICS), name)
    reference = _reference(args.reference, tasks)
    table = comparison.by_variant(_make_records(tasks, root, args))
    rows = comparison.differences(table, reference, metrics)
    if args.json:
        print(json.dumps([row._asdict() for row in rows], indent=1))
    else:
        print(comparison.describe(table, reference, rows))
    return 0


def _reference(named: str | None, tasks: list[Task]) -> str:
    """What the others are compared with; refuses, before anything is trained, what leaves nothing to compare."""
    seeds: dict[str, set[int]] = {}
    for task in tasks:
        seeds.setdefault(task.variant, set()).add(task.config.seed)
    reference = named or next(iter(seeds))
    if reference not in seeds:
        raise _refuse(f"--reference {reference}", list(seeds), reference)
    if len(seeds) < 2:
        raise _refuse(f"{reference}: there is nothing else to compare it with; give two configurations that differ")
    for variant, own in seeds.items():
        if len(own & seeds[reference]) < 2:
            shared = len(own & seeds[reference])
            raise _refuse(f"{variant}: an interval takes at least two seeds in common with {reference}, got {shared}")
    return reference


def _tasks_to_compare(args: argparse.Namespace) -> tuple[list[Task], str | Path]:
    from ternary_lib import records, sweeps
    from ternary_lib.cli import override
    from ternary_lib.config import WORK_ROOT, find_config
    from ternary_lib.strict_yaml import read_yaml

    if len(args.configs) == 1:
        if "variants" not in read_yaml(find_config(args.configs[0])):
            raise _refuse(f"{args.configs[0]}: one configuration has nothing to be compared with; give two, or a sweep file")
        if args.set:
            raise _refuse("--set: a sweep file states its own overrides")
        tasks = sweeps.select(sweeps.load_sweep(args.configs[0]), seeds=args.seeds)
        return tasks, args.output or records.sweeps_dir()
    tasks = sweeps.of_configs(args.configs, args.seeds or [0, 1, 2, 3, 4], dict(map(override, args.set)))
    return tasks, args.output or WORK_ROOT / "runs" / "compare"


def _make_records(tasks: list[Task], root: str | Path | None, args: argparse.Namespace) -> list[dict[str, Any]]:
    from ternary_lib import sweeps
    from ternary_lib.strict_yaml import print_error

    try:
        return sweeps.run_sweep(tasks, root, args.jobs, args.scheduler, not args.quiet)
    except sweeps.SweepError as error:
        print_error(error)
        raise SystemExit(1) from None


def _check(args: argparse.Namespace) -> None:
    for name in ("jobs", "verify"):
        value = getattr(args, name, None)
        if value is not None and not 1 <= value <= 1000:
            raise _refuse(f"--{name} {value}: expected a whole number from 1 to 1000")
    settings.check()


def _refuse(text: str, known: list[str] | None = None, word: str = "") -> Exception:
    from ternary_lib.strict_yaml import ConfigError, nearest

    return ConfigError(f"{text}: not known{nearest(word, known)}" if known else text)
