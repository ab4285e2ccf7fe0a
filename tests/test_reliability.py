"""The killer is tested on work that survives it, on work that does not, and on work that leaves halves of files."""

import os
import random
import re
from functools import cache

import pytest

from benchmarks import reliability
from ternary_lib import records

SOUND = """
import sys, time
from pathlib import Path
from ternary_lib.files import claimed, write_atomically
folder = Path(sys.argv[1])
with claimed(folder):
    for k in range(3):
        path = folder / f"{k}.json"
        if not path.exists():
            write_atomically(path, b'{"k": %d}' % k)
        time.sleep(0.05)
"""
# What it leaves tells how often it was begun.
REMEMBERS = SOUND.replace("with claimed", "open(sys.argv[1] + '/starts', 'a').write('begun\\n')\nwith claimed")
# Each time it makes everything anew, to the same bytes; what others wrote in the middle stays.
BEGINS_ANEW = SOUND.replace("if not path.exists():", "if True:")
LEAVES_HALVES = SOUND.replace("with claimed(folder):", "if True:")
# Written in place: a file that is there counts as done, whole or not.
IN_PLACE = SOUND.replace("write_atomically(path, b'{", "path.write_bytes(b'{")
PARENT = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", CHILD, sys.argv[1]], start_new_session=True).returncode)
"""


def work(code, name="tiny"):
    return reliability.Work(name, lambda folder: [str(folder)], written, parts, code)


def written(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def parts(folder):
    return [path for path in folder.glob("*.json") if not path.name.startswith(".")]


class Draws(random.Random):
    """Random numbers that are given: which moments, which writes, and which shares of the time."""

    def __init__(self, *moments, share=0.5):
        self.moments, self.share = list(moments), share

    def choice(self, known):
        process, moment, self.number = self.moments.pop(0)
        assert (process, moment) in known
        return process, moment

    def randint(self, low, high):
        assert low <= self.number <= high
        return self.number

    def uniform(self, low, high):
        return self.share


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    return cache(lambda code: reliability.leave_alone(work(code), (scratch := tmp_path_factory.mktemp("alone")) / "work", scratch))


@pytest.fixture
def killed(tmp_path, left_alone):
    """Makes one trial of tiny work, killed at the given moments of writing."""

    def kill(code, *moments, kills=1):
        alone = left_alone(code)
        return reliability.trial(work(code), tmp_path / "work", tmp_path, alone, Draws(*moments), at_a_write=True, kills=kills)

    return kill


def test_work_that_goes_on_where_it_was_ends_the_same(tmp_path):
    found = reliability.measure(work(SOUND), 6, 0, tmp_path)
    assert (found["trials"], found["same"], found["half_written"], found["redone"]) == (6, 6, 0, 0)
    assert found["kills"] == 8, "two trials of six are killed twice, and every kill hits"
    assert found["struck"]["main"] == 4 and found["struck"]["time"] == 4
    assert found["something_kept"] and found["kept"] == sum(t["kept"] for t in found["each"])


@pytest.mark.parametrize("moment", ["half", "before flush", "after flush", "before rename", "after rename"])
def test_every_moment_of_a_write_can_be_met(moment, killed):
    found = killed(SOUND, ("main", moment, 2))
    name = {"half": ".1.json.tmp", "before flush": "", "after flush": ""}.get(moment, "1.json")
    assert [re.sub(r"\d+\.tmp", "tmp", m) for m in found["moments"]] == [f"main, {moment}, 2, {name}".strip()]
    assert (found["same"], found["redone"], found["broken"]) == (True, [], [])
    assert found["kept"] == (2 if moment == "after rename" else 1)


def test_in_the_middle_of_the_bytes_half_of_them_are_there(killed, tmp_path):
    found = killed(LEAVES_HALVES, ("main", "half", 2))
    assert not found["same"] and [re.sub(r"\d+\.tmp", "tmp", name) for name in found["left"]] == [".1.json.tmp"]
    (half,) = (tmp_path / "work").glob(".*.tmp")
    assert half.read_text() == '{"k"'


@pytest.mark.parametrize(("moment", "number"), [("half", 1), ("after rename", 3)])
def test_a_write_of_another_process_can_be_met(moment, number, killed):
    found = killed(PARENT.replace("CHILD", repr(SOUND)), ("worker", moment, number))
    assert found["moments"][0].startswith(f"worker, {moment}, {number}") and found["kept"] == number - (moment == "half")
    assert found["same"]


def test_a_kill_that_came_too_late_is_drawn_again(tmp_path, monkeypatch):
    draws = Draws(("main", "after rename", 2), ("main", "half", 3), share=60.0)
    monkeypatch.setattr(reliability.random, "Random", lambda seed: draws)
    monkeypatch.setattr(reliability, "MISSES", 3)
    with pytest.raises(SystemExit, match="tiny: 3 times in a row the work had ended"):
        reliability.measure(work(SOUND), 1, 0, tmp_path)


def test_a_second_kill_that_missed_is_drawn_again_in_an_empty_folder(tmp_path, monkeypatch):
    late, good = ("main", "half", 3), ("main", "after rename", 1)  # after the first write there are two left
    monkeypatch.setattr(reliability.random, "Random", lambda seed: Draws(good, late, good, good))
    monkeypatch.setattr(reliability, "trial", lambda *given, one=reliability.trial: one(*given[:5], True, given[6]))
    found = reliability.measure(work(SOUND), 1, 0, tmp_path)
    assert (found["missed"], found["kills"], found["same"], found["kept"]) == (1, 2, 1, 2)


def test_work_that_makes_finished_parts_again_is_found_out(killed):
    found = killed(BEGINS_ANEW, ("main", "half", 3))
    assert (found["kept"], found["redone"], found["status"], found["same"]) == (2, ["0.json", "1.json"], 0, False)


def test_work_that_remembers_having_been_killed_is_found_out(killed):
    found = killed(REMEMBERS, ("main", "after rename", 1))
    assert (found["differs"], found["same"]) == (["starts"], False)


def test_half_a_file_in_the_place_of_a_whole_one_is_found_out(killed):
    found = killed(IN_PLACE, ("main", "still empty", 2))
    assert (found["broken"], found["same"]) == (["1.json"], False)


def test_half_a_file_is_found(tmp_path):
    for name in ("a.json", ".c.json.9.tmp", ".smoke/b.ipynb", ".smoke/.running-1/b.ipynb", "page.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"k": ')
    (tmp_path / "b.json").write_text('{"k": 1}')
    (tmp_path / "c.safetensors").write_bytes(b"half")
    assert sorted(reliability.whole_files(tmp_path)) == ["a.json", "b.ipynb", "c.safetensors"]


def test_work_that_cannot_go_on_is_no_success_and_not_drawn_again(killed):
    code = "import sys, os\nif os.path.exists(sys.argv[1] + '/0.json'): sys.exit('error: out of luck')" + SOUND
    for kills in (1, 2):
        found = killed(code, ("main", "half", 2), ("main", "half", 1), kills=kills)
        assert (found["status"], found["same"], len(found["moments"])) == (1, False, 1) and "out of luck" in found["error"]


def test_work_that_fails_when_it_is_left_alone_cannot_be_measured(tmp_path):
    with pytest.raises(SystemExit, match="tiny: fails when it is left alone: error: out of luck"):
        reliability.measure(work("import sys; sys.exit('error: out of luck')"), 1, 0, tmp_path)


def test_what_is_finished_is_what_the_last_checkpoint_a_record_or_a_stamp_says(tmp_path):
    training, sweep, book = reliability.training(), reliability.sweep(tmp_path), reliability.book()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "epoch_0001.safetensors").write_bytes(b"")
    assert training.finished(tmp_path) == []  # nothing says that it is done
    store, chapters = tmp_path / "store" / "reliability", tmp_path / "book" / "notebooks" / ".smoke"
    records = [store / "none-seed0.json", store / ".none-seed1.json.tmp"]
    for path in (*records, chapters / "1.ipynb", chapters / "1.json", chapters / "2.ipynb"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert sweep.finished(tmp_path) == records[:1] and book.finished(tmp_path) == [chapters / "1.ipynb"]


def test_the_code_under_test_is_a_copy(tmp_path):
    root = reliability.copy_code(tmp_path / "code")
    assert {"pyproject.toml", "ternary_lib", "configs"} <= set(os.listdir(root))
    code = "import sys, ternary_lib\nopen(sys.argv[1] + '/where', 'w').write(ternary_lib.__file__)"
    alone = reliability.leave_alone(work(code)._replace(root=root), tmp_path / "work", tmp_path)
    assert alone.outcome["where"].startswith(str(root)) and alone.moments == {("main", "still empty"): 1}


def test_a_record_is_written_after_each_kind_and_keeps_what_it_has(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(reliability, "copy_code", lambda _: None)
    for kind in reliability.KINDS:
        monkeypatch.setattr(reliability, kind, lambda *_, kind=kind: work(SOUND)._replace(name=kind))

    def measure(one, trials, seed, scratch):
        made.append(one.name)
        if one.name == "book":
            raise KeyboardInterrupt
        return {"trials": trials, "same": trials, "half_written": 0}

    monkeypatch.setattr(reliability, "measure", measure)
    output = tmp_path / "found.json"
    with pytest.raises(KeyboardInterrupt):
        reliability.main(["--trials", "3", "--output", str(output)])
    assert reliability.main(["--trials", "4", "--only", "pages", "--output", str(output)]) == 0
    assert made == ["training", "sweep", "book", "pages"]
    found = records.read_json(output)
    assert {kind: found[kind]["trials"] for kind in reliability.KINDS if kind in found} == {"training": 3, "sweep": 3, "pages": 4}
