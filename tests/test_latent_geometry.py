"""Paths, neighbours, arithmetic and families of codes against codes made by hand and the null hypothesis."""

import math

import numpy as np
import pytest
import torch
from lines import generator, mean_squared_distance, one_hot_tables
from scipy.stats import kstest

from ternary_lib import latent_geometry as geometry
from ternary_lib.operations import NAMED, NUM_OPERATIONS, all_operations


def test_paths_keep_their_ends_and_their_kind():
    a, b = torch.randn(5, 16, generator=generator(1)), torch.randn(5, 16, generator=generator(2))
    for path in (geometry.straight, geometry.spherical):
        points = path(a, b, 11)
        assert points.shape == (5, 11, 16) and torch.allclose(points[:, 0], a, atol=1e-5) and torch.allclose(points[:, -1], b, atol=1e-5)
    unit = a / a.norm(dim=-1, keepdim=True), b / b.norm(dim=-1, keepdim=True)
    assert torch.allclose(geometry.spherical(*unit, 11).norm(dim=-1), torch.ones(5, 11), atol=1e-5)
    assert geometry.straight(*unit, 11).norm(dim=-1)[:, 5].max() < 1
    assert torch.isfinite(geometry.spherical(a, a, 3)).all() and torch.isfinite(geometry.spherical(a, -a, 3)).all()


def test_a_walk_counts_what_it_meets(codes):
    minus, plus = codes.mu[[0]], codes.mu[[-1]]
    met = geometry.walk(codes, geometry.straight(minus, plus, 101))
    assert (int(met.distinct), int(met.steps), int(met.least), bool(met.direct)) == (3, 18, 18, True), "all entries pass 0 together"
    there_and_back = torch.stack([minus, plus, minus], 1)
    met = geometry.walk(codes, there_and_back)
    assert (int(met.distinct), int(met.steps), int(met.least), bool(met.direct)) == (2, 36, 0, False)
    assert met.summary() == {"distinct": 2.0, "steps": 36.0, "least": 0.0, "direct": 0.0}


def hamming_against_trits():
    """Spearman's correlation of number of different entries with their squared distance, from the multinomial of 9 independent entries."""
    rows = []  # (hamming, squared distance, probability) for `one` entries a step apart and `two` entries two steps apart
    for one in range(10):
        for two in range(10 - one):
            ways = math.factorial(9) / (math.factorial(one) * math.factorial(two) * math.factorial(9 - one - two))
            rows.append((one + two, one + 4 * two, ways * (4 / 9) ** one * (2 / 9) ** two * (1 / 3) ** (9 - one - two)))
    weight = np.array([row[2] for row in rows])
    ranks = []
    for column in np.array([row[:2] for row in rows]).T:
        ranks.append(np.array([weight[column < v].sum() + weight[column == v].sum() / 2 for v in column]))
    centred = [rank - (weight * rank).sum() for rank in ranks]
    return (weight * centred[0] * centred[1]).sum() / math.sqrt((weight * centred[0] ** 2).sum() * (weight * centred[1] ** 2).sum())


def test_distances_and_neighbours_of_lines(codes):
    pairs = 40_000
    agreement = geometry.distance_agreement(codes.mu, pairs, generator())
    assert agreement.trits == pytest.approx(1, abs=1e-3)
    assert abs(agreement.hamming - hamming_against_trits()) < 5 / math.sqrt(pairs)
    chosen = torch.arange(0, NUM_OPERATIONS, 97)
    zeros = (all_operations()[chosen] == 0).sum(-1).double()
    assert geometry.neighbour_precision(codes.mu, chosen, 9) == 1
    assert geometry.neighbour_precision(codes.mu, chosen, 18) == pytest.approx(float((9 + zeros).mean()) / 18)
    assert geometry.neighbour_precision(one_hot_tables(), chosen, 18) == 1


def test_neighbours_of_codes_without_meaning():
    mu = torch.randn(NUM_OPERATIONS, 16, generator=generator())
    assert abs(geometry.distance_agreement(mu, 40_000, generator()).hamming) < 5 / math.sqrt(40_000)
    assert geometry.neighbour_precision(mu, torch.arange(0, NUM_OPERATIONS, 97), 18) < 0.02


