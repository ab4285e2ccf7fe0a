"""The fuzzer itself: what it does to files, that it gives as many as it says, and that it finds loaders which were broken on purpose."""

import ast
import warnings
from contextlib import suppress

import pytest
import torch
from hypothesis import strategies as st

from benchmarks import fuzz
from ternary_lib import records
from ternary_lib.config import dump_config, load_config
from ternary_lib.strict_yaml import InputError
from ternary_lib.training import TrainingError

GOOD = dump_config(load_config("configs/smoke.yaml")).encode()
pytestmark = pytest.mark.usefixtures("one_thread")


def files_of(tmp_path, load, data=GOOD):
    """Damaged files for a loader."""
    return fuzz.kind_of(tmp_path / "files" / "damaged.yaml", fuzz.byte_changes(len(data)), lambda c: fuzz.damaged(data, c), load)


# ------------------------------------------------------------------------------------------------- what is done to files


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (("replace", 1, b"XY"), b"aXYd\ne"),
        (("remove", 1, 2), b"ad\ne"),
        (("double", 1, 2), b"abcbcd\ne"),
        (("reverse", 0, 3), b"cbad\ne"),
        (("insert", 2, b"--"), b"ab--cd\ne"),
        (("cut", 2), b"ab"),
        (("line", 1, 0), b"e\nabcd\ne"),
        (("remove", 99, 2), b"abcd\ne"),
    ],
)
def test_bytes_are_damaged(change, made):
    assert fuzz.damaged(b"abcd\ne", [change]) == made


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (("put", ("a", "b"), [1]), {"a": {"b": [1]}, "c": [7, 8]}),
        (("put", (), None), None),
        (("drop", ("a", "b")), {"a": {}, "c": [7, 8]}),
        (("drop", ()), {"a": {"b": 1}, "c": [7, 8]}),
        (("rename", ("c",), "d"), {"a": {"b": 1}, "d": [7, 8]}),
        (("copy", ("a", "b"), ("c",)), {"a": {"b": [7, 8]}, "c": [7, 8]}),
        (("resize", ("c",), 1), {"a": {"b": 1}, "c": [7]}),
        (("resize", ("c",), 3), {"a": {"b": 1}, "c": [7, 8, 7]}),
        (("put", ("gone", "b"), 2), {"a": {"b": 1}, "c": [7, 8]}),
    ],
)
def test_values_are_changed(change, made):
    good = {"a": {"b": 1}, "c": [7, 8]}
    assert fuzz.changed(good, [change]) == made
    assert good == {"a": {"b": 1}, "c": [7, 8]}, "a copy was changed"


def test_a_document_has_a_place_for_every_part_and_of_numbers_for_the_first():
    assert set(fuzz.places({"a": {"b": 1}, "c": [7, 8], "d": [{}, {}]})) == {
        (), ("a",), ("a", "b"), ("c",), ("c", 0), ("d",), ("d", 0), ("d", 1),
    }  # fmt: skip


def test_tensors_are_changed():
    good = {"a/x": torch.tensor([1.0, 2.0]), "history/y": torch.tensor([3, 4]), "history/z": torch.tensor([5, 6])}

    def made(*change, meta=None):
        return fuzz.with_tensors(good, meta, [change])[0]

    assert made("drop", "a/x").keys() == {"history/y", "history/z"}
    assert made("rename", "a/x", "b").keys() == {"b", "history/y", "history/z"}
    assert made("shape", "a/x", [0, 2])["a/x"].shape == (0, 2)
    assert made("type", "a/x", torch.int32)["a/x"].dtype == torch.int32
    assert made("fill", "a/x", float("inf"))["a/x"].isinf().all()
    assert made("entry", "a/x", 1, 7)["a/x"].tolist() == [1, 7]
    assert made("entry", "a/x", 9, 7)["a/x"].tolist() == [1, 2], "it has no such entry"
    assert [value.tolist() for name, value in made("resize", "history/", 3).items() if name > "b"] == [[3, 4, 3], [5, 6, 5]]
    assert fuzz.with_tensors(good, {"epoch": 2}, [("meta", [("drop", ("epoch",))])])[1] == {}
    assert good["a/x"].tolist() == [1, 2], "a copy was changed"


# ------------------------------------------------------------------------------------------------- how many, and which


def test_the_stated_number_is_the_number_given_and_the_same_seed_gives_the_same(tmp_path):
    def given(seed, inputs=60):
        seen = []
        found = fuzz.measure("all", files_of(tmp_path, lambda path: seen.append(path.read_bytes())), inputs, seed)
        assert found["inputs"] == found["read"] == len(seen) - 1 == inputs and seen[0] == GOOD
        return seen

    first = given(0)
    assert first == given(0) != given(1)
    assert sum(data != GOOD for data in first) > 50


def test_it_is_the_stated_number_too_where_hypothesis_has_no_more_to_try(tmp_path):
    calls = []
    kind = files_of(tmp_path, calls.append)._replace(changes=st.sampled_from([[("cut", 0)], [("cut", 1)]]))
    assert fuzz.measure("two", kind, 7, 0)["inputs"] == len(calls) - 1 == 7


