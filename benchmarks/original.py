"""The public code itself, trained and judged by our measures: what the behaviour that this project rebuilt is held against.

Its training script runs as it stands, in its own process, with its own configuration, split and streams of random numbers. Three things
are taken from it: counting coverage (after every epoch our evaluation measures a copy of its network instead, and hands back the count
that it asks for), early stopping (the run that its authors report has all 400 epochs) and its checkpoints (its record is ours).

    git clone https://github.com/Ai-Whisperers/ultrametric-antigen-AI runs/original && git -C runs/original checkout 3b399b8d
    python -m benchmarks.original runs/original      # makes what is missing in results/sweeps/original/, seed by seed

A run is stored the moment it ends and never made twice. It takes half an hour of one core.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml
from joblib import Parallel, delayed

from ternary_lib import records, sweeps
from ternary_lib.config import Config, ConfigError, config_hash
from ternary_lib.control import Controls
from ternary_lib.data import Split
from ternary_lib.evaluation import evaluate_epoch, evaluate_final
from ternary_lib.journal import weights_hash
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, to_index
from ternary_lib.training import evaluate_untrained

COMMIT = "3b399b8d3a7f75fbe0df7f75631a59d5dcf7eff6"  # of the code that this project rebuilt
MODEL, SCRIPT, CONFIG = "src/models/ternary_vae_v5_5.py", "scripts/train/train_ternary_v5_5.py", "configs/ternary_v5_5.yaml"
TRAIN = {  # our name of a column: its name for the same mean over an epoch's batches
    "total": "loss", "loss_a": "loss_A", "loss_b": "loss_B", "ce_a": "ce_A", "kl_a": "kl_A", "ce_b": "ce_B", "kl_b": "kl_B",
    "repulsion_b": "repulsion_B", "alignment": "entropy_align", "latent_entropy_a": "H_A", "latent_entropy_b": "H_B",
}  # fmt: skip


def source(code: Path) -> dict[str, Any]:
    """Which code it is: its commit, where it is a clone, and the SHA-256 of each file that is used.

    Raises:
        ConfigError: a file is missing, or the clone stands at another commit; one line.
    """
    fix = f"git clone https://github.com/Ai-Whisperers/ultrametric-antigen-AI {code}; git -C {code} checkout {COMMIT[:8]}"
    if missing := [name for name in (MODEL, SCRIPT, CONFIG) if not (code / name).is_file()]:
        raise ConfigError(f"{code}: {missing[0]} is not there; to get it: {fix}")
    commit = None
    if (code / ".git").exists():
        commit = subprocess.run(("git", "-C", str(code), "rev-parse", "HEAD"), capture_output=True, text=True, check=True).stdout.strip()
        if commit != COMMIT:
            raise ConfigError(f"{code}: stands at commit {commit[:8]}, expected {COMMIT[:8]}: git -C {code} checkout {COMMIT[:8]}")
    return {"commit": commit, "sha256": {name: hashlib.sha256((code / name).read_bytes()).hexdigest() for name in (MODEL, SCRIPT, CONFIG)}}


def load(code: Path) -> ModuleType:
    """Its training script as a module."""
    sys.path.insert(0, str(code / "src"))
    spec = importlib.util.spec_from_file_location("original_training", code / SCRIPT)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def copied(theirs: torch.nn.Module, config: Config) -> TernaryVAE:
    """Its network as one of ours: layer by layer the same, in the same order."""
    model = TernaryVAE(config.model)
    with torch.no_grad():
        for ours, other in zip(model.parameters(), theirs.parameters(), strict=True):
            ours.copy_(other)
    return model


def controls(trainer: Any, losses: Mapping[str, float]) -> Controls:
    """What an epoch was trained with, under our names; ρ, λ and the phase as its network holds them."""
    net, rate = trainer.model, losses["lr_scheduled"]
    return Controls(
        epoch=trainer.epoch, phase=1 + sum(trainer.epoch >= edge for edge in (40, 120, trainer.phase_4_start)), rho=net.rho,
        gate_open=int(net.grad_balance_achieved), tau_a=losses["temp_A"], tau_b=losses["temp_B"], beta_a=losses["beta_A"],
        beta_b=losses["beta_B"], learning_rate=rate, learning_rate_applied=losses.get("lr_corrected", rate), lambda_1=net.lambda1,
        lambda_2=net.lambda2, lambda_3=net.lambda3, delta_lr=losses["delta_lr"], delta_lambda_1=losses["delta_lambda1"],
        delta_lambda_2=losses["delta_lambda2"], delta_lambda_3=losses["delta_lambda3"], grad_ratio=losses["grad_ratio"],
        ema_momentum=losses["ema_momentum"],
    )  # fmt: skip


class Watch:
    """Takes the place of its coverage count: measures the network after every epoch and keeps the history."""

    def __init__(self, config: Config, report: Callable[[int], None] = lambda epoch: None) -> None:
        self.config, self.report = config, report
        self.history: dict[str, list[Any]] = {}
        self.untrained: dict[str, Any] = {}
        self.split: Split
        self.trained: Mapping[str, float] = {}
        self.validated: Mapping[str, float] = {}

    def attach(self, script: ModuleType) -> None:
        """Put hooks into its trainer and its split."""
        trainer, cut = script.DNVAETrainerV5, script.random_split
        train, validate = trainer.train_epoch, trainer.validate

        def split(dataset: Any, sizes: list[int], generator: Any) -> Any:
            parts = cut(dataset, sizes, generator=generator)
            self.split = Split(*(to_index(dataset.operations[part.indices].long()) for part in parts))
            return parts

        def train_epoch(own: Any, *given: Any) -> Any:
            if not self.history:
                self.untrained = evaluate_untrained(copied(own.model, self.config), self.config)
            self.trained = train(own, *given)
            return self.trained

        def validated(own: Any, *given: Any) -> Any:
            self.validated = validate(own, *given)
            return self.validated

        def evaluate_coverage(own: Any, num_samples: int, vae: str = "A") -> tuple[int, float]:
            if vae == "A":
                self.measure(own)
            found = self.history[f"{vae.lower()}.coverage.expectation.{num_samples}"][-1]
            return found, 100 * found / NUM_OPERATIONS

        script.random_split = split
        trainer.train_epoch, trainer.validate, trainer.evaluate_coverage = train_epoch, validated, evaluate_coverage
        trainer.save_checkpoint = lambda own, is_best=False: None

    def measure(self, trainer: Any) -> None:
        """One row of the history; the validation loss is its own, of its own batches."""
        now = controls(trainer, self.trained)
        self.model = copied(trainer.model, self.config)
        row = asdict(now) | {f"train.{ours}": float(self.trained[theirs]) for ours, theirs in TRAIN.items()}
        row |= evaluate_epoch(self.model, self.config, now, self.split) | {"validation.total": float(self.validated["loss"])}
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        self.report(trainer.epoch)


def run(code: Path, task: sweeps.Task, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Train it with the task's seed: a record in the form of a sweep's, its configuration the one by which the network was measured."""
    torch.set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    config, started, clock = task.config, datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    script, watch = load(code), Watch(config)
    watch.attach(script)
    with tempfile.TemporaryDirectory() as folder:
        own = yaml.safe_load((code / CONFIG).read_text(encoding="utf-8"))
        own |= {"seed": config.seed, "patience": 10**9, "checkpoint_dir": folder} | dict(changes or {})
        given = Path(folder) / "config.yaml"
        given.write_text(yaml.safe_dump(own), encoding="utf-8")
        arguments, sys.argv = sys.argv, ["train", "--config", str(given)]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                script.main()
        finally:
            sys.argv = arguments
    last, losses = watch.history["epoch"][-1], watch.history["validation.total"]
    final = evaluate_final(watch.model, config, last)
    for name, part in final.items():
        final[name] = {key[2:]: values[-1] for key, values in watch.history.items() if key.startswith(f"{name}.")} | part
    record = {
        "name": "original", "seed": config.seed, "config_hash": config_hash(config), "numbers": records.NUMBERS, "original": source(code),
        "source_hash": records.source_hash(), "weights_sha256": weights_hash(watch.model), "step_path": "original",
        "library_commit": records.library_commit(), "versions": records.versions(), "device": "cpu", "hardware": records.hardware(),
        "started": started, "seconds": {"total": round(time.monotonic() - clock, 1)}, "best_validation_loss": min(losses),
        "best_epoch": watch.history["epoch"][losses.index(min(losses))], "config": config.model_dump(mode="json"),
        "untrained": watch.untrained, "final": final, "history": watch.history,
    }  # fmt: skip
    about = {"sweep": task.sweep, "variant": task.variant, "label": task.label, "pathways": list(task.pathways)}
    return sweeps.condensed(record) | about


def store(code: Path, task: sweeps.Task, root: Path | None) -> str:
    """Make a run and write its record."""
    folder = sweeps.store_of(task, root)
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / f"{task.run}.json", run(code, task))
    return task.run


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing; status 2 and one line where the code is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.original", description="Train the public code and measure it as ours.")
    parser.add_argument("code", type=Path, help="a clone of the public code")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where records are stored (default: results/sweeps)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[], metavar="N", help="these seeds alone")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at a time (default: 2)")
    given = parser.parse_args(arguments)
    wanted = [task for task in sweeps.originals() if not given.seeds or task.config.seed in given.seeds]
    missing = [task for task in wanted if not sweeps.stored(task, given.output)]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are recorded; {len(missing)} to make", flush=True)
    try:
        if missing:
            source(given.code)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    runs = (delayed(store)(given.code.resolve(), task, given.output) for task in missing)
    for name in Parallel(given.jobs, return_as="generator_unordered")(runs):
        print(name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
