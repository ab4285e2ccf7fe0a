"""Checkpoints as safetensors files, written atomically; no pickle is ever loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from ternary_lib.config import describe_fault
from ternary_lib.files import write_atomically
from ternary_lib.settings import STEP_PATHS
from ternary_lib.strict_yaml import InputError, one_line

FORMAT = "ternary-vae-checkpoint-2"
WEIGHTS_FORMAT = "ternary-vae-weights-1"  # released: a model's weights alone, see ternary_lib.weights
MAX_BYTES = 256 * 2**20  # a full checkpoint is about 3 MB
MAX_TENSORS = 10_000  # a full checkpoint has about 200
TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8"}  # what `save` is given

Layout = Mapping[str, tuple[str, tuple[int, ...]]]  # of each tensor: its type, as safetensors calls it, and its shape
Seconds = Annotated[FiniteFloat, Field(ge=0)]


class RunMeta(BaseModel):
    """What a run's checkpoint says besides its tensors; a bitwise resume cannot do without any of it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    epoch: Annotated[int, Field(ge=1)]  # epochs that are done
    config: dict[str, Any]
    source_hash: str
    started: str
    seconds: dict[Literal["total", "train", "evaluate"], Seconds]
    untrained: dict[Literal["a", "b"], dict[str, int | FiniteFloat]]
    step_path: Literal[STEP_PATHS]


class CheckpointError(InputError):
    """A checkpoint that is missing, damaged or not ours; the message is one line."""


class Header(NamedTuple):
    """What a file says of itself, read before any tensor is."""

    format: str
    meta: Any
    layout: Layout


def save(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], form: str = FORMAT) -> None:
    """Write tensors and JSON-able ``meta`` to ``path``: the file is whole or not there, whenever the process dies."""
    header = {"format": form, "meta": json.dumps(meta)}
    data = serialise({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata=header)
    write_atomically(path, _in_order(data))


def _in_order(data: bytes) -> bytes:
    # safetensors writes its metadata in the order of a hash table, another in every process; the same content is to give the same bytes.
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + data[end:]


def read_header(path: str | Path) -> Header:
    """What the file at ``path`` says of itself; its size, types and number of tensors are checked, and none is read.

    Raises:
        CheckpointError: missing, too large, not a safetensors file, or not written by this library.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, False for a name too long
        raise CheckpointError(f"{str(path)[:200]}: no such checkpoint")
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_BYTES // 2**20} MiB, not a checkpoint of this library")
    try:
        with safe_open(path, framework="pt") as file:  # it maps the file and checks that offsets, shapes and types agree with its size
            header = file.metadata() or {}
            if header.get("format") not in (FORMAT, WEIGHTS_FORMAT):
                raise CheckpointError(f"{path}: not a checkpoint of this library (expected format {FORMAT} or {WEIGHTS_FORMAT})")
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            layout = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
            meta = json.loads(header["meta"])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None
    odd = next((f"{name[:80]!r} is of type {dtype}" for name, (dtype, _) in layout.items() if dtype not in TYPES.values()), None)
    odd = f"it has {len(layout)} tensors" if len(layout) > MAX_TENSORS else odd
    if odd:
        raise CheckpointError(f"{path}: not a readable checkpoint: {odd}")
    return Header(header["format"], meta, layout)


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, CheckpointError):
        return error
    return CheckpointError(f"{path}: not a readable checkpoint: expected a whole safetensors file ({one_line(error)[:200]})")


def load(path: str | Path, complete: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save`` wrote of a run: (tensors on the CPU, meta). The header is checked before any tensor is read.

    Args:
        path: the file.
        complete: require everything that a run's checkpoint holds; False takes any tensors and meta.

    Raises:
        CheckpointError: missing, too large, not a safetensors file, not written by this library, or incomplete.
    """
    path, header = Path(path), read_header(path)
    if header.format != FORMAT:
        raise CheckpointError(f"{path}: released weights, from which no run can go on (expected format {FORMAT})")
    if complete:
        _require_complete(path, header)
    tensors = read_tensors(path, header)
    if complete and tensors["history/epoch"][-1] != header.meta["epoch"] - 1:
        raise CheckpointError(f"{path}: expected a history that ends at epoch {header.meta['epoch'] - 1}")
    return tensors, header.meta


def read_tensors(path: Path, header: Header) -> dict[str, Tensor]:
    """The tensors that ``header`` lists, on the CPU."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in header.layout}
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def layout_of(tensors: Mapping[str, Tensor]) -> Layout:
    """Types and shapes, as a file's header states them."""
    return {name: (TYPES[value.dtype], tuple(value.shape)) for name, value in tensors.items()}


def require_layout(path: Path, found: Layout, wanted: Layout) -> None:
    """CheckpointError, one line, for the first tensor that is missing, too many, or of another type or shape."""
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            raise CheckpointError(f"{path}: {name[:80]}: expected {_shown(wanted.get(name))}, found {_shown(found.get(name))}")


def _shown(entry: tuple[str, tuple[int, ...]] | None) -> str:
    return f"{entry[0]} {list(entry[1])}" if entry else "no such tensor"


def _require_complete(path: Path, header: Header) -> None:
    if not isinstance(header.meta, dict):
        raise CheckpointError(f"{path}: not a run's checkpoint (its description is no mapping)")
    try:
        RunMeta.model_validate(header.meta)
    except ValidationError as error:
        raise CheckpointError(f"{path}: not a run's checkpoint: {describe_fault(error, RunMeta)}") from None
    if header.layout.get("history/epoch", ("", ()))[0] != "I64":
        raise CheckpointError(f"{path}: its history is incomplete: expected a column history/epoch of whole numbers")
    shapes = {shape for name, (_, shape) in header.layout.items() if name.startswith("history/")}
    if len(shapes) > 1 or [len(shape) for shape in shapes] != [1] or shapes == {(0,)}:
        raise CheckpointError(f"{path}: its history is incomplete: expected columns of one length, at least one entry each")
