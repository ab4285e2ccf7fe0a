"""The claims ledger against its records, its rules against made-up records, and the checker against broken ledgers."""

from __future__ import annotations

import copy
import random
from types import SimpleNamespace

import pytest

from ternary_lib import claims, records
from ternary_lib.claims import Claim, Measurement, Rule, Value
from ternary_lib.config import ConfigError, load_config
from ternary_lib.coverage import efficiency
from ternary_lib.operations import NUM_OPERATIONS
from ternary_lib.quantities import FACTS, OF_RECORD
from ternary_lib.sweeps import load_sweep

pytestmark = pytest.mark.usefixtures("one_thread")
EVERY = 10


@pytest.fixture(scope="module")
def ledger():
    return claims.load()


@pytest.fixture(scope="module")
def run():
    return records.load_record("ternary_v5_5_seed42")


# --- the ledger itself -------------------------------------------------------------------------------------------


def test_the_committed_ledger_has_no_fault(ledger):
    assert claims.check(ledger) == []


def test_it_is_written_in_the_layout_of_its_updates(ledger):
    assert claims.ledger_path().read_text(encoding="utf-8") == claims.dump(ledger)


def test_every_topic_and_every_kind_of_verdict_occurs(ledger):
    assert {claim.topic for claim in ledger} == claims.TOPICS.keys()
    assert {claim.verdict for claim in ledger} - {"pending"} == claims.MARKS.keys() - {"pending"}
    assert len(ledger) > 50


MUST_BE_THERE = """
    coverage-a coverage-b coverage-argmax coverage-categorical complete-epochs monotonic best-loss hours seconds nine-bit low-beta rho-one
    theorem-1 theorem-1-total theorem-2 theorem-3-phase-1 theorem-3-phase-4 theorem-4-latent theorem-4-cmin beta-lag tau-b-boost
    alignment-gradient alignment-effect statenet-objective statenet-backpropagation balance-maintained unseen parameters-total
    statenet-parameters coverage-arithmetic operation-definition kl-prevents-collapse output-entropy-effect repulsion-effect dominance
    epochs-399 code-statenet code-ramp code-tau-a code-lambda-3 code-repulsion momentum
"""


@pytest.mark.parametrize("name", MUST_BE_THERE.split())
def test_what_the_book_promises_is_in_it(ledger, name):
    assert name in {claim.id for claim in ledger}


def test_no_quantity_is_idle(ledger):
    used = {m.quantity for claim in ledger for m in claim.measured}
    assert used <= OF_RECORD.keys() | FACTS.keys()
    assert sorted((OF_RECORD.keys() | FACTS.keys()) - used) == []


# --- its rules, on made-up records of every variant --------------------------------------------------------------


def thinned(record):
    """The record as a run measured every tenth epoch has it."""
    rows = [i for i, epoch in enumerate(record["history"]["epoch"]) if (epoch + 1) % EVERY == 0]
    return record | {"history": {name: [column[i] for i in rows] for name, column in record["history"].items()}}


def disturbed(record, chance):
    """The record with every measured number moved a little."""

    def move(value):
        if isinstance(value, dict):
            return {k: move(v) for k, v in value.items()}
        if isinstance(value, list):
            return [move(v) for v in value]
        return value * chance.uniform(0.97, 1.0) if isinstance(value, float) else value

    return record | {part: move(record[part]) for part in ("final", "best_validation_loss")}


class MadeUp:
    """A store in which every run of every sweep is recorded."""

    def __init__(self, run, number):
        self.run, self.thin, self.chance = run, thinned(run), random.Random(number)
        self.found = {}

    def of(self, name):
        if name not in self.found:
            kind, *rest = name.split("/")
            seeds = claims._experiments(rest[0])[rest[1]] if kind == "sweeps" else [42]
            base = self.run if kind == "runs" or rest[1] in ("full", "published") else self.thin
            self.found[name] = {seed: disturbed(base, self.chance) for seed in seeds}
        return self.found[name]


