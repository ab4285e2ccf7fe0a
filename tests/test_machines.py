"""The yardstick of other Pythons: it finds out what fails, what is left behind and what a suite changes."""

import subprocess
import sys
from pathlib import Path

import pytest
from micro import micro_arguments

from benchmarks import machines
from ternary_lib import records

PYTHON = Path(sys.executable)


@pytest.fixture
def small(monkeypatch):
    """The smallest training in place of the smoke run."""
    monkeypatch.setattr(machines, "SMOKE", (*micro_arguments("--run-dir", "run"), "--quiet"))


def test_the_main_job_is_done_in_an_empty_folder(small, tmp_path):
    found = machines.main_job(PYTHON, tmp_path / "elsewhere")
    assert (found["status"], found["evaluates_to_the_same"], found["left"]) == (0, True, ["run"])
    assert machines.is_sound({"main_job": found})
    assert not machines.is_sound({"main_job": found | {"left": ["more", "run"]}})
    assert not machines.is_sound({"main_job": found | {"evaluates_to_the_same": False}})
    assert not machines.is_sound({"main_job": found, "tests": {"status": 0, "tree": [" M README.md"]}})


def test_a_job_that_fails_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(machines, "SMOKE", ("train", "--config", "configs/none.yaml"))
    found = machines.main_job(PYTHON, tmp_path / "elsewhere")
    assert found["status"] == 2 and "no such configuration" in found["error"] and not machines.is_sound({"main_job": found})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository of one test that passes, one that fails and one that writes a file."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "pytest.ini").write_text("[pytest]\naddopts = -rs\n")  # as the project's own: of failures no line
    (root / "test_it.py").write_text("def test_good(): pass\ndef test_bad(): assert 0\ndef test_untidy(): open('left', 'w').close()\n")
    git = ["git", "-C", str(root), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "tests"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(machines, "PROJECT_ROOT", root)
    return root


def test_a_suite_is_counted_and_what_it_leaves_is_seen(project, tmp_path):
    found = machines.suite(PYTHON, tmp_path / "clone")
    assert (found["status"], found["passed"], found["failed"]) == (1, 2, 1)
    assert found["failures"][0].startswith("FAILED test_it.py::test_bad")
    assert "?? left" in found["tree"]


def test_of_a_suite_single_files_can_be_asked_for(project, tmp_path):
    (project / "test_other.py").write_text("def test_other(): pass\n")
    subprocess.run(["git", "-C", str(project), "add", "."], check=True)
    subprocess.run(["git", "-C", str(project), "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "more"], check=True)
    found = machines.suite(PYTHON, tmp_path / "clone", "test_other.py")
    assert (found["status"], found["passed"], found.get("failed")) == (0, 1, None)


def test_another_pytorch_is_installed_last_and_makes_the_reference_runs(monkeypatch, tmp_path):
    calls, suites = [], []
    monkeypatch.setattr(machines.subprocess, "run", lambda command, **_: calls.append(command))
    monkeypatch.setattr(machines, "main_job", lambda *_: {"status": 0})
    monkeypatch.setattr(machines, "suite", lambda python, clone, *files: suites.append(files))
    machines.measure("python3.11", tmp_path / "x.whl", tmp_path, True, "2.14.1")
    machines.measure("python3.11", tmp_path / "x.whl", tmp_path, True)
    assert [call[-1] for call in calls if "torch==2.14.1" in call] == ["torch==2.14.1"] and calls[2][-1] == "torch==2.14.1"
    assert suites == [(machines.REFERENCE,), ()] and (machines.PROJECT_ROOT / machines.REFERENCE).is_file()


def test_a_record_keeps_the_pythons_that_it_has(monkeypatch, tmp_path, capsys):
    job = {"status": 0, "evaluates_to_the_same": True, "left": ["run"], "versions": {"python": "3.12.1"}}
    monkeypatch.setattr(machines, "build", lambda folder: folder)
    monkeypatch.setattr(machines, "measure", lambda *_: {"main_job": job})
    output = tmp_path / "machines.json"
    records.write_json(output, {"pythons": {"3.11.7": {"main_job": {}}}})
    assert machines.main(["python3.12", "--output", str(output)]) == 0
    assert set(records.read_json(output)["pythons"]) == {"3.11.7", "3.12.1"}
    assert machines.main(["python3.12", "--torch", "2.14.1", "--output", str(output)]) == 0
    assert set(records.read_json(output)["pythons"]) == {"3.11.7", "3.12.1", "3.12.1, torch 2.14.1"}
    job["status"] = 1
    assert machines.main(["python3.12", "--output", str(output)]) == 1
    assert "3.12.1: NOT as it should be" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        machines.main(["python3.12", "--output", str(tmp_path / "no" / "x.json")])