def test_configurations_are_read_or_refused(tmp_path):
    found = fuzz.measure("configuration", files_of(tmp_path, load_config), 100, 0)
    assert found["faults"] == [] and found["refused"] + found["read"] == found["inputs"] == 100
    assert found["refused"] > 50 and found["slowest_s"] < 10


# ------------------------------------------------------------------------------------------------- loaders that are broken


def broken(answer):
    """A loader that answers so to a file without its first byte."""

    def load(path):
        if not path.read_bytes().startswith(GOOD[:1]):
            return answer(path)

    return load


def raising(error):
    """An answer."""

    def answer(_):
        raise error

    return answer


def with_warning(_):
    """A refusal with more than its line."""
    warnings.warn("look out", stacklevel=1)
    raise InputError("refused")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (raising(KeyError("no line")), "KeyError, outside the library: 'no line'"),
        (raising(SystemExit(0)), "SystemExit"),
        (raising(TrainingError("two\nlines")), "not one short line"),
        (raising(InputError("x" * 9_000)), "not one short line"),
        (with_warning, "not one short line"),
        (lambda _: print("\ud800"), "UnicodeEncodeError"),
        (lambda path: path.with_name("more").touch(), "files were left behind"),
    ],
)
def test_anything_else_is_a_fault_and_its_smallest_input_is_kept(tmp_path, answer, words):
    found = fuzz.measure("broken", files_of(tmp_path, broken(answer)), 60, 0)
    assert found["inputs"] == found["refused"] + found["read"] + found["other"] == 60
    assert 0 < found["other"] < 60 and found["refused"] == 0
    assert len(found["faults"]) == 1 and found["faults"][0].startswith(words)
    smallest = found["faults"][0].split("smallest input ")[1]
    assert len(ast.literal_eval(smallest)) == 1 and ", 0" in smallest, "one change, of the first byte"
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["damaged.yaml"]


def test_each_place_is_a_fault_of_its_own(tmp_path):
    def load(path):
        data = path.read_bytes()
        if len(data) < len(GOOD):
            raise KeyError("short")
        if len(data) > len(GOOD):
            raise IndexError("long")

    found = fuzz.measure("broken", files_of(tmp_path, load), 60, 0)
    assert sorted(fault.split(",")[0] for fault in found["faults"]) == ["IndexError", "KeyError"]
    assert found["other"] > 20 and found["inputs"] == 60


def test_a_fault_that_does_not_come_again_is_kept_as_it_was_drawn(tmp_path):
    calls = iter(range(1_000))

    def load(_):
        if next(calls) == 3:
            raise KeyError("once")

    found = fuzz.measure("broken", files_of(tmp_path, load), 20, 0)
    assert (found["inputs"], found["other"], len(found["faults"])) == (20, 1, 1)
    assert "input [" in found["faults"][0] and "smallest" not in found["faults"][0]


def test_an_interruption_is_no_fault(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fuzz.answer(raising(KeyboardInterrupt()), tmp_path / "x")


def hungry(_):
    """An answer that takes 500 MB, and so more than it is given."""
    bytearray(b"x") * (500 * 2**20)


def memory_is_bounded() -> bool:
    with suppress(MemoryError), fuzz.bounded_memory(1):
        bytearray(100 * 2**20)
        return False
    return True


bounded = pytest.mark.skipif(not memory_is_bounded(), reason="this system bounds no memory")


@bounded
def test_memory_beyond_the_bound_is_a_fault_and_only_there(tmp_path):
    found = fuzz.measure("broken", files_of(tmp_path, broken(hungry)), 40, 0)
    assert 0 < found["other"] < 40 and found["faults"][0].startswith("MemoryError, outside the library")
    hungry(None)  # nothing is refused afterwards
    with fuzz.bounded_memory(600):
        hungry(None)


# ------------------------------------------------------------------------------------------------- the real ones, and the command


def test_every_kind_of_file_is_read_where_it_is_good_and_some_are_changed(tmp_path):
    kinds = fuzz.loaders(tmp_path)
    assert len(kinds) == 18
    for name, kind in kinds.items():
        found = fuzz.measure(name, kind, 4, 0)
        assert (found["inputs"], found["other"], found["faults"]) == (4, 0, []), name


@pytest.mark.parametrize(("answer", "status"), [(str, 0), (raising(KeyError("x")), 1), pytest.param(hungry, 1, marks=bounded)])
def test_the_command_says_when_something_is_wrong(tmp_path, monkeypatch, answer, status):
    monkeypatch.setattr(fuzz, "loaders", lambda _: {"one": files_of(tmp_path, broken(answer)), "two": files_of(tmp_path, broken(str))})
    output = tmp_path / "found.json"
    assert fuzz.main(["--inputs", "40", "--only", "one", "--output", str(output)]) == status
    found = records.read_json(output)
    assert found["seed"] == 0 and list(found["loaders"]) == ["one"] and found["loaders"]["one"]["inputs"] == 40


@pytest.mark.parametrize("arguments", [["--inputs", "0"], ["--output", "no/such/folder/x.json"]])
def test_the_command_refuses_what_it_cannot_do(tmp_path, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        fuzz.main(["--output", str(tmp_path / "found.json"), *arguments])
    assert "expected --inputs" in capsys.readouterr().err