@pytest.mark.parametrize("number", range(3))
def test_once_the_seeds_are_there_every_rule_decides_and_has_its_words(ledger, run, number):
    store = MadeUp(run, number)
    done = claims.update(ledger, store)
    assert [claim.id for claim in done if claim.verdict == "pending"] == []
    assert claims.check(done, store) == []


def test_an_effect_is_judged_by_its_interval(ledger):
    claim = next(c for c in ledger if c.id == "isolated-coverage")  # without the thing, less with it

    def verdict(a, b):
        values = {"a": a, "b": b}
        measured = [
            m.model_copy(update={"value": Value(n=5, mean=sum(values[m.name]) / 2, sd=0.1, low=values[m.name][0], high=values[m.name][1])})
            for m in claim.measured
        ]
        return claims.decide(claim.model_copy(update={"measured": measured}))

    assert verdict((-0.3, -0.1), (-0.2, -0.05)) == "confirmed"
    assert verdict((0.1, 0.3), (-0.2, -0.05)) == "refuted", "one pathway is better without it"
    assert verdict((-0.005, 0.003), (-0.004, 0.006)) == "refuted", "no gain worth a hundredth"
    assert verdict((-0.009, -0.001), (-0.009, -0.001)) == "confirmed", "small and clear"
    assert verdict((-0.3, -0.1), (-0.2, 0.1)) == "partly"
    assert verdict((-0.3, 0.1), (-0.2, 0.1)) == "not testable"


# --- the checker, on broken ledgers ------------------------------------------------------------------------------


@pytest.fixture
def sound():
    """A small ledger without a fault: a fact, a run and a sweep that may or may not be recorded."""
    return [
        Claim(
            id="nine-bit", topic="architecture", source=[{"document": "README", "section": "Overview"}],
            claim="A table is nine bits long, it is said.", test="pytest tests/test_model.py::test_parameter_counts",
            rule=Rule(confirmed="bits.mean == 9", otherwise="refuted"),
            measured=[
                Measurement(name="bits", label="bits of a table", quantity="bits_of_a_table", value=Value(n="exact", mean=14.2647)),
                Measurement(
                    name="one", label="epochs", quantity="epochs_trained", records="runs/ternary_v5_5_seed42",
                    value=Value(n=1, mean=400.0, least=400.0, most=400.0),
                ),
            ],
            verdict="refuted", reason={"refuted": "They are {bits.mean:.1f}.", "confirmed": "They are."},
            shown_in="chapter-theory#One table by hand",
        )
    ]  # fmt: skip


def changed(ledger, **changes):
    return [ledger[0].model_copy(update=changes)]


def with_value(ledger, index, value):
    measured = list(ledger[0].measured)
    measured[index] = measured[index].model_copy(update={"value": value})
    return changed(ledger, measured=measured)


def with_measurement(ledger, **changes):
    return changed(ledger, measured=[ledger[0].measured[0].model_copy(update=changes), ledger[0].measured[1]])


