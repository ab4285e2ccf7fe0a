"""A run's memory on disk: each epoch evaluated, appended to the history and saved; the record at the end."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ternary_lib import checkpoint, evaluation, health, records
from ternary_lib.config import Config, ConfigError, InputError, config_from_mapping, config_hash, dump_config
from ternary_lib.control import Controls
from ternary_lib.data import split_indices
from ternary_lib.evaluation import PATHWAYS, evaluate_epoch, evaluate_final
from ternary_lib.files import write_atomically
from ternary_lib.machine import evaluation_threads, training_device
from ternary_lib.model import TernaryVAE
from ternary_lib.step import STEP_COLUMNS

History = dict[str, list]
Observer = Callable[[History], None]  # gets the whole history after each evaluated epoch, once it is saved


@dataclass
class Run:
    """A finished run: its model at the last epoch, its history (a column a name, an entry an evaluated epoch) and its record."""

    config: Config
    run_dir: Path
    model: TernaryVAE
    history: History
    record: dict[str, Any]
    epochs_trained_now: int  # 0: a finished run was loaded

    def describe(self) -> str:
        """One line that says whether this run was trained now or loaded, when and for how long."""
        total, minutes = self.config.schedules.total_epochs, self.record["seconds"]["total"] / 60
        what = f"{self.record['name']}, seed {self.record['seed']}, {total} epochs"
        if self.epochs_trained_now == total:
            return f"Trained just now: {what} in {minutes:.1f} minutes ({self.record['step_path']} steps)."
        if self.epochs_trained_now:
            return f"Resumed and finished just now ({self.epochs_trained_now} epochs of it): {what}, {minutes:.1f} minutes in all."
        return f"Loaded, not trained now: {what}, trained on {self.record['started'][:10]} in {minutes:.1f} minutes."


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line."""


def describe_break(where: str, name: str, value: float, saved: int) -> str:
    """The line that ends a run whose numbers broke; ``saved``: epochs that the checkpoint before it has."""
    kept = f"the last good state, of {saved} epochs, is in last.safetensors" if saved else "nothing was saved before it"
    what = "smaller numbers of statenet are" if re.search("statenet|lambda|applied", name) else "a smaller learning rate is"
    return f"{where}: {name} is {value}; {kept}; {what} the first thing to try"


class Saved(NamedTuple):
    """A checkpoint to go on from: its file and what that holds."""

    file: Path
    tensors: dict[str, Tensor]
    meta: dict[str, Any]

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self.meta["epoch"]

    @property
    def step_path(self) -> str:
        """The form of the training step it was trained with."""
        return self.meta["step_path"]


def is_finished(config: Config, run_dir: Path) -> bool:
    """Whether a run has nothing left to do: it is read, by as many processes as like."""
    last = run_dir / "last.safetensors"
    if not (run_dir / "record.json").is_file() or not last.is_file():
        return False
    meta = checkpoint.read_header(last).meta
    return isinstance(meta, dict) and meta.get("epoch") == config.schedules.total_epochs


def open_run(config: Config, run_dir: Path, resume: bool) -> Saved | None:
    """The checkpoint to go on from, or None for a fresh start.

    Raises:
        ConfigError: a run that is not to be resumed, or of another configuration or code; a file that is not this run's; no such folder.
        CheckpointError: the checkpoint is damaged, or its history is not one of this configuration.
    """
    last = run_dir / "last.safetensors"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if not last.is_file():
            if (run_dir / "record.json").exists():  # a record without its weights: not ours to write over
                raise ConfigError(f"{run_dir}: holds record.json but no last.safetensors; remove it or choose another directory")
            _require_own(run_dir, config)
            _write_config(run_dir / "config.yaml", dump_config(config).encode())
            return None
    except OSError as error:
        raise ConfigError(f"{run_dir}: cannot be written ({error.strerror})") from None
    if not resume:
        raise ConfigError(f"{run_dir}: already holds a run; resume it (--resume) or choose another directory")
    tensors, meta = checkpoint.load(last)
    theirs = config_from_mapping(meta["config"], origin=str(last))
    if config_hash(theirs) != config_hash(config):
        raise ConfigError(f"{run_dir}: holds a run of another configuration ({_first_difference(theirs, config)})")
    if meta["source_hash"] != records.source_hash():
        raise ConfigError(f"{run_dir}: holds a run made by other code; choose another directory")
    _require_history(last, tensors, meta["epoch"], config)
    return Saved(last, tensors, meta)


def _require_own(run_dir: Path, config: Config) -> None:
    # A run that was killed in its first epoch may have left its best weights; whatever else has such a name is somebody's.
    for path in sorted(run_dir.glob("*.safetensors")):
        try:
            own = config_hash(config_from_mapping(checkpoint.read_header(path).meta["config"])) == config_hash(config)
        except (InputError, KeyError, TypeError):
            own = False
        if not own:
            raise ConfigError(f"{path}: is there already and of another run; remove it or choose another directory")


