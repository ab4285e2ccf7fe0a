"""The tables of the page on reliability: every figure from its record, and no table where there is none."""

import re

import pytest

from ternary_lib import records, robustness

MADE = {"started": "2026-01-02T03:04:05+00:00", "hardware": {"cores": 2}}
RECORDS = {
    "reliability": {
        **MADE,
        "seed": 0,
        "training": {
            "trials": 30,
            "kills": 36,
            "missed": 4,
            "same": 28,
            "half_written": 7,
            "something_kept": 25,
            "kept": 61,
            "redone": 2,
            "struck": {"time": 19, "main": 17, "worker": 0},
            "seconds_alone": 4.4,
            "each": [{}] * 30,
        },
    },
    "mistakes": {
        **MADE,
        "kinds": {
            "configuration": {"made": 1000, "answered": 999, "meant": 70, "faults": ["seed: a traceback"]},
            "checkpoint": {"made": 30, "answered": 30, "meant": 0, "faults": []},
        },
    },
    "fuzz": {
        **MADE,
        "loaders": {
            "configuration": {"inputs": 1900, "refused": 1800, "read": 98, "other": 2, "faults": ["x"], "slowest_s": 0.5},
            "sweep": {"inputs": 100, "refused": 90, "read": 10, "other": 0, "faults": [], "slowest_s": 0.25},
        },
    },
    "machines": {
        "pythons": {
            "3.13.0": {
                **MADE,
                "main_job": {
                    "status": 0, "seconds": 21.4, "evaluates_to_the_same": True, "left": ["run"], "versions": {"torch": "2.13.0+cu130"}
                },
                "tests": {"status": 1, "passed": 3000, "failed": 1, "skipped": 6, "failures": ["FAILED tests/test_x.py::test_y@x - z"]},
            },
            "3.12.1": {**MADE, "main_job": {"status": 1, "error": "no room"}},
        },
    },
    "dependencies": {
        "packages": [{"family": "permissive"}, {"family": "permissive"}, {"family": "weak copyleft"}, {"family": "mixed"}],
        "audit": {"asked": False, "why": "no answer"},
    },
    "noticed": {
        "coverage": {**MADE, "parts": {"lines": {"all": 2000, "reached": 1990}, "branches": {"all": 50, "reached": 48}}},
        "mutants": {
            **MADE,
            "modules": {"losses": {"all": 20, "killed": 19}},
            "survivors": [{"where": "losses.f", "before": "x = 1", "after": "x = 2", "reason": "x is not used."}],
        },
    },
}


@pytest.fixture
def made(tmp_path):
    for name, record in RECORDS.items():
        records.write_json(tmp_path / f"{name}.json", record)
    return tmp_path


def test_records_become_the_tables_of_the_page(made):
    found = robustness.tables(made)
    assert "| training | 30 | 28 | 7 | 25 | 61 | 2 | 4 |\n" in found["kills"] and "2026-01-02 on 2 cores" in found["kills"]
    assert "| training | 36 | 19 | 17 | — | 4 |\n" in found["kills"]
    assert "| configuration | 1,000 | 999 | 70 |\n| checkpoint | 30 | 30 | — |\n| **all** | 1,030 | 1,029 | 70 |\n" in found["mistakes"]
    assert "| configuration | 1,900 | 1,800 | 98 | 2 | 0.50 |\n" in found["files"]
    assert "| **all** | 2,000 | 1,890 | 108 | 2 | 0.50 |\n" in found["files"]
    assert "| permissive | 2 |\n" in found["packages"] and "| **all** | 4 |\n" in found["packages"]
    assert found["packages"].endswith("Known vulnerabilities: no answer.\n")
    assert "| 3.12.1 | — | no | others | — | — | — |\n" in found["machines"]
    assert "| 3.13.0 | 2.13.0+cu130 | yes, in 21 s | the same | 3,000 | 1 | 6 |\n" in found["machines"]
    assert "\n\n- Python 3.13.0: `tests/test_x.py::test_y` failed.\n\n" in found["machines"]
    assert "| lines | 2,000 | 1,990 | 99.5% |\n" in found["tests"] and "| `losses` | 20 | 19 | 95.0% |\n" in found["tests"]
    assert found["survivors"] == "- `losses.f`: `x = 1` became `x = 2`. x is not used.\n"


def test_every_table_has_one_heading_and_as_many_cells_in_each_row(made):
    for name in ("kills", "mistakes", "files", "machines", "packages", "tests"):
        for block in robustness.tables(made)[name].split("\n\n"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            assert len({row.count("|") for row in rows}) <= 1, name
            assert not rows or set(rows[1]) == set("| -")


def test_a_checkout_without_records_says_what_makes_them(tmp_path):
    found = robustness.tables(tmp_path)
    assert all(text.startswith("*No record") and re.search("`(make|python -m) ", text) and text.count("\n") == 1 for text in found.values())


def test_an_audit_that_was_answered_gives_its_number(tmp_path):
    answered = {"asked": True, "packages": 4, "vulnerabilities": []}
    records.write_json(tmp_path / "dependencies.json", RECORDS["dependencies"] | {"audit": answered})
    assert "Known vulnerabilities: 0 known, of 4 packages asked about." in robustness.tables(tmp_path)["packages"]


def test_no_survivor_is_said_in_a_sentence(tmp_path):
    records.write_json(tmp_path / "noticed.json", {"mutants": RECORDS["noticed"]["mutants"] | {"survivors": []}})
    assert robustness.tables(tmp_path)["survivors"] == "*None survived.*\n"
