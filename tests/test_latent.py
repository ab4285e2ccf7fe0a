"""Codes, axes and the aggregated posterior against codes made by hand."""

import math

import numpy as np
import pytest
import torch
from lines import SPACING, generator, line_codes
from micro import micro_config

from ternary_lib import latent, relabelling
from ternary_lib import latent_geometry as geometry
from ternary_lib.coverage import tertile_decoder
from ternary_lib.data import split_indices
from ternary_lib.evaluation import mutual_information
from ternary_lib.latent import Codes
from ternary_lib.operations import NAMED, NUM_OPERATIONS, all_operations, is_commutative


def test_codes_stand_where_a_pathway_stands(codes, model):
    x = all_operations()
    assert torch.equal(codes.tables(codes.mu), x) and torch.equal(codes.encoder(x[[5, 3]])[0], codes.mu[[5, 3]])
    own = latent.codes_of(model, "b")
    with torch.inference_mode():
        mu, logvar = model.pathway_b.encoder(x)
    assert torch.allclose(own.mu, mu, atol=1e-6) and torch.allclose(own.logvar, logvar, atol=1e-4)
    mixed = latent.codes_of(model, "b", {"rho": 0.25, "tau_a": 1.0, "tau_b": 1.0})
    assert torch.allclose(mixed.mu, 0.75 * mu + 0.25 * latent.codes_of(model, "a").mu, atol=1e-6)


def test_explained_variance_of_exact_lines_is_the_identity(codes):
    table = latent.explained(codes.mu)
    assert torch.allclose(table[:9], torch.eye(9, dtype=torch.float64), atol=1e-6) and (table[9:] == 0).all()


def test_explained_variance_splits_between_entries_and_combinations():
    x = all_operations().double()
    mu = torch.stack([x[:, 0] + x[:, 1], 2 * x[:, 0] + x[:, 1], x[:, 0] * x[:, 1], x[:, 0].square()], 1)
    table = latent.explained(mu)
    assert table[0, :2].tolist() == pytest.approx([0.5, 0.5]) and table[1, :2].tolist() == pytest.approx([0.8, 0.2])
    assert table[2].sum() == pytest.approx(0, abs=1e-12), "a product of entries belongs to no single one"
    assert table[3, 0] == pytest.approx(1), "not linear, but of this entry alone"


def test_flips_of_exact_lines(codes):
    draws = 4_000
    table = latent.flips(codes, draws, generator())
    assert (table.diagonal() - 2 / 3).abs().max() < 5 * math.sqrt(2 / 9 / draws)
    away = table.clone()
    away.fill_diagonal_(0)
    assert away.sum() == 0


def test_traversal_moves_one_entry_at_a_time(codes):
    values = torch.linspace(-3, 3, 7)
    tables = latent.traverse(codes, torch.zeros(16), values)
    assert tables.shape == (16, 7, 9)
    for d in range(16):
        wanted = torch.zeros(7, 9, dtype=torch.long)
        if d < 9:
            wanted[:, d] = torch.tensor([-1, -1, -1, 0, 1, 1, 1])
        assert torch.equal(tables[d], wanted)
    origin = codes.mu[NAMED["product"].index]
    assert torch.equal(latent.traverse(codes, origin, origin[4:5])[4, 0], torch.tensor(NAMED["product"].table))


def test_aggregate_of_lines_against_closed_forms():
    variance = 0.1
    q = latent.aggregate(line_codes(variance=variance), 2_000, generator())
    total = 2 / 3 * SPACING**2 + variance
    assert q.variance[:9].tolist() == pytest.approx([total] * 9, rel=1e-4) and q.variance[9:].tolist() == pytest.approx([1] * 7)
    assert q.by_dimension.sum() == pytest.approx(4.5 * (total - 1 - math.log(total)), rel=1e-3)
    assert q.total_correlation == pytest.approx(0, abs=1e-5)
    assert q.rate == pytest.approx(4.5 * (total - 1 - math.log(variance)), rel=1e-3)
    z = np.linspace(-5, 5, 20_001)
    bells = np.exp(-0.5 * (z - SPACING * np.array([[-1], [0], [1]])) ** 2 / variance) / math.sqrt(2 * math.pi * variance)
    mixture = bells.mean(0)
    entropy = -(mixture * np.log(mixture + 1e-300)).sum() * (z[1] - z[0])
    information = 9 * (entropy - 0.5 * math.log(2 * math.pi * math.e * variance))
    assert abs(q.information - information) < 5 * q.error + 1e-6 and 0 < q.error < 0.2
    gaussian = 9 * (0.5 * math.log(2 * math.pi * math.e * total) - entropy)
    assert abs(q.shape - gaussian) < 5 * q.error + 1e-3, "what is left is the distance of three bells from one"


def test_aggregate_sees_correlated_dimensions():
    mu = torch.zeros(NUM_OPERATIONS, 2)
    mu[:, 0] = mu[:, 1] = 0.9 * all_operations()[:, 0]
    q = latent.aggregate(Codes(mu, torch.full((NUM_OPERATIONS, 2), math.log(0.46)), tertile_decoder), 64, generator())
    assert q.total_correlation == pytest.approx(-0.5 * math.log(1 - 0.54**2), rel=1e-4)


def test_the_split_of_the_rate_adds_up(model):
    q = latent.aggregate(latent.codes_of(model, "a"), 256, generator())
    parts = q.information + float(q.by_dimension.sum()) + q.total_correlation + q.shape
    assert parts == pytest.approx(q.rate) and q.shape > -5 * q.error and q.information < q.bound + 5 * q.error


def test_information_agrees_with_the_estimate_of_training(model):
    codes = latent.codes_of(model, "b")
    codes = codes._replace(mu=5 * codes.mu, logvar=codes.logvar - 2)  # an untrained network's codes, told apart
    q = latent.aggregate(codes, 1_000, generator())
    others = [mutual_information(codes, 250, generator(k)) for k in range(1, 9)]
    error = math.hypot(q.error, np.std(others, ddof=1) / math.sqrt(8))
    assert q.information > 0.1 and abs(q.information - np.mean(others)) < 5 * error


def test_log_density_of_one_bell_is_the_prior():
    codes = Codes(torch.zeros(NUM_OPERATIONS, 3), torch.zeros(NUM_OPERATIONS, 3), tertile_decoder)
    z = torch.randn(300, 3, generator=generator())
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1).double()
    assert torch.allclose(latent.log_aggregate(codes, z), wanted, atol=1e-5)


def test_zones_of_zero_along_an_axis():
    decoded = torch.tensor([[-1, -1, 0, 0, 1], [1, 1, 0, -1, -1], [-1, 1, 0, 1, -1], [0, 0, 0, 0, 0], [-1, -1, 1, 1, 1]])
    widths, ordered = latent.zero_zones(decoded, 0.5)
    assert widths == [1.0, 0.5, 0.5, 2.5, 0.0] and ordered == 2


def test_a_collapsed_pathway_is_described_without_a_fault(codes):
    nothing = codes.mu[:, :0]
    split = split_indices(micro_config().data)
    assert math.isnan(relabelling.fit_relabelling(nothing, relabelling.images()[1], split.train, split.test))
    flat = codes._replace(mu=torch.zeros_like(codes.mu), logvar=torch.zeros_like(codes.mu))
    q = latent.aggregate(flat, 64, generator())
    assert q.rate == 0 and q.information == pytest.approx(0, abs=1e-9)
    assert math.isnan(geometry.distance_agreement(flat.mu, 100, generator()).trits)
    assert geometry.linear_separability(flat.mu, is_commutative(all_operations()), generator()).auc == 0.5
