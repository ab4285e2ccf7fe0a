"""The twelve relabellings: a group, its orbits, and what linear maps of codes know of it."""


import pytest
import torch
from lines import generator, one_hot_tables
from micro import micro_config

from ternary_lib import relabelling
from ternary_lib.data import split_indices
from ternary_lib.operations import NAMED, NUM_OPERATIONS, all_operations, from_index, is_associative, is_commutative, to_index
from ternary_lib.relabelling import GROUP, Relabelling


def test_relabellings_form_a_group_of_twelve():
    assert len(set(GROUP)) == 12 and str(GROUP[0]) == "identity"
    table = {(g, h): Relabelling(tuple(g.values[v + 1] for v in h.values), g.swap != h.swap) for g in GROUP for h in GROUP}  # g after h
    assert set(table.values()) == set(GROUP)
    for g in GROUP:
        assert len({table[g, h] for h in GROUP}) == 12 and any(table[g, h] == GROUP[0] for h in GROUP)
    some = all_operations()[::131]
    for (g, h), both in table.items():
        assert torch.equal(g(h(some)), both(some)), "the group acts: (g·h)·f = g·(h·f)"


def test_relabelling_by_hand():
    (exchange,) = [g for g in GROUP if str(g) == "swap"]
    assert torch.equal(exchange(torch.tensor(NAMED["projection_x"].table)), torch.tensor(NAMED["projection_y"].table))
    (negate,) = [g for g in GROUP if str(g) == "− ↔ +"]
    assert torch.equal(negate(torch.tensor(NAMED["kleene_min"].table)), torch.tensor(NAMED["kleene_max"].table)), "de Morgan"
    (raised,) = [g for g in GROUP if str(g) == "− → 0 → +"]
    f = torch.tensor(NAMED["lukasiewicz_implication"].table)
    pi = {-1: 0, 0: 1, 1: -1}
    for x in (-1, 0, 1):
        for y in (-1, 0, 1):
            assert int(raised(f)[3 * (pi[x] + 1) + pi[y] + 1]) == pi[int(f[3 * (x + 1) + y + 1])], "π(f(x, y)) = f'(πx, πy)"


def test_orbits_partition_the_operations():
    orbits, images = relabelling.orbits(), relabelling.images()
    names, sizes = orbits.unique(return_counts=True)
    assert len(names) == 1_734 and int(sizes.sum()) == NUM_OPERATIONS, "groupoids of order 3 up to (anti-)isomorphism: OEIS A001424"
    assert all(12 % int(size) == 0 for size in sizes)
    assert all(torch.equal(orbits[image], orbits) for image in images)
    assert len(orbits[is_associative(all_operations())].unique()) == 18, "semigroups of order 3: OEIS A001423"
    without_swap = images[[k for k, g in enumerate(GROUP) if not g.swap]].amin(0)
    assert len(without_swap.unique()) == 3_330, "up to isomorphism: OEIS A001329"
    for holds in (is_associative, is_commutative):
        mask = holds(all_operations())
        assert all(torch.equal(mask[image], mask) for image in images), "a property of algebra does not see names"


def test_four_relabellings_are_linear_on_lines_and_eight_explain_a_quarter(codes):
    split = split_indices(micro_config().data)
    assert sum(g.linear for g in GROUP) == 4
    for g, image in zip(GROUP, relabelling.images(), strict=True):
        found = relabelling.fit_relabelling(codes.mu, image, split.train, split.test)
        assert found== pytest.approx(1 if g.linear else 0.25, abs=0.01), str(g)
    hot = one_hot_tables()
    assert relabelling.fit_relabelling(hot, relabelling.images()[1], split.train, split.test)== pytest.approx(1)


def test_masses_along_orbits():
    images, zeros = relabelling.images(), (all_operations() == 0).sum(-1)
    by_zeros = (1_000_000 * 0.5**zeros).long()  # mass by the number of zeros, as symmetric lines give it
    for g, image in zip(GROUP, images, strict=True):
        assert relabelling.mass_agreement(by_zeros, image) == pytest.approx(1 if g.linear else -0.5, abs=0.01), str(g)
    by_orbit = 1_000_000 + 100 * relabelling.orbits()
    assert relabelling.orbit_split(by_orbit).between == pytest.approx(1)
    assert relabelling.orbit_split(by_zeros).between < 0.02, "minus one half for eight, one for four: orbits tell nothing"
    counts = torch.poisson(torch.full((NUM_OPERATIONS,), 50.0), generator=generator()).long()
    noise = relabelling.orbit_split(counts)
    assert noise.noise == pytest.approx(1, abs=0.05) and noise.total == pytest.approx(1 / 50, rel=0.1)


def test_indices_and_tables_agree():
    assert torch.equal(to_index(GROUP[0](from_index(torch.arange(NUM_OPERATIONS)))), torch.arange(NUM_OPERATIONS))
