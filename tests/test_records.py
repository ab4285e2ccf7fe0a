"""Records: a run's key follows its configuration and its code, and JSON is written so that it can be read and diffed."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path

import pytest

from ternary_lib import records
from ternary_lib.config import PROJECT_ROOT, ConfigError, config_hash, load_config
from ternary_lib.records import (
    TRAINING_MODULES,
    default_run_dir,
    hardware,
    library_commit,
    load_record,
    read_json,
    results_dir,
    run_key,
    source_hash,
    versions,
    write_json,
)

SOURCE = Path(records.__file__).parent


@pytest.fixture(scope="module")
def original() -> str:
    return source_hash()


@pytest.fixture
def library(tmp_path, monkeypatch) -> Path:
    """A copy of the library's training modules that may be edited; `source_hash` reads it."""
    folder = tmp_path / "ternary_lib"
    folder.mkdir()
    for name in TRAINING_MODULES:
        shutil.copy(SOURCE / f"{name}.py", folder)
    monkeypatch.setattr(records, "__file__", str(folder / "records.py"))
    return folder


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) >= 1, f"{old!r} is no longer in {file.name}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


# -------------------------------------------------------------------------------------------------- run key


def test_the_key_is_ten_hex_digits_and_stable():
    cfg = load_config("configs/smoke.yaml")
    assert re.fullmatch(r"[0-9a-f]{10}", run_key(cfg))
    assert run_key(cfg) == run_key(load_config("configs/smoke.yaml"))


@pytest.mark.parametrize(
    "overrides", [{"seed": 43}, {"schedules.tau_a.boost": 0.4}, {"training.batch_size": 128}, {"evaluation.cell_draws": 1_000}]
)
def test_the_key_changes_with_the_configuration(overrides):
    assert run_key(load_config("configs/smoke.yaml", overrides)) != run_key(load_config("configs/smoke.yaml"))


def test_the_key_does_not_change_with_the_name_but_the_directory_does():
    plain, renamed = load_config("configs/smoke.yaml"), load_config("configs/smoke.yaml", {"name": "other"})
    assert run_key(plain) == run_key(renamed)
    assert default_run_dir(plain) != default_run_dir(renamed)


def test_the_key_changes_with_torch_but_not_with_its_build(monkeypatch):
    cfg, found = load_config("configs/smoke.yaml"), versions()
    keys = []
    for version in ("9.1.0", "9.1.0+cpu", "9.1.1"):
        monkeypatch.setattr(records, "versions", lambda version=version: found | {"torch": version})
        keys.append(run_key(cfg))
    assert keys[0] == keys[1] != keys[2]


def test_comments_docstrings_and_layout_do_not_change_the_source_hash(library, original):
    for name in ("coverage", "training", "model"):
        file = library / f"{name}.py"
        text = file.read_text(encoding="utf-8")
        file.write_text("# a remark\n\n" + text.replace("\n\n\n", "\n\n\n\n# another\n\n"), encoding="utf-8")
    edit(library / "coverage.py", '"""Number of different operations among the indices."""', '"""Another text."""')
    edit(
        library / "coverage.py",
        'def distinct(indices: Int[Tensor, "n"]) -> int:',
        'def distinct(\n    indices: Int[Tensor, "n"],\n) -> int:',
    )
    edit(library / "model.py", '"""Both pathways\' outputs."""', '"""A class\'s docstring, longer."""')
    assert source_hash() == original


@pytest.mark.parametrize("name", TRAINING_MODULES)
def test_any_change_of_code_in_any_training_module_changes_the_hash(library, original, name):
    with open(library / f"{name}.py", "a", encoding="utf-8") as file:
        file.write("\nADDED = 1\n")
    assert source_hash() != original


def test_a_changed_number_changes_the_hash_and_changing_it_back_restores_it(library, original):
    edit(library / "coverage.py", "CHUNK = 1_024", "CHUNK = 2_048")
    assert source_hash() != original
    edit(library / "coverage.py", "CHUNK = 2_048", "CHUNK = 1024")
    assert source_hash() == original


