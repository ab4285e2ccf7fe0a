"""Every loss term against constants derived by hand, its gradient against differences, and the sum assembled by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from ternary_lib.config import LossConfig, PriorMatchingConfig
from ternary_lib.losses import (
    LossBreakdown,
    cell_masses,
    cross_entropy,
    entropy_alignment,
    kl_divergence,
    latent_entropy,
    output_entropy,
    prior_mismatch,
    repulsion,
    total_loss,
)
from ternary_lib.model import DualOutput, PathwayOutput
from ternary_lib.operations import all_operations, from_index

LN3 = math.log(3)
WIDTH = 6 / 50  # of a bin
seeds = st.integers(0, 2**31)


def centre(k):
    """Centre of bin k, k = 0 … 49."""
    return -3 + (k + 0.5) * WIDTH


def codes(*values):
    """One latent dimension, one row a sample."""
    return torch.tensor(values, dtype=torch.float64)[:, None]


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- cross-entropy -----------------------------------------------------------------------------------------------


def test_cross_entropy_of_a_uniform_decoder_is_nine_ln_3():
    classes = all_operations() + 1
    assert cross_entropy(torch.zeros(19_683, 9, 3, dtype=torch.float64), classes).item() == pytest.approx(9 * LN3)
    assert cross_entropy(torch.full((5, 9, 3), -7.0), classes[:5]).item() == pytest.approx(9 * LN3, rel=1e-6)


def test_cross_entropy_reads_class_k_from_logit_k():
    logits = torch.zeros(1, 9, 3, dtype=torch.float64)
    logits[0, :, 2] = math.log(2)  # probabilities ¼, ¼, ½ at each position
    for value, expected in ((0, 4), (1, 4), (2, 2)):
        assert cross_entropy(logits, torch.full((1, 9), value)).item() == pytest.approx(9 * math.log(expected))
    mixed = torch.tensor([[2, 2, 2, 2, 0, 0, 0, 1, 1]])
    assert cross_entropy(logits, mixed).item() == pytest.approx(4 * math.log(2) + 5 * math.log(4))


def test_cross_entropy_sums_over_positions_and_averages_over_the_batch():
    classes = torch.zeros(2, 9, dtype=torch.long)
    logits = torch.zeros(2, 9, 3, dtype=torch.float64)
    logits[0, :, 0] = 500.0  # the first operation is certain and right: it costs nothing
    assert cross_entropy(logits, classes).item() == pytest.approx(4.5 * LN3)


def test_cross_entropy_gradient_is_softmax_minus_one_hot():
    logits = random(1, 4, 9, 3).requires_grad_()
    classes = torch.randint(3, (4, 9), generator=torch.Generator().manual_seed(2))
    cross_entropy(logits, classes).backward()
    expected = (logits.detach().softmax(-1) - torch.nn.functional.one_hot(classes, 3)) / 4
    torch.testing.assert_close(logits.grad, expected)


# --- KL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mu", "variance", "expected"),
    [
        (0.0, 1.0, 0.0),
        (1.0, 1.0, 16 / 2),
        (-2.0, 1.0, 16 * 2),
        (0.0, 4.0, 16 * (1.5 - math.log(2))),
        (0.0, 0.25, 16 * (math.log(2) - 0.375)),
        (3.0, math.e, 16 * (9 + math.e - 2) / 2),
    ],
)
def test_kl_closed_form(mu, variance, expected):
    means = torch.full((7, 16), mu, dtype=torch.float64)
    assert kl_divergence(means, torch.full_like(means, math.log(variance))).item() == pytest.approx(expected)


def test_kl_sums_over_dimensions_and_averages_over_the_batch():
    mu = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert kl_divergence(mu, torch.zeros(4, 2)).item() == pytest.approx((2 + 0.5) / 4)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_kl_agrees_with_torch_distributions(seed):
    mu, logvar = random(seed, 5, 16), random(seed + 1, 5, 16)
    normal = torch.distributions.Normal
    reference = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(torch.zeros_like(mu), torch.ones_like(mu)))
    assert kl_divergence(mu, logvar).item() == pytest.approx(reference.sum(1).mean().item(), rel=1e-9)


def test_kl_gradient():
    mu, logvar = random(3, 5, 16).requires_grad_(), random(4, 5, 16).requires_grad_()
    kl_divergence(mu, logvar).backward()
    torch.testing.assert_close(mu.grad, mu.detach() / 5)
    torch.testing.assert_close(logvar.grad, (logvar.detach().exp() - 1) / 10)


def test_free_bits_charge_the_threshold_and_stop_the_gradient_below_it():
    mu = torch.tensor([[2.0, 0.2, 0.0], [2.0, 0.2, 0.0]], dtype=torch.float64, requires_grad=True)  # 2, 0.02 and 0 nats
    assert kl_divergence(mu, torch.zeros_like(mu), free_bits=0.5).item() == pytest.approx(2 + 0.5 + 0.5)
    kl_divergence(mu, torch.zeros_like(mu), free_bits=0.5).backward()
    assert mu.grad[:, 0].tolist() == [1.0, 1.0]
    assert mu.grad[:, 1:].abs().max() == 0


def test_free_bits_look_at_the_batch_mean_of_each_dimension():
    mu = torch.tensor([[2.0], [0.0]])  # 2 and 0 nats, 1 on average
    assert kl_divergence(mu, torch.zeros(2, 1), free_bits=0.9).item() == pytest.approx(1.0)
    assert kl_divergence(mu, torch.zeros(2, 1), free_bits=1.1).item() == pytest.approx(1.1)


# --- output entropy ----------------------------------------------------------------------------------------------


def test_output_entropy_extremes():
    assert output_entropy(torch.zeros(4, 9, 3)).item() == pytest.approx(9 * LN3, rel=1e-6)
    same = torch.tensor([50.0, 0.0, 0.0]).expand(4, 9, 3)
    assert output_entropy(same).item() == pytest.approx(0, abs=1e-6)


def test_output_entropy_is_that_of_the_mean_not_the_mean_of_entropies():
    certain = 200 * torch.nn.functional.one_hot(all_operations() + 1, 3).double()  # each operation with certainty
    assert output_entropy(certain).item() == pytest.approx(9 * LN3)
    assert output_entropy(certain[:1]).item() == pytest.approx(0, abs=1e-9)


def test_output_entropy_by_hand():
    logits = torch.zeros(2, 9, 3, dtype=torch.float64)
    logits[0, :, 0], logits[1, :, 1] = 500.0, 500.0  # half the batch says -1, half says 0
    assert output_entropy(logits).item() == pytest.approx(9 * math.log(2))


@given(seeds, st.floats(0, 60))
@settings(max_examples=50, deadline=None)
def test_output_entropy_stays_within_its_bounds(seed, scale):
    value = output_entropy(scale * random(seed, 6, 9, 3)).item()
    assert -1e-9 <= value <= 9 * LN3 + 1e-9


# --- repulsion ---------------------------------------------------------------------------------------------------

TWO_POINTS = torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.4, 0.0]], dtype=torch.float64)  # half a unit apart


def test_repulsion_of_two_points_by_hand():
    # d² = ¼ and 2σ² = ½: two diagonal terms of 1 and two of e^-½, over N² = 4
    assert repulsion(TWO_POINTS).item() == pytest.approx((1 + math.exp(-0.5)) / 2)
    assert repulsion(TWO_POINTS, sigma=1.0).item() == pytest.approx((1 + math.exp(-0.125)) / 2)


def test_repulsion_off_diagonal_form_by_hand():
    assert repulsion(TWO_POINTS, form="off_diagonal").item() == pytest.approx(math.exp(-1))  # d²/σ² = 1, no diagonal
    assert repulsion(TWO_POINTS, sigma=1.0, form="off_diagonal").item() == pytest.approx(math.exp(-0.25))


def test_repulsion_extremes():
    n = 8
    far = 100 * torch.eye(n)
    assert repulsion(far).item() == pytest.approx(1 / n), "the constant diagonal is included"
    assert repulsion(far, form="off_diagonal").item() == pytest.approx(0, abs=1e-6)
    assert repulsion(torch.ones(n, 16)).item() == pytest.approx(1, abs=1e-5)
    assert repulsion(torch.ones(n, 16), form="off_diagonal").item() == pytest.approx(1, abs=1e-5)
    assert repulsion(torch.ones(1, 16), form="off_diagonal").item() == 0, "a batch of one has no pair"


@pytest.mark.parametrize("form", ["gaussian", "off_diagonal"])
def test_repulsion_equals_the_double_sum_and_its_gradient(form):
    z = (0.3 * random(5, 6, 4)).requires_grad_()
    width = 0.5 if form == "gaussian" else 0.25
    pairs = [math.exp(-((z[i] - z[j]) ** 2).sum().item() / width) for i in range(6) for j in range(6) if form == "gaussian" or i != j]
    assert repulsion(z, form=form).item() == pytest.approx(sum(pairs) / len(pairs))
    assert gradcheck(lambda points: repulsion(points, form=form), (z,))


@pytest.mark.parametrize("form", ["gaussian", "off_diagonal"])
def test_repulsion_pushes_two_points_apart(form):
    z = codes(0.0, 0.5).requires_grad_()
    repulsion(z, form=form).backward()
    assert z.grad[0] > 0 > z.grad[1], "descent moves the left point left and the right one right"


# --- latent entropy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "soft", "hard"),
    [
        ([centre(20)] * 4, 0.0, 0.0),
        ([centre(20) + WIDTH / 2] * 4, math.log(2), 0.0),  # on an edge: half to each neighbour
        ([centre(20) + WIDTH / 4] * 4, 2 * math.log(2) - 0.75 * LN3, 0.0),  # ¾ and ¼
        ([centre(3), centre(40)], math.log(2), math.log(2)),
        ([centre(3), centre(3), centre(3), centre(40)], 2 * math.log(2) - 0.75 * LN3, 2 * math.log(2) - 0.75 * LN3),
        ([centre(k) for k in range(50)], math.log(50), math.log(50)),
        ([-9.0, centre(0)], 0.0, 0.0),  # outside counts in the end bin
        ([9.0, centre(49)], 0.0, 0.0),
        ([-9.0, 9.0], math.log(2), math.log(2)),
        ([-3.0, 3.0], math.log(2), math.log(2)),  # the very ends of the range
        ([centre(0) - WIDTH / 3] * 2, 0.0, 0.0),  # outermost half bin: no neighbour outside to share with
    ],
)
def test_latent_entropy_of_placed_samples(samples, soft, hard):
    assert latent_entropy(codes(*samples)).item() == pytest.approx(soft, abs=1e-9)
    assert latent_entropy(codes(*samples), form="hard").item() == pytest.approx(hard, abs=1e-9)


@pytest.mark.parametrize("form", ["soft", "hard"])
def test_latent_entropy_is_averaged_over_dimensions(form):
    spread, still = codes(centre(3), centre(40)), codes(centre(9), centre(9))
    both = torch.cat([spread, still, still, still], 1)
    assert latent_entropy(both, form=form).item() == pytest.approx(math.log(2) / 4)


def test_latent_entropy_reads_its_bins_and_its_range():
    assert latent_entropy(codes(-0.5, 0.5), bins=2, limit=1.0).item() == pytest.approx(math.log(2))
    assert latent_entropy(codes(-0.5, 0.5), bins=2, limit=10.0, form="hard").item() == pytest.approx(math.log(2))
    assert latent_entropy(codes(0.5, 0.6), bins=2, limit=10.0, form="hard").item() == 0.0


def away_from_kinks(z):
    """Moved to 0.2–0.8 of the way between two centres, where the soft histogram is smooth."""
    centred = (z + 3) / WIDTH - 0.5
    part = centred - centred.floor()
    return (centred.floor() + 0.2 + 0.6 * part + 0.5) * WIDTH - 3


def test_soft_histogram_gradient_equals_differences():
    z = away_from_kinks(random(6, 12, 3).clamp(-2.5, 2.5)).requires_grad_()
    assert gradcheck(latent_entropy, (z,), eps=1e-7, atol=1e-5)
    (gradient,) = torch.autograd.grad(latent_entropy(z), z)
    assert (gradient != 0).double().mean() > 0.9, "nearly every sample feels the term"


def test_soft_histogram_gradient_by_hand():
    # One sample a quarter of a bin right of a centre: p = (¾, ¼), dH/dx = (ln ¾ - ln ¼)/width
    z = codes(centre(20) + WIDTH / 4).requires_grad_()
    latent_entropy(z).backward()
    assert z.grad.item() == pytest.approx(LN3 / WIDTH)


def test_hard_histogram_has_no_gradient():
    z = random(7, 12, 3).requires_grad_()
    assert not latent_entropy(z, form="hard").requires_grad
    assert latent_entropy(z, form="soft").requires_grad


@pytest.mark.parametrize("place", [centre(0), centre(20), centre(49), -3.0, 3.0, -8.0, 8.0, centre(20) + WIDTH / 2])
def test_gradients_are_finite_wherever_samples_sit(place):
    z = torch.full((6, 3), place, requires_grad=True)
    latent_entropy(z).backward()
    assert torch.isfinite(z.grad).all()
    if abs(place) > 3:
        assert z.grad.abs().max() == 0, "a sample outside is clamped: moving it changes nothing"


@given(seeds, st.floats(0.01, 5), st.sampled_from(["soft", "hard"]))
@settings(max_examples=50, deadline=None)
def test_latent_entropy_stays_within_its_bounds(seed, spread, form):
    assert -1e-9 <= latent_entropy(spread * random(seed, 40, 2), form=form).item() <= math.log(50) + 1e-9


def test_alignment_is_the_distance_and_couples_both_sides():
    a, b = (torch.tensor(value, requires_grad=True) for value in (1.25, 2.0))
    assert entropy_alignment(a, b).item() == entropy_alignment(b, a).item() == 0.75
    entropy_alignment(a, b).backward()
    assert (a.grad.item(), b.grad.item()) == (-1.0, 1.0)


# --- the sum -----------------------------------------------------------------------------------------------------


def a_batch(seed=0, n=10, requires_grad=False):
    def pathway(k):
        shapes = {"mu": (n, 16), "logvar": (n, 16), "z": (n, 16), "z_tilde": (n, 16), "logits": (n, 9, 3)}
        tensors = [random(seed + 10 * k + i, *shape).requires_grad_(requires_grad) for i, shape in enumerate(shapes.values())]
        return PathwayOutput(**dict(zip(shapes, tensors, strict=True)))

    classes = torch.randint(3, (n, 9), generator=torch.Generator().manual_seed(seed))
    return DualOutput(pathway(1), pathway(2)), classes


def test_total_loss_assembled_by_hand():
    output, classes = a_batch()
    lambdas = torch.tensor([0.6, 0.8, 0.4], dtype=torch.float64)
    got = total_loss(output, classes, (0.9, 0.5), lambdas, (1.5, 0.7))
    a, b = output
    loss_a = cross_entropy(a.logits, classes) + 0.9 * kl_divergence(a.mu, a.logvar)
    loss_b = cross_entropy(b.logits, classes) + 0.5 * kl_divergence(b.mu, b.logvar)
    loss_b = loss_b - 0.05 * output_entropy(b.logits) + 0.01 * repulsion(b.z)
    align = (latent_entropy(a.z) - latent_entropy(b.z)).abs()
    assert got.loss_a.item() == pytest.approx(loss_a.item())
    assert got.loss_b.item() == pytest.approx(loss_b.item())
    assert got.total.item() == pytest.approx((0.6 * 1.5 * loss_a + 0.8 * 0.7 * loss_b + 0.4 * align).item())


def test_the_breakdown_names_what_it_holds():
    output, classes = a_batch(n=33)
    a, b = output
    got = total_loss(output, classes, (1.0, 1.0), torch.ones(3, dtype=torch.float64))
    expected = {
        "ce_a": cross_entropy(a.logits, classes), "ce_b": cross_entropy(b.logits, classes),
        "kl_a": kl_divergence(a.mu, a.logvar), "kl_b": kl_divergence(b.mu, b.logvar),
        "output_entropy_b": output_entropy(b.logits), "repulsion_b": repulsion(b.z),
        "latent_entropy_a": latent_entropy(a.z), "latent_entropy_b": latent_entropy(b.z),
        "alignment": entropy_alignment(latent_entropy(a.z), latent_entropy(b.z)),
    }  # fmt: skip
    assert set(expected) | {"total", "loss_a", "loss_b"} == set(LossBreakdown._fields)
    for name, value in expected.items():
        assert getattr(got, name).item() == pytest.approx(value.item()), name
    assert len({round(value.item(), 9) for value in got}) == len(got), "no two terms agree by chance, so no swap goes unseen"


def test_total_loss_reads_every_option():
    output, classes = a_batch()
    b = output.b
    config = LossConfig(
        output_entropy_weight=0.3, repulsion_weight=0.2, repulsion_sigma=2.0, repulsion="off_diagonal", free_bits=0.9,
        latent_entropy="hard", latent_bins=7, latent_range=2.0,
    )  # fmt: skip
    got = total_loss(output, classes, (0.9, 0.5), torch.ones(3, dtype=torch.float64), config=config)
    rep = repulsion(b.z, 2.0, "off_diagonal")
    loss_b = cross_entropy(b.logits, classes) + 0.5 * kl_divergence(b.mu, b.logvar, 0.9) - 0.3 * output_entropy(b.logits) + 0.2 * rep
    assert got.loss_b.item() == pytest.approx(loss_b.item())
    assert got.kl_a.item() == pytest.approx(kl_divergence(output.a.mu, output.a.logvar, 0.9).item())
    assert got.latent_entropy_a.item() == pytest.approx(latent_entropy(output.a.z, 7, 2.0, "hard").item())
    assert got.kl_a.item() != pytest.approx(kl_divergence(output.a.mu, output.a.logvar).item())


def test_the_gradient_of_the_total_by_the_weights_is_the_scaled_terms():
    output, classes = a_batch()
    lambdas = torch.tensor([0.7, 0.7, 0.3], dtype=torch.float64, requires_grad=True)
    losses = total_loss(output, classes, (0.6, 0.4), lambdas, (1.25, 0.8))
    losses.total.backward()
    assert lambdas.grad.tolist() == pytest.approx([1.25 * losses.loss_a.item(), 0.8 * losses.loss_b.item(), losses.alignment.item()])


def test_each_term_reads_its_own_tensors_only():
    # mu and logvar: KL. logits: CE and output entropy. z: alignment, and repulsion on B. z_tilde: nothing here.
    output, classes = a_batch(requires_grad=True)
    reached = {}
    losses = total_loss(output, classes, (0.6, 0.4), torch.ones(3, dtype=torch.float64))
    for name in ("loss_a", "loss_b", "alignment"):
        leaves = [*output.a, *output.b]
        gradients = torch.autograd.grad(getattr(losses, name), leaves, retain_graph=True, allow_unused=True)
        fields = [f"{p}.{f}" for p in "ab" for f in PathwayOutput._fields]
        reached[name] = {field for field, gradient in zip(fields, gradients, strict=True) if gradient is not None and gradient.any()}
    assert reached == {
        "loss_a": {"a.mu", "a.logvar", "a.logits"},
        "loss_b": {"b.mu", "b.logvar", "b.logits", "b.z"},
        "alignment": {"a.z", "b.z"},
    }


def test_all_gradients_are_finite_when_samples_sit_on_centres_and_outside():
    output, classes = a_batch(requires_grad=True)
    with torch.no_grad():
        for part, places in ((output.a.z, (centre(20), centre(0), -7.0)), (output.b.z, (centre(49), 3.0, 1e4))):
            for row, place in enumerate(places):
                part[row] = place
    total_loss(output, classes, (0.6, 0.4), torch.ones(3, dtype=torch.float64)).total.backward()
    for pathway in output:
        for name in ("mu", "logvar", "z", "logits"):
            assert torch.isfinite(getattr(pathway, name).grad).all(), name


# --- prior matching ----------------------------------------------------------------------------------------------


def sharp(*indices, size=60.0):
    """Logits that decode to these operations, nothing else."""
    return size * torch.nn.functional.one_hot(from_index(torch.tensor(indices)) + 1, 3).double()


def test_cell_masses_of_sharp_draws_are_their_shares():
    masses = cell_masses(sharp(0, 5, 19_682, 5))
    assert masses[[0, 5, 19_682]].tolist() == pytest.approx([0.25, 0.5, 0.25])
    assert float(masses.sum()) == pytest.approx(1)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_cell_masses_are_the_products_of_the_positions_probabilities(seed):
    logits = random(seed, 3, 9, 3)
    masses, p = cell_masses(logits), logits.softmax(-1)
    classes = all_operations()[seed % 19_683] + 1
    expected = p[:, torch.arange(9), classes].prod(-1).mean()
    assert masses[seed % 19_683].item() == pytest.approx(expected.item(), rel=1e-12)
    assert float(masses.sum()) == pytest.approx(1)


def test_prior_mismatch_of_uniform_draws_is_zero():
    uniform = torch.full((19_683,), 1 / 19_683, dtype=torch.float64)
    undecided, config = torch.zeros(8, 9, 3, dtype=torch.float64), PriorMatchingConfig(marginals=1.0)
    assert prior_mismatch(undecided, uniform, config).item() == pytest.approx(0, abs=1e-9)


def test_prior_mismatch_of_one_operation_alone():
    """Marginals without entropy, 9 ln 3; a memory of the same operation alone, N - 1; one of the others alone, -1."""
    config = PriorMatchingConfig(marginals=2.0, cells=3.0)
    memory = torch.zeros(19_683, dtype=torch.float64)
    memory[7] = 1
    assert prior_mismatch(sharp(7, 7), memory, config).item() == pytest.approx(2 * 9 * LN3 + 3 * 19_682)
    assert prior_mismatch(sharp(8, 8), memory, config).item() == pytest.approx(2 * 9 * LN3 - 3)


def test_a_memory_of_the_draws_themselves_gives_chi_squared_and_half_its_gradient():
    logits = random(4, 50, 9, 3).requires_grad_()
    masses = cell_masses(logits)
    chi_squared = 19_683 * masses.square().sum() - 1
    term = prior_mismatch(logits, masses.detach(), PriorMatchingConfig(marginals=0.0, cells=1.0))
    assert term.item() == pytest.approx(chi_squared.item())
    ours, whole = (torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (term, chi_squared))
    assert torch.allclose(2 * ours, whole, rtol=1e-9, atol=1e-12)
    assert whole.abs().max() > 1e-3


def test_mismatches_are_added_to_their_pathways_losses():
    output, classes = a_batch(3)
    lambdas = torch.tensor([0.7, 0.8, 0.3], dtype=torch.float64)
    plain = total_loss(output, classes, (0.5, 0.4), lambdas, (1.5, 0.75))
    matched = total_loss(output, classes, (0.5, 0.4), lambdas, (1.5, 0.75), mismatches=(torch.tensor(2.0), torch.tensor(3.0)))
    assert (matched.loss_a - plain.loss_a).item() == pytest.approx(2)
    assert (matched.loss_b - plain.loss_b).item() == pytest.approx(3)
    assert (matched.total - plain.total).item() == pytest.approx(0.7 * 1.5 * 2 + 0.8 * 0.75 * 3)
