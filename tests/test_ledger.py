"""The claims ledger: the committed one against its records, its rules and its updates on made-up records."""

from __future__ import annotations

import ast
import copy
import random
from types import SimpleNamespace

import pytest
import yaml
from ledgers import SOUND, changed, thinned, with_value

from ternary_lib import ledger, ledger_check, records
from ternary_lib.computed_facts import FACTS
from ternary_lib.config import ConfigError, load_config
from ternary_lib.ledger import Measurement, Rule, Value
from ternary_lib.quantities import OF_RECORD
from ternary_lib.sweeps import load_sweep

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def entries():
    return ledger.load()


@pytest.fixture(scope="module")
def run():
    return records.load_record("ternary_v5_5_seed42")


# --- the committed ledger ----------------------------------------------------------------------------------------


def test_the_committed_ledger_has_no_fault(entries):
    assert ledger_check.check(entries) == []


def test_it_is_written_in_the_layout_of_its_updates(entries):
    assert ledger.ledger_path().read_text(encoding="utf-8") == ledger.dump(entries)


def test_every_topic_and_every_kind_of_verdict_occurs(entries):
    assert {claim.topic for claim in entries} == ledger.TOPICS.keys()
    assert {claim.verdict for claim in entries} - {"pending"} == ledger.MARKS.keys() - {"pending"}
    assert len(entries) > 50


MUST_BE_THERE = """
    coverage-a coverage-b coverage-argmax coverage-categorical complete-epochs monotonic best-loss hours seconds nine-bit low-beta rho-one
    theorem-1 theorem-1-total theorem-2 theorem-3-phase-1 theorem-3-phase-4 theorem-4-latent theorem-4-cmin beta-lag tau-b-boost
    alignment-gradient alignment-effect statenet-objective statenet-backpropagation balance-maintained unseen parameters-total
    statenet-parameters coverage-arithmetic operation-definition kl-prevents-collapse output-entropy-effect repulsion-effect dominance
    epochs-399 tau-below-one redundant-exploration shared-dominance one-way beta-moderate state-phase lr-clip cross-entropy-formula
    output-entropy-formula version-order code-statenet code-ramp code-tau-a code-lambda-3 code-repulsion momentum
"""


@pytest.mark.parametrize("name", MUST_BE_THERE.split())
def test_what_the_book_promises_is_in_it(entries, name):
    assert name in {claim.id for claim in entries}


def test_no_quantity_is_idle(entries):
    used = {m.quantity for claim in entries for m in claim.measured}
    assert used <= OF_RECORD.keys() | FACTS.keys()
    assert sorted((OF_RECORD.keys() | FACTS.keys()) - used) == []


# --- its rules, on made-up records of every variant --------------------------------------------------------------


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
            seeds = [t.config.seed for t in ledger.experiments(rest[0])[rest[1]]] if kind == "sweeps" else [42]
            base = self.run if kind == "runs" or rest[1] in ("full", "published", "original") else self.thin
            if rest[0] == "original":  # which has its own validation loss beside ours
                base = base | {"history": base["history"] | {"original.validation": base["history"]["validation.total"]}}
            self.found[name] = {seed: disturbed(base, self.chance) for seed in seeds}
        return self.found[name]


def test_the_same_operation_lost_in_every_seed_is_no_certainty():
    step = 1 / 1969
    value = ledger.over_seeds([-step] * 5, step)
    assert value.sd == pytest.approx(step, rel=1e-4) and value.low < 0 < value.high
    assert value.least == value.most == pytest.approx(-step, rel=1e-4)


@pytest.mark.parametrize("number", range(3))
def test_once_the_seeds_are_there_every_rule_decides_and_has_its_words(entries, run, number):
    store = MadeUp(run, number)
    done = ledger.update(entries, store)
    assert [claim.id for claim in done if claim.verdict == "pending"] == []
    assert ledger_check.check(done, store) == []


def decided(claim, **intervals):
    """The verdict of an entry whose paired numbers have these intervals."""
    values = {
        name: Value(n=10, mean=(low + high) / 2, sd=0.1, low=low, high=high, least=low, most=high)
        for name, (low, high) in intervals.items()
    }
    measured = [m.model_copy(update={"value": values.get(m.name, m.value)}) for m in claim.measured]
    return ledger.decide(claim.model_copy(update={"measured": measured}))