def test_a_docstring_is_not_confused_with_other_text(library, original):
    edit(library / "coverage.py", 'raise ValueError(f"num_samples', 'raise ValueError(f"number')
    assert source_hash() != original


def test_everything_a_training_module_imports_from_the_library_is_counted_or_makes_no_numbers():
    # config is hashed by value; the others store, show, describe or refuse
    elsewhere = {"config", "checkpoint", "records", "progress", "files", "health", "settings", "strict_yaml"}
    for name in TRAINING_MODULES:
        text = (SOURCE / f"{name}.py").read_text(encoding="utf-8")
        imported = set(re.findall(r"^from ternary_lib\.(\w+) import", text, re.M))
        for line in re.findall(r"^from ternary_lib import (.+)$", text, re.M):
            imported |= {word.strip() for word in line.split(",")}
        assert imported <= {*TRAINING_MODULES, *elsewhere}, f"{name} imports {imported}"


def test_run_directories_lie_under_the_project():
    cfg = load_config("configs/smoke.yaml", {"seed": 7})
    assert default_run_dir(cfg) == PROJECT_ROOT / "runs" / f"smoke-seed7-{run_key(cfg)}"


# ------------------------------------------------------------------------------------------------ provenance


def test_versions_name_python_and_every_package():
    found = versions()
    assert set(found) == {"python", *records.PACKAGES}
    assert all(re.match(r"\d+\.\d+", value) for value in found.values())


def test_a_package_that_is_not_there_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(records, "PACKAGES", ("torch", "no-such-package-anywhere"))
    assert versions()["no-such-package-anywhere"] == "not installed"


def test_hardware_names_the_machine():
    found = hardware()
    assert found["cpu"] and found["cores"] == os.cpu_count() and " " in found["system"]


def test_hardware_without_proc_still_answers(monkeypatch):
    def nothing(*args, **kwargs):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", nothing)
    assert hardware()["cpu"]


def test_library_commit_is_a_commit_or_none(monkeypatch):
    commit = library_commit()
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", commit)

    def fail(*args):
        raise FileNotFoundError("git")

    monkeypatch.setattr(records, "_git", fail)
    assert library_commit() is None


def test_library_commit_says_when_files_differ(monkeypatch):
    answers = {"rev-parse": "a" * 40, "status": " M README.md"}
    monkeypatch.setattr(records, "_git", lambda command, *rest: answers[command])
    assert library_commit() == "a" * 40 + "+changes"
    answers["status"] = ""
    assert library_commit() == "a" * 40


# ------------------------------------------------------------------------------------------------------ JSON

RECORD = {
    "name": "smoke",
    "seed": 42,
    "missing": None,
    "seconds": {"total": 1.5, "evaluate": 0.1},
    "final": {"a": {"missed": [1, 2, 3], "empty": {}}, "b": {"missed": []}},
    "history": {"epoch": [0, 1], "validation.total": [1.0, 0.1 + 0.2], "τ": [1e-300, -0.0]},
    "nothing": {},
    "text": 'a "quoted" line\nand another, ≥ ü',
}


def test_what_is_written_is_read_back_exactly(tmp_path):
    write_json(tmp_path / "record.json", RECORD)
    back = read_json(tmp_path / "record.json")
    assert back == RECORD
    assert list(back) == list(RECORD) and list(back["history"]) == list(RECORD["history"])
    assert math.copysign(1, back["history"]["τ"][1]) == -1


def test_a_column_of_the_history_is_one_line(tmp_path):
    write_json(tmp_path / "record.json", RECORD)
    lines = (tmp_path / "record.json").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "{" and lines[-1] == "}"
    assert ' "name": "smoke",' in lines
    assert '  "epoch": [0, 1],' in lines
    assert '  "a": {"missed": [1, 2, 3], "empty": {}},' in lines
    assert sum('"missed"' in line for line in lines) == 2


