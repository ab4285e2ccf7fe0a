"""The killer is tested on work that survives it, on work that does not, and on work that leaves halves of files."""

import random

import pytest

from benchmarks import reliability

SOUND = """
import sys, time
from pathlib import Path
from ternary_lib.files import write_atomically
for k in range(3):
    path = Path(sys.argv[1]) / f"{k}.json"
    if not path.exists():
        write_atomically(path, b'{"k": %d}' % k)
    time.sleep(0.05)
"""
# What it leaves tells how often it was begun.
FORGETFUL = SOUND.replace("for k in", "open(sys.argv[1] + '/starts', 'a').write('begun\\n')\nfor k in")


def work(code, writes=3):
    return reliability.Work("tiny", lambda folder: [str(folder)], written, writes, code)


def written(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


def test_work_that_goes_on_where_it_was_ends_the_same(tmp_path):
    found = reliability.measure(work(SOUND), 4, 0, tmp_path)
    assert (found["trials"], found["same"], found["half_written"]) == (4, 4, 0)
    assert found["kills"] >= 2, "the kills at writes never miss"
    assert {m.split(",")[0] for t in found["each"] for m in t["moments"]} & set(reliability.WRITES)


@pytest.mark.parametrize("moment", reliability.WRITES)
def test_every_moment_of_a_write_can_be_met(moment, tmp_path, monkeypatch):
    monkeypatch.setattr(reliability, "WRITES", (moment,))
    found = reliability.trial(work(SOUND, writes=1), tmp_path, random.Random(0), 5.0, at_a_write=True)
    assert (found["killed"], found["status"], found["broken"]) == (1, 0, [])


def test_work_that_remembers_having_been_killed_is_found_out(tmp_path):
    assert reliability.measure(work(FORGETFUL), 2, 1, tmp_path)["same"] < 2


def test_half_a_file_is_found(tmp_path):
    (tmp_path / "a.json").write_text('{"k": ')
    (tmp_path / "b.json").write_text('{"k": 1}')
    (tmp_path / ".c.json.part").write_text('{"k": ')
    assert reliability.whole_files(tmp_path) == ["a.json"]


def test_work_that_fails_is_no_success(tmp_path):
    found = reliability.trial(work("import sys; sys.exit('error: out of luck')"), tmp_path, random.Random(0), 0.1, at_a_write=False)
    assert found["status"] == 1 and "out of luck" in found["error"]
