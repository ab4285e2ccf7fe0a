"""Sweeps: the runs that ``sweep_files`` lists, as run records that are made once and never again."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from ternary_lib import records
from ternary_lib.config import Config, ConfigError
from ternary_lib.files import claimed
from ternary_lib.progress import Progress
from ternary_lib.strict_yaml import one_line
from ternary_lib.sweep_files import Task, load_sweep, of_configs, select

__all__ = [
    "SweepError",
    "Task",
    "condensed",
    "is_of",
    "load_sweep",
    "of_configs",
    "originals",
    "recorded",
    "repeats",
    "run_sweep",
    "run_task",
    "select",
    "store_of",
    "stored",
    "verify",
]

DIGITS = 9  # significant digits of a stored number: all that single precision has
CONNECT_SECONDS = 10


Runner = Callable[[Task, Path | None], dict[str, Any]]  # what makes a record of a task, or {"error": …}; picklable


class SweepError(RuntimeError):
    """Some runs of a sweep failed; the message is one line."""


def originals() -> list[Task]:
    """The public code's own runs, recorded by ``benchmarks.original``, as a sweep: measured as the rebuilt behaviour's runs are."""
    rebuilt = [task for task in load_sweep("configs/sweeps/ablations.yaml") if task.variant == "published"]
    return [task._replace(sweep="original", variant="original", label="the public code itself") for task in rebuilt]


def store_of(task: Task, root: str | Path | None = None) -> Path:
    """The folder of a sweep's records: ``results/sweeps/<sweep>`` unless another root is given."""
    return Path(root or records.sweeps_dir()) / task.sweep


def stored(task: Task, root: str | Path | None = None) -> dict[str, Any] | None:
    """The task's record where one of the same experiment exists; a run of other numbers is no record of it."""
    return _read_record(store_of(task, root), task)


def _read_record(folder: Path, task: Task) -> dict[str, Any] | None:
    record = _read_own(folder, task)
    return record if record and repeats(record, task.config) else None


def _read_own(folder: Path, task: Task) -> dict[str, Any] | None:
    path = folder / f"{task.run}.json"
    if not path.is_file():
        return None
    record = records.read_run(path)
    if record.get("variant") != task.variant:
        raise ConfigError(f"{path}: no record of this sweep: variant: expected {task.variant!r}")
    return record


def is_of(record: Mapping[str, Any], config: Config) -> bool:
    """Whether a record is of this configuration and of these numbers' code, made under whatever torch."""
    return records.same_config(record, config) and record.get("numbers") == records.NUMBERS


def repeats(record: Mapping[str, Any], config: Config) -> bool:
    """Whether making a record again, here and now, is to give the same: it is of this configuration, and of this torch."""
    try:
        versions = record["versions"]["torch"].split("+")[0], records.versions()["torch"].split("+")[0]
    except (KeyError, TypeError, AttributeError):
        return False
    return is_of(record, config) and versions[0] == versions[1]


def recorded(tasks: Sequence[Task], root: str | Path | None = None) -> list[dict[str, Any]]:
    """The records there are of these tasks, made under whatever torch; another experiment's are left out.

    It is what a page shows, while :func:`stored` is what a sweep need not make again.
    """
    found = []
    for task in tasks:
        record = _read_own(store_of(task, root), task)
        if record and is_of(record, task.config):
            found.append(record)
    return found


def run_task(task: Task, folder: Path | None) -> dict[str, Any]:
    """Train the task's run, or go on with it; its record as it is stored, or ``{"error": …}`` where it failed.

    Runs in a process of its own, on one core: side by side, runs share a machine better than the parts of one run do.
    Checkpoints lie in ``folder/<run>-<key>.run`` until the record is stored; with None, in a folder that is thrown away.
    A record that is there already is returned as it is: a cluster gives a run out again when the worker that held its result is lost.
    """
    from ternary_lib.training import train

    if folder and (made := _read_record(folder, task)):
        return made
    settings = {"TERNARY_THREADS": "1", "TERNARY_PROGRESS": ""}  # the bar of progress is the sweep's
    try:
        with TemporaryDirectory() as thrown_away, patch.dict(os.environ, settings):
            run = train(task.config, _checkpoints(folder or Path(thrown_away), task), resume=True, progress=False)
        return condensed(run.record) | task.about
    except Exception as error:  # whatever it was: the sweep goes on, keeps it, and fails in the end
        return {"error": one_line(f"{type(error).__name__}: {error}"), "traceback": traceback.format_exc()}


def condensed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run's record for the store: nine significant digits, and no list of missed operations (their number follows)."""
    final = {name: {k: v for k, v in part.items() if k != "missed"} for name, part in record["final"].items()}
    measured = {"untrained": record["untrained"], "final": final, "history": record["history"]}
    return {**record, **_rounded(measured)}  # the configuration stays as it is: it says which experiment this was


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value


