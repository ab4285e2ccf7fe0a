"""Checkpoints: what is saved comes back, a write is whole or absent, and nothing foreign or hostile is loaded."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from ternary_lib import checkpoint, files
from ternary_lib.checkpoint import FORMAT, CheckpointError, load, save
from ternary_lib.files import write_atomically

TENSORS = {
    "model/weight": torch.arange(6.0).view(2, 3),
    "history/epoch": torch.tensor([0, 1, 2]),
    "history/loss": torch.tensor([1.5, float("nan"), -0.0], dtype=torch.float64),
    "controller/rho": torch.tensor(0.1, dtype=torch.float64),
    "generator/training": torch.Generator().manual_seed(42).get_state(),
    "empty": torch.zeros(0, 3),
}
META = {"epoch": 3, "config": {"name": "smoke", "phases": [2, 4, 6], "text": "τ ≥ 0"}, "seconds": {"total": 1.25}, "none": None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "last.safetensors"


@pytest.fixture
def good(path):
    save(path, TENSORS, META)
    return path.read_bytes()


def refusal(path) -> str:
    """The message with which `path` is refused; it must be one line that names the file."""
    with pytest.raises(CheckpointError) as caught:
        load(path, complete=False)
    message = str(caught.value)
    assert "\n" not in message and len(message) < len(str(path)) + 300
    assert str(path) in message
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None
    return message


def with_header(header: dict | bytes, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def parts(data: bytes) -> tuple[dict, bytes]:
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


# ------------------------------------------------------------------------------------------------- round trip


def test_round_trip_is_bitwise(path, good):
    tensors, meta = load(path, complete=False)
    assert meta == META
    assert set(tensors) == set(TENSORS)
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype and tensors[name].shape == value.shape
        assert tensors[name].numpy().tobytes() == value.numpy().tobytes()


def test_the_same_content_gives_the_same_tensors_wherever_it_lies(path, tmp_path, good):
    save(tmp_path / "copy.safetensors", *load(path, complete=False))
    first, second = load(path, complete=False)[0], load(tmp_path / "copy.safetensors", complete=False)[0]
    assert all(first[name].numpy().tobytes() == second[name].numpy().tobytes() for name in TENSORS)


def test_tensors_with_strides_or_gradients_are_saved_as_they_read(path):
    base = torch.arange(12.0).view(3, 4)
    odd = {"transposed": base.T, "column": base[:, 1], "leaf": torch.nn.Parameter(base.clone())}
    save(path, odd, {})
    loaded, _ = load(path, complete=False)
    assert all(torch.equal(loaded[name], value.detach()) for name, value in odd.items())
    assert not any(value.requires_grad for value in loaded.values())


def test_text_paths_and_path_objects_are_alike(path):
    save(str(path), TENSORS, META)
    assert load(str(path), complete=False)[1] == load(path, complete=False)[1] == META


def test_loaded_tensors_do_not_follow_the_file(path, good):
    tensors, _ = load(path, complete=False)
    save(path, {"model/weight": torch.full((2, 3), -7.0)}, META)
    assert torch.equal(tensors["model/weight"], TENSORS["model/weight"])


# ---------------------------------------------------------------------------------------------------- atomic


def dies(error: BaseException):
    """A function that only raises."""

    def call(*args, **kwargs):
        raise error

    return call


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
def test_a_failure_before_the_rename_leaves_the_old_file_and_nothing_else(path, good, monkeypatch, where, error):
    monkeypatch.setattr(os, where, dies(error))
    with pytest.raises(type(error)):
        save(path, {"model/weight": torch.zeros(1000)}, {"epoch": 4})
    monkeypatch.undo()
    assert path.read_bytes() == good
    assert os.listdir(path.parent) == [path.name]
    assert load(path, complete=False)[1] == META


class HalfWritten:
    """A file that takes half of what it is given, then fails as a full disk does."""

    def __init__(self, name, mode: str) -> None:
        self.file = open(name, mode)  # noqa: SIM115

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        raise OSError(28, "No space left on device")


def test_a_failure_in_the_middle_of_the_write_leaves_the_old_file_and_nothing_else(path, good, monkeypatch):
    monkeypatch.setattr(files, "open", HalfWritten, raising=False)
    with pytest.raises(OSError, match="No space left"):
        save(path, TENSORS, {"epoch": 4})
    assert path.read_bytes() == good
    assert os.listdir(path.parent) == [path.name]


def test_a_first_write_that_fails_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(os, "replace", dies(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        save(path, TENSORS, META)
    assert os.listdir(path.parent) == []


def test_meta_that_is_no_json_touches_nothing(path, good):
    with pytest.raises(TypeError):
        save(path, TENSORS, {"config": object()})
    assert path.read_bytes() == good
    assert os.listdir(path.parent) == [path.name]


def test_the_temporary_file_is_beside_its_target_and_flushed_before_it_is_renamed(path, monkeypatch):
    calls = []
    real_replace, real_sync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(("sync", os.fstat(fd).st_size)), real_sync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(("rename", a.parent)), real_replace(a, b))[1])
    write_atomically(path, b"12345")
    assert calls == [("sync", 5), ("rename", path.parent)]
    assert path.read_bytes() == b"12345"


def test_a_reader_never_sees_half_a_file(path):
    for epoch in range(5):
        save(path, {"x": torch.full((50_000,), float(epoch))}, {"epoch": epoch})
        tensors, meta = load(path, complete=False)
        assert meta["epoch"] == epoch and tensors["x"].unique().tolist() == [float(epoch)]


# --------------------------------------------------------------------------------------------------- refusals


def test_a_missing_file_is_refused(path):
    assert "no such checkpoint" in refusal(path)


def test_a_directory_is_refused(tmp_path):
    assert "no such checkpoint" in refusal(tmp_path)


def test_a_file_below_a_file_is_refused(path, good):
    assert "no such checkpoint" in refusal(path / "last.safetensors")


def test_every_truncation_is_refused(path, good):
    for size in {*range(0, len(good) - 1, 37), 0, 7, 8, 9, len(good) - 1}:
        path.write_bytes(good[:size])
        assert "not a readable checkpoint" in refusal(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"hello world, this is not a checkpoint", b"<html></html>", b"{}"])
def test_garbage_is_refused(path, data):
    path.write_bytes(data)
    assert "not a readable checkpoint" in refusal(path)


class Explodes:
    """Unpickling this writes a file: the proof that nobody unpickled it."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self):
        return open, (self.mark, "w")


