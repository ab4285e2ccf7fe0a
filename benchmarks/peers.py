"""pythae's β-VAE judged by our measures: records of pathways that another library's trainer has trained.

The runs are those of ``configs/sweeps/peers.yaml`` at two values of β, so that each of pythae's has one of ours beside it with the
same seed, initial weights, operations, batches of 64, learning rate and number of epochs; see :mod:`benchmarks.peer` for what is
equal and what is not. Every number is measured by the library's own evaluation, after the last epoch, with the last epoch's
streams of random numbers.

    python -m benchmarks.peers                  # makes what is missing in results/peers.json, seed by seed

A run is stored the moment it ends and never made twice; one process at a time writes the file. Needs pythae, one thread and, a run,
one to three minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks import peer
from ternary_lib import records, sweeps
from ternary_lib.config import Config, ConfigError, config_hash
from ternary_lib.data import split_indices
from ternary_lib.evaluation import coverage_counts, evaluate_final, reconstruction
from ternary_lib.files import claimed
from ternary_lib.model import Pathway, TernaryVAE
from ternary_lib.progress import Progress
from ternary_lib.randomness import stream
from ternary_lib.strict_yaml import print_error

SWEEP = "configs/sweeps/peers.yaml"
BETAS = (0.5, 1.0)  # of the sweep's three: an epoch of pythae's trainer takes as long as a whole epoch of the system


def tasks() -> list[sweeps.Task]:
    """The sweep's runs that pythae repeats, seed by seed."""
    return [task for task in sweeps.load_sweep(SWEEP) if task.config.schedules.beta.start in BETAS]


def name_of(task: sweeps.Task) -> str:
    """The key of a run in ``results/peers.json``."""
    return f"pythae_{task.variant}-seed{task.config.seed}"


def measure(pathway: Pathway, name: str, config: Config) -> dict[str, Any]:
    """What ``record["final"][name]`` holds for a run of ours, of a pathway that was trained elsewhere."""
    model, epoch = TernaryVAE(config.model, stream(config.seed, "weights")), config.schedules.total_epochs - 1
    setattr(model, f"pathway_{name}", pathway)
    with torch.inference_mode():
        rebuilt = reconstruction(model, split_indices(config.data), 0.0, stream(config.seed, "posterior", epoch))
        generator = stream(config.seed, "coverage", name, epoch)
        counts = coverage_counts(pathway, config.evaluation, generator, config.model.latent_dim, config.evaluation.final_draws)
    own = {key[2:]: value for key, value in rebuilt.items() if key.startswith(f"{name}.")}
    own |= {f"coverage.{mode}.{n}": found for (mode, n), found in counts.items()}
    return own | evaluate_final(model, config, epoch)[name]


def run(task: sweeps.Task) -> dict[str, Any]:
    """Train the task's pathway by pythae and measure it: a record in the form of a sweep's, its history the last epoch alone."""
    config, (name,) = task.config, task.pathways
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    epochs = config.schedules.total_epochs
    trained = peer.train_beta_vae(name, config.schedules.beta.start, epochs, config.seed)
    seconds = {"train": round(time.monotonic() - clock, 1)}
    final = measure(trained, name, config)
    counts = {f"{name}.{key}": [value] for key, value in final.items() if key.startswith("coverage.")}
    record = {
        "name": f"pythae_{config.name}",
        "seed": config.seed,
        "config_hash": config_hash(config),
        "numbers": records.NUMBERS,
        "library_commit": records.library_commit(),
        "versions": records.versions() | {"pythae": version("pythae")},
        "hardware": records.hardware(),
        "started": started,
        "seconds": seconds | {"total": round(time.monotonic() - clock, 1)},
        "config": config.model_dump(mode="json"),
        "untrained": {},
        "final": {name: final},
        "history": {"epoch": [epochs - 1]} | counts,
    }
    label = task.label.replace("β-VAE", "pythae's β-VAE")
    return sweeps.condensed(record) | task._replace(variant=f"pythae_{task.variant}", label=label).about


def finished(record: Mapping[str, Any] | None, task: sweeps.Task) -> bool:
    """Whether a record is of this run, of today's numbers and of the pythae that is installed (of any, where none is)."""
    if record is None or not sweeps.repeats(record, task.config):
        return False
    try:
        return record["versions"]["pythae"] == version("pythae")
    except PackageNotFoundError:
        return True


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing; status 2 and one line where that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Train and measure pythae's β-VAE on our data.")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where records are stored (default: results/peers.json)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[], metavar="N", help="these seeds alone")
    given = parser.parse_args(arguments)
    path = given.output or records.results_dir() / "peers.json"
    try:
        with claimed(path.parent):
            return make(path, given.seeds)
    except ConfigError as error:
        print_error(error)
        return 2


def make(path: Path, seeds: list[int]) -> int:
    """Make what is missing in ``path``, of these seeds or of all.

    Raises:
        ConfigError: the file cannot be read, or pythae is needed and not installed; one line.
    """
    stored = records.read_json(path) if path.exists() else {}
    wanted = [task for task in tasks() if not seeds or task.config.seed in seeds]
    missing = [task for task in wanted if not finished(stored.get(name_of(task)), task)]
    try:
        import pythae.pipelines  # noqa: F401
    except ImportError as error:
        if missing:
            raise ConfigError(f"pythae cannot be imported ({error}); to install it: {peer.FIX}") from None
    torch.set_num_threads(1)  # as the runs beside them are trained
    bar = Progress(len(wanted), unit="run")
    bar.note(f"{len(wanted) - len(missing)} of {len(wanted)} runs are recorded; {len(missing)} to make")
    for done, task in enumerate(missing, len(wanted) - len(missing) + 1):
        stored[name_of(task)] = run(task)
        records.write_json(path, stored)
        bar.update(done, name_of(task))
    bar.close(f"{len(wanted)} of {len(wanted)} runs recorded, {len(missing)} of them now: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