def run_sweep(
    tasks: Sequence[Task],
    root: str | Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
    run: Runner | None = None,
) -> list[dict[str, Any]]:
    """Make every record that is missing; returns all of them, in the order of ``tasks``.

    A record is written, whole, the moment its run ends. A run that fails leaves ``<run>.failed.json`` and the others go on.

    Args:
        tasks: the runs.
        root: where records are stored; None for ``results/sweeps``.
        jobs: runs at a time on this machine; None for one a core.
        scheduler: address of a dask.distributed scheduler whose workers run them instead.
        progress: show a bar with the time left.
        run: what makes a run's record; None for :func:`run_task`.

    Raises:
        SweepError: some runs failed.
        ConfigError: no scheduler at that address, the store cannot be written, or another sweep is at work there.
    """
    missing = [task for task in tasks if stored(task, root) is None]
    bar, failed = Progress(len(tasks), progress, unit="run"), []
    done = len(tasks) - len(missing)
    to_make = {task.run for task in missing}
    _clear([task for task in tasks if task.run not in to_make], root)
    if missing:
        bar.note(f"{done} of {len(tasks)} runs are recorded; {len(missing)} to make")
        store = store_of(tasks[0], root).absolute()
        with claimed(store):
            for task, record in _run_all(missing, store, jobs, scheduler, run):
                done += 1
                if "error" in record:
                    failed.append((task, record["error"]))
                _store(task, record, root)
                bar.update(done, f"{task.variant} seed {task.config.seed}{' FAILED' if 'error' in record else ''}")
    bar.close(f"{tasks[0].sweep}: {len(tasks) - len(failed)} of {len(tasks)} runs recorded, {len(missing) - len(failed)} of them now.")
    if failed:
        task, error = failed[0]
        which = ", ".join(f"{t.variant} seed {t.config.seed}" for t, _ in failed[:5])
        raise SweepError(f"{len(failed)} of {len(tasks)} runs failed ({which}); the first: {error}")
    made = [stored(task, root) for task in tasks]
    if None in made:
        task = tasks[made.index(None)]
        raise SweepError(f"the record of {task.variant} seed {task.config.seed} is of another torch or library than this process's")
    return made


