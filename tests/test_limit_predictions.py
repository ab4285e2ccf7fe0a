"""Rules that judge predictions: each can hold, fail and stay open."""

import pytest

from ternary_lib import limit_predictions
from ternary_lib.limit import RECIPE
from ternary_lib.limit_predictions import PREDICTIONS, Evidence, every, fates, opposite, some
from ternary_lib.sweeps import load_sweep

GOOD = {
    "efficiency": 0.993, "kl_to_uniform": 0.002, "smallest_cell": 0.75, "draws_to_complete": 206_000.0, "exact_all": 1.0, "exact_test": 1.0,
    "rate": 8.5, "distortion": 2.2, "neg_elbo": 10.7,
}  # fmt: skip
JITTER = (0.0, 1e-5, -1e-5)


def variant(seeds=3, b=None, **changes):
    """Records of a variant that differ a little from seed to seed; ``b`` are pathway B's own changes."""

    def final(change, seed):
        return {k: v if k.startswith("exact") else v + JITTER[seed % 3] for k, v in (GOOD | change).items()}

    config = {"data": {"train": 15_746, "validation": 1_968}}
    return {s: {"config": config, "final": {"a": final(changes, s), "b": final(changes | (b or {}), s)}} for s in range(seeds)}


def evidence(**variants):
    return Evidence({RECIPE: variant()} | variants)


# What would have every prediction hold, and what would have each fail.
AS_PREDICTED = {
    "unmatched": variant(kl_to_uniform=0.3), "marginals_instead": variant(kl_to_uniform=0.05), "no_memory": variant(kl_to_uniform=0.06),
    "beta_constant": variant(exact_all=1 / 3), "rho_0": variant(kl_to_uniform=0.01, b={"kl_to_uniform": 0.002}),
    "low_noise": variant(neg_elbo=20.0), "at_once": variant(), "statenet_off": variant(),
    "beta_0_2": variant(kl_to_uniform=0.01, rate=12.0, distortion=1.0), "beta_0_4": variant(kl_to_uniform=0.001, distortion=2.0),
    "beta_0_6": variant(), "beta_1_0": variant(kl_to_uniform=0.02, rate=7.0, distortion=3.0), "low_noise_0_4": variant(distortion=9.0),
    "percent_1": variant(efficiency=0.96, exact_test=0.9, b={"exact_test": 0.1}), "latent_9": variant(), "latent_8": variant(exact_all=0.9),
    "decoder_quarter": variant(),
}  # fmt: skip
OTHERWISE = {
    "unmatched": variant(kl_to_uniform=0.001), "marginals_instead": variant(kl_to_uniform=0.4), "no_memory": variant(kl_to_uniform=0.002),
    "beta_constant": variant(), "rho_0": variant(kl_to_uniform=0.001, b={"kl_to_uniform": 0.9}),
    "low_noise": variant(neg_elbo=9.9, exact_all=1 / 3), "at_once": variant(kl_to_uniform=0.2), "statenet_off": variant(),
    "beta_0_2": variant(kl_to_uniform=0.001, rate=7.0, distortion=3.0), "beta_0_4": variant(distortion=9.0),
    "beta_0_6": variant(), "beta_1_0": variant(kl_to_uniform=0.02, rate=12.0, distortion=1.0), "low_noise_0_4": variant(distortion=2.0),
    "percent_1": variant(efficiency=0.6, exact_test=1.0, b={"exact_test": 1.0}), "latent_9": variant(), "latent_8": variant(),
    "decoder_quarter": variant(exact_all=0.99),
}  # fmt: skip


def test_every_prediction_can_hold():
    assert {words: fate for words, fate in fates(evidence(**AS_PREDICTED)) if fate is not True} == {}


def test_every_prediction_can_fail():
    left = {words: fate for words, fate in fates(evidence(**OTHERWISE)) if fate is not False}
    assert list(left) == ["8. and both rebuild less of what they never saw than with 80 %", "8. and B less than A"]  # equal: neither
    lower = variant(exact_test=0.5, b={"exact_test": 0.9})
    assert evidence(percent_1=lower).a_over_b("percent_1", "exact_test") is False
    assert Evidence({RECIPE: variant(exact_test=0.4), "percent_1": lower}).less("percent_1", "exact_test") is False


def test_without_runs_and_with_too_few_every_prediction_is_open():
    assert {fate for _, fate in fates(Evidence({}))} == {None}
    two = {name: {s: r for s, r in found.items() if s < 2} for name, found in AS_PREDICTED.items()}
    assert {fate for _, fate in fates(evidence(**two))} == {None}


def test_seeds_that_are_not_shared_are_no_pairs():
    apart = {seed + 10: record for seed, record in variant(kl_to_uniform=0.3).items()}
    assert evidence(unmatched=apart).more("unmatched", "kl_to_uniform") is None


def test_an_interval_with_both_answers_in_it_leaves_a_prediction_open():
    mixed = {0: variant(kl_to_uniform=0.3)[0], 1: variant(kl_to_uniform=0.001)[1], 2: variant(kl_to_uniform=0.1)[2]}
    assert evidence(unmatched=mixed).more("unmatched", "kl_to_uniform") is None


def test_a_goal_inside_the_interval_leaves_the_limit_open_and_an_operation_lost_once_does_not():
    wide = {s: variant(kl_to_uniform=kl)[s] for s, kl in enumerate((0.001, 0.0025, 0.004))}  # the mean keeps 0.003
    assert evidence(decoder_quarter=wide).at_the_limit("decoder_quarter") is None
    once = variant() | {2: variant(exact_all=0.9999)[2]}
    assert evidence(latent_9=once).at_the_limit("latent_9") is False


def test_an_entry_lost_on_one_seed_is_counted():
    once = variant() | {1: variant(b={"exact_all": 1 / 3})[1]}
    found = evidence(low_noise=once)
    assert found.losing("low_noise") == 1
    assert (found.lost_by_none("low_noise"), found.lost_by_most("low_noise")) == (False, False)


def test_one_pathway_is_not_enough():
    only_a = variant(kl_to_uniform=0.3, b={"kl_to_uniform": 0.001})
    assert evidence(unmatched=only_a).more("unmatched", "kl_to_uniform") is False


@pytest.mark.parametrize("margin", [0.001])
def test_no_difference_has_to_be_shown(margin):
    assert evidence(x=variant(kl_to_uniform=0.0025)).same("x", "kl_to_uniform", margin) is True
    assert evidence(x=variant(kl_to_uniform=0.004)).same("x", "kl_to_uniform", margin) is False
    wide = {s: variant(kl_to_uniform=k)[s] for s, k in enumerate((0.001, 0.002, 0.004))}
    assert evidence(x=wide).same("x", "kl_to_uniform", margin) is None


def test_answers_are_joined_as_they_should_be():
    assert (some([False, None]), some([None, True]), some([False])) == (None, True, False)
    assert (every([]), opposite(True), opposite(None)) == (True, False, None)


def test_every_variant_that_is_spoken_of_is_in_a_sweep():
    known = {task.variant for part in ("", "_front", "_few", "_sizes") for task in load_sweep(f"configs/sweeps/v6{part}.yaml")}
    asked = set()

    class Listening(dict):
        def get(self, name, default=None):
            asked.add(name)
            return default

    fates(Evidence(Listening()))
    assert asked <= known, asked - known
    assert len(PREDICTIONS) == 17 and set(limit_predictions.INNER) <= known
