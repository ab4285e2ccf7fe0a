"""What the page on reliability reads from the records."""

from ternary_lib import records, robustness

RECORDS = {
    "reliability": {"seed": 0, "training": {"trials": 3, "kills": 2, "same": 3, "half_written": 0, "each": [{}, {}, {}]}},
    "fuzz": {"loaders": {"configuration": {"inputs": 9, "refused": 7, "read": 1, "faults": ["a traceback"]}}},
    "dependencies": {
        "packages": [{"family": "permissive"}, {"family": "permissive"}, {"family": "weak copyleft"}, {"family": "mixed"}],
        "audit": {"asked": False, "why": "no answer"},
    },
    "noticed": {
        "coverage": {"parts": {"lines": {"all": 200, "reached": 199}, "branches": {"all": 50, "reached": 48}}},
        "mutants": {
            "modules": {"losses": {"all": 20, "killed": 19}},
            "survivors": [{"where": "losses.f", "before": "x = 1", "after": "x = 2", "reason": "x is not used."}],
        },
    },
}


def test_records_become_the_figures_of_the_page(tmp_path):
    for name, record in RECORDS.items():
        records.write_json(tmp_path / f"{name}.json", record)
    found = robustness.figures(tmp_path)
    assert found["reliability"] == {"training": {"trials": 3, "kills": 2, "same": 3, "half_written": 0}}
    assert found["fuzz"]["configuration"]["faults"] == 1
    assert found["dependencies"] == {"packages": 4, "permissive": 2, "weak": 1, "mixed": 1, "audit": "not known: no answer"}
    assert found["coverage"] == {"lines": 0.995, "branches": 0.96}
    assert found["mutants"] == {"losses": {"all": 20, "killed": 19, "share": 0.95}}
    assert robustness.survivors_page(tmp_path) == "- `losses.f`: `x = 1` became `x = 2`. x is not used.\n"


def test_a_checkout_without_records_has_no_figures(tmp_path):
    assert not any(robustness.figures(tmp_path).values())
    assert robustness.survivors_page(tmp_path).startswith("*None")


def test_an_audit_that_was_answered_gives_its_number(tmp_path):
    answered = {"asked": True, "packages": 4, "vulnerabilities": []}
    records.write_json(tmp_path / "dependencies.json", RECORDS["dependencies"] | {"audit": answered})
    assert robustness.figures(tmp_path)["dependencies"]["audit"] == "0, of 4 packages asked about"
