"""Latent space against codes made by hand, the counts of algebra, and a command that refuses in one line."""

import json
import math

import numpy as np
import pytest
import torch
from micro import micro_config
from scipy.stats import kstest

from ternary_lib import checkpoint, latent, latent_command, relabelling, resilience
from ternary_lib import latent_geometry as geometry
from ternary_lib.cli import main
from ternary_lib.coverage import TERTILE, tertile_decoder
from ternary_lib.data import split_indices
from ternary_lib.latent import Codes
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import NAMED, NUM_OPERATIONS, all_operations, from_index, is_associative, is_commutative, to_index
from ternary_lib.relabelling import GROUP
from ternary_lib.training import train

SPACING = 2 * TERTILE  # cuts half-way between the values


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def line_codes(spacing=SPACING, variance=0.1, latent_dim=16):
    """Dimension d carries trit d exactly, the rest nothing; read by the tertile decoder."""
    mu = torch.zeros(NUM_OPERATIONS, latent_dim)
    mu[:, :9] = spacing * all_operations()
    logvar = torch.zeros(NUM_OPERATIONS, latent_dim)
    logvar[:, :9] = math.log(variance)
    return Codes(mu, logvar, tertile_decoder)


@pytest.fixture(scope="module")
def codes():
    return line_codes()


@pytest.fixture(scope="module")
def model():
    return TernaryVAE(micro_config().model, generator())


# Codes


def test_codes_stand_where_a_pathway_stands(codes, model):
    x = all_operations()
    assert torch.equal(codes.tables(codes.mu), x) and torch.equal(codes.encoder(x[[5, 3]])[0], codes.mu[[5, 3]])
    own = latent.codes_of(model, "b")
    with torch.inference_mode():
        mu, logvar = model.pathway_b.encoder(x)
    assert torch.allclose(own.mu, mu, atol=1e-6) and torch.allclose(own.logvar, logvar, atol=1e-4)
    mixed = latent.codes_of(model, "b", {"rho": 0.25, "tau_a": 1.0, "tau_b": 1.0})
    assert torch.allclose(mixed.mu, 0.75 * mu + 0.25 * latent.codes_of(model, "a").mu, atol=1e-6)


# Which dimension carries which trit


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


# The aggregated posterior


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
    assert parts == pytest.approx(q.rate) and q.shape > -5 * q.error


# Between operations


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
    assert geometry.neighbour_precision(geometry.one_hot_tables(), chosen, 18) == 1


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


# Families


def test_mean_squared_distance_and_hamming():
    points = torch.randn(40, 5, generator=generator()).double()
    pairs = torch.cdist(points, points).square()[~torch.eye(40, dtype=torch.bool)]
    assert geometry.mean_squared_distance(points) == pytest.approx(float(pairs.mean()))
    constants = geometry.one_hot_tables()[[NAMED[name].index for name in ("constant_minus", "constant_zero", "constant_plus")]]
    assert geometry.mean_squared_distance(constants) == pytest.approx(9), "constants differ in all nine entries"
    assert geometry.mean_squared_distance(geometry.one_hot_tables()) == pytest.approx(6 * NUM_OPERATIONS / (NUM_OPERATIONS - 1))


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
    assert found.distance == pytest.approx(geometry.mean_squared_distance(points[members].double()))
    everything = geometry.mean_squared_distance(points.double())
    assert found.chance == pytest.approx(everything, rel=0.05), "the mean over random sets is that of all points"


def test_closeness_of_families_on_tables():
    tables = geometry.one_hot_tables()
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


# Noise and ensembles


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
    assert resilience.ensemble((codes, codes), 0.3, generator(), posterior=True)["first"] > alone, "σ is below one here"


def test_two_looks_at_one_line_are_worth_noise_over_root_two(codes):
    """The product of two soft decoders with Gaussian witnesses averages the codes, so noise shrinks by √2."""
    soft = codes._replace(decoder=lambda z: torch.stack([-(z[:, :9] - v * SPACING).square() for v in (-1, 0, 1)], -1))
    together = resilience.ensemble((soft, soft), 0.4, generator())["product"]
    theory = resilience.exact_on_lines(torch.full((9,), SPACING), torch.full((9,), TERTILE), 0.4 / math.sqrt(2))
    assert abs(together - theory) < 5 * math.sqrt(theory * (1 - theory) / NUM_OPERATIONS)


