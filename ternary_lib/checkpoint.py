"""Checkpoints as safetensors files, written atomically; no pickle is ever loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from ternary_lib.files import write_atomically
from ternary_lib.strict_yaml import InputError

FORMAT = "ternary-vae-checkpoint-1"
MAX_BYTES = 256 * 2**20  # a full checkpoint is about 3 MB


class CheckpointError(InputError):
    """A checkpoint that is missing, damaged or not ours; the message is one line."""


def save(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able ``meta`` to ``path``: the file is whole or not there, whenever the process dies."""
    header = {"format": FORMAT, "meta": json.dumps(meta)}
    data = serialise({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata=header)
    write_atomically(path, data)


def load(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save`` wrote: (tensors on the CPU, meta).

    Raises:
        CheckpointError: missing, too large, not a safetensors file, or not written by this library.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_BYTES // 2**20} MiB, not a checkpoint of this library")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(f"{path}: not a checkpoint of this library (expected format {FORMAT})")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header["meta"])  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: not a readable checkpoint: {reason}") from None
