"""Goals, their verdicts, the ideal decoder by the same estimator, and which points nothing beats."""

import math

import pytest
import torch

from ternary_lib import limit
from ternary_lib.comparison import METRICS, UNIFORM_DRAWS_TO_COMPLETE
from ternary_lib.losses import cross_entropy, kl_divergence
from ternary_lib.model import sample_latent
from ternary_lib.operations import all_operations
from ternary_lib.randomness import stream
from ternary_lib.sweeps import load_sweep
from ternary_lib.weights import load_model

PERFECT = {
    "efficiency": 0.999, "kl_to_uniform": 0.0, "smallest_cell": 0.9, "draws_to_complete": 206_000.0, "exact_all": 1.0, "exact_test": 1.0,
    "coverage.argmax.195000": 19_682, "coverage.expectation.195000": 19_683,
}  # fmt: skip


def runs(*changes):
    """Records of as many seeds, pathway B perfect and A with these changes."""
    return {seed: {"final": {"a": PERFECT | change, "b": PERFECT}} for seed, change in enumerate(changes)}


def by_metric(found, pathway="a"):
    return {v.goal.metric: v for v in found if v.pathway == pathway}


def test_a_uniform_generator_needs_n_times_the_harmonic_number():
    """ln N + γ + 1/(2N) is the harmonic number to eleven digits."""
    harmonic = math.log(19_683) + 0.5772156649015329 + 1 / (2 * 19_683)
    assert limit.METRICS["draws_ratio"].value(runs({"draws_to_complete": 19_683 * harmonic})[0], "a") == pytest.approx(1, rel=1e-9)


def test_every_goal_is_kept_by_perfect_runs():
    found = limit.verdicts(runs({}, {}))
    assert len(found) == 2 * len(limit.GOALS)
    assert all(v.kept and v.found.n == 2 for v in found)


@pytest.mark.parametrize(
    ("name", "bad", "metric"),
    [
        ("efficiency", 0.9899, "mass_efficiency"), ("kl_to_uniform", 0.00301, "kl_to_uniform"), ("smallest_cell", 0.699, "smallest_cell"),
        ("draws_to_complete", 1.0501 * UNIFORM_DRAWS_TO_COMPLETE, "draws_ratio"), ("exact_all", 19_682 / 19_683, "exact_all"),
        ("exact_test", 1_968 / 1_969, "exact_test"),
    ],
)  # fmt: skip
def test_a_goal_is_missed_just_beyond_its_bound_and_by_that_pathway_alone(name, bad, metric):
    found = limit.verdicts(runs({name: bad}, {name: bad}))
    assert [(v.goal.metric, v.pathway) for v in found if not v.kept] == [(metric, "a")]


def test_the_mean_decides_and_the_worst_seed_is_named():
    found = by_metric(limit.verdicts(runs({"smallest_cell": 0.6}, {"smallest_cell": 0.9})))["smallest_cell"]
    assert found.kept
    assert (found.found.mean, found.worst) == (pytest.approx(0.75), 0.6)
    found = by_metric(limit.verdicts(runs({"kl_to_uniform": 0.002}, {"kl_to_uniform": 0.001})))["kl_to_uniform"]
    assert found.worst == 0.002


def test_a_seed_is_at_the_limit_where_both_pathways_keep_every_goal():
    found = runs({}, {"exact_all": 0.999}, {"smallest_cell": 0.5}, {})
    found[3]["final"]["b"] = PERFECT | {"draws_to_complete": None}
    assert limit.seeds_at_the_limit(found) == [0]


def test_one_operation_lost_in_one_of_ten_seeds_is_a_goal_missed():
    found = by_metric(limit.verdicts(runs({"exact_all": 19_682 / 19_683}, *[{}] * 9)))["exact_all"]
    assert not found.kept


def test_the_first_page_says_the_means_over_the_recorded_seeds(monkeypatch):
    tasks = [task for task in load_sweep(limit.SWEEP) if task.variant == limit.RECIPE]
    assert len(tasks) == 10
    found = list(runs({"smallest_cell": 0.6}, {"smallest_cell": 0.9}).values())
    named = [record | {"variant": task.variant, "seed": task.config.seed} for record, task in zip(found, tasks, strict=False)]
    monkeypatch.setattr(limit, "recorded", lambda _: named)
    said = limit.first_page()
    assert (said["seeds"], said["kept"], said["goals"]) == ("2 of 10 seeds", 12, 12)
    assert said["rebuilt"] == "every operation"
    named[1]["final"]["a"]["exact_all"] = 19_682 / 19_683
    assert limit.first_page()["rebuilt"] == "at least 99.995% of the operations"
    monkeypatch.setattr(limit, "recorded", lambda _: [named[0] | {"seed": task.config.seed} for task in tasks])
    assert limit.first_page()["seeds"] == "10 seeds"
    assert (said["b"]["argmax"], said["b"]["expectation"]) == (19_682 / 19_683, 1)
    assert said["a"]["smallest_cell"] == pytest.approx(0.75)
    assert 10 < said["seconds"] < 60 * said["minutes"] < 3_600
    monkeypatch.setattr(limit, "recorded", lambda _: [])
    assert limit.first_page() == {}


