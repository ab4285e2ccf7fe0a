"""Released weights: loading them in one line, and making such a file from a run's checkpoint."""

from __future__ import annotations

import math
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ternary_lib import checkpoint
from ternary_lib.checkpoint import WEIGHTS_FORMAT, CheckpointError, Header
from ternary_lib.config import Config, ConfigError, InputError, config_from_mapping
from ternary_lib.control import Controls
from ternary_lib.journal import last_controls, load_weights, read_history, weights_hash
from ternary_lib.model import TernaryVAE
from ternary_lib.records import load_record, results_dir

LICENCE = "MIT"


class Release(NamedTuple):
    """A file in ``results/weights``: its name without the ending, the record of its run, and which of the run's checkpoints it is."""

    file: str
    record: str
    checkpoint: str

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return results_dir() / "weights" / f"{self.file}.safetensors"


RELEASED = {
    "ternary_v5_5": Release("ternary_v5_5_seed42", "ternary_v5_5_seed42", "last"),
    "ternary_v5_5_published": Release("ternary_v5_5_published_seed42", "ternary_v5_5_published_seed42", "last"),
    "ternary_v5_5_published_best": Release("ternary_v5_5_published_seed42_best", "ternary_v5_5_published_seed42", "best"),
    "ternary_v6": Release("ternary_v6_seed42", "ternary_v6_seed42", "last"),
}


class Loaded(NamedTuple):
    """A model, the configuration it was trained with, and the controls (τ, ρ, β, λ) of the epoch it was saved at."""

    model: TernaryVAE
    config: Config
    controls: Controls


def load_model(source: str | Path) -> TernaryVAE:
    """The trained model that ``source`` names, on the CPU, ready to encode, decode and sample.

    Args:
        source: a released name (``RELEASED``), or the path of a checkpoint or of a released file.

    Raises:
        InputError: no such name or file, or a file that cannot be used; one line.

    Example:
        >>> model = load_model("ternary_v5_5")
        >>> sum(p.numel() for p in model.parameters())
        168770
    """
    return load(source).model


def load(source: str | Path) -> Loaded:
    """``load_model``, with the configuration and the epoch's controls.

    Names, types and shapes are compared with the configuration before any tensor is read, and released weights with their SHA-256
    after; no pickle is ever loaded.
    """
    path = find(source)
    header = checkpoint.read_header(path)
    released = header.format == WEIGHTS_FORMAT
    if not isinstance(header.meta, dict) or not isinstance(header.meta.get("config"), dict):
        raise CheckpointError(f"{path}: holds no configuration: expected one in its description")
    config = config_from_mapping(header.meta["config"], origin=str(path))
    _require_fit(path, header, config, "" if released else "model/")
    if released:
        tensors = {f"model/{name}": tensor for name, tensor in checkpoint.read_tensors(path, header).items()}
        controls = _read_controls(path, header.meta.get("controls"))
    else:
        tensors, _ = checkpoint.load(path)
        controls = _last_controls(path, tensors)
    model = TernaryVAE(config.model)
    load_weights(model, tensors)
    if released and weights_hash(model) != header.meta.get("weights_sha256"):
        raise CheckpointError(f"{path}: damaged (its weights have another SHA-256 than it states)")
    return Loaded(model.eval(), config, controls)


def find(source: str | Path) -> Path:
    """The file that a released name or a path means."""
    if str(source) in RELEASED:
        return RELEASED[str(source)].path
    if os.path.isfile(source):
        return Path(source)
    raise InputError(f"{str(source)[:200]}: no such checkpoint, and no released weights of that name (known: {', '.join(RELEASED)})")


def release(source: str | Path, path: str | Path) -> None:
    """Write the weights of a run's checkpoint, and nothing else of it, to ``path``.

    The metadata's ``meta`` is JSON: name, seed, epoch (from 0), configuration, the epoch's controls, the weights' SHA-256 and the licence.
    """
    model, config, controls = load(source)
    meta = {
        "name": config.name,
        "seed": config.seed,
        "epoch": controls.epoch,
        "weights_sha256": weights_hash(model),
        "licence": LICENCE,
        "controls": {field.name: getattr(controls, field.name) for field in fields(controls)},
        "config": config.model_dump(mode="json"),
    }
    checkpoint.save(path, model.state_dict(), meta, WEIGHTS_FORMAT)


def release_run(run_dir: str | Path) -> list[str]:
    """Release every checkpoint of a run that ``RELEASED`` lists; their names.

    Raises:
        ConfigError: the run is none of the released, or its last weights are not those of the committed record.
    """
    run_dir, made = Path(run_dir), []
    last = load(run_dir / "last.safetensors")
    record = f"{last.config.name}_seed{last.config.seed}"
    for name, item in RELEASED.items():
        if item.record != record:
            continue
        if weights_hash(last.model) != load_record(record)["weights_sha256"]:
            raise ConfigError(f"{run_dir}: its weights are not those of results/runs/{record}.json")
        item.path.parent.mkdir(parents=True, exist_ok=True)
        release(run_dir / f"{item.checkpoint}.safetensors", item.path)
        made.append(name)
    if not made:
        raise ConfigError(f"{run_dir}: a run of {record}, which is not released (known: {', '.join(r.record for r in RELEASED.values())})")
    return made


def _require_fit(path: Path, header: Header, config: Config, prefix: str) -> None:
    with torch.device("meta"):  # shapes without memory
        state = TernaryVAE(config.model).state_dict()
    wanted = checkpoint.layout_of({f"{prefix}{name}": value for name, value in state.items()})
    checkpoint.require_layout(path, {name: entry for name, entry in header.layout.items() if name.startswith(prefix)}, wanted)


def _read_controls(path: Path, values: Any) -> Controls:
    kinds = Controls.kinds()
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        raise CheckpointError(f"{path}: its controls are not those of an epoch")
    for name, kind in kinds.items():
        if type(values[name]) is not kind or not math.isfinite(values[name]):
            raise CheckpointError(f"{path}: controls.{name}: expected a finite {kind.__name__}, got {str(values[name])[:60]}")
    return Controls(**values)


def _last_controls(path: Path, tensors: dict[str, torch.Tensor]) -> Controls:
    try:
        return last_controls(read_history(tensors))
    except (KeyError, IndexError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a complete history ({error})") from None