def test_an_effect_is_judged_by_its_interval(entries):
    claim = next(c for c in entries if c.id == "isolated-coverage")  # without the thing, less with it

    def verdict(a, b):
        return decided(claim, a=a, b=b)

    assert verdict((-0.3, -0.1), (-0.2, -0.05)) == "confirmed"
    assert verdict((0.1, 0.3), (0.05, 0.2)) == "refuted", "both are better without it"
    assert verdict((-0.04, 0.03), (-0.045, 0.01)) == "refuted", "no gain of a twentieth"
    assert verdict((-0.055, 0.03), (-0.04, 0.03)) == "not testable", "or perhaps one"
    assert verdict((-0.009, -0.001), (-0.009, -0.001)) == "confirmed", "small and clear"
    assert verdict((-0.009, -0.001), (-0.004, 0.006)) == "partly", "small and clear in one"
    assert verdict((-0.3, -0.1), (-0.2, 0.1)) == "partly"
    assert verdict((0.1, 0.3), (-0.2, -0.05)) == "partly", "it helps one pathway and hurts the other"
    assert verdict((0.1, 0.3), (-0.2, 0.1)) == "not testable", "of the second pathway nothing is known"
    assert verdict((-0.3, 0.1), (-0.2, 0.1)) == "not testable"


def test_an_effect_that_the_pathways_disagree_on_holds_in_part(entries):
    of_two = [c for c in entries if c.rule and {"a", "b"} == ledger.names_read(c.rule) and all(m.against for m in c.measured[:2])]
    of_two = [c for c in of_two if c.rule.otherwise == "not testable"]
    assert len(of_two) > 12
    for claim in of_two:
        for a, b in (((20, 30), (-30, -20)), ((-30, -20), (20, 30))):
            assert decided(claim, a=a, b=b) == "partly", claim.id


def constants(rule):
    """The numbers that a rule compares with, and zero."""
    trees = (ast.walk(ast.parse(text, mode="eval")) for text in ledger.conditions(rule).values())
    return [0.0, *(node.value for tree in trees for node in tree if isinstance(node, ast.Constant))]


@pytest.mark.parametrize("number", range(25))
def test_numbers_about_its_limits_never_confirm_and_refute_at_once(entries, number):
    chance = random.Random(number)
    for claim in (c for c in entries if c.rule):
        measured = []
        for m in claim.measured:
            if m.records and not m.records.startswith("runs/"):
                middle, width = chance.choice(constants(claim.rule)), 10 ** chance.uniform(-4, 2)
                seeds = [middle + width * chance.choice([chance.gauss(0, 1), 0.0, 1.0]) for _ in range(ledger.needed(m))]
                m = m.model_copy(update={"value": ledger.over_seeds(seeds)})
            measured.append(m)
        done = claim.model_copy(update={"measured": measured})
        assert done.model_copy(update={"verdict": ledger.decide(done)}).said(), claim.id  # decide() raises where a rule says both


def test_one_more_run_lies_in_a_wider_range_than_the_mean(entries):
    """Of five runs with mean 97 and sd 1 the next lies within ±2.776·√1.2 = 3.041 (Student, 4 degrees of freedom) in 95 of 100 cases."""
    value = ledger.over_seeds([97 + d * (4 / 10) ** 0.5 for d in (-2, -1, 0, 1, 2)])
    assert value.sd == pytest.approx(1, rel=1e-4)
    numbers = ledger._numbers(value)
    assert (numbers.next_low, numbers.next_high) == pytest.approx((97 - 3.0414, 97 + 3.0414), abs=1e-3)
    claim = next(c for c in entries if c.id == "coverage-a")
    for middle, verdict in ((97.64, "partly"), (94.7, "partly"), (94.5, "refuted"), (100.6, "partly"), (100.8, "refuted")):
        moved = value.model_copy(update={"mean": middle, "low": middle - 1.2416, "high": middle + 1.2416})
        measured = [m.model_copy(update={"value": moved}) if m.name == "own" else m for m in claim.measured]
        assert ledger.decide(claim.model_copy(update={"measured": measured})) == verdict, middle
    narrow = value.model_copy(update={"mean": 97.6, "low": 97.4, "high": 97.8})
    measured = [m.model_copy(update={"value": narrow}) if m.name == "own" else m for m in claim.measured]
    assert ledger.decide(claim.model_copy(update={"measured": measured})) == "confirmed", "half a point either way"


# --- its file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["id", "topic", "source", "claim", "test", "verdict", "reason", "shown_in", "measured"])
def test_an_entry_that_lacks_a_field_is_refused(tmp_path, field):
    whole = yaml.safe_load(ledger.dump(SOUND))
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    assert ledger.load(path) == SOUND, "complete, it is read"
    del whole["claims"][0][field]
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    if field == "measured":  # an entry that nothing decides may have none
        assert any("nothing is measured" in fault for fault in ledger_check.check(ledger.load(path)))
        return
    with pytest.raises(ConfigError, match=field):
        ledger.load(path)


