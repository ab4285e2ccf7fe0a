"""The collector of what tests notice is held against results that are too poor."""

import json

import pytest

from benchmarks import noticed
from ternary_lib import records

DIFF = """# ternary_lib.losses.x_kl_divergence__mutmut_7: survived
--- ternary_lib/losses.py
+++ ternary_lib/losses.py
@@ -1,2 +1,2 @@
 def kl_divergence(mu, logvar):
-    return -0.5 * x
+    return +0.5 * x
"""
MUTANT = noticed.Mutant("losses.kl_divergence", "return -0.5 * x", "return +0.5 * x")


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """A folder as mutmut leaves it: twenty mutants, one of which survived."""
    folder = tmp_path / "mutants" / "ternary_lib"
    folder.mkdir(parents=True)
    codes = {f"ternary_lib.losses.x_kl_divergence__mutmut_{k}": 0 if k == 7 else 1 for k in range(20)}
    (folder / "losses.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    (folder / "cli.py.meta").write_text(json.dumps({"exit_code_by_key": {}}))
    monkeypatch.setattr(noticed, "_mutmut", lambda *_: DIFF)
    monkeypatch.setattr(noticed, "REASONS", tmp_path / "mutants.yaml")
    (tmp_path / "mutants.yaml").write_text("[]")
    return tmp_path


def run(folder, *arguments):
    return noticed.main([*arguments, "--output", str(folder / "noticed.json")])


def test_a_diff_is_read():
    assert noticed.read_diff(DIFF) == MUTANT
    with pytest.raises(ValueError, match="expected a mutant"):
        noticed.read_diff("# another.module.x_f__mutmut_1: survived")


def test_a_survivor_needs_a_reason_and_a_reason_its_survivor(tried, capsys):
    assert run(tried, "--mutants", str(tried / "mutants")) == 1
    assert "gives no reason" in capsys.readouterr().err
    (tried / "mutants.yaml").write_text(json.dumps([{**MUTANT._asdict(), "reason": "the sign is lost on x = 0"}]))
    assert run(tried, "--mutants", str(tried / "mutants")) == 0
    found = records.read_json(tried / "noticed.json")["mutants"]
    assert found["modules"] == {"losses": {"all": 20, "killed": 19}}
    assert found["survivors"][0]["reason"] == "the sign is lost on x = 0"
    assert noticed.unexplained([], {MUTANT: "of old"}) == [f"{MUTANT}: has a reason in mutants.yaml and does not survive"]


def test_mutants_that_were_not_tried_are_no_result(tried):
    path = tried / "mutants" / "ternary_lib" / "losses.py.meta"
    path.write_text(path.read_text().replace(": 0", ": null"))
    with pytest.raises(SystemExit, match="not every mutant has been tried"):
        run(tried, "--mutants", str(tried / "mutants"))


def test_too_few_branches_are_named_and_the_other_part_of_the_record_stays(tried, capsys):
    run(tried, "--mutants", str(tried / "mutants"))
    totals = {"num_statements": 100, "covered_lines": 95, "num_branches": 100, "covered_branches": 94}
    (tried / "coverage.json").write_text(json.dumps({"totals": totals}))
    capsys.readouterr()
    assert run(tried, "--coverage", str(tried / "coverage.json")) == 1
    assert capsys.readouterr().err == "branches: 94 of 100 reached, fewer than 95%\n"
    assert set(records.read_json(tried / "noticed.json")) == {"mutants", "coverage"}