def _write_config(path: Path, content: bytes) -> None:
    if not path.exists():
        write_atomically(path, content)
    elif path.read_bytes() != content:  # somebody's own, or of a run that ended before its first checkpoint
        raise ConfigError(f"{path}: is there already and of another run; remove it or choose another directory")


def columns(config: Config) -> dict[str, type]:
    """Names and kinds of a history's columns."""
    return Controls.kinds() | {f"train.{name}": float for name in STEP_COLUMNS} | evaluation.columns(config)


def _require_history(path: Path, tensors: dict[str, Tensor], done: int, config: Config) -> None:
    total, every = config.schedules.total_epochs, config.evaluation.every
    epochs = [epoch for epoch in range(done) if (epoch + 1) % every == 0 or epoch + 1 == total]
    if tensors["history/epoch"].tolist() != epochs or done > total:
        raise checkpoint.CheckpointError(f"{path}: expected the history of {done} of {total} epochs, every {every} evaluated")
    wanted = {f"history/{name}": ({int: "I64", float: "F64"}[kind], (len(epochs),)) for name, kind in columns(config).items()}
    found = checkpoint.layout_of({name: value for name, value in tensors.items() if name.startswith("history/")})
    checkpoint.require_layout(path, found, wanted)


def require_size(config: Config) -> None:
    """Refuse a configuration whose checkpoints would be larger than what is read, before hours are spent.

    Raises:
        ConfigError: one line.
    """
    with torch.device("meta"):  # shapes without memory
        weights = sum(p.numel() for p in TernaryVAE(config.model).parameters())
    history = 8 * len(columns(config)) * math.ceil(config.schedules.total_epochs / config.evaluation.every)
    size = 3 * 4 * weights + history + 2**20  # the optimiser keeps two numbers a weight
    if size > checkpoint.MAX_BYTES:
        limit = f"at most {checkpoint.MAX_BYTES >> 20} are read; a smaller model, fewer epochs or a larger evaluation.every make less"
        raise ConfigError(f"model: {weights:,} weights make checkpoints of {size >> 20:,} MiB; {limit}")


def _first_difference(theirs: Config, ours: Config) -> str:
    def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from leaves(inner, f"{prefix}{key}.")
        else:
            yield prefix[:-1], value

    left, right = dict(leaves(theirs.model_dump(mode="json"))), dict(leaves(ours.model_dump(mode="json")))
    key = next(k for k in (*left, *right) if k != "name" and left.get(k) != right.get(k))
    return f"{key} is {left.get(key)} there and {right.get(key)} here"