def test_one_changed_number_changes_one_line(tmp_path):
    changed = json.loads(json.dumps(RECORD))
    changed["history"]["validation.total"][0] = 2.0
    write_json(tmp_path / "one.json", RECORD)
    write_json(tmp_path / "two.json", changed)
    one, two = ((tmp_path / name).read_text(encoding="utf-8").splitlines() for name in ("one.json", "two.json"))
    assert len(one) == len(two)
    assert sum(a != b for a, b in zip(one, two, strict=True)) == 1


def test_writing_replaces_atomically(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_json(path, {"seed": 1})

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"seed": 2})
    assert read_json(path) == {"seed": 1}
    assert os.listdir(tmp_path) == ["record.json"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not readable as JSON"),
        (b"{", "not readable as JSON"),
        (b'{"a": 1,\n\n "b": }', "not readable as JSON"),
        (b"\xff\xfe\x00", "not readable as JSON"),
        (b"[" * 200_000, "not readable as JSON"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not readable as JSON"),
        (b"[1, 2]", "expected a JSON object"),
        (b'"text"', "expected a JSON object"),
        (b"null", "expected a JSON object"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_bad_record_is_refused_in_one_line_that_names_it(tmp_path, data, reason):
    path = tmp_path / "record.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_json(path)
    assert reason in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(path)) + 300


def test_a_missing_record_and_a_directory_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.json: no such record"):
        read_json(tmp_path / "nothing.json")
    with pytest.raises(ConfigError, match="not readable"):
        read_json(tmp_path)


def test_committed_records_are_found_where_the_environment_says(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    record = load_record("ternary_v6_seed42")
    monkeypatch.setenv("TERNARY_RESULTS", str(tmp_path))
    mine = record | {"seed": 1, "config": record["config"] | {"seed": 1}}
    write_json(tmp_path / "runs" / "mine_seed1.json", mine)
    assert load_record("mine_seed1") == mine
    write_json(tmp_path / "runs" / "other_seed1.json", record | {"seed": 1})
    with pytest.raises(ConfigError, match=r"other_seed1.json: no record of a run: config: expected the record's own seed, 1"):
        load_record("other_seed1")
    write_json(tmp_path / "runs" / "half_seed1.json", {"seed": 1})
    with pytest.raises(ConfigError, match=r"half_seed1.json: no record of a run: name: field required"):
        load_record("half_seed1")
    with pytest.raises(ConfigError, match="no such record"):
        load_record("other")
    monkeypatch.setenv("TERNARY_RESULTS", "")
    assert results_dir() == PROJECT_ROOT / "results"


def test_the_configuration_in_a_record_gives_its_own_hash_again(tmp_path):
    from ternary_lib.config import config_from_mapping

    cfg = load_config("configs/ternary_v5_5_published.yaml")
    write_json(tmp_path / "record.json", {"config": cfg.model_dump(mode="json")})
    again = config_from_mapping(read_json(tmp_path / "record.json")["config"])
    assert again == cfg
    assert config_hash(again) == config_hash(cfg)


# --- the committed records ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ternary_v5_5", "ternary_v5_5_published"])
def test_committed_records_are_of_the_shipped_configurations(name):
    config, record = load_config(f"configs/{name}.yaml"), records.load_record(f"{name}_seed42")
    assert records.same_config(record, config), "the configuration changed: make results"
    assert record["seed"] == config.seed == 42
    assert {len(column) for column in record["history"].values()} == {config.schedules.total_epochs}
    assert record["versions"]["torch"].startswith("2.13.0")
    assert set(record["final"]) == {"a", "b"}


def test_the_readmes_picture_is_drawn_from_the_committed_record():
    from ternary_lib.pages import readme_picture

    drawn = readme_picture(records.load_record("ternary_v5_5_seed42"))
    assert (records.results_dir() / "headline.svg").read_text(encoding="utf-8") == drawn, "make results"
