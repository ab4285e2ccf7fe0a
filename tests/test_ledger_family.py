"""Holm's correction over the ledger's paired differences, by hand."""

import pytest

from ternary_lib import ledger, ledger_family
from ternary_lib.comparison import p_value
from ternary_lib.ledger import Claim, Measurement, Rule, Value


def entry(name, value, metric="late_efficiency", verdict="confirmed"):
    """An entry whose verdict is whether one difference is clear."""
    m = Measurement(
        name="d", label=f"{name}, less", quantity="metric", given={"name": metric, "pathway": "a"},
        records="sweeps/ablations/tau_1", against="full", value=value,
    )  # fmt: skip
    return Claim(
        id=name, topic="losses", source=[{"document": "README", "section": "Overview"}], claim="More of it is more of that.",
        test="python -m ternary_lib.claims", rule=Rule(confirmed="d.low > 0", otherwise="refuted"), measured=[m], verdict=verdict,
        reason="So it was.", shown_in=["chapter-claims"],
    )  # fmt: skip


def value(mean, sd, n=5):
    return Value(n=n, mean=mean, sd=sd, low=mean - 1.2416639 * sd, high=mean + 1.2416639 * sd, least=0, most=0)  # t(0.975; 4)/√5


STRONG, WEAK, NONE = value(1.0, 0.05), value(1.0, 0.7), value(0.1, 1.0)  # p = 1.5e-6, 0.033 and 0.83


def test_p_from_mean_and_sd_is_that_of_the_paired_t_test():
    """Five differences of mean 1 and sd 0.7: t = 3.194, p = 0.0331 with 4 degrees of freedom."""
    assert p_value(5, 1.0, 0.7) == pytest.approx(0.0331, abs=1e-4)
    assert (p_value(5, 0.0, 0.0), p_value(5, 0.2, 0.0)) == (1, 0)


def test_what_is_clear_alone_need_not_be_clear_among_many():
    claims = [entry("strong", STRONG), entry("weak", WEAK, "rate"), entry("none", NONE, "distortion", "refuted")]
    assert [c.verdict for c in claims] == [ledger.decide(c) for c in claims]
    found = ledger_family.paired_numbers(claims)
    assert [ledger_family.clear(v) for v in found.values()] == [True, True, False]
    assert list(ledger_family.corrected(found).values()) == pytest.approx([4.5e-6, 0.0663, 0.83], rel=0.03)  # times 3, 2 and 1
    assert ledger_family.resting_on_unclear(claims) == ["weak"]


def test_one_difference_in_two_entries_is_one_test():
    claims = [entry("one", WEAK), entry("two", WEAK)]
    assert len(ledger_family.paired_numbers(claims)) == 1
    assert ledger_family.resting_on_unclear(claims) == []


def test_a_verdict_that_needs_no_clear_difference_does_not_rest_on_one():
    small = entry("small", value(0.001, 0.0007), verdict="refuted")
    small = small.model_copy(update={"rule": Rule(refuted="d.high < 0.01", otherwise="not testable")})
    claims = [small, entry("strong", STRONG, "rate"), entry("none", NONE, "distortion", "refuted")]
    assert ledger_family.clear(small.measured[0].value) and ledger_family.resting_on_unclear(claims) == []


def test_entries_without_records_are_no_part_of_it():
    assert ledger_family.paired_numbers([entry("waits", Value(n=0), verdict="pending")]) == {}
    assert ledger_family.resting_on_unclear([entry("waits", Value(n=0), verdict="pending")]) == []