class Journal:
    """The run's memory: evaluates each epoch's snapshot, appends it to the history and saves, in one background thread."""

    def __init__(self, config: Config, run_dir: Path, step_path: str, observe: Observer | None = None) -> None:
        self.config = config
        self.run_dir = run_dir
        self.step_path = step_path
        self.observe = observe
        self.model = TernaryVAE(config.model).to(training_device())  # a copy of its own: training goes on meanwhile
        self.split = split_indices(config.data)
        self.history: History = {}
        self.last_row: dict[str, Any] = {}
        self.untrained: dict[str, Any] = {}
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.seconds = {"total": 0.0, "train": 0.0, "evaluate": 0.0}  # evaluation goes on while the next epochs train
        self._clock = time.monotonic()

    def restore(self, saved: Saved) -> None:
        """Take up the history and the clocks of an interrupted run."""
        self.history = read_history(saved.tensors)
        self.untrained, self.started = saved.meta["untrained"], saved.meta["started"]
        self.seconds |= saved.meta["seconds"]

    def close_epoch(self, snapshot: dict[str, Tensor], controls: Controls, means: dict[str, float]) -> None:
        """Evaluate, append a row, save ``last`` and, where they are due, ``best`` and the numbered checkpoint."""
        began = time.monotonic()
        last = controls.epoch + 1 == self.config.schedules.total_epochs
        load_weights(self.model, snapshot)
        draws = self.config.evaluation.final_draws if last else None
        measured = evaluate_epoch(self.model, self.config, controls, self.split, draws, evaluation_threads())
        row = asdict(controls) | {f"train.{name}": value for name, value in means.items()} | measured
        self._require_finite(row, snapshot)
        self.last_row = row
        only_once = set() if self.config.evaluation.final_draws in self.config.evaluation.budgets else {str(draws)}
        kept = {name: value for name, value in row.items() if name.rsplit(".", 1)[-1] not in only_once}
        for name, value in kept.items():
            self.history.setdefault(name, []).append(value)
        self.seconds["evaluate"] += time.monotonic() - began
        self._save(snapshot, controls.epoch, last)
        if self.observe:
            self.observe(self.history)

    def _require_finite(self, row: dict[str, Any], snapshot: dict[str, Tensor]) -> None:
        # An epoch's last step, or StateNet's, may break what is saved though every loss before it was a number.
        measured = {name: row[name] for name in ("validation.total", "a.rate", "a.distortion", "b.rate", "b.distortion")}
        sums = {name: float(value.sum(dtype=torch.float64)) for name, value in snapshot.items() if value.is_floating_point()}
        for name, value in (measured | sums).items():
            if not math.isfinite(value):
                saved = self.history["epoch"][-1] + 1 if self.history else 0
                where = f"epoch {row['epoch']}, after its last step, seed {self.config.seed}"
                raise TrainingError(describe_break(where, name, value, saved))

    def finish(self, epochs_now: int) -> Run:
        """Measure what needs many draws, write ``record.json`` and return the run."""
        began = time.monotonic()
        epoch = self.history["epoch"][-1]
        if not self.last_row:  # interrupted between the last checkpoint and the record
            self.last_row = self._evaluate_last_again()
        final = evaluate_final(self.model, self.config, epoch, evaluation_threads())
        for name in PATHWAYS:
            own = {k[2:]: v for k, v in self.last_row.items() if k.startswith(f"{name}.")}
            final[name] = own | final[name]
        self.seconds["evaluate"] += time.monotonic() - began
        self._tick()
        record = self._record(final)
        with self._writing():
            records.write_json(self.run_dir / "record.json", record)
        return Run(self.config, self.run_dir, self.model, self.history, record, epochs_now)

    def _evaluate_last_again(self) -> dict[str, Any]:
        tensors, _ = checkpoint.load(self.run_dir / "last.safetensors")
        load_weights(self.model, tensors)
        controls = last_controls(self.history)
        return evaluate_epoch(self.model, self.config, controls, self.split, self.config.evaluation.final_draws, evaluation_threads())

    def _save(self, snapshot: dict[str, Tensor], epoch: int, last: bool) -> None:
        self._tick()
        tensors = snapshot | {
            f"history/{name}": torch.tensor(values, dtype=torch.float64 if isinstance(values[0], float) else torch.int64)
            for name, values in self.history.items()
        }
        meta = {
            "epoch": epoch + 1,
            "config": self.config.model_dump(mode="json"),
            "source_hash": records.source_hash(),
            "started": self.started,
            "seconds": self.seconds,
            "untrained": self.untrained,
            "step_path": self.step_path,
        }
        losses, names = self.history["validation.total"], []
        if losses[-1] == min(losses) and losses.count(losses[-1]) == 1:
            names.append("best")
        if (epoch + 1) % self.config.training.checkpoint_every == 0 or last:
            names.append(f"epoch_{epoch + 1:04d}")
        with self._writing():
            for name in (*names, "last"):  # last of all: it says what is finished
                checkpoint.save(self.run_dir / f"{name}.safetensors", tensors, meta)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"{self.run_dir}: cannot be written ({error.strerror}); nothing that was saved is lost"
            raise TrainingError(f"{reason}; mend that and go on with --resume") from None

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds["total"] += now - self._clock
        self._clock = now

    def _record(self, final: dict[str, Any]) -> dict[str, Any]:
        losses = self.history["validation.total"]
        best = min(range(len(losses)), key=losses.__getitem__)
        return {
            "name": self.config.name,
            "seed": self.config.seed,
            "config_hash": config_hash(self.config),
            "numbers": records.NUMBERS,
            "source_hash": records.source_hash(),
            "weights_sha256": weights_hash(self.model),
            "library_commit": records.library_commit(),
            "versions": records.versions(),
            "device": str(training_device()),
            "hardware": records.hardware(),
            "step_path": self.step_path,
            "started": self.started,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "best_validation_loss": losses[best],
            "best_epoch": self.history["epoch"][best],
            "warnings": health.warnings(self.history),
            "config": self.config.model_dump(mode="json"),
            "untrained": self.untrained,
            "final": final,
            "history": self.history,
        }


def load_run(run_dir: str | Path) -> Run:
    """A finished run, from its ``record.json`` and ``last.safetensors``."""
    run_dir = Path(run_dir)
    record = records.read_run(run_dir / "record.json")
    tensors, meta = checkpoint.load(run_dir / "last.safetensors")
    config = config_from_mapping(meta["config"], origin=str(run_dir / "last.safetensors"))
    model = TernaryVAE(config.model)
    load_weights(model, tensors)
    if weights_hash(model) != record["weights_sha256"]:
        reason = "expected weights_sha256 to be that of last.safetensors; remove the record, and --resume makes it anew"
        raise ConfigError(f"{run_dir / 'record.json'}: {reason}")
    return Run(config, run_dir, model, read_history(tensors), record, 0)


def load_weights(model: TernaryVAE, tensors: dict[str, Tensor]) -> None:
    """Copy ``model/…`` tensors into the model; CheckpointError, one line, where names or shapes do not fit."""
    state = {name.removeprefix("model/"): value for name, value in tensors.items() if name.startswith("model/")}
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise checkpoint.CheckpointError(f"weights do not fit the configuration: {reason}") from None


def read_history(tensors: dict[str, Tensor]) -> History:
    """The history columns of a checkpoint."""
    return {name.removeprefix("history/"): t.tolist() for name, t in tensors.items() if name.startswith("history/")}


def last_controls(history: History) -> Controls:
    """The controls of the last epoch in a history."""
    return Controls(**{name: history[name][-1] for name in Controls.__dataclass_fields__})


def weights_hash(model: TernaryVAE) -> str:
    """SHA-256 of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
