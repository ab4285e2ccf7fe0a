"""How long an epoch takes and where its time goes: by part, on weights that are really being trained, trial after trial."""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ternary_lib import records
from ternary_lib.config import Config, config_hash
from ternary_lib.control import Controls
from ternary_lib.coverage import MODES
from ternary_lib.data import split_indices
from ternary_lib.evaluation import PATHWAYS, coverage_counts, decode, reconstruction, validation_loss
from ternary_lib.journal import Journal, load_weights
from ternary_lib.machine import evaluation_threads, threads, training_settings
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS
from ternary_lib.progress import Progress
from ternary_lib.randomness import stream
from ternary_lib.training import Trainer

ALONE = ("batches", "steps", "validation", "reconstruction", "coverage_a", "coverage_b")  # an epoch's parts, in their order


def measure(config: Config, trials: int, progress: bool = True) -> dict[str, Any]:
    """The record of a benchmark: of every part its label, its unit and one value a trial, with median, lowest and highest.

    Each trial trains the next two epochs of one run: one by itself, whose evaluation follows part by part, and one while
    the epoch before is evaluated and saved in the background, as ``train`` does it. A first trial warms up, uncounted.

    Args:
        config: the experiment; its length decides which form the training step takes.
        trials: ≥ 1.
        progress: show a line of progress.

    Raises:
        ConfigError: the environment asks for what this machine cannot do.
        TrainingError: the loss is no longer finite.
    """
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    bar = Progress(2 * (trials + 1), progress)
    bar.note("preparing the training step (compiling it takes up to a minute, once)")
    with training_settings(config), TemporaryDirectory(prefix="ternary-benchmark-") as folder:
        bench = Bench(config, folder)
        rows = []
        for trial in range(trials + 1):
            rows.append(bench.trial())
            bar.update(bench.trainer.epoch, f"trial {trial} of {trials}" if trial else "warmed up")
    labels = _labels(bench.draws, bench.workers)
    record = {
        "name": config.name,
        "seed": config.seed,
        "config_hash": config_hash(config),
        "library_commit": records.library_commit(),
        "versions": records.versions(),
        "hardware": records.hardware(),
        "device": str(bench.trainer.device),
        "started": started,
        "trials": trials,
        "threads": {"training": 1, "evaluation": bench.workers},
        "step_path": bench.trainer.path,
        "step_path_reason": bench.trainer.path_reason,
        "steps": math.ceil(config.data.train / config.training.batch_size),
        "draws": bench.draws,
        "parts": {key: _part(*labels[key], (row[key] for row in rows[1:])) for key in labels},
    }
    bar.close(f"Measured just now: {config.name}, seed {config.seed}, trials: {trials}, {time.monotonic() - clock:.0f} seconds.")
    return record


class Bench:
    """A run being trained and what is measured on it."""

    def __init__(self, config: Config, folder: str) -> None:
        self.config = config
        self.trainer = Trainer(config)
        self.split = split_indices(config.data)
        self.draws = config.evaluation.budgets[-1]
        self.workers = evaluation_threads()
        self.model = TernaryVAE(config.model).to(self.trainer.device)  # the one that is evaluated, as in a run
        endless = config.schedules.model_copy(update={"total_epochs": 0})  # no epoch is the last, which draws more samples
        self.journal = Journal(config.model_copy(update={"schedules": endless}), Path(folder), self.trainer.path)
        self.seconds: dict[str, float] = {}
        # Timed where they are called, in the very epoch that is trained: no copy of the training loop that could drift from it.
        self.trainer._batches = self._timed("batches", self.trainer._batches)
        self.journal._save = self._timed("saving", self.journal._save)

    def trial(self) -> dict[str, float]:
        """Every part measured once, by its key in the record."""
        began = self._now()
        controls, means = self.trainer.train_epoch(self.trainer.epoch)
        self.seconds["steps"] = self._now() - began - self.seconds["batches"]
        load_weights(self.model, self.trainer.snapshot())
        found = self.evaluate(controls[0])
        speeds = {f"decoder_{name}.samples": self.decoder_speed(name) for name in PATHWAYS}
        seconds = {name: self.seconds[name] for name in ALONE}
        row = {f"epoch.{name}": value for name, value in seconds.items()} | {"epoch.alone": sum(seconds.values())}
        row["epoch.overlapped"] = self.overlapped(controls[0], means[0])
        row["epoch.saving"] = self.seconds["saving"]
        row |= speeds | {key: 100 * count / NUM_OPERATIONS for key, count in found.items()}
        row |= {f"latent_entropy_{name}": means[0][f"latent_entropy_{name}"] for name in PATHWAYS}
        return row | {"memory.peak": peak_memory()}

    def evaluate(self, controls: Controls) -> dict[str, int]:
        """What ``evaluate_epoch`` does, each part timed: distinct operations by ``coverage_<pathway>.<mode>``."""
        found = {}
        with torch.inference_mode(), ThreadPoolExecutor(self.workers) as pool:
            self._timed("validation", self._validate)(controls)
            self._timed("reconstruction", self._reconstruct)(controls, pool)
            for name in PATHWAYS:
                counts = self._timed(f"coverage_{name}", self._cover)(name, controls.epoch, pool)
                found |= {f"coverage_{name}.{mode}": counts[mode, self.draws] for mode in MODES}
        return found

    def overlapped(self, controls: Controls, means: dict[str, float]) -> float:
        """Seconds of an epoch as ``train`` runs it: while it trains, the one before is evaluated and saved."""
        with ThreadPoolExecutor(1) as background:
            began = self._now()
            with threads(1):
                pending = background.submit(self.journal.close_epoch, self.trainer.snapshot(), controls, means)
            self.trainer.train_epoch(self.trainer.epoch)
            pending.result()
            return self._now() - began

    def decoder_speed(self, name: str) -> float:
        """Prior draws that the decoder turns into logits in a second, on the threads of evaluation."""
        generator = stream(self.config.seed, "benchmark", name, device=self.trainer.device)
        z = torch.randn(self.draws, self.config.model.latent_dim, generator=generator, device=self.trainer.device)
        with torch.inference_mode(), ThreadPoolExecutor(self.workers) as pool:
            began = self._now()
            decode(getattr(self.model, f"pathway_{name}"), z, pool)
            return self.draws / (self._now() - began)

    def _validate(self, controls: Controls) -> None:
        generator = stream(self.config.seed, "validation", controls.epoch, device=self.trainer.device)
        for source in (None, generator):  # at the mean, then sampled
            validation_loss(self.model, self.config, controls, self.split.validation, source)

    def _reconstruct(self, controls: Controls, pool: Executor) -> None:
        generator = stream(self.config.seed, "posterior", controls.epoch, device=self.trainer.device)
        reconstruction(self.model, self.split, controls.rho, generator, pool)

    def _cover(self, name: str, epoch: int, pool: Executor) -> dict[tuple[str, int], int]:
        generator = stream(self.config.seed, "coverage", name, epoch, device=self.trainer.device)
        pathway = getattr(self.model, f"pathway_{name}")
        return coverage_counts(pathway, self.config.evaluation, generator, self.config.model.latent_dim, pool=pool)

    def _timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = self._now()
            result = work(*arguments)
            self.seconds[name] = self._now() - began
            return result

        return call

    def _now(self) -> float:
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize(self.trainer.device)
        return time.perf_counter()