def test_pickles_are_refused_and_never_run(path, tmp_path):
    mark = str(tmp_path / "was-run")
    pickled = pickle.dumps(Explodes(mark))
    path.write_bytes(pickled)
    assert "not a readable checkpoint" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:  # the layout of torch.save
        archive.writestr("archive/data.pkl", pickled)
    assert "not a readable checkpoint" in refusal(path)
    torch.save({"model": torch.zeros(2)}, path)
    assert "not a readable checkpoint" in refusal(path)
    assert not os.path.exists(mark)
    pickle.loads(pickled)  # it is a live one
    assert os.path.exists(mark)


def test_safetensors_of_others_are_refused(path):
    save_file({"weight": torch.zeros(3)}, path)
    assert "not a checkpoint of this library" in refusal(path)
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    assert "not a checkpoint of this library" in refusal(path)
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": FORMAT})
    assert "'meta'" in refusal(path)


@pytest.mark.parametrize("meta", ["", "{", "not json", "[" * 100_000, '{"epoch": ' + "1" * 5_000 + "}"])
def test_meta_that_is_not_readable_is_refused(path, meta):
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": FORMAT, "meta": meta})
    assert "not a readable checkpoint" in refusal(path)


@pytest.mark.parametrize("size", [100, 100_000_001, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_claims_more_than_there_is_is_refused(path, size):
    path.write_bytes(struct.pack("<Q", size) + b"{}" + b" " * 50)
    assert "not a readable checkpoint" in refusal(path)


def test_a_really_huge_header_is_refused_without_being_read_far(path):
    path.write_bytes(with_header(b"[" * 20_000_000))
    assert len(refusal(path)) < 500


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(path):
    with open(path, "wb") as file:
        file.truncate(checkpoint.MAX_BYTES + 1)  # sparse: takes no room
    assert "larger than 256 MiB" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**12]},
        {"shape": [-1]},
        {"shape": [2**62, 2**62]},
        {"shape": "six"},
        {"dtype": "F33"},
        {"dtype": "F6_E2M3", "shape": [32]},
        {"data_offsets": [0, 10**15]},
        {"data_offsets": [24, 0]},
        {"data_offsets": [8, 32]},
    ],
    ids=str,
)
def test_a_header_that_lies_about_a_tensor_is_refused(path, change):
    save(path, {"x": torch.arange(6.0)}, META)
    header, body = parts(path.read_bytes())
    header["x"].update(change)
    path.write_bytes(with_header(header, body))
    assert "not a readable checkpoint" in refusal(path)


def test_overlapping_tensors_are_refused(path):
    save(path, {"x": torch.arange(6.0), "y": torch.arange(6.0)}, META)
    header, body = parts(path.read_bytes())
    header["y"]["data_offsets"] = header["x"]["data_offsets"]
    path.write_bytes(with_header(header, body))
    assert "not a readable checkpoint" in refusal(path)


def test_random_damage_is_refused_or_harmless(path, good):
    rng, kept = random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged[: rng.randrange(len(damaged))] if rng.random() < 0.3 else damaged)
        try:
            tensors, meta = load(path, complete=False)
        except CheckpointError as error:
            assert "\n" not in str(error)
        else:
            kept += 1
            assert isinstance(meta, dict) and len(tensors) == len(TENSORS)
    assert 0 < kept < 400  # damage inside a tensor's bytes cannot be seen; damage elsewhere must be
