"""Noise, corruption and ensembles against closed forms."""

import math

import pytest
import torch
from lines import SPACING, generator

from ternary_lib import resilience
from ternary_lib.coverage import TERTILE, tertile_decoder
from ternary_lib.operations import NUM_OPERATIONS, all_operations


def test_noise_on_lines_against_the_closed_form(codes):
    for scale in (0.1, 0.25, 0.5):
        theory = resilience.exact_on_lines(torch.full((9,), SPACING), torch.full((9,), TERTILE), scale)
        got = resilience.exact_under_noise(codes, scale, generator())
        assert abs(got - theory) < 5 * math.sqrt(theory * (1 - theory) / NUM_OPERATIONS) + 1e-9, scale
    assert resilience.exact_under_noise(codes, 0.0, generator()) == 1
    even, uneven = torch.full((9,), 0.3, dtype=torch.float64), torch.tensor([0.3] * 8 + [1e-3], dtype=torch.float64)
    lines = torch.full((9,), SPACING), torch.full((9,), TERTILE)
    assert resilience.exact_on_lines(*lines, uneven) ** (9 / 8) == pytest.approx(resilience.exact_on_lines(*lines, even)), "axis by axis"


def test_corruption_changes_exactly_so_many_entries():
    x = all_operations()
    for entries in (0, 1, 4, 9):
        wrong = resilience.corrupt(x, entries, generator())
        assert ((wrong != x).sum(-1) == entries).all() and int(wrong.abs().max()) == 1
    wrong = resilience.corrupt(torch.zeros(9_000, 9, dtype=torch.long), 1, generator())
    assert (wrong.abs().double().mean(0) - 1 / 9).abs().max() < 5 * math.sqrt(8 / 81 / 9_000), "every place as often"


def test_lines_copy_what_is_corrupted(codes):
    assert resilience.repair(codes, 1, generator()) == (0, 1) and resilience.repair(codes, 0, generator()) == (1, 1)


def test_noise_on_the_input(model):
    class Exact:
        decoder = staticmethod(tertile_decoder)

        @staticmethod
        def encoder(x):
            return SPACING * x, None

    theory = resilience.exact_on_lines(torch.full((9,), 1.0), torch.full((9,), 0.5), 0.3)
    got = resilience.exact_under_input_noise(Exact, 0.3, generator())
    assert abs(got - theory) < 5 * math.sqrt(theory * (1 - theory) / NUM_OPERATIONS)
    assert 0 <= resilience.exact_under_input_noise(model.pathway_a, 0.1, generator()) <= 1


def test_rules_of_two_decoders_by_hand():
    first, second = torch.zeros(1, 9, 3), torch.zeros(1, 9, 3)
    first[..., 0], second[..., 2] = 3.0, 2.0  # A says −1, surer than B, who says +1
    first[0, 0], second[0, 0] = torch.tensor([0.0, 2.9, 3.0]), torch.tensor([3.0, 2.9, 0.0])  # here both nearly say 0
    found = resilience.combine((first, second))
    assert found["confidence"][0].tolist() == [1] + [-1] * 8
    assert found["vote"][0, 1:].tolist() == [-1] * 8 and found["product"][0].tolist() == [0] + [-1] * 8


def test_best_of_two_bounds_rules_that_pick_a_table(codes):
    rebuilt = resilience.ensemble((codes, codes), 0.3, generator())
    assert max(rebuilt["first"], rebuilt["second"], rebuilt["confidence"]) <= rebuilt["best_of_two"]
    alone = rebuilt["first"]
    assert rebuilt["best_of_two"] == pytest.approx(1 - (1 - alone) ** 2, abs=0.03), "independent looks, though some tables are easier"
    quiet = resilience.ensemble((codes, codes), 0.0, generator())
    assert set(quiet.values()) == {1.0}


def test_two_looks_at_one_line_are_worth_noise_over_root_two(codes):
    """The product of two soft decoders with Gaussian witnesses averages the codes, so noise shrinks by √2."""
    soft = codes._replace(decoder=lambda z: torch.stack([-(z[:, :9] - v * SPACING).square() for v in (-1, 0, 1)], -1))
    together = resilience.ensemble((soft, soft), 0.4, generator())["product"]
    theory = resilience.exact_on_lines(torch.full((9,), SPACING), torch.full((9,), TERTILE), 0.4 / math.sqrt(2))
    assert abs(together - theory) < 5 * math.sqrt(theory * (1 - theory) / NUM_OPERATIONS)
