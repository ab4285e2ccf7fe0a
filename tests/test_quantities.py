"""What the ledger reads from records, and the facts it computes, by hand."""

import pytest

from ternary_lib import records
from ternary_lib.computed_facts import FACTS
from ternary_lib.config import config_from_mapping
from ternary_lib.coverage import efficiency
from ternary_lib.data import split_indices
from ternary_lib.operations import NUM_OPERATIONS
from ternary_lib.quantities import OF_RECORD

pytestmark = pytest.mark.usefixtures("one_thread")


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
    ("epochs_until_stopped", {"column": "x", "patience": 2}, {"x": [5, 4, 4, 4, 1, 1]}, 4),
    ("epochs_until_stopped", {"column": "x", "patience": 1}, {"x": [5, 4, 4, 4, 1, 1]}, 3),
    ("epochs_until_stopped", {"column": "x", "patience": 3}, {"x": [5, 4, 4, 4, 1, 1]}, 60),
    ("seconds_per_epoch", {}, {}, 2),
    ("change_of", {"column": "x", "before": [0, 19], "after": [40, 59]}, {"x": [0.1, 0.3, 9, 9, 0.6, 0.8]}, 0.5),
    ("coverage_change", {"mode": "argmax", "pathway": "a", "before": [0, 9], "after": [20, 39]}, {}, 100 * 500.5 / NUM_OPERATIONS),
    ("balanced_within", {"factor": 2}, {"grad_ratio": [1.0, 2.1, 0.51, 0.49, 1.9, 1.0]}, 100 * 4 / 6),
    ("in_balance", {"first": 10, "last": 49}, {"gate_open": [0, 1, 0, 1, 1, 0]}, 75),
    ("closed_epochs", {}, {"gate_open": [0, 1, 0, 1, 0, 0], "phase": [1, 3, 3, 3, 3, 4]}, 2),
    ("imbalance", {}, {"grad_ratio": [1.0, 2.0, 0.5, 1.0, 1.0, 1.0]}, 0.6931471805599453 / 3),
    ("mean_of", {"column": "x", "first": 25, "last": 45}, {"x": [0, 0, 1, 3, 0, 0]}, 2),
    ("column_gap", {"upper": "x", "lower": "y", "first": 0, "last": 60}, {"x": [2] * 6, "y": [3] * 6}, -1),
    ("least", {"column": "x"}, {"x": [5, 4, 3, 4, 5, 6]}, 3),
    ("least", {"column": "x", "first": 39}, {"x": [5, 4, 3, 4, 5, 6]}, 4),
    ("largest_step", {"column": "x"}, {"x": [5, 4, 3, 4, 8, 6]}, 0.4),
    ("largest_step", {"column": "x", "last": 39}, {"x": [5, 2, 3, 4, 8, 6]}, 0.3),
    ("first_at_least", {"column": "x", "value": 0.7}, {"x": [0.1, 0.3, 0.7 - 1e-9, 0.3, 0.7, 0.7]}, 29),
    ("first_at_least", {"column": "x", "value": 0.8}, {"x": [0.1, 0.3, 0.7, 0.3, 0.7, 0.7]}, 60),
    ("coverage_at_best", {"mode": "argmax", "pathway": "a"}, {}, 100 * 19500 / NUM_OPERATIONS),
    ("most", {"column": "x"}, {"x": [5, 4, 3, 4, 5, 6]}, 6),
    ("at", {"column": "x", "epoch": 29}, {"x": [5, 4, 3, 4, 5, 6]}, 3),
    ("epochs_to_exact", {"pathway": "a", "share": 0.9}, {"a.exact_all": [0.1, 0.5, 0.9, 0.2, 1, 1]}, 29),
    ("epochs_to_exact", {"pathway": "a", "share": 0.9}, {"a.exact_all": [0.1] * 6}, 60),
    ("correction_sd", {"column": "x"}, {"x": [99, 1, -1, 1, -1, 0]}, (4 / 5) ** 0.5),
]


@pytest.mark.parametrize(("name", "given", "columns", "expected"), BY_HAND, ids=lambda v: v if isinstance(v, str) else "")
def test_quantities_of_a_record_by_hand(name, given, columns, expected):
    assert OF_RECORD[name](record(**columns), **given) == pytest.approx(expected)


def test_who_is_missed_and_whether_it_was_trained_on():
    """Of 19,683 operations A misses one trained and three unseen ones, B two of them."""
    complete = records.load_record("ternary_v5_5_seed42")
    split = split_indices(config_from_mapping(complete["config"]).data)
    a = [*split.train[:1].tolist(), *split.test[:2].tolist(), *split.validation[:1].tolist()]
    complete["final"]["a"]["missed"], complete["final"]["b"]["missed"] = a, a[:2]
    assert [OF_RECORD["missed_by"](complete, p) for p in ("a", "b", "both", "chance")] == [4, 2, 2, 8 / 19_683]
    assert OF_RECORD["generation_gap"](complete, "a") == pytest.approx(100 * (3 / 3937 - 1 / 15746))


def test_more_is_drawn_elsewhere_at_a_higher_temperature_and_nothing_at_none():
    assert FACTS["drawn_elsewhere"](0.0) == 0
    assert 0 < FACTS["drawn_elsewhere"](0.5) < FACTS["drawn_elsewhere"](1.0) <= 100


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
        ("mixture_distance", {"rho": 1.0, "to": "other", "pathway": "b"}, 0),
        ("spread", {"tau": 0.0}, 0),
        ("logarithm", {"of": 3}, 1.0986),
        ("inputs_named", {"word": "lambda"}, 3),
        ("cross_entropy_error", {}, 0),
        ("histogram_gradient", {"form": "hard"}, 0),
        ("mode_entropy", {"modes": 1}, 0),
        ("correction_gradient", {"output": 1}, 0.05),  # λ moves by 0.01 times the correction, and weighs 5 nats
        ("statenet_width", {"layer": "code"}, 8),
    ],
)
def test_facts_by_hand(name, given, expected):
    assert FACTS[name](**given) == pytest.approx(expected, rel=1e-3, abs=1e-6)