def peak_memory() -> float:
    """The most memory this process has held so far, MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def describe(record: Mapping[str, Any]) -> str:
    """The record as a table of text: part, median, lowest and highest of the trials."""
    machine, used = record["hardware"], record["threads"]
    lines = [
        f"{record['name']}, seed {record['seed']}; trials: {record['trials']}; epochs of {record['steps']} steps",
        f"{machine['cpu']}, {machine['cores']} cores; device {record['device']}; "
        f"threads: training {used['training']}, evaluation {used['evaluation']}",
        f"training step: {record['step_path']} ({record['step_path_reason']})",
        "",
    ]
    width = max(len(part["label"]) for part in record["parts"].values())
    lines.append(f"{'part':{width}}  {'median':>9}   {'low – high':^21}  unit")
    for part in record["parts"].values():
        median, low, high = (spell(part[name]) for name in ("median", "low", "high"))
        lines.append(f"{part['label']:{width}}  {median:>9}   {low:>9} – {high:<9}  {part['unit']}")
    return "\n".join(lines)


def spell(value: float) -> str:
    """A measured number in three significant digits, never in powers of ten.

    >>> [spell(v) for v in (1234567.0, 99.98, 0.55123, 0.000412)]
    ['1,230,000', '100', '0.551', '0.000412']
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:.6f}".rstrip("0").rstrip(".")


def _labels(draws: int, workers: int) -> dict[str, tuple[str, str]]:
    """Label and unit of every part, in the order of the table."""
    labels = {
        "epoch.batches": ("shuffling and noise", "s"),
        "epoch.steps": ("training steps and controllers", "s"),
        "epoch.validation": ("validation loss, at the mean and sampled", "s"),
        "epoch.reconstruction": ("reconstruction of all operations", "s"),
        "epoch.coverage_a": (f"coverage of A, {draws:,} draws, every mode", "s"),
        "epoch.coverage_b": (f"coverage of B, {draws:,} draws, every mode", "s"),
        "epoch.alone": ("epoch, one part after the other", "s"),
        "epoch.overlapped": ("epoch as trained: evaluated and saved meanwhile", "s"),
        "epoch.saving": ("of it in the background: checkpoints", "s"),
    }
    labels |= {f"decoder_{p}.samples": (f"decoder {p.upper()}, threads: {workers}", "samples/s") for p in PATHWAYS}
    labels |= {f"coverage_{p}.{mode}": (f"coverage of {p.upper()}, {mode}", "%") for p in PATHWAYS for mode in MODES}
    labels |= {f"latent_entropy_{p}": (f"latent entropy H_{p.upper()}, mean of the epoch", "nats") for p in PATHWAYS}
    return labels | {"memory.peak": ("peak memory of the process", "MB")}


def _part(label: str, unit: str, measured: Iterable[float]) -> dict[str, Any]:
    values = [float(f"{value:.6g}") for value in measured]
    spread = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {"label": label, "unit": unit, "values": values, **spread}