def verify(
    tasks: Sequence[Task],
    root: str | Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> list[tuple[bool, str]]:
    """Run recorded tasks again from their first epoch and compare every number: (whether all agree, one line), a task each.

    Raises:
        ConfigError: there is none.
    """
    if not tasks:
        raise ConfigError("none of these runs is recorded, so there is nothing to verify")
    bar, found = Progress(len(tasks), progress, unit="run"), {}
    bar.note("to run again: " + ", ".join(f"{task.variant} seed {task.config.seed}" for task in tasks[:5]) + " …" * (len(tasks) > 5))
    for task, again in _run_all(tasks, None, jobs, scheduler):
        found[task.run] = _agreement(stored(task, root) or {}, again)
        bar.update(len(found), f"{task.variant} seed {task.config.seed}")
    bar.close(f"{sum(same for same, _ in found.values())} of {len(tasks)} runs gave their recorded numbers again.")
    return [found[task.run] for task in tasks]


def _agreement(record: Mapping[str, Any], again: Mapping[str, Any]) -> tuple[bool, str]:
    if "error" in again:
        return False, str(again["error"])
    numbers = ("weights_sha256", "best_validation_loss", "best_epoch", "untrained", "final", "history")
    different = [name for name in numbers if not _repeated(record.get(name), again[name])]
    if not different:
        return True, "the same weights and every number the same, to the last bit"
    kinds = [part.get("hardware", {}).get("cpu") for part in (record, again)]
    where = "on the same kind of machine" if kinds[0] == kinds[1] else f"recorded on {kinds[0]}, run again on {kinds[1]}"
    return False, f"other {', '.join(different)} ({where})"


def _repeated(recorded: Any, again: Any) -> bool:
    # Whether every number recorded came out again; what is measured only since then is no difference.
    if isinstance(recorded, Mapping) and isinstance(again, Mapping):
        return all(name in again and _repeated(value, again[name]) for name, value in recorded.items())
    return recorded == again


def _run_all(
    tasks: Sequence[Task], folder: Path | None, jobs: int | None, scheduler: str | None, run: Runner | None = None
) -> Iterator[tuple[Task, dict[str, Any]]]:
    return _on_cluster(tasks, folder, scheduler, run) if scheduler else _on_this_machine(tasks, folder, jobs, run)


def _store(task: Task, record: dict[str, Any], root: str | Path | None) -> None:
    folder = store_of(task, root)
    failure = folder / f"{task.run}.failed.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if "error" in record:
            records.write_json(failure, {"variant": task.variant, "seed": task.config.seed, **record})
        else:
            _keep_other(folder / f"{task.run}.json", task)
            records.write_json(folder / f"{task.run}.json", record)
            failure.unlink(missing_ok=True)
            shutil.rmtree(_checkpoints(folder, task), ignore_errors=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from None


def _keep_other(path: Path, task: Task) -> None:
    # A record of another experiment, or of another torch, took hours, too: it is put aside, and no sweep reads it.
    if path.is_file() and stored(task, path.parent.parent) is None:
        numbers = itertools.count(1)
        os.replace(path, next(aside for n in numbers if not (aside := path.with_name(f"{task.run}.earlier-{n}.json")).exists()))


def _clear(tasks: Sequence[Task], root: str | Path | None) -> None:
    """Remove what a sweep that was killed just after a record was written left of recorded runs: checkpoints, its lock."""
    left = [folder for folder in (_checkpoints(store_of(task, root), task) for task in tasks) if folder.is_dir()]
    if left or (tasks and (store_of(tasks[0], root) / ".lock").exists()):
        with suppress(ConfigError), claimed(store_of(tasks[0], root).absolute()):  # else a sweep is at work there
            for folder in left:
                shutil.rmtree(folder, ignore_errors=True)


def _checkpoints(folder: Path, task: Task) -> Path:
    # Its key names the numbers: a run of the same name and another configuration or code has a folder of its own.
    return folder / f"{task.run}-{records.run_key(task.config)}.run"


def _on_this_machine(
    tasks: Sequence[Task], folder: Path | None, jobs: int | None, run: Runner | None
) -> Iterator[tuple[Task, dict[str, Any]]]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    workers = min(jobs or os.cpu_count() or 1, len(tasks))
    parallel = Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered", batch_size=1)
    try:
        for index, record in parallel(delayed(_beside)(os.getpid(), index, task, folder, run) for index, task in enumerate(tasks)):
            yield tasks[index], record
    except BrokenProcessPool:
        raise SweepError("a process of the sweep was killed, perhaps for memory; start it again with fewer --jobs: it goes on") from None


def _on_cluster(
    tasks: Sequence[Task], folder: Path | None, scheduler: str, run: Runner | None
) -> Iterator[tuple[Task, dict[str, Any]]]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ConfigError("--scheduler needs dask.distributed; install it with: pip install 'distributed'") from None
    if not re.fullmatch(r"([a-z]+://)?\S+:[0-9]{1,5}", scheduler):
        raise ConfigError(f"--scheduler {scheduler}: expected an address with its port, as in tcp://host:8786")
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--scheduler {scheduler}: no scheduler answers there ({one_line(error)[:120]})") from None
    with client:
        _require_same_code(client, scheduler)
        futures = {client.submit(_numbered, index, task, folder, run, pure=False): task for index, task in enumerate(tasks)}
        for future in as_completed(futures):  # a run whose worker is lost is given to another, and goes on where files are shared
            error, task = future.exception(), futures.pop(future)
            record = future.result()[1] if error is None else {"error": one_line(f"{type(error).__name__}: {error}")}
            future.release()  # a result that is still held is computed again when its worker is lost
            yield task, record


def _require_same_code(client: Any, scheduler: str) -> None:
    workers = client.run(_makes_numbers)
    if not workers:
        raise ConfigError(f"--scheduler {scheduler}: has no workers; start some with: dask worker {scheduler} --nthreads 1")
    for what, ours in _makes_numbers().items():
        if theirs := {str(of.get(what)) for of in workers.values()} - {ours}:
            raise ConfigError(f"--scheduler {scheduler}: a worker has another {what} ({min(theirs)[:16]}) than this process ({ours[:16]})")


def _makes_numbers() -> dict[str, str]:
    # What a run's numbers depend on, apart from its configuration and the machine.
    return {"ternary_lib": records.source_hash(), "NUMBERS": str(records.NUMBERS), "torch": records.versions()["torch"].split("+")[0]}


def _beside(sweep: int, index: int, task: Task, folder: Path | None, run: Runner | None) -> tuple[int, dict[str, Any]]:
    if os.getppid() == sweep:
        _leave_with(sweep)
    return _numbered(index, task, folder, run)


@lru_cache(maxsize=1)
def _leave_with(parent: int) -> None:
    # A process of a sweep that was killed would go on with its run, unseen, and stand in the next sweep's way.
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _numbered(index: int, task: Task, folder: Path | None, run: Runner | None) -> tuple[int, dict[str, Any]]:
    return index, (run or run_task)(task, folder)