def test_the_small_ledger_is_sound(sound):
    assert claims.check(sound) == []


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
    "an unknown command": (lambda s: changed(s, test="ternary swep configs/sweeps/ablations.yaml"), "not a command that runs"),
    "an unknown option": (lambda s: changed(s, test=f"{SWEEP} --onli full"), "not a command that runs"),
    "a sweep that is not there": (lambda s: changed(s, test="ternary sweep configs/sweeps/nobody.yaml"), "does not exist"),
    "a variant that is not there": (lambda s: changed(s, test=f"{SWEEP} --only nobody"), "no variant nobody"),
    "a notebook that is not there": (lambda s: changed(s, test="ternary notebook 99_nobody"), "no notebook 99_nobody"),
    "a second command that is not there": (lambda s: changed(s, test=f"{SWEEP} && pytest tests/test_nobody.py"), "does not exist"),
    "a label that is not there": (lambda s: changed(s, shown_in="chapter-nobody"), "no page has this label"),
    "a section that is not there": (lambda s: changed(s, shown_in="chapter-theory#One tabel by hand"), "did you mean 'One table by hand'"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_ledger_is_found_out(sound, name):
    broken, words = BREAKS[name]
    faults = claims.check(broken(sound))
    assert faults and all(fault.startswith("nine-bit: ") for fault in faults)
    assert any(words in fault for fault in faults), faults


@pytest.mark.parametrize("field", ["id", "topic", "source", "claim", "test", "verdict", "reason", "shown_in", "measured"])
def test_an_entry_that_lacks_a_field_is_refused(sound, tmp_path, field):
    import yaml

    whole = yaml.safe_load(claims.dump(sound))
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    assert claims.load(path) == sound, "complete, it is read"
    del whole["claims"][0][field]
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    if field == "measured":  # an entry that nothing decides may have none
        assert any("nothing is measured" in fault for fault in claims.check(claims.load(path)))
        return
    with pytest.raises(ConfigError, match=field):
        claims.load(path)


@pytest.mark.parametrize("text", ["", "claims: []", "claims: 3", "- a", "claims: [{id: A B}]", "{", "claims: [{id: a, surprise: 1}]"])
def test_what_is_no_ledger_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        claims.load(path)
    assert "\n" not in str(raised.value)


def test_a_chapter_that_is_still_planned_may_be_named_until_it_is_there(tmp_path):
    (tmp_path / "notebooks").mkdir()
    assert claims.link_faults("chapter-statenet", tmp_path) == []
    assert claims.link("chapter-statenet", "the controller", tmp_path) == "the controller"
    (tmp_path / "notebooks" / "06_statenet.ipynb").write_text('{"cells": [{"cell_type": "markdown", "source": "# Without a label"}]}')
    assert claims.link_faults("chapter-statenet", tmp_path) != []


# --- records, seeds, updates -------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path, run):
    """Records of two seeds of one variant, and what must not be taken for more of them."""
    folder = tmp_path / "sweeps" / "ablations"
    folder.mkdir(parents=True)
    tasks = {task.config.seed: task for task in load_sweep("configs/sweeps/ablations.yaml") if task.variant == "tau_1"}
    other = load_config("configs/ternary_v5_5.yaml", {"seed": 3})
    for seed, config, numbers in ((0, tasks[0].config, 1), (1, tasks[1].config, 1), (2, tasks[2].config, 0), (3, other, 1)):
        record = thinned(run) | {"seed": seed, "config": config.model_dump(mode="json"), "numbers": numbers * records.NUMBERS}
        records.write_json(folder / f"tau_1-seed{seed}.json", record)
    records.write_json(folder / "tau_1-seed4.failed.json", {"error": "it failed"})
    return claims.Store(tmp_path)


def test_only_records_of_the_sweeps_own_experiment_count(store):
    assert sorted(store.of("sweeps/ablations/tau_1")) == [0, 1]


def test_a_value_is_given_while_seeds_are_missing_but_no_verdict(sound, store):
    m = Measurement(name="done", label="epochs", quantity="epochs_trained", records="sweeps/ablations/tau_1")
    claim = sound[0].model_copy(update={"measured": [m], "rule": Rule(confirmed="done.mean == 400", otherwise="refuted")})
    (claim,) = claims.update([claim], store)
    assert (claim.measured[0].value.n, claim.measured[0].value.mean) == (2, 400)
    assert claim.verdict == "pending"
    assert claims.check([claim], store) == []
    assert "still being made (2 of 5 seeds)" in claim.said()


def test_a_verdict_waits_for_all_the_seeds_that_the_sweep_asks_for():
    assert claims.needed(Measurement(name="x", label="xyz", quantity="epochs_trained", records="sweeps/ablations/full")) == 10
    assert claims.needed(Measurement(name="x", label="xyz", quantity="epochs_trained", records="sweeps/ablations/tau_1")) == 5
    pair = Measurement(name="x", label="xyz", quantity="imbalance", records="sweeps/ablations/full", against="sweeps/ladder/v5_4")
    assert claims.needed(pair) == 5, "pairs need both sides"


def test_pairs_are_of_the_seeds_that_both_have(run):
    both = {"sweeps/ablations/tau_1": {0: 1.0, 1: 5.0, 2: 9.0}, "sweeps/ablations/full": {1: 2.0, 2: 3.0, 7: 99.0}}
    made = {name: {seed: {"best_validation_loss": value} for seed, value in part.items()} for name, part in both.items()}
    m = Measurement(name="x", label="xyz", quantity="best_validation_loss", records="sweeps/ablations/tau_1", against="full")
    value = claims.measure(m, SimpleNamespace(of=made.__getitem__))
    assert (value.n, value.mean, value.least, value.most) == (2, 4.5, 3.0, 6.0)


def test_an_update_puts_every_number_and_verdict_back(sound):
    spoilt = copy.deepcopy(with_value(changed(sound, verdict="confirmed"), 0, Value(n="exact", mean=9.0)))
    assert claims.check(spoilt) != []
    assert claims.update(spoilt) == sound


def test_nothing_recorded_has_no_mean_and_one_value_no_interval():
    assert claims.over_seeds([]) == Value(n=0)
    assert claims.over_seeds([2.5]) == Value(n=1, mean=2.5, least=2.5, most=2.5)


# --- quantities by hand ------------------------------------------------------------------------------------------


def record(**columns):
    """A record of six epochs on a grid of its own: the named columns, and counts of A and B."""
    epochs = [9, 19, 29, 39, 49, 59]
    counts = {"a.coverage.argmax.100": [19000, 19683, 19500, 19501, 10, 19683], "b.coverage.argmax.100": [19683] * 6}
    last = {"exact_train": 1.0, "exact_validation": 0.5, "exact_test": 1.0, "coverage.argmax.100": 19683}
    config = {"evaluation": {"budgets": [100]}, "data": {"train": 15_746, "validation": 1_968}}
    return {
        "history": {"epoch": epochs} | counts | columns, "final": {"a": last, "b": last}, "config": config,
        "best_epoch": 29, "seconds": {"total": 120.0},
    }  # fmt: skip


BY_HAND = [
    ("falls", {"mode": "argmax", "pathway": "a"}, {}, 2),
    ("clear_falls", {"mode": "argmax", "pathway": "a"}, {}, 2),
    ("falls", {"mode": "argmax", "pathway": "b"}, {}, 0),
    ("complete_epochs", {"mode": "argmax", "pathway": "a"}, {}, 2),
    ("complete_epochs", {"mode": "argmax", "pathway": "both"}, {}, 2),
    ("peak_epoch", {"mode": "argmax", "pathway": "a"}, {}, 19),
    ("least_coverage", {"mode": "argmax", "pathway": "a", "first": 20, "last": 40}, {}, 100 * 19500 / NUM_OPERATIONS),
    ("coverage_range", {"mode": "argmax", "pathway": "a", "first": 20, "last": 40}, {}, 100 / NUM_OPERATIONS),
    ("coverage_at", {"mode": "argmax", "pathway": "a", "epoch": 49}, {}, 1000 / NUM_OPERATIONS),
    ("coverage", {"mode": "argmax", "pathway": "b"}, {}, 100),
    ("exact_unseen", {"pathway": "a"}, {}, 100 * (1968 * 0.5 + 1969) / 3937),
    ("unseen_gap", {"pathway": "a"}, {}, 100 - 100 * (1968 * 0.5 + 1969) / 3937),
    ("epochs_after_best", {}, {}, 30),
    ("epochs_trained", {}, {}, 60),
    ("seconds_per_epoch", {}, {}, 2),
    ("lost_since", {"column": "x", "epoch": 19}, {"x": [0.1, 0.9, 0.95, 0.4, 0.6, 0.7]}, 0.5),
    ("in_balance", {"first": 10, "last": 49}, {"gate_open": [0, 1, 0, 1, 1, 0]}, 75),
    ("closed_epochs", {}, {"gate_open": [0, 1, 0, 1, 0, 0], "phase": [1, 3, 3, 3, 3, 4]}, 2),
    ("imbalance", {}, {"grad_ratio": [1.0, 2.0, 0.5, 1.0, 1.0, 1.0]}, 0.6931471805599453 / 3),
    ("mean_of", {"column": "x", "first": 25, "last": 45}, {"x": [0, 0, 1, 3, 0, 0]}, 2),
    ("column_gap", {"upper": "x", "lower": "y", "first": 0, "last": 60}, {"x": [2] * 6, "y": [3] * 6}, -1),
    ("least", {"column": "x"}, {"x": [5, 4, 3, 4, 5, 6]}, 3),
    ("most", {"column": "x"}, {"x": [5, 4, 3, 4, 5, 6]}, 6),
    ("at", {"column": "x", "epoch": 29}, {"x": [5, 4, 3, 4, 5, 6]}, 3),
    ("epochs_to_exact", {"pathway": "a", "share": 0.9}, {"a.exact_all": [0.1, 0.5, 0.9, 0.2, 1, 1]}, 29),
    ("epochs_to_exact", {"pathway": "a", "share": 0.9}, {"a.exact_all": [0.1] * 6}, 60),
    ("correction_sd", {"column": "x"}, {"x": [99, 1, -1, 1, -1, 0]}, (4 / 5) ** 0.5),
]


@pytest.mark.parametrize(("name", "given", "columns", "expected"), BY_HAND, ids=lambda v: v if isinstance(v, str) else "")
def test_quantities_of_a_record_by_hand(name, given, columns, expected):
    assert OF_RECORD[name](record(**columns), **given) == pytest.approx(expected)


def test_a_fall_within_the_noise_of_counting_is_not_a_clear_one():
    noisy = record(**{"a.coverage.argmax.100": [19500, 19480, 19490, 19470, 19480, 19460]})
    assert OF_RECORD["falls"](noisy, "argmax", "a") == 3
    assert OF_RECORD["clear_falls"](noisy, "argmax", "a") == 0


def test_a_span_without_a_measured_epoch_is_refused():
    with pytest.raises(ValueError, match="no epoch"):
        OF_RECORD["mean_of"](record(x=[1] * 6), "x", 100, 200)


def test_a_change_of_efficiency_is_that_of_two_spans_means():
    halves = record(**{"a.coverage.argmax.100": [0, 0, 0, 50, 50, 50]})
    expected = efficiency(50 / NUM_OPERATIONS, 100) - efficiency(0, 100)
    assert OF_RECORD["efficiency_change"](halves, "a", [0, 29], [30, 59]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("operations", {}, 19683),
        ("uniform_draws", {"percent": 97.64}, 73_740.65),
        ("uniform", {"draws": 10_000}, 39.83),
        ("digits_of_functions", {"inputs": 2, "outputs": 1}, 5),  # 19,683 has five
        ("tau_b_formula", {"epoch": 30}, 0.9),
        ("tau_a_amplitude", {"epoch": 0}, 0.1),
        ("tau_a_amplitude", {"epoch": 300}, 0.5),
        ("schedule", {"name": "tau_b", "epoch": 250}, 0.3),
        ("schedule_mean", {"name": "tau_b", "first": 250, "last": 260}, 0.3),
        ("beta_ratio", {"epoch": 77}, 2**-0.5),
        ("balance_left", {"raw": 27}, 3),
        ("mixture_distance", {"rho": 1.0, "to": "other"}, 0),
        ("histogram_gradient", {"form": "hard"}, 0),
        ("mode_entropy", {"modes": 1}, 0),
        ("correction_gradient", {"output": 1}, 0.05),  # λ moves by 0.01 times the correction, and weighs 5 nats
        ("statenet_width", {"layer": "code"}, 8),
    ],
)
def test_facts_by_hand(name, given, expected):
    assert FACTS[name](**given) == pytest.approx(expected, rel=1e-3, abs=1e-6)