def test_arithmetic_of_lines_is_that_of_trits(codes):
    found = geometry.arithmetic(codes, 20_000, generator())
    assert found.exact_inside == 1 and found.clipped == 1 and found.triples == 20_000
    share = (19 / 27) ** 9
    assert abs(found.inside - 20_000 * share) < 5 * math.sqrt(20_000 * share), "19 of 27 sums of three trits stay within ±1"
    assert abs(found.modular - share) < 5 * math.sqrt(share / 20_000), "mod 3 agrees exactly where nothing overflows"
    assert found.copied_inside < 0.05 and found.chance < 0.01


def test_mean_squared_distance_and_hamming():
    points = torch.randn(40, 5, generator=generator()).double()
    pairs = torch.cdist(points, points).square()[~torch.eye(40, dtype=torch.bool)]
    assert mean_squared_distance(points) == pytest.approx(float(pairs.mean()))
    constants = one_hot_tables()[[NAMED[name].index for name in ("constant_minus", "constant_zero", "constant_plus")]]
    assert mean_squared_distance(constants) == pytest.approx(9), "constants differ in all nine entries"
    assert mean_squared_distance(one_hot_tables()) == pytest.approx(6 * NUM_OPERATIONS / (NUM_OPERATIONS - 1))


def test_permutation_test_is_uniform_under_the_null():
    points, p = torch.randn(600, 4, generator=generator()), []
    for trial in range(200):
        members = torch.zeros(600, dtype=torch.bool)
        members[torch.randperm(600, generator=generator(trial))[:30]] = True
        p.append(geometry.closeness(points, members, 99, generator(1_000 + trial)).p)
    assert kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(("scale", "side"), [(0.7, "closer"), (1.4, "further")])
def test_permutation_test_finds_a_planted_cluster(scale, side):
    points = torch.randn(600, 4, generator=generator())
    members = torch.arange(600) < 60
    points[members] *= scale
    found = geometry.closeness(points, members, 199, generator())
    assert found.p == pytest.approx(2 / 200) and (found.ratio < 1) == (side == "closer")
    assert not found.low <= found.distance <= found.high and found.members == 60
    assert found.distance == pytest.approx(mean_squared_distance(points[members].double()))
    everything = mean_squared_distance(points.double())
    assert found.chance == pytest.approx(everything, rel=0.05), "the mean over random sets is that of all points"


def test_closeness_of_families_on_tables():
    tables = one_hot_tables()
    found = {name: geometry.closeness(tables, holds(all_operations()), 99, generator()) for name, holds in geometry.FAMILIES.items()}
    assert [found[name].members for name in found] == [113, 729, 729, 243, 64, 12]
    assert found["commutative"].distance == pytest.approx(6 * 729 / 728), "every value equally often in every entry, as in all tables"
    assert found["idempotent"].distance == pytest.approx(4 * 729 / 728), "three entries of nine are fixed"
    assert found["Latin square"].distance == pytest.approx(6 * 12 / 11)
    assert found["associative"].ratio < 1 and found["associative"].p == pytest.approx(0.02)


def test_closeness_where_all_points_are_one():
    found = geometry.closeness(torch.zeros(50, 3), torch.arange(50) < 5, 9, generator())
    assert math.isnan(found.ratio) and found.p == 1


def test_linear_separability_at_its_ends(codes):
    x = all_operations()
    half = geometry.linear_separability(codes.mu, x[:, 4] == 1, generator())
    assert half.auc == pytest.approx(1, abs=1e-6)
    blind = geometry.linear_separability(codes.mu, torch.rand(NUM_OPERATIONS, generator=generator()) < 0.1, generator())
    assert blind.auc == pytest.approx(0.5, abs=0.04)
    even = geometry.linear_separability(codes.mu, x[:, 4] == 0, generator())
    assert even.auc == pytest.approx(0.5, abs=0.03), "the middle of a line is no half-space"


def test_area_under_curve():
    labels = torch.tensor([True, False, True, False])
    assert geometry.area_under_curve(torch.tensor([3.0, 1.0, 4.0, 2.0]), labels) == 1
    assert geometry.area_under_curve(torch.tensor([1.0, 3.0, 2.0, 4.0]), labels) == 0
    assert geometry.area_under_curve(torch.zeros(4), labels) == 0.5
