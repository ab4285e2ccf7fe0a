"""The ledger's checker, on a ledger broken in every way that it is to find out."""

import pytest
from ledgers import SOUND, changed, with_measurement, with_value

from ternary_lib import ledger_check
from ternary_lib.config import ConfigError
from ternary_lib.ledger import Rule, Value, update


def test_the_small_ledger_is_sound():
    assert ledger_check.check(SOUND) == []


SWEEP = "ternary sweep configs/sweeps/ablations.yaml"
BREAKS = {
    "another number": (lambda s: with_value(s, 0, Value(n="exact", mean=14.28)), "measured is n exact, mean 14.2647"),
    "another number of a run": (lambda s: with_value(s, 1, Value(n=1, mean=399.0, least=399.0, most=399.0)), "measured is"),
    "another n": (lambda s: with_value(s, 1, Value(n=2, mean=400.0, least=400.0, most=400.0)), "measured is"),
    "an interval of one value": (lambda s: with_value(s, 1, Value(n=1, mean=400.0, low=1.0, least=400.0, most=400.0)), "measured is"),
    "no number": (lambda s: with_value(s, 0, None), "no value"),
    "another verdict": (lambda s: changed(s, verdict="confirmed"), "its rule gives 'refuted'"),
    "pending without need": (lambda s: changed(s, verdict="pending"), "its rule gives 'refuted'"),
    "nothing measured": (lambda s: changed(s, measured=[]), "nothing is measured"),
    "an unknown quantity": (lambda s: with_measurement(s, quantity="bits_of_a_tabel"), "did you mean 'bits_of_a_table'"),
    "a quantity given what it does not take": (lambda s: with_measurement(s, given={"epoch": 3}), "cannot be measured"),
    "no such record": (lambda s: with_measurement(s, quantity="epochs_trained", records="runs/nobody"), "no such record"),
    "no such variant": (lambda s: with_measurement(s, quantity="epochs_trained", records="sweeps/ablations/nobody"), "cannot be measured"),
    "a name given twice": (lambda s: with_measurement(s, name="one"), "the name one is given twice"),
    "an unknown topic": (lambda s: changed(s, topic="coverige"), "did you mean 'coverage'"),
    "an id given twice": (lambda s: s * 2, "the id is given twice"),
    "a rule of what was not measured": (lambda s: changed(s, rule=Rule(confirmed="bites.mean == 9")), "rule reads bites"),
    "a rule of a single run": (lambda s: changed(s, rule=Rule(confirmed="one.mean == 9")), "a single run"),
    "a rule of released networks": (lambda s: with_measurement(s, quantity="drawn_elsewhere", given={"tau": 0.0}), "bits, a single run"),
    "a rule of no number": (lambda s: changed(s, rule=Rule(confirmed="bits.median == 9")), "no attribute"),
    "a rule that contradicts itself": (lambda s: changed(s, rule=Rule(confirmed="bits.mean > 1", refuted="bits.mean > 2")), "at once"),
    "a rule that is code": (lambda s: changed(s, rule=Rule(confirmed="[x for x in (1,)]")), "only comparisons"),
    "a rule that calls": (lambda s: changed(s, rule=Rule(confirmed="bits.mean.hex()")), "only comparisons"),
    "a rule that is no condition": (lambda s: changed(s, rule=Rule(confirmed="bits >")), "not a condition"),
    "no words for a verdict that can come": (lambda s: changed(s, reason={"refuted": "No."}), "no reason for the verdict 'confirmed'"),
    "empty words": (lambda s: changed(s, reason=" "), "no reason for the verdict"),
    "words with an unknown number": (lambda s: changed(s, reason="It is {bytes.mean}."), "reason: cannot be filled in"),
    "a test that is not there": (lambda s: changed(s, test="pytest tests/test_model.py::test_nothing"), "has no test_nothing"),
    "a test in a file that is not there": (lambda s: changed(s, test="pytest tests/test_nobody.py"), "tests/test_nobody.py does not exist"),
    "a program of somebody else": (lambda s: changed(s, test="curl example.org"), "none of this project's commands"),
    "a target that make does not have": (lambda s: changed(s, test="make nothing"), "the Makefile has no nothing"),
    "an unknown command": (lambda s: changed(s, test="ternary swep configs/sweeps/ablations.yaml"), "not a command that runs"),
    "an unknown option": (lambda s: changed(s, test=f"{SWEEP} --onli full"), "not a command that runs"),
    "a sweep that is not there": (lambda s: changed(s, test="ternary sweep configs/sweeps/nobody.yaml"), "does not exist"),
    "a variant that is not there": (lambda s: changed(s, test=f"{SWEEP} --only nobody"), "no variant nobody"),
    "a notebook that is not there": (lambda s: changed(s, test="ternary notebook 99_nobody"), "no notebook 99_nobody"),
    "a second command that is not there": (lambda s: changed(s, test=f"{SWEEP} && pytest tests/test_nobody.py"), "does not exist"),
    "a label that is not there": (lambda s: changed(s, shown_in=["chapter-nobody"]), "no page has this label"),
    "a section that is not there": (
        lambda s: changed(s, shown_in=[*s[0].shown_in, "chapter-theory#One tabel by hand"]), "did you mean 'One table by hand'",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_ledger_is_found_out(name):
    broken, words = BREAKS[name]
    faults = ledger_check.check(broken(SOUND))
    assert faults and all(fault.startswith("nine-bit: ") for fault in faults)
    assert any(words in fault for fault in faults), faults


@pytest.mark.parametrize("name", ["an unknown quantity", "a quantity given what it does not take", "no such record", "no such variant"])
def test_what_cannot_be_measured_is_named_in_one_line(name):
    with pytest.raises(ConfigError, match="^nine-bit: bits cannot be measured: [^\n]*$"):
        update(BREAKS[name][0](SOUND))


def test_a_page_without_a_label_is_named_by_its_file():
    assert ledger_check.link_faults("metrics") == []