def test_an_empty_cell_can_never_be_completed():
    assert METRICS["draws_ratio"].value(runs({"draws_to_complete": None})[0], "a") == math.inf


def test_the_ideal_decoder_measures_as_a_uniform_generator_does():
    """At 100 draws a cell its smallest mass is that of the rarest of 19,683 Poisson counts, about 100 - 4·10; 2n·KL is χ² distributed."""
    found = limit.ideal(1_968_300)["final"]["a"]
    assert found["kl_to_uniform"] == pytest.approx(0, abs=4 * math.sqrt(2 * 19_682) / (2 * 1_968_300))
    assert 0.5 < found["smallest_cell"] < 0.7
    assert 0.985 < found["efficiency"] < 0.995
    assert found["draws_to_complete"] / UNIFORM_DRAWS_TO_COMPLETE > 1


def test_refitting_an_encoder_lowers_the_bound_and_leaves_the_pathway_as_it_was():
    model = load_model("ternary_v6")
    before = {name: value.clone() for name, value in model.pathway_a.state_dict().items()}
    x = all_operations()
    with torch.inference_mode():
        mu, logvar = model.pathway_a.encoder(x)
        logits = model.pathway_a.decoder(sample_latent(mu, logvar, 1.0, stream(0, "bound")))
        start = float(kl_divergence(mu, logvar) + cross_entropy(logits, x + 1))
    rate, distortion, exact = limit.refit_encoder(model.pathway_a, x, 1, stream(0, "refit"))
    assert math.log(19_683) < rate + distortion < start
    assert exact > 0.9
    assert all(torch.equal(value, before[name]) for name, value in model.pathway_a.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.pathway_a.parameters())


def traded(*pairs, **change):
    """Records of as many seeds; rate and distortion of A are these, of B the recipe's."""
    of_b = [{"rate": 8.0 + s, "distortion": 2.0 + s} for s in range(len(pairs))]
    return {s: {"final": {"a": PERFECT | {"rate": r, "distortion": d} | change, "b": PERFECT | of_b[s]}} for s, (r, d) in enumerate(pairs)}


def test_a_rival_has_less_of_both_pathway_by_pathway_and_says_whether_seeds_agree():
    own = traded((8.0, 2.0), (8.1, 2.1), (8.2, 1.9))
    found = limit.better_in_both({
        "v6": own,
        "clear": traded((7.9, 1.9), (8.0, 2.0), (8.1, 1.8)),
        "unclear": traded((7.0, 1.9), (8.2, 2.0), (8.3, 1.8)),
        "trade": traded((7.0, 3.0), (7.1, 3.1), (7.2, 2.9)),
        "equal": own,
    })  # fmt: skip
    assert [(r.variant, r.pathway, r.clear) for r in found] == [("clear", "a", True), ("unclear", "a", False)]
    assert (found[0].rate, found[0].distortion) == (pytest.approx(-0.1), pytest.approx(-0.1))
    assert found[1].rate == pytest.approx(-0.8 / 3)


def test_rivals_that_gave_up_an_entry_are_no_rivals():
    runs_ = {"v6": traded((8.0, 2.0), (8.1, 2.1)), "collapsed": traded((0.0, 1.0), (0.0, 1.1), exact_all=0.3)}
    assert limit.better_in_both(runs_) == []


def test_other_seeds_are_compared_by_their_means():
    own = traded((8.0, 2.0), (8.1, 2.1), (8.2, 1.9))
    apart = {seed + 10: run for seed, run in traded((7.0, 1.0), (7.1, 1.1), (7.2, 0.9)).items()}
    near = {seed + 10: run for seed, run in traded((7.0, 1.9), (9.2, 2.1), (8.0, 1.9)).items()}
    found = limit.better_in_both({"v6": own, "apart": apart, "near": near})
    assert [(r.variant, r.clear) for r in found] == [("apart", True), ("near", False)]
    assert found[0].distortion == pytest.approx(-1.0)
    assert limit.better_in_both({"v6": own, "one": {77: apart[10]}}) == [], "one seed has no interval"


def test_equal_points_and_equal_coordinates_beat_nothing():
    assert limit.undominated({"p": (1.0, 1.0), "q": (1.0, 1.0), "r": (1.0, 0.5), "s": (2.0, 1.5)}) == ["p", "q", "r"]