@pytest.mark.parametrize(
    "text",
    [
        "", "claims: []", "claims: 3", "- a", "claims: [{id: A B}]", "{", "claims: [{id: a, surprise: 1}]", "claims: [a]", "claims: [[]]",
        "claims: [{id: null}]", 'claims: [{id: "a\\nb"}]', f"claims: [{{id: {'x' * 5000}}}]",
    ],
)  # fmt: skip
def test_what_is_no_ledger_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        ledger.load(path)
    assert len(str(raised.value).splitlines()) == 1 and len(str(raised.value)) < 500


# --- records, seeds, updates -------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path, run):
    """Records of two seeds of one variant, and what must not be taken for more of them."""
    folder = tmp_path / "sweeps" / "ablations"
    folder.mkdir(parents=True)
    tasks = {task.config.seed: task for task in load_sweep("configs/sweeps/ablations.yaml") if task.variant == "tau_1"}
    other = load_config("configs/ternary_v5_5.yaml", {"seed": 3})
    for seed, config, numbers in ((0, tasks[0].config, 1), (1, tasks[1].config, 1), (2, tasks[2].config, 0), (3, other, 1)):
        record = thinned(run) | {"variant": "tau_1", "seed": seed, "numbers": numbers * records.NUMBERS}
        record["config"] = config.model_dump(mode="json")
        records.write_json(folder / f"tau_1-seed{seed}.json", record)
    records.write_json(folder / "tau_1-seed4.failed.json", {"error": "it failed"})
    return ledger.Store(tmp_path)


def test_only_records_of_the_sweeps_own_experiment_count(store):
    assert sorted(store.of("sweeps/ablations/tau_1")) == [0, 1]


def test_a_run_of_another_configuration_than_its_files_is_refused(tmp_path, run):
    (tmp_path / "runs").mkdir()
    other = copy.deepcopy(run)
    records.write_json(tmp_path / "runs" / "x.json", other)
    assert list(ledger.Store(tmp_path).of("runs/x")) == [42]
    other["config"]["loss"]["repulsion_weight"] = 0.5
    records.write_json(tmp_path / "runs" / "x.json", other)
    with pytest.raises(ConfigError, match=r"^x: the record is of another configuration than configs/ternary_v5_5\.yaml$"):
        ledger.Store(tmp_path).of("runs/x")


def test_a_value_is_given_while_seeds_are_missing_but_no_verdict(store):
    m = Measurement(name="done", label="epochs", quantity="epochs_trained", records="sweeps/ablations/tau_1")
    claim = SOUND[0].model_copy(update={"measured": [m], "rule": Rule(confirmed="done.mean == 400", otherwise="refuted")})
    (claim,) = ledger.update([claim], store)
    assert (claim.measured[0].value.n, claim.measured[0].value.mean) == (2, 400)
    assert claim.verdict == "pending"
    assert ledger_check.check([claim], store) == []
    assert "not all recorded in this checkout (2 of 5 seeds)" in claim.said()


def test_a_verdict_waits_for_all_the_seeds_that_the_sweep_asks_for():
    assert ledger.needed(Measurement(name="x", label="xyz", quantity="epochs_trained", records="sweeps/ablations/full")) == 10
    assert ledger.needed(Measurement(name="x", label="xyz", quantity="epochs_trained", records="sweeps/ablations/tau_1")) == 5
    pair = Measurement(name="x", label="xyz", quantity="imbalance", records="sweeps/ablations/full", against="sweeps/ladder/v5_4")
    assert ledger.needed(pair) == 5, "pairs need both sides"


def test_pairs_are_of_the_seeds_that_both_have(run):
    both = {"sweeps/ablations/tau_1": {0: 1.0, 1: 5.0, 2: 9.0}, "sweeps/ablations/full": {1: 2.0, 2: 3.0, 7: 99.0}}
    made = {name: {seed: {"best_validation_loss": value} for seed, value in part.items()} for name, part in both.items()}
    m = Measurement(name="x", label="xyz", quantity="best_validation_loss", records="sweeps/ablations/tau_1", against="full")
    value = ledger.measure(m, SimpleNamespace(of=made.__getitem__))
    assert (value.n, value.mean, value.least, value.most) == (2, 4.5, 3.0, 6.0)


def test_an_update_puts_every_number_and_verdict_back():
    spoilt = copy.deepcopy(with_value(changed(SOUND, verdict="confirmed"), 0, Value(n="exact", mean=9.0)))
    assert ledger_check.check(spoilt) != []
    assert ledger.update(spoilt) == SOUND


def test_nothing_recorded_has_no_mean_and_one_value_no_interval():
    assert ledger.over_seeds([]) == Value(n=0)
    assert ledger.over_seeds([2.5]) == Value(n=1, mean=2.5, least=2.5, most=2.5)
