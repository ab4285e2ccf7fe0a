"""The ledger in words: digits, signs, intervals, boxes and links."""

import re

import pytest
from ledgers import SOUND, changed

from ternary_lib import computed_facts, ledger, ledger_words
from ternary_lib.config import ConfigError
from ternary_lib.ledger import Measurement, Value


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (97.64321, 0.1234, "97.64"), (97.64321, 12.3, "98"), (-0.0001, 0.5, "0"), (19683.0, None, "19,683"), (-0.25, None, "−0.25"),
        (1.1921e-07, None, "1.2·10⁻⁷"), (0.0, None, "0"), (99.99501, None, "99.995"), (73740.65, None, "73,741"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_leaves_it(value, half, text):
    assert ledger_words.spell(value, half) == text


def test_a_difference_carries_its_sign_its_interval_and_its_n():
    value = Value(n=5, mean=0.1234, sd=0.01, low=0.1, high=0.15, least=0.1, most=0.2)
    m = Measurement(name="d", label="xyz", quantity="imbalance", records="sweeps/ablations/tau_1", against="full", unit="nats", value=value)
    assert ledger_words.spell_value(m).replace("\u00a0", " ") == "+0.123 nats (95 % interval +0.100 to +0.150, n = 5)"
    assert "n\u00a0=\u00a00" in ledger_words.spell_value(m.model_copy(update={"value": Value(n=0)}))


def test_a_card_says_everything_and_needs_no_colour():
    text = ledger_words.card(SOUND[0].model_copy(update={"claim": "x < y is claimed, and so on"}))
    assert "✗\u00a0refuted" in text and 'id="claim-nine-bit"' in text
    assert "README, “Overview”" in text and "They are 14.3." in text
    assert "14.265" in text and "(exact)" in text
    assert "{ref}`Theory: the domain and its limit <chapter-theory>`" in text and "One table by hand" in text
    assert "pytest tests/test_model.py::test_parameter_counts" in text and "bits.mean == 9" in text
    assert text.count("<div") == text.count("</div>") == 1


def test_the_same_number_of_both_pathways_shares_a_line():
    first, second = SOUND[0].measured
    pair = [first.model_copy(update={"label": "bits, A"}), second.model_copy(update={"label": "bits, B"})]
    assert "- bits: A **14.265** (exact), B " in ledger_words.card(SOUND[0].model_copy(update={"measured": pair}))
    assert "B **400** (n" in ledger_words.card(SOUND[0].model_copy(update={"measured": pair}))
    assert "- bits, B: **400** (n" in ledger_words.card(SOUND[0].model_copy(update={"measured": pair[::-1]}))


class TwoSeeds:
    """A store of two seeds of one variant, three and four epochs in balance of four, and of another, always in balance."""

    def of(self, name):
        gates = {"sweeps/ladder/v5_2": ([1, 1, 1, 0], [1, 1, 1, 1]), "sweeps/ladder/v5_3": ([1, 1, 1, 1],) * 2}[name]
        return {seed: {"history": {"epoch": [0, 1, 2, 3], "gate_open": gate}} for seed, gate in enumerate(gates)}


def test_what_a_rule_reads_is_shown_seed_by_seed_and_nothing_else():
    given = {"first": 0, "last": 9}
    one = Measurement(name="one", label="in balance, v5.2", unit="%", quantity="in_balance", given=given, records="sweeps/ladder/v5_2")
    more = one.model_copy(update={"name": "more", "label": "more in v5.3", "records": "sweeps/ladder/v5_3", "against": "v5_2"})
    idle = one.model_copy(update={"name": "idle", "label": "not read"})
    store = TwoSeeds()
    measured = [m.model_copy(update={"value": ledger.measure(m, store)}) for m in (one, more, idle)]
    (claim,) = changed(SOUND, measured=measured, rule=ledger.Rule(confirmed="one.low > 0 and more.low > 0"), verdict="partly", reason="So.")
    rows = ledger_words.seed_rows(claim, store)
    assert [(row["measured"], row["seed by seed"]) for row in rows] == [("in balance, v5.2, %", "75, 100"), ("more in v5.3, %", "+25, 0")]
    assert rows[0]["mean [95 %]"] == "88 [−71, 246]" and rows[1]["mean [95 %]"].startswith("+12 [")
    assert "<li>more in v5.3, %: +25, 0</li>" in ledger_words.card(claim, store=store)
    (exact,) = changed(SOUND, rule=None, verdict="not testable", reason="So.")
    assert ledger_words.seed_rows(exact, store) == [] and "seed by seed" not in ledger_words.card(exact, store=store)


def test_a_page_without_a_label_is_named_by_its_file():
    assert ledger_words.link("03_training") == "{doc}`Training: the production run <03_training>`"
    assert ledger_words.link("metrics", "what is measured") == "{doc}`what is measured <../metrics>`"
    with pytest.raises(ConfigError, match="no page has the label chapter-nobody"):
        ledger_words.link("chapter-nobody")


def test_the_gist_is_the_first_sentence():
    long = SOUND[0].model_copy(update={"claim": "A covers 97.64 % of all. The mode is not stated."})
    assert ledger_words.gist(long) == "A covers 97.64 % of all."
    assert ledger_words.gist(SOUND[0]) == "A table is nine bits long, it is said."


def test_cards_are_markdown_whose_boxes_close():
    store = ledger.Store()
    for claim in ledger.load():
        lines = ledger_words.card(claim, store=store).split("\n\n")
        assert lines[0].startswith("<div") and lines[-1] == "</div>"
        assert not any(line.startswith(" ") for line in lines), "four spaces would make it code"


def test_a_tally_counts_every_verdict_and_names_what_waits_only_where_something_does():
    verdicts = ["confirmed", "refuted", "refuted", "not testable"]
    claims = [SOUND[0].model_copy(update={"verdict": verdict}) for verdict in verdicts]
    done = ledger_words.tally(claims)
    assert "Of 4 statements, 1 holds as it stands, 0 hold in part and 2 do not hold; 1 cannot be decided" in done and "wait" not in done
    claims.append(SOUND[0].model_copy(update={"verdict": "pending"}))
    assert "1 waits for runs that are not recorded in this checkout." in ledger_words.tally(claims)


def test_an_entry_that_only_its_card_shows_says_so():
    (alone,) = changed(SOUND, shown_in=["chapter-claims#Architecture and counts"])
    assert "No other page shows it." in ledger_words.card(alone) and "Shown in" not in ledger_words.card(alone)
    (by_hand,) = changed(SOUND, shown_in=["chapter-claims#One entry by hand"])
    assert "One entry by hand" in ledger_words.card(by_hand)


def test_an_entry_that_two_sections_show_names_both():
    (twice,) = changed(SOUND, shown_in=["chapter-theory#One table by hand", "chapter-claims#One entry by hand"])
    assert re.search(r"Shown in .*, \*One table by hand\*; .*, \*One entry by hand\*\.", ledger_words.card(twice))


def test_what_rests_on_one_draw_is_not_called_exact():
    assert computed_facts.OF_SEED_42 <= computed_facts.FACTS.keys()
    drawn = Measurement(name="d", label="a draw", quantity="spread", value=Value(n="exact", mean=0.82))
    assert ledger_words.spell_value(drawn) == "0.82 (seed 42)"
