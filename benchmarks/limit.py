"""What version 6 is held against: the sources' recipe at its best, another start of β, and the clock.

    python -m benchmarks.limit                  # makes what is missing in results/limit.json, but for the sources' recipe:
    python -m benchmarks.limit --run DIR        # from the checkpoints kept by its run

Each part is written as soon as it is made, and made once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ternary_lib import records
from ternary_lib.checkpoint import CheckpointError
from ternary_lib.config import load_config
from ternary_lib.data import split_indices
from ternary_lib.evaluation import PATHWAYS, decode, encode, evaluate_final, reconstruction
from ternary_lib.journal import load_weights
from ternary_lib.machine import evaluation_threads
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import all_operations
from ternary_lib.randomness import stream
from ternary_lib.strict_yaml import InputError
from ternary_lib.training import Trainer, train
from ternary_lib.weights import load

CONFIG = "configs/ternary_v6.yaml"
STARTS, PROBED = (0.1, 0.02), range(110, 140)  # of β, and the seeds on which the second was chosen
TIMED = (50, 51, 52)  # seeds trained for the clock alone
KEPT = ("efficiency", "kl_to_uniform", "smallest_cell", "draws_to_complete", "exact_all", "exact_test", "rate", "distortion", "neg_elbo")


@torch.inference_mode()
def kept_epochs(run_dir: Path) -> dict[str, Any]:
    """A run's kept epochs, each measured as a last epoch is."""
    found = {}
    for path in sorted(run_dir.glob("epoch_*.safetensors")):
        model, config, controls = load(path)
        generator = stream(config.seed, "posterior", controls.epoch)
        row = reconstruction(model, split_indices(config.data), controls.rho, generator)
        final = evaluate_final(model, config, controls.epoch, evaluation_threads())
        for p in PATHWAYS:
            final[p] |= {name: row[f"{p}.{name}"] for name in KEPT if f"{p}.{name}" in row}
        found[str(controls.epoch)] = {p: {name: final[p][name] for name in KEPT} for p in PATHWAYS}
    if not found:
        raise CheckpointError(f"{run_dir}: keeps no epoch_*.safetensors")
    return {"weights_sha256": records.read_json(run_dir / "record.json")["weights_sha256"], "epochs": found}


def warm_up(start: float, seed: int) -> list[float]:
    """Fractions of operations that A and B rebuild when phase 1 ends, with β from ``start``."""
    config = load_config(CONFIG, {"schedules.beta.start": start}, seed)
    trainer = Trainer(config)
    for epoch in range(config.schedules.phases[0]):
        trainer.train_epoch(epoch)
    load_weights(trainer.models[0], trainer.snapshot(0))
    return [_rebuilt(trainer.models[0], name) for name in PATHWAYS]


@torch.inference_mode()
def _rebuilt(model: TernaryVAE, name: str) -> float:
    x, pathway = all_operations(), getattr(model, f"pathway_{name}")
    return float((decode(pathway, encode(pathway, x)[0]).argmax(-1) == x + 1).all(-1).double().mean())


def seconds_of_training(seed: int) -> float:
    """Seconds of the recipe's training steps on this machine, evaluation apart."""
    with TemporaryDirectory() as folder:
        return train(load_config(CONFIG, seed=seed), Path(folder) / "run", progress=False).record["seconds"]["train"]


def parts(run_dir: Path | None) -> dict[str, Callable[[], Any]]:
    """What the record holds, and how each part is made."""
    own: dict[str, Callable[[], Any]] = {"seconds": lambda: {str(seed): seconds_of_training(seed) for seed in TIMED}}
    for start in STARTS:
        own[f"warm_up {start:g}"] = lambda start=start: {str(seed): warm_up(start, seed) for seed in PROBED}
    return own | ({"sources": lambda: kept_epochs(run_dir)} if run_dir else {})


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing; status 2 and one line on bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limit", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, metavar="DIR", help="a finished run of the sources' recipe")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where results are stored (default: results/limit.json)")
    given = parser.parse_args(arguments)
    path = given.output or records.results_dir() / "limit.json"
    try:
        stored = records.read_json(path) if path.exists() else {}
        for name, make in parts(given.run).items():
            if name not in stored:
                clock = time.monotonic()
                stored[name] = records.provenance() | {"found": make()}
                records.write_json(path, stored)
                print(f"{name}: {time.monotonic() - clock:.0f} s")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
