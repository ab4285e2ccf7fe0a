"""The public code itself, trained and judged by our measures: what the behaviour that this project rebuilt is held against.

Its training script runs as it stands, in its own process, with its own configuration, split and random numbers: the weights of every
epoch are those that it gives by itself, to the bit. Its coverage is counted by tensors, from its own draws; its early stopping never acts,
since the run that its authors report has all 400 epochs; and it writes no checkpoint. After every epoch our evaluation measures a copy of
its network. Its record has the form of a sweep's, and lacks the norms of gradients and the scaled losses, which it does not report.

    make original      # python -m benchmarks.original runs/original --fetch

A run is stored the moment it ends and never made twice. It takes half an hour of one core.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
import yaml

from ternary_lib import records, sweeps
from ternary_lib.config import Config, ConfigError, config_hash
from ternary_lib.control import Controls
from ternary_lib.coverage import distinct
from ternary_lib.data import Split
from ternary_lib.evaluation import evaluate_epoch, evaluate_final
from ternary_lib.journal import weights_hash
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, all_operations, to_index
from ternary_lib.strict_yaml import one_line, print_error
from ternary_lib.training import evaluate_untrained

COMMIT = "3b399b8d3a7f75fbe0df7f75631a59d5dcf7eff6"  # of the code that this project rebuilt
MODEL, SCRIPT, CONFIG = "src/models/ternary_vae_v5_5.py", "scripts/train/train_ternary_v5_5.py", "configs/ternary_v5_5.yaml"
URL = "https://github.com/Ai-Whisperers/ultrametric-antigen-AI"
SHA256 = {  # of their text, whatever its line ends
    MODEL: "8b0f32660b7d89dd3e201bec9f8a6d441cb0994fd5559730247cc6c7792c399e",
    SCRIPT: "9e5c90f4d71402b45ebd3b1fa4c8be22da3b7c39b8fffb928239f97119af89a8",
    CONFIG: "9b2670d4c4fe7be6509eff5e75d3546ce73d04386f0e190971f8ff81dd6b5d6e",
}
SAMPLES = 1000  # draws of one call of its sampler, in its own count of coverage
TRAIN = {  # our name of a column: its name for the same mean over an epoch's batches; its histograms drop codes beyond ±3
    "total": "loss", "loss_a": "loss_A", "loss_b": "loss_B", "ce_a": "ce_A", "kl_a": "kl_A", "ce_b": "ce_B", "kl_b": "kl_B",
    "output_entropy_b": "entropy_B", "repulsion_b": "repulsion_B", "alignment": "entropy_align", "latent_entropy_a": "H_A",
    "latent_entropy_b": "H_B",
}  # fmt: skip


def source(code: Path) -> dict[str, Any]:
    """Which code it is: its commit, and the SHA-256 of the text of each file that is used.

    Raises:
        ConfigError: a file is missing or another one; one line.
    """
    if missing := [name for name in SHA256 if not (code / name).is_file()]:
        raise ConfigError(f"{code}: {missing[0]} is not there; to get it: make original")
    found = {name: hashlib.sha256((code / name).read_text("utf-8-sig", "replace").encode()).hexdigest() for name in SHA256}
    if others := [name for name in SHA256 if found[name] != SHA256[name]]:
        fix = f"git -C {code} checkout --force {COMMIT[:8]}"
        raise ConfigError(f"{code}: {others[0]} is not that of commit {COMMIT[:8]}; to get that: {fix}")
    return {"commit": COMMIT, "sha256": found}


def fetch(code: Path) -> None:
    """Clone the public code into a folder, and go to the commit.

    Raises:
        ConfigError: git is missing or fails; one line.
    """
    for arguments in (("clone", "--quiet", URL, str(code)), ("-C", str(code), "checkout", "--quiet", COMMIT)):
        try:
            subprocess.run(("git", *arguments), capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ConfigError(f"{code}: git {arguments[0]} failed: {one_line(getattr(error, 'stderr', '') or error)}") from None


def load(code: Path) -> ModuleType:
    """Its training script as a module."""
    sys.path.insert(0, str(code / "src"))
    loader = SourceFileLoader("original_training", str(code / SCRIPT))
    script = ModuleType(loader.name)
    script.__file__ = loader.path
    loader.exec_module(script)
    return script


def copied(theirs: torch.nn.Module, config: Config) -> TernaryVAE:
    """Its network as one of ours, which has the same layers in the same order.

    Raises:
        ConfigError: the copy does not compute the same.
    """
    model = TernaryVAE(config.model)
    x = all_operations()[::97]
    with torch.no_grad():
        for ours, other in zip(model.parameters(), theirs.parameters(), strict=True):
            ours.copy_(other)
        for name, pathway in (("A", model.pathway_a), ("B", model.pathway_b)):
            mu, logvar = pathway.encoder(x)
            expected = getattr(theirs, f"encoder_{name}")(x.float())
            pairs = ((mu, expected[0]), (logvar, expected[1]), (pathway.decoder(mu), getattr(theirs, f"decoder_{name}")(mu)))
            if not all(torch.allclose(ours, other, atol=1e-5) for ours, other in pairs):
                raise ConfigError(f"pathway {name}: the copy of the public code's network computes something else")
    return model


def controls(trainer: Any, losses: Mapping[str, float]) -> Controls:
    """What an epoch was trained with, under our names.

    Its ρ follows the gate as it was read an epoch before; ``gate_open`` is the gate that this epoch read.
    """
    net, epoch, rate = trainer.model, trainer.epoch, losses["lr_scheduled"]
    return Controls(
        epoch=epoch, phase=1 + sum(epoch >= edge for edge in (40, 120, trainer.phase_4_start)), rho=net.rho,
        gate_open=int(net.grad_balance_achieved), tau_a=losses["temp_A"], tau_b=losses["temp_B"], beta_a=losses["beta_A"],
        beta_b=losses["beta_B"], learning_rate=rate, learning_rate_applied=losses["lr_corrected"], lambda_1=net.lambda1,
        lambda_2=net.lambda2, lambda_3=net.lambda3, delta_lr=losses["delta_lr"], delta_lambda_1=losses["delta_lambda1"],
        delta_lambda_2=losses["delta_lambda2"], delta_lambda_3=losses["delta_lambda3"], grad_ratio=losses["grad_ratio"],
        ema_momentum=losses["ema_momentum"],
    )  # fmt: skip


class Watch:
    """Measures the network after every epoch and keeps the history, while its trainer goes its way."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.history: dict[str, list[Any]] = {}
        self.untrained: dict[str, Any] = {}
        self.split: Split
        self.trained: Mapping[str, float] = {}
        self.validated: Mapping[str, float] = {}

    def attach(self, script: ModuleType) -> None:
        """Put hooks into its trainer and its split; none touches its random numbers."""
        trainer, cut = script.DNVAETrainerV5, script.random_split
        train, validate = trainer.train_epoch, trainer.validate

        def split(dataset: Any, sizes: list[int], generator: Any) -> Any:
            parts = cut(dataset, sizes, generator=generator)
            self.split = Split(*(to_index(dataset.operations[part.indices].long()) for part in parts))
            return parts

        def train_epoch(own: Any, *given: Any) -> Any:
            if not self.history:
                with torch.random.fork_rng(devices=[]):
                    self.untrained = evaluate_untrained(copied(own.model, self.config), self.config)
            self.trained = dict(losses := train(own, *given))
            return losses

        def validated(own: Any, *given: Any) -> Any:
            self.validated = dict(losses := validate(own, *given))
            with torch.random.fork_rng(devices=[]):
                self.measure(own)
            return losses

        def evaluate_coverage(own: Any, num_samples: int, vae: str = "A") -> tuple[int, float]:
            draws = [torch.round(own.model.sample(SAMPLES, own.device, vae)).long() for _ in range(num_samples // SAMPLES)]
            found = distinct(to_index(torch.cat(draws)))
            return found, 100 * found / NUM_OPERATIONS

        script.random_split = split
        trainer.train_epoch, trainer.validate, trainer.evaluate_coverage = train_epoch, validated, evaluate_coverage
        trainer.save_checkpoint = lambda own, is_best=False: None

    def measure(self, trainer: Any) -> None:
        """One row of the history; its own validation loss, a mean over batches of whatever size, stands beside ours."""
        now = controls(trainer, self.trained)
        last = now.epoch + 1 == trainer.config["total_epochs"]
        self.model = copied(trainer.model, self.config)
        row = asdict(now) | {f"train.{ours}": float(self.trained[theirs]) for ours, theirs in TRAIN.items()}
        row |= evaluate_epoch(self.model, self.config, now, self.split, self.config.evaluation.final_draws if last else None)
        row["original.validation"] = float(self.validated["loss"])
        self.last = row
        kept = {name: value for name, value in row.items() if not name.endswith(f".{self.config.evaluation.final_draws}")}
        for name, value in kept.items():
            self.history.setdefault(name, []).append(value)


def run(code: Path, task: sweeps.Task) -> dict[str, Any]:
    """Train it with the task's seed: a record in the form of a sweep's, its configuration the one by which the network was measured."""
    torch.set_num_threads(1)
    config, started, clock = task.config, datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    script, watch = load(code), Watch(config)
    watch.attach(script)
    with tempfile.TemporaryDirectory() as folder:
        own = yaml.safe_load((code / CONFIG).read_text(encoding="utf-8"))
        own |= {"seed": config.seed, "patience": own["total_epochs"] + 1, "checkpoint_dir": folder}
        given = Path(folder) / "config.yaml"
        given.write_text(yaml.safe_dump(own), encoding="utf-8")
        with (
            patch.object(sys, "argv", ["train", "--config", str(given)]),
            patch.dict(os.environ, CUDA_VISIBLE_DEVICES=""),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            script.main()
    history, losses = watch.history, watch.history["original.validation"]
    final = evaluate_final(watch.model, config, history["epoch"][-1])
    for name, part in final.items():
        final[name] = {key[2:]: value for key, value in watch.last.items() if key.startswith(f"{name}.")} | part
    record = {
        "name": "original", "seed": config.seed, "config_hash": config_hash(config), "numbers": records.NUMBERS,
        "original": source(code) | {"split": "its own, by seed"}, "source_hash": records.source_hash(),
        "weights_sha256": weights_hash(watch.model), "step_path": "original", "library_commit": records.library_commit(),
        "versions": records.versions(), "device": "cpu", "hardware": records.hardware(), "started": started,
        "seconds": {"total": round(time.monotonic() - clock, 1)}, "best_validation_loss": min(losses),
        "best_epoch": history["epoch"][losses.index(min(losses))], "config": config.model_dump(mode="json"),
        "untrained": watch.untrained, "final": final, "history": history,
    }  # fmt: skip
    return sweeps.condensed(record) | task.about


def attempt(code: Path, task: sweeps.Task, _: Path | None) -> dict[str, Any]:
    """The run's record, or what went wrong: the others go on."""
    try:
        return run(code, task)
    except Exception as error:
        return {"error": one_line(f"{type(error).__name__}: {error}"), "traceback": traceback.format_exc()}


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing; status 2 and one line where the code or a seed is, 1 where a run failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.original", description="Train the public code and measure it as ours.")
    parser.add_argument("code", type=Path, help="a clone of the public code")
    parser.add_argument("--fetch", action="store_true", help="clone it first, where it is missing")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where records are stored (default: results/sweeps)")
    tasks = sweeps.originals()
    seeds = [task.config.seed for task in tasks]
    parser.add_argument("--seeds", type=int, nargs="+", choices=seeds, default=seeds, metavar="N", help="these seeds alone")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at a time (default: 2)")
    given = parser.parse_args(arguments)
    wanted = [task for task in tasks if task.config.seed in given.seeds]
    try:
        if any(sweeps.stored(task, given.output) is None for task in wanted):
            if given.fetch and not given.code.exists():
                fetch(given.code)
            source(given.code)
        sweeps.run_sweep(wanted, given.output, given.jobs, run=partial(attempt, given.code.resolve()))
    except (ConfigError, sweeps.SweepError) as error:
        print_error(error)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