# --- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (97.64321, 0.1234, "97.64"), (97.64321, 12.3, "98"), (-0.0001, 0.5, "0"), (19683.0, None, "19,683"), (-0.25, None, "−0.25"),
        (1.1921e-07, None, "1.2·10⁻⁷"), (0.0, None, "0"), (99.99501, None, "99.995"), (73740.65, None, "73,741"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_leaves_it(value, half, text):
    assert claims.spell(value, half) == text


def test_a_difference_carries_its_sign_its_interval_and_its_n():
    value = Value(n=5, mean=0.1234, sd=0.01, low=0.1, high=0.15, least=0.1, most=0.2)
    m = Measurement(name="d", label="xyz", quantity="imbalance", records="sweeps/ablations/tau_1", against="full", unit="nats", value=value)
    assert claims.spell_value(m).replace("\u00a0", " ") == "+0.123 nats (95 % interval +0.100 to +0.150, n = 5)"
    assert "n\u00a0=\u00a00" in claims.spell_value(m.model_copy(update={"value": Value(n=0)}))


def test_a_card_says_everything_and_needs_no_colour(sound):
    text = claims.card(sound[0].model_copy(update={"claim": "x < y is claimed, and so on"}))
    assert "✗\u00a0refuted" in text and 'id="claim-nine-bit"' in text
    assert "README, “Overview”" in text and "They are 14.3." in text
    assert "14.265" in text and "(exact)" in text
    assert "{ref}`Theory: the domain and its limit <chapter-theory>`" in text and "One table by hand" in text
    assert "pytest tests/test_model.py::test_parameter_counts" in text and "bits.mean == 9" in text
    assert text.count("<div") == text.count("</div>") == 1


def test_the_same_number_of_both_pathways_shares_a_line(sound):
    first, second = sound[0].measured
    pair = [first.model_copy(update={"label": "bits, A"}), second.model_copy(update={"label": "bits, B"})]
    assert "- bits: A **14.265** (exact), B " in claims.card(sound[0].model_copy(update={"measured": pair}))
    assert "B **400** (n" in claims.card(sound[0].model_copy(update={"measured": pair}))
    assert "- bits, B: **400** (n" in claims.card(sound[0].model_copy(update={"measured": pair[::-1]}))


def test_a_page_without_a_label_is_named_by_its_file():
    assert claims.link("03_training") == "{doc}`Training: the production run <03_training>`"
    assert claims.link("metrics", "what is measured") == "{doc}`what is measured <../metrics>`"
    assert claims.link_faults("metrics") == []


def test_the_gist_is_the_first_sentence(sound):
    long = sound[0].model_copy(update={"claim": "A covers 97.64 % of all. The mode is not stated."})
    assert claims.gist(long) == "A covers 97.64 % of all."
    assert claims.gist(sound[0]) == "A table is nine bits long, it is said."


def test_cards_are_markdown_whose_boxes_close(ledger):
    for claim in ledger:
        lines = claims.card(claim).split("\n\n")
        assert lines[0].startswith("<div") and lines[-1] == "</div>"
        assert not any(line.startswith(" ") for line in lines), "four spaces would make it code"


# --- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, sound, monkeypatch):
    """A results folder that holds the small ledger, and the run it reads."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "ternary_v5_5_seed42.json").symlink_to(records.results_dir().resolve() / "runs" / "ternary_v5_5_seed42.json")
    monkeypatch.setenv("TERNARY_RESULTS", str(tmp_path))
    claims.ledger_path().write_text(claims.dump(sound), encoding="utf-8")
    return claims.ledger_path()


def test_the_command_checks_updates_and_shows(elsewhere, sound, capsys):
    assert claims.main(["--check"]) == 0
    elsewhere.write_text(claims.dump(with_value(sound, 0, Value(n="exact", mean=9.0))), encoding="utf-8")
    assert claims.main(["--check"]) == 1
    assert "nine-bit: bits: the stored value is" in capsys.readouterr().err
    assert claims.main(["--update"]) == 0
    assert elsewhere.read_text(encoding="utf-8") == claims.dump(sound)
    assert claims.main(["nine-bit"]) == 0
    shown = capsys.readouterr().out
    assert "14.265 (exact)" in shown and "They are 14.3." in shown


def test_bad_input_is_one_line(elsewhere, capsys):
    assert claims.main(["nine-bits"]) == 2
    assert "did you mean 'nine-bit'" in capsys.readouterr().err
    elsewhere.unlink()
    assert claims.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1