# Relabellings


def test_relabellings_form_a_group_of_twelve():
    assert len(set(GROUP)) == 12 and str(GROUP[0]) == "identity"
    table = {(g, h): g.after(h) for g in GROUP for h in GROUP}
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
        assert found.explained == pytest.approx(1 if g.linear else 0.25, abs=0.01), str(g)
        if g.linear:
            assert torch.equal(to_index(codes.tables(found.predicted)), image[split.test])
    hot = geometry.one_hot_tables()
    assert relabelling.fit_relabelling(hot, relabelling.images()[1], split.train, split.test).explained == pytest.approx(1)


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


def test_a_collapsed_pathway_is_described_without_a_fault(codes):
    nothing = codes.mu[:, :0]
    split = split_indices(micro_config().data)
    assert math.isnan(relabelling.fit_relabelling(nothing, relabelling.images()[1], split.train, split.test).explained)
    flat = codes._replace(mu=torch.zeros_like(codes.mu), logvar=torch.zeros_like(codes.mu))
    q = latent.aggregate(flat, 64, generator())
    assert q.rate == 0 and q.information == pytest.approx(0, abs=1e-9)
    assert math.isnan(geometry.distance_agreement(flat.mu, 100, generator()).trits)
    assert geometry.linear_separability(flat.mu, is_commutative(all_operations()), generator()).auc == 0.5


# The command


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(micro_config(), folder, resume=True, progress=False)
    return folder / "last.safetensors"


def test_command_reports_and_repeats(last, capsys, monkeypatch):
    monkeypatch.setattr(latent_command, "PERMUTATIONS", 19)
    arguments = ["latent", "--checkpoint", str(last), "--draws", "200", "--json"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert (
        first["epoch"] == 3
        and list(first["pathways"]) == ["a", "b"]
        and list(first["together"]) == [f"noise_{s:g}" for s in latent_command.NOISES]
    )
    tensors, _ = checkpoint.load(last)
    for name, part in first["pathways"].items():
        assert part["exact"] == pytest.approx(float(tensors[f"history/{name}.exact_all"][-1]), abs=1e-9)
        assert part["noise"]["0"] == part["exact"] and part["families"]["associative"]["members"] == 113
    assert first["together"]["noise_0"]["first"] == first["pathways"]["a"]["exact"]


def test_command_prints_one_page_of_one_pathway_mixed(last, capsys, monkeypatch):
    monkeypatch.setattr(latent_command, "PERMUTATIONS", 19)
    assert main(["latent", "--checkpoint", str(last), "--draws", "200", "--pathway", "b", "--mixed"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("epoch 3, mixed codes") and "best of two" not in page and "Latin square" in page
    assert max(map(len, page.splitlines())) <= 140


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--checkpoint", "nowhere.safetensors"], "no such checkpoint"),
        (["--checkpoint", "README.md"], "not a readable checkpoint"),
        (["--checkpoint", "README.md", "--draws", "0"], "--draws 0: expected a whole number from 100"),
        (["--checkpoint", "README.md", "--seed", "-1"], "--seed -1: expected a whole number from 0"),
    ],
)
def test_command_refuses_in_one_line(arguments, words, capsys):
    assert main(["latent", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and words in err


@pytest.mark.parametrize(("arguments", "words"), [([], "--checkpoint"), (["--checkpoint", "x", "--pathway", "c"], "invalid choice: 'c'")])
def test_command_names_a_wrong_argument(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["latent", *arguments])
    assert stopped.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["nan", "shape", "history"])
def test_command_refuses_damaged_weights(last, tmp_path, capsys, fault):
    tensors, meta = checkpoint.load(last)
    name = "model/pathway_a.encoder.mu.bias"
    if fault == "nan":
        tensors[name] = torch.full_like(tensors[name], math.nan)
    elif fault == "shape":
        tensors[name] = tensors[name][:3]
    else:
        del tensors["history/tau_a"]
    checkpoint.save(tmp_path / "damaged.safetensors", tensors, meta)
    assert main(["latent", "--checkpoint", str(tmp_path / "damaged.safetensors")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and {"nan": "not finite", "shape": "do not fit", "history": "tau_a"}[fault] in err


def test_indices_and_tables_agree():
    assert torch.equal(to_index(GROUP[0](from_index(torch.arange(NUM_OPERATIONS)))), torch.arange(NUM_OPERATIONS))
