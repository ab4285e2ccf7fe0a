"""Comparisons: numbers derived by hand, a textbook's t test, and what happens at the edges."""

import math

import pytest

from ternary_lib import comparison
from ternary_lib.comparison import METRICS, comparable, differences, holm, paired, summary, unpaired_p
from ternary_lib.config import ConfigError
from ternary_lib.coverage import uniform_coverage
from ternary_lib.operations import NUM_OPERATIONS

BUDGET = 50_000
# Hours of sleep that ten patients gained on two drugs: the first paired t test there was (Student 1908, "The Probable Error of a Mean").
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def record(variant, seed, found, pathways=("a", "b"), total=100, epochs=(99,), counts=None):
    """A record whose exact reconstruction of the test set is ``found`` in every pathway; ``counts`` are covered at ``epochs``."""
    counts = counts or [NUM_OPERATIONS // 2] * len(epochs)
    final = {"exact_test": found, "rate": found, f"coverage.argmax.{BUDGET}": counts[-1], "kl_to_uniform": 1 - found}
    history = {"epoch": list(epochs)} | {f"{p}.coverage.argmax.{BUDGET}": counts for p in "ab"}
    data = {"train": 15_746, "validation": 1_968}
    config = {"data": data, "evaluation": {"budgets": [10_000, BUDGET]}, "schedules": {"total_epochs": total}}
    who = {"variant": variant, "seed": seed, "pathways": list(pathways)}
    return who | {"config": config, "final": {p: final for p in "ab"}, "history": history}


def table_of(**columns):
    """A table of variants with one value a seed, from seed 0 on."""
    return comparison.by_variant(record(name, seed, value) for name, values in columns.items() for seed, value in enumerate(values))


# --- one variant ---------------------------------------------------------------------------------------------------


def test_summary_of_three():
    """1, 2, 3: mean 2, sd 1, t(0.975; 2) = 4.302653, so 2 ± 4.302653/√3."""
    s = summary([1.0, 2.0, 3.0])
    assert (s.n, s.mean, s.sd) == (3, 2.0, 1.0)
    assert (s.low, s.high) == pytest.approx((-0.484138, 4.484138), abs=1e-6)


def test_summary_of_one_has_no_interval():
    s = summary([0.3])
    assert (s.n, s.mean) == (1, 0.3) and all(map(math.isnan, (s.sd, s.low, s.high)))


def test_records_are_found_by_variant_and_seed():
    table = table_of(x=[0.1, 0.2], y=[0.3])
    assert {name: sorted(runs) for name, runs in table.items()} == {"x": [0, 1], "y": [0]}
    assert comparison.values(table["x"], "b", "exact_test") == {0: 0.1, 1: 0.2}
    assert comparison.pathways_of({0: record("z", 0, 0.0, pathways=("b",))}) == ("b",)


def test_coverage_and_efficiency_are_read_at_the_largest_budget():
    """A count of c·N at n draws has the efficiency ln(1 - c)/(n ln(1 - 1/N)); half of all at 50,000 draws: 0.693147/2.540331."""
    found = record("x", 0, 0.0, counts=[NUM_OPERATIONS // 2])
    assert METRICS["coverage"].value(found, "a") == pytest.approx(50, abs=0.01)
    assert METRICS["efficiency"].value(found, "a") == pytest.approx(0.272853, abs=1e-4)
    die = record("x", 0, 0.0, counts=[round(NUM_OPERATIONS * uniform_coverage(BUDGET))])
    assert METRICS["efficiency"].value(die, "a") == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("epochs", "used"),
    [
        (range(100), [79, 89, 99]),  # of the last thirty, those that close a ten
        (range(400), [379, 389, 399]),
        (range(9, 400, 10), [379, 389, 399]),  # measured every tenth epoch: the same ones
        (range(45), [19, 29, 39]),  # a run that does not end on a ten
        (range(12), [9]),  # too short for three: those there are
        (range(8), [7]),  # too short for one: the last
    ],
)
def test_the_late_efficiency_is_the_mean_of_fixed_epochs(epochs, used):
    epochs = list(epochs)
    counts = [NUM_OPERATIONS // 2 if t in used else 1 for t in epochs]
    found = record("x", 0, 0.0, total=epochs[-1] + 1, epochs=epochs, counts=counts)
    assert METRICS["late_efficiency"].value(found, "b") == pytest.approx(0.272853, abs=1e-4)


def test_less_distortion_is_better_and_no_rate_is():
    found = {name: metric.better for name, metric in METRICS.items() if metric.better != 1}
    assert found == {"rate": 0, "distortion": -1, "neg_elbo": -1, "kl_to_uniform": -1, "draws_ratio": -1}


# --- two variants --------------------------------------------------------------------------------------------------


def test_gossets_paired_t():
    """Mean 1.58, sd 1.229995, t = 4.0621 with 9 degrees of freedom, p = 0.002833, interval 0.7001 to 2.4599."""
    (row,) = paired(table_of(one=DRUG_1, two=DRUG_2), [("two", "one")], ["exact_test"])[:1]
    assert (row.n, row.mean) == (10, pytest.approx(1.58))
    assert (row.low, row.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert row.p == pytest.approx(0.00283289, abs=1e-7)
    assert row.effect == pytest.approx(1.58 / 1.229995, abs=1e-5)
    assert row.p_holm == pytest.approx(2 * row.p) and row.clear  # two pathways, so two comparisons


def test_a_variant_against_itself_is_no_difference():
    rows = paired(table_of(x=[0.1, 0.7, 0.3]), [("x", "x")], ["rate"])
    assert all((r.mean, r.low, r.high, r.effect, r.p, r.clear) == (0, 0, 0, 0, 1, False) for r in rows)
    rows = paired(table_of(x=[0.1, 0.7, 0.3]), [("x", "x")], ["exact_test"])
    assert all((r.mean, -r.low, r.effect, r.p, r.clear) == (0, r.high, 0, 1, False) for r in rows)


@pytest.mark.filterwarnings("error")  # a t test of equal numbers divides rounding noise by rounding noise, and says so
@pytest.mark.parametrize("values", [[0.5, 0.5, 0.5], [0.3, 0.4, 0.6]])
def test_the_same_difference_in_every_seed_has_no_spread(values):
    shift = [v + 0.1 for v in values]  # 0.4 + 0.1 - 0.4 is not 0.6 + 0.1 - 0.6 in binary
    for row in differences(table_of(reference=values, other=shift), "reference", ["rate"]):
        assert row.mean == pytest.approx(0.1) and row.low == row.high == row.mean
        assert (row.effect, row.p, row.clear) == (math.inf, 0, True)
    for row in differences(table_of(reference=shift, other=values), "reference", ["rate"]):
        assert row.effect == -math.inf


def test_the_same_operation_lost_in_every_seed_is_no_certainty():
    """A sd of one operation and five seeds: t = √5, p = 0.0890. A whole test set lost stays certain."""
    one = 1 / 1969
    table = table_of(reference=[0.5] * 5, lost=[0.5 - one] * 5, empty=[0.0] * 5)
    for row in differences(table, "reference", ["exact_test"]):
        if row.variant == "lost":
            assert (row.effect, row.p, row.clear) == (pytest.approx(-1), pytest.approx(0.0890, abs=1e-4), False)
        else:
            assert row.clear and row.high < -0.49


def test_a_step_is_one_operation_of_the_record_s_split():
    def steps(data):
        return {name: metric.step({"config": {"data": data}}) for name, metric in METRICS.items()}

    found, few = steps({"train": 15_746, "validation": 1_968}), steps({"train": 1_000, "validation": 1_968})
    assert (found["exact_test"], found["exact_validation"], few["exact_test"]) == (1 / 1969, 1 / 1968, 1 / 16_715)
    assert found["exact_all"] == found["exact_mixed"] == found["coverage"] / 100 == few["exact_all"] == 1 / NUM_OPERATIONS
    assert found["rate"] == found["kl_to_uniform"] == found["late_efficiency"] == 0


@pytest.mark.filterwarnings("error")
def test_two_groups_without_pairs():
    assert unpaired_p([1.0, 1.0], [1.0, 1.0, 1.0]) == 1 and unpaired_p([1.0, 1.0], [2.0, 2.0]) == 0
    one = 1 / NUM_OPERATIONS
    assert unpaired_p([1.0] * 5, [1 - one] * 5) < 1e-9 < 0.1 < unpaired_p([1.0] * 5, [1 - one] * 5, one)
    assert unpaired_p([1.0] * 5, [0.5] * 5, one) < 1e-9


def test_only_shared_seeds_count():
    table = table_of(reference=[0.1, 0.2, 0.3, 0.4], other=[0.2, 0.4])
    assert {row.n for row in differences(table, "reference", ["exact_test"])} == {2}


def test_one_shared_seed_is_refused_by_name():
    table = table_of(reference=[0.1, 0.2], good=[0.2, 0.4], lone=[0.5])
    with pytest.raises(ValueError, match="lone: shares 1 seeds with reference"):
        differences(table, "reference", ["exact_test"])
    assert comparable(table, "reference", ["good", "lone", "absent"]) == ["good"]
    assert comparable(table, "absent", ["good"]) == []


def test_a_pathway_that_is_not_trained_is_not_compared():
    table = table_of(reference=[0.1, 0.2, 0.4]) | {"alone": {s: record("alone", s, 0.3, pathways=("b",)) for s in range(3)}}
    assert [row.pathway for row in differences(table, "reference", ["exact_test"])] == ["b"]
    assert [row.pathway for row in paired(table, [("reference", "alone")], ["exact_test"])] == ["b"]


def test_a_gain_is_what_is_better():
    worse, _ = differences(table_of(reference=[0.5, 0.6], other=[0.1, 0.3]), "reference", ["exact_test"])
    assert worse.gain == worse.mean < 0
    closer, _ = differences(table_of(reference=[0.5, 0.6], other=[0.7, 0.9]), "reference", ["kl_to_uniform"])
    assert closer.mean < 0 < closer.gain


def test_small_means_the_whole_interval():
    (row,) = differences(table_of(reference=[0.0, 0.0, 0.0], other=[0.01, 0.02, 0.03]), "reference", ["exact_test"])[:1]
    assert (row.low, row.high) == pytest.approx((-0.00484138, 0.04484138), abs=1e-7)
    assert row.within(0.05) and not row.within(0.04)


# --- many comparisons ----------------------------------------------------------------------------------------------


def test_holm_by_hand():
    """0.005·4, 0.01·3, 0.03·2, 0.04·1, each at least the one before it: Holm's step-down."""
    assert holm([0.04, 0.005, 0.03, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_never_passes_bonferroni_and_keeps_the_order():
    values = [0.001 * (k + 1) ** 2 for k in range(12)]
    corrected = holm(values)
    assert all(p <= c <= min(1, 12 * p) for p, c in zip(values, corrected, strict=True))
    assert corrected == sorted(corrected)


def test_the_correction_is_over_everything_asked():
    table = table_of(reference=[0.10, 0.25, 0.30, 0.42], x=[0.2, 0.3, 0.5, 0.5], y=[0.3, 0.4, 0.4, 0.9])
    rows = differences(table, "reference", ["exact_test", "kl_to_uniform"])
    assert len(rows) == 8  # two variants, two pathways, two measures
    assert [r.p_holm for r in rows] == holm([r.p for r in rows])
    alone = differences(table, "reference", ["exact_test"], ["x"])
    assert alone[0].p == rows[0].p and alone[0].p_holm < rows[0].p_holm


def test_the_text_names_reference_seeds_and_values():
    table = table_of(reference=[0.1, 0.2], other=[0.2, 0.4])
    text = comparison.describe(table, "reference", differences(table, "reference", ["exact_test"]))
    assert "seeds 0, 1" in text and "+0.15" in text and "exact reconstruction alone" in text


def test_the_references_mean_in_the_text_is_over_the_seeds_in_common():
    table = table_of(reference=[0.1, 0.2, 0.9], other=[0.2, 0.4])
    row = next(line for line in comparison.describe(table, "reference", differences(table, "reference", ["exact_test"])).splitlines()
               if line.strip().startswith("other A"))
    assert row.split()[2:5] == ["2", "0.15", "+0.15"]  # n, (0.1 + 0.2)/2, and what the other has more


def test_an_infinite_measure_is_named_and_spoils_no_correction():
    """inf - inf has no mean and no p: sorted with the others it would lift every p after it to 1."""
    table = table_of(reference=[0.1, 0.2], other=[0.2, 0.4])
    for seed, last in ((0, 2e5), (1, None)):
        for name in table:
            for p in "ab":
                table[name][seed]["final"][p]["draws_to_complete"] = last
    words = r"^expected draws .* of pathway A, reference seed 1: inf, .*; leave out the measure draws_ratio$"
    with pytest.raises(ConfigError, match=words):
        differences(table, "reference", ["exact_test", "draws_ratio"])
