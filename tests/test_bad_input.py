"""Mistakes, made from the schemas and from a real run's files: each gets one line that names it, and nothing is left behind."""

import pytest
from micro import ternary

from benchmarks import mistakes
from benchmarks.mistakes import FOLDER, Mistake
from ternary_lib import records
from ternary_lib.config import ConfigError, dump_config, load_config

FROM_SCHEMAS = mistakes.from_schemas()


@pytest.fixture(scope="module")
def from_run(tmp_path_factory):
    """The mistakes that begin with a run's files."""
    return mistakes.from_run(mistakes.small_run(tmp_path_factory.mktemp("small")))


@pytest.mark.parametrize("mistake", FROM_SCHEMAS, ids=[f"{m.kind}: {m.what}" for m in FROM_SCHEMAS])
def test_a_mistake_gets_one_line_that_names_it(mistake, tmp_path):
    assert mistakes.fault(mistake, tmp_path) is None


@pytest.mark.parametrize("kind", ["run record, gone on with", "run record, compared", "checkpoint", "checkpoint, gone on with"])
def test_files_of_a_run_that_were_changed_are_refused_by_name(from_run, kind):
    found = mistakes.measure(m for m in from_run if m.kind == kind)[kind]
    assert found["faults"] == []
    assert found["made"] == found["answered"] > 20


def test_there_are_enough_of_them_and_of_every_kind(from_run):
    assert len(FROM_SCHEMAS) > 800 and len(from_run) > 200
    assert len({(m.kind, m.what) for m in FROM_SCHEMAS + from_run}) == len(FROM_SCHEMAS + from_run)
    named = [m for m in FROM_SCHEMAS if any("did you mean" in word for word in m.words)]
    assert len(named) > 150, "most misspelt keys are nearest to the one that was meant"


# ------------------------------------------------------------------------------------------------- the yardstick itself

GOOD = Mistake("none", "a good one", ("train", "--config", f"{FOLDER}/x.yaml", "--run-dir", f"{FOLDER}/run"), {"x.yaml": b"seed: 1"}, ())


def test_what_is_no_mistake_is_found_out(tmp_path):
    assert mistakes.fault(GOOD, tmp_path) == "Began: work began"
    part = mistakes.measure([GOOD])["none"]
    assert (part["made"], part["answered"], part["faults"]) == (1, 0, ["a good one: Began: work began"])


def test_a_line_without_the_words_is_found_out(tmp_path):
    bad = GOOD._replace(files={"x.yaml": b"sead: 1"}, words=("did you mean 'sand'",))
    assert "is not in the line: error: " in mistakes.fault(bad, tmp_path)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: print("error: x") or 2, "not one short line"),  # on the wrong stream
        (lambda: 2, "not one short line"),
        (lambda: mistakes.sys.stderr.write("error: x\nTraceback\n") and 2, "not one short line"),
        (lambda: mistakes.sys.stderr.write("error: " + "x" * 9_000 + "\n") and 2, "not one short line"),
        (lambda: mistakes.sys.stderr.write("error: x\n") and 1, "exit status 1"),
        (lambda: mistakes.sys.exit(0), "exit status 0"),
        (lambda: {}["x"], "KeyError"),
    ],
)
def test_another_answer_is_found_out(answer, words, tmp_path, monkeypatch):
    monkeypatch.setattr(mistakes.cli, "main", lambda _: answer())
    assert words in mistakes.fault(GOOD, tmp_path)


def test_a_line_that_names_the_key_and_no_more_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(mistakes.cli, "main", lambda _: print("error: training.batch_size", file=mistakes.sys.stderr) or 2)
    assert "nothing in the line says what was expected" in mistakes.fault(GOOD._replace(words=("training.batch_size",)), tmp_path)


def test_files_left_behind_are_found_out(tmp_path, monkeypatch):
    def main(_):
        (tmp_path / "more").mkdir()
        print("error: x: expected another", file=mistakes.sys.stderr)
        return 2

    monkeypatch.setattr(mistakes.cli, "main", main)
    assert mistakes.fault(GOOD, tmp_path) == "files were left behind or changed"


def test_its_record_says_when_something_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(mistakes, "from_schemas", lambda: [GOOD])
    monkeypatch.setattr(mistakes, "from_run", lambda _: [])
    monkeypatch.setattr(mistakes, "small_run", lambda _: None)
    assert mistakes.main(["--output", str(tmp_path / "found.json")]) == 1
    assert records.read_json(tmp_path / "found.json")["kinds"]["none"]["made"] == 1
    with pytest.raises(SystemExit, match="2"):
        mistakes.main(["--output", str(tmp_path / "no" / "found.json")])


# ------------------------------------------------------------------------------------------------- in a process of its own


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schedules.tau_a.bost=0.4", "did you mean 'boost'"),
        ("schedules.tau_a.boost=high", "schedules.tau_a.boost"),
        ("schedules.tau_a.boost", "expected KEY=VALUE"),
        ("training.batch_size=64.5", "training.batch_size"),
        ("=1", "expected KEY=VALUE"),
        ("schedules..boost=1", "dotted key"),
        ("seed={a: 1", "--set"),
    ],
)
def test_the_command_says_it_in_one_line_and_leaves_nothing(tmp_path, text, words):
    done = ternary("train", "--config", "configs/smoke.yaml", "--run-dir", tmp_path / "run", "--set", text)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_made_by_hand_is_checked_like_any_other(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(dump_config(load_config("configs/smoke.yaml")).replace("total_epochs", "total_epoch", 1))
    with pytest.raises(ConfigError, match="did you mean 'total_epochs'"):
        load_config(path)
