"""Checkpoints as safetensors files, written atomically; no pickle is ever loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from ternary_lib.files import write_atomically
from ternary_lib.strict_yaml import InputError

FORMAT = "ternary-vae-checkpoint-2"
MAX_BYTES = 256 * 2**20  # a full checkpoint is about 3 MB
# What a bitwise resume cannot do without.
META = {"epoch": int, "config": dict, "source_hash": str, "started": str, "seconds": dict, "untrained": dict, "step_path": str}
TENSORS = ("controller/lambdas", "controller/rho", "generator/training", "history/epoch", "optimizer/exp_avg")


class CheckpointError(InputError):
    """A checkpoint that is missing, damaged or not ours; the message is one line."""


def save(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able ``meta`` to ``path``: the file is whole or not there, whenever the process dies."""
    header = {"format": FORMAT, "meta": json.dumps(meta)}
    data = serialise({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata=header)
    write_atomically(path, data)


def load(path: str | Path, complete: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save`` wrote: (tensors on the CPU, meta).

    Args:
        path: the file.
        complete: require everything that a run's checkpoint holds; False takes any tensors and meta.

    Raises:
        CheckpointError: missing, too large, not a safetensors file, not written by this library, or incomplete.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, False for a name too long
        raise CheckpointError(f"{str(path)[:200]}: no such checkpoint")
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_BYTES // 2**20} MiB, not a checkpoint of this library")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(f"{path}: not a checkpoint of this library (expected format {FORMAT})")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            meta = json.loads(header["meta"])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: not a readable checkpoint: {reason}") from None
    if complete:
        _require_complete(path, tensors, meta)
    return tensors, meta


def _require_complete(path: Path, tensors: Mapping[str, Tensor], meta: Any) -> None:
    if not isinstance(meta, dict):
        raise CheckpointError(f"{path}: not a run's checkpoint (its description is no mapping)")
    for key, kind in META.items():
        if not isinstance(meta.get(key), kind):
            raise CheckpointError(f"{path}: not a run's checkpoint ({key} is missing or no {kind.__name__})")
    for name in TENSORS:
        if name not in tensors:
            raise CheckpointError(f"{path}: not a complete checkpoint of a run ({name} is missing)")
    epochs = tensors["history/epoch"]
    shapes = {tensor.shape for name, tensor in tensors.items() if name.startswith("history/")}
    if len(shapes) > 1 or epochs.dim() != 1 or not len(epochs) or epochs[-1] != meta["epoch"] - 1:
        raise CheckpointError(f"{path}: its history is incomplete or does not end at epoch {meta['epoch'] - 1}")
