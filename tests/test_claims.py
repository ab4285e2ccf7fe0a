"""The ledger's command: it shows, checks and updates, and refuses in one line."""

import pytest
from ledgers import SOUND, with_value

from ternary_lib import claims, ledger, records
from ternary_lib.ledger import Value


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A results folder that holds the small ledger, and the run it reads."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "ternary_v5_5_seed42.json").symlink_to(records.results_dir().resolve() / "runs" / "ternary_v5_5_seed42.json")
    monkeypatch.setenv("TERNARY_RESULTS", str(tmp_path))
    ledger.ledger_path().write_text(ledger.dump(SOUND), encoding="utf-8")
    return ledger.ledger_path()


def test_the_command_checks_updates_and_shows(elsewhere, capsys):
    assert claims.main(["--check"]) == 0
    elsewhere.write_text(ledger.dump(with_value(SOUND, 0, Value(n="exact", mean=9.0))), encoding="utf-8")
    assert claims.main(["--check"]) == 1
    assert "nine-bit: bits: the stored value is" in capsys.readouterr().err
    assert claims.main(["--update"]) == 0
    assert elsewhere.read_text(encoding="utf-8") == ledger.dump(SOUND)
    assert claims.main(["nine-bit"]) == 0
    shown = capsys.readouterr().out
    assert "14.265 (exact)" in shown and "They are 14.3." in shown


def test_bad_input_is_one_line(elsewhere, capsys):
    assert claims.main(["nine-bits"]) == 2
    assert "did you mean 'nine-bit'" in capsys.readouterr().err
    elsewhere.unlink()
    assert claims.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1
