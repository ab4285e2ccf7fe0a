"""What is measured: every figure against a closed form, or against hand-made pathways whose values are known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ternary_lib import coverage
from ternary_lib.config import load_config
from ternary_lib.control import Controller
from ternary_lib.coverage import MODES, tertile_decoder, uniform_decoder
from ternary_lib.data import Split, split_indices
from ternary_lib.evaluation import (
    cell_statistics,
    coverage_counts,
    draws_to_complete,
    evaluate_epoch,
    evaluate_final,
    mutual_information,
    reconstruction,
    validation_loss,
)
from ternary_lib.losses import LossBreakdown
from ternary_lib.model import Pathway, TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, POSITIONS, all_operations
from ternary_lib.randomness import stream

N = NUM_OPERATIONS
LIMIT = 9 * math.log(3)
SMALL = {
    "evaluation.budgets": [100, 700],
    "evaluation.final_draws": 5_000,
    "evaluation.cell_draws": 4 * N,
    "evaluation.information_samples": 64,
}

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


class ScaledEncoder(nn.Module):
    """μ = scale·x on the first nine dimensions, one log σ² everywhere: a posterior that can be worked out by hand."""

    def __init__(self, scale: float, logvar: float = 0.0, positions: int = POSITIONS, latent_dim: int = 16) -> None:
        super().__init__()
        self.scale, self.logvar, self.positions, self.latent_dim = scale, logvar, positions, latent_dim

    def forward(self, x):
        mu = torch.zeros(len(x), self.latent_dim)
        mu[:, : self.positions] = self.scale * x[:, : self.positions].float()
        return mu, torch.full_like(mu, self.logvar)


class Decoder(nn.Module):
    """Any function of z as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, z):
        return self.function(z)


def pathway(encoder: nn.Module, function) -> Pathway:
    return Pathway(encoder, Decoder(function))


def dual(a: Pathway, b: Pathway) -> SimpleNamespace:
    return SimpleNamespace(pathway_a=a, pathway_b=b)


PERFECT = pathway(ScaledEncoder(3.0), tertile_decoder)
MIRRORED = pathway(ScaledEncoder(-3.0), lambda z: tertile_decoder(-z))
COLLAPSED = pathway(ScaledEncoder(0.0), uniform_decoder)


@pytest.fixture(scope="module")
def split() -> Split:
    return split_indices(load_config("configs/smoke.yaml").data)


# ------------------------------------------------------------------------------------------- draws to complete


def harmonic(n: int) -> float:
    return sum(1 / k for k in range(1, n + 1))


@pytest.mark.parametrize("cells", [1, 2, 3, 20, 1_000])
def test_uniform_cells_need_n_times_the_harmonic_number(cells):
    masses = torch.full((cells,), 1 / cells, dtype=torch.float64)
    assert draws_to_complete(masses) == pytest.approx(cells * harmonic(cells), rel=2e-4)


def test_all_operations_uniform_need_about_206_000_draws():
    masses = torch.full((N,), 1 / N, dtype=torch.float64)
    assert draws_to_complete(masses) == pytest.approx(N * harmonic(N), rel=1e-5)
    assert N * harmonic(N) == pytest.approx(205_978, abs=1)


@pytest.mark.parametrize("p", [0.5, 0.3, 0.1, 0.01, 0.001])
def test_two_unequal_cells_by_hand(p):
    # T = 1 + a geometric wait for the other: E T = 1/p + 1/q - 1
    masses = torch.tensor([p, 1 - p], dtype=torch.float64)
    assert draws_to_complete(masses) == pytest.approx(1 / p + 1 / (1 - p) - 1, rel=2e-4)


def test_three_unequal_cells_by_inclusion_and_exclusion():
    p, q, r = 0.6, 0.3, 0.1
    expected = 1 / p + 1 / q + 1 / r - 1 / (p + q) - 1 / (p + r) - 1 / (q + r) + 1
    assert draws_to_complete(torch.tensor([p, q, r])) == pytest.approx(expected, rel=2e-4)


def test_draws_to_complete_agree_with_a_simulation():
    masses = torch.tensor([0.4, 0.25, 0.15, 0.1, 0.07, 0.03], dtype=torch.float64)
    plays = torch.multinomial(masses.expand(4_000, -1), 500, replacement=True, generator=seeded(1))
    first = torch.stack([(plays == cell).int().argmax(1) for cell in range(6)]).max(0).values + 1
    spread = first.double().std().item() / math.sqrt(len(first))
    assert abs(first.double().mean().item() - draws_to_complete(masses)) < 4.5 * spread


# ---------------------------------------------------------------------------------------------- cell statistics


def test_a_uniform_sampler_has_no_kl_once_the_bias_is_taken_off():
    per_cell = 100
    counts = torch.bincount(torch.randint(N, (per_cell * N,), generator=seeded(2)), minlength=N)
    found = cell_statistics(counts)
    bias = (N - 1) / (2 * per_cell * N)
    spread = math.sqrt(2 * (N - 1)) / (2 * per_cell * N)  # 2·draws·KL is chi-square of N - 1 degrees
    assert found["cell_draws"] == per_cell * N
    assert abs(found["kl_to_uniform"]) < 4.5 * spread + 0.02 * bias  # the bias formula is itself good to 1/(3·per_cell)
    assert abs(found["kl_to_uniform"]) < 0.1 * bias  # without the correction it would be one bias away
    assert found["empty_cells"] == 0
    assert 0.4 < found["smallest_cell"] < 0.75  # the least of 19,683 Poisson(100), over 100
    assert N * harmonic(N) < found["draws_to_complete"] < 1.2 * N * harmonic(N)  # its noise reads as unevenness


def test_exactly_equal_counts():
    found = cell_statistics(torch.full((N,), 1_000))
    assert found["kl_to_uniform"] == pytest.approx(-(N - 1) / (2 * 1_000 * N), abs=1e-9)
    assert found["smallest_cell"] == pytest.approx(1)
    assert found["efficiency"] == pytest.approx(1, abs=1e-12)
    assert found["draws_to_complete"] == pytest.approx(N * harmonic(N), rel=1e-5)


def test_efficiency_of_a_generator_of_half_the_operations():
    """It finds half of what is there, and that half as a uniform generator of twice the draws: c = ½·(1 - (1 - 2/N)^50,000)."""
    counts = torch.zeros(N - 1, dtype=torch.long)
    counts[: (N - 1) // 2] = 8
    covered = 0.5 * (1 - (1 - 2 / (N - 1)) ** 50_000)
    expected = math.log(1 - covered) / (50_000 * math.log1p(-1 / N))
    assert cell_statistics(counts)["efficiency"] == pytest.approx(expected, rel=1e-9)


def test_empty_cells_leave_no_number_of_draws():
    counts = torch.full((N,), 100)
    counts[[3, 77]] = 0
    found = cell_statistics(counts)
    assert (found["empty_cells"], found["smallest_cell"], found["draws_to_complete"]) == (2, 0.0, None)


def test_kl_to_uniform_by_hand():
    counts = torch.zeros(N, dtype=torch.long)
    counts[:3] = 2_000_000  # three equal cells: ln N - ln 3
    assert cell_statistics(counts)["kl_to_uniform"] == pytest.approx(math.log(N / 3) - (N - 1) / 12_000_000, abs=1e-9)
    counts[3:9] = 1_000_000  # now 3 of 1/6 and 6 of 1/12
    entropy = 0.5 * math.log(6) + 0.5 * math.log(12)
    assert cell_statistics(counts)["kl_to_uniform"] == pytest.approx(math.log(N) - entropy - (N - 1) / 24_000_000, abs=1e-9)


# ------------------------------------------------------------------------------------------- mutual information


def test_an_encoder_that_ignores_its_input_tells_nothing():
    assert mutual_information(COLLAPSED, 300, seeded(3)) == pytest.approx(0, abs=1e-9)


def test_separated_posteriors_tell_everything():
    separated = pathway(ScaledEncoder(10.0, logvar=-2.0), tertile_decoder)
    assert mutual_information(separated, 300, seeded(4)) == pytest.approx(math.log(N), abs=1e-6)


@pytest.mark.parametrize("positions", [1, 4])
def test_each_separated_trit_tells_ln_3(positions):
    some = pathway(ScaledEncoder(10.0, logvar=-2.0, positions=positions), tertile_decoder)
    assert mutual_information(some, 300, seeded(5)) == pytest.approx(positions * math.log(3), abs=1e-6)


def test_overlapping_posteriors_agree_with_quadrature():
    scale, sigma, positions, samples = 1.0, 0.8, 2, 1_500
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    likelihood = torch.stack([torch.distributions.Normal(scale * v, sigma).log_prob(z).exp() for v in (-1, 0, 1)])
    mixture = likelihood.mean(0)
    each = torch.trapezoid((likelihood * (likelihood / mixture).clamp(min=1e-300).log()).mean(0), z).item()
    second = torch.trapezoid((likelihood * (likelihood / mixture).clamp(min=1e-300).log() ** 2).mean(0), z).item()
    spread = math.sqrt(positions * (second - each**2) / samples)
    some = pathway(ScaledEncoder(scale, logvar=2 * math.log(sigma), positions=positions), tertile_decoder)
    assert abs(mutual_information(some, samples, seeded(6)) - positions * each) < 4.5 * spread


def test_information_is_bounded_by_the_rate():
    config = load_config("configs/smoke.yaml")
    model = TernaryVAE(config.model, stream(1, "weights"))
    with torch.inference_mode():
        row = reconstruction(model, split_indices(config.data), 0.0, seeded(7))
        for name in ("a", "b"):
            information = mutual_information(getattr(model, f"pathway_{name}"), 256, seeded(8))
            assert -0.02 < information < row[f"{name}.rate"] + 0.02


# -------------------------------------------------------------------------------- reconstruction, rate, distortion


def test_a_perfect_pathway_rebuilds_everything_alone_and_nothing_mixed(split):
    row = reconstruction(dual(PERFECT, MIRRORED), split, 0.7, seeded(9))
    for name in ("a", "b"):
        for part in ("all", "train", "validation", "test"):
            assert row[f"{name}.exact_{part}"] == 1
        assert row[f"{name}.active_units"] == 9
        # 0.3·3x + 0.7·(-3x) = -1.2x decodes to -x: only the all-zero table survives
        assert row[f"{name}.exact_mixed"] == pytest.approx(1 / N)
        # KL = ½ Σ μ² with μ = ±3x and log σ² = 0; E x² = 2/3 over nine positions
        assert row[f"{name}.rate"] == pytest.approx(0.5 * 9 * (2 / 3) * 9, rel=1e-5)


def test_mixing_two_pathways_of_one_code_changes_nothing(split):
    row = reconstruction(dual(PERFECT, PERFECT), split, 0.5, seeded(10))
    assert row["a.exact_mixed"] == row["b.exact_mixed"] == 1


def test_a_collapsed_posterior_with_a_uniform_decoder_stands_on_the_limit(split):
    row = reconstruction(dual(COLLAPSED, PERFECT), split, 0.1, seeded(11))
    assert row["a.rate"] == 0
    assert row["a.distortion"] == pytest.approx(LIMIT, abs=1e-5)
    assert row["a.neg_elbo"] == pytest.approx(LIMIT, abs=1e-5)
    assert row["a.active_units"] == 0
    assert row["a.exact_all"] == pytest.approx(1 / N)  # every table decodes to one


def test_shares_are_taken_over_their_own_part(split):
    known = torch.zeros(N, dtype=torch.bool)
    known[split.train] = True
    known[split.validation[: len(split.validation) // 2]] = True

    def half_blind(z):
        """Decodes perfectly, but answers all -1 for what is not known."""
        x = (z[:, :9] / 3).round().long()
        index = ((x + 1) * 3 ** torch.arange(8, -1, -1)).sum(1).clamp(0, N - 1)
        answer = torch.where(known[index][:, None], x, -1)
        return 100.0 * nn.functional.one_hot(answer.clamp(-1, 1) + 1, 3).float()

    row = reconstruction(dual(pathway(ScaledEncoder(3.0, logvar=-20.0), half_blind), PERFECT), split, 0.0, seeded(12))
    assert row["a.exact_train"] == 1
    assert row["a.exact_validation"] == pytest.approx(0.5, abs=1 / len(split.validation))
    assert row["a.exact_test"] <= 1 / len(split.test)
    assert row["a.exact_all"] == pytest.approx((15_746 + 984) / N, abs=2 / N)


def test_distortion_is_that_of_the_sampled_code(split):
    # One trit a dimension at ±m, σ = 1, decoded by a soft linear rule: distortion by quadrature.
    scale, kappa = 1.5, 2.0
    soft = pathway(ScaledEncoder(scale), lambda z: tertile_decoder(z, sharpness=kappa))
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    log_p = tertile_decoder(z[:, None].expand(-1, 9), sharpness=kappa)[:, 0].log_softmax(-1)
    density = [torch.distributions.Normal(scale * v, 1.0).log_prob(z).exp() for v in (-1, 0, 1)]
    first = [torch.trapezoid(density[k] * -log_p[:, k], z).item() for k in range(3)]
    second = [torch.trapezoid(density[k] * log_p[:, k] ** 2, z).item() for k in range(3)]
    spread = math.sqrt(sum(s - f * f for s, f in zip(second, first, strict=True)) / 3 * 9 / N)
    row = reconstruction(dual(soft, PERFECT), split, 0.0, seeded(13))
    assert abs(row["a.distortion"] - 9 * sum(first) / 3) < 4.5 * spread


def test_a_dimension_is_active_from_a_variance_of_a_hundredth(split):
    just_below, just_above = (math.sqrt(0.01 / (2 / 3)) * f for f in (0.999, 1.001))
    row = reconstruction(
        dual(pathway(ScaledEncoder(just_below), uniform_decoder), pathway(ScaledEncoder(just_above, positions=4), uniform_decoder)),
        split, 0.0, seeded(14),
    )  # fmt: skip
    assert (row["a.active_units"], row["b.active_units"]) == (0, 4)


# ------------------------------------------------------------------------------------------------ validation loss


def by_hand(model: TernaryVAE, x: torch.Tensor, rho: float, betas, lambdas, loss) -> float:
    """L_total at z = μ and g = 1, written out with loops from the formulas."""
    mu_a, logvar_a = (t.double() for t in model.pathway_a.encoder(x))
    mu_b, logvar_b = (t.double() for t in model.pathway_b.encoder(x))
    logits_a = model.pathway_a.decoder(((1 - rho) * mu_a + rho * mu_b).float()).double()
    logits_b = model.pathway_b.decoder(((1 - rho) * mu_b + rho * mu_a).float()).double()

    def ce(logits):
        log_p = logits - logits.exp().sum(-1, keepdim=True).log()
        return -log_p.gather(-1, (x + 1)[..., None]).sum() / len(x)

    def kl(mu, logvar):
        return 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum() / len(x)

    def entropy(z):
        bins, limit = loss.latent_bins, loss.latent_range
        width, total = 2 * limit / bins, 0.0
        for column in z.T.tolist():
            mass = [0.0] * bins
            for value in column:
                place = min(max((value + limit) / width - 0.5, 0), bins - 1)
                left = min(int(place), bins - 2)
                mass[left] += (1 - (place - left)) / len(column)
                mass[left + 1] += (place - left) / len(column)
            total -= sum(m * math.log(m) for m in mass if m > 0)
        return total / z.shape[1]

    mean_p = logits_b.softmax(-1).mean(0)
    h_output = -(mean_p * mean_p.log()).sum()
    repulsion = torch.exp(-(torch.cdist(mu_b, mu_b) ** 2) / (2 * loss.repulsion_sigma**2)).mean()
    loss_a = ce(logits_a) + betas[0] * kl(mu_a, logvar_a)
    loss_b = ce(logits_b) + betas[1] * kl(mu_b, logvar_b) - loss.output_entropy_weight * h_output
    loss_b = loss_b + loss.repulsion_weight * repulsion
    align = abs(entropy(mu_a) - entropy(mu_b))
    return float(lambdas[0] * loss_a + lambdas[1] * loss_b + lambdas[2] * align)


def test_validation_loss_equals_the_hand_assembled_one_with_batches_weighed_by_size():
    config = load_config("configs/smoke.yaml", {"training.batch_size": 50, "seed": 3})
    model = TernaryVAE(config.model, stream(3, "weights"))
    controls = Controller(config, model.statenet).begin_epoch(5, None)
    indices = torch.randperm(N, generator=seeded(15))[:120]  # batches of 50, 50 and 20
    with torch.inference_mode():
        got = validation_loss(model, config, controls, indices)
        x = all_operations()[indices]
        lambdas = (controls.lambda_1, controls.lambda_2, controls.lambda_3)
        betas = (controls.beta_a, controls.beta_b)
        parts = [(len(part), by_hand(model, part, controls.rho, betas, lambdas, config.loss)) for part in x.split(50)]
    expected = sum(size * value for size, value in parts) / 120
    assert controls.rho > 0.1
    assert got.shape == (len(LossBreakdown._fields),)
    assert float(got[0]) == pytest.approx(expected, rel=1e-5)


def test_validation_loss_draws_no_noise():
    config = load_config("configs/smoke.yaml")
    model = TernaryVAE(config.model, stream(4, "weights"))
    controls = Controller(config, model.statenet).begin_epoch(0, None)
    with torch.inference_mode():
        first, second = (validation_loss(model, config, controls, torch.arange(300)) for _ in range(2))
    assert torch.equal(first, second)


def test_without_validation_data_the_loss_is_not_a_number():
    config = load_config("configs/smoke.yaml")
    model = TernaryVAE(config.model, stream(4, "weights"))
    controls = Controller(config, model.statenet).begin_epoch(0, None)
    assert validation_loss(model, config, controls, torch.arange(0)).isnan().all()


# ----------------------------------------------------------------------------------------- one epoch, the last epoch


@pytest.fixture(scope="module")
def small():
    config = load_config("configs/smoke.yaml", SMALL)
    return config, TernaryVAE(config.model, stream(config.seed, "weights"))


def test_coverage_counts_are_prefixes_of_one_pass(small):
    config, model = small
    counts = coverage_counts(model.pathway_b, config.evaluation, seeded(16), 16, draws=2_000)
    indices = coverage.draw_indices(model.pathway_b.decoder, 2_000, MODES, seeded(16))
    assert set(counts) == {(mode, n) for mode in MODES for n in (100, 700, 2_000)}
    assert all(found == len(indices[mode][:n].unique()) for (mode, n), found in counts.items())


def test_an_epochs_row_holds_every_column_and_leaves_no_trace(small):
    config, model = small
    controls = Controller(config, model.statenet).begin_epoch(1, None)
    before = [p.clone() for p in model.parameters()]
    rng = torch.get_rng_state()
    row = evaluate_epoch(model, config, controls, split_indices(config.data))
    again = evaluate_epoch(model, config, controls, split_indices(config.data))
    measures = ["rate", "distortion", "neg_elbo", "active_units"]
    measures += [f"exact_{part}" for part in ("all", "train", "validation", "test", "mixed")]
    expected = {f"validation.{name}" for name in (*LossBreakdown._fields, "total_sampled")}
    expected |= {f"{p}.{name}" for p in "ab" for name in measures}
    expected |= {f"{p}.coverage.{mode}.{n}" for p in "ab" for mode in MODES for n in (100, 700)}
    assert set(row) == expected
    assert row == again
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert torch.equal(rng, torch.get_rng_state())
    assert all(math.isfinite(value) for value in row.values())
    assert row["a.neg_elbo"] == pytest.approx(row["a.rate"] + row["a.distortion"])
    assert row["a.neg_elbo"] > LIMIT - 0.05


def test_the_final_misses_are_those_of_the_last_epochs_own_draws(small):
    config, model = small
    controls = Controller(config, model.statenet).begin_epoch(7, None)
    row = evaluate_epoch(model, config, controls, split_indices(config.data), config.evaluation.final_draws)
    final = evaluate_final(model, config, epoch=7)
    for name in ("a", "b"):
        assert len(final[name]["missed"]) == N - row[f"{name}.coverage.argmax.5000"]
        assert final[name]["missed"] == sorted(set(final[name]["missed"]))
        assert final[name]["cell_draws"] == 4 * N
        assert final[name]["empty_cells"] > 0  # an untrained network leaves most cells empty
        assert final[name]["draws_to_complete"] is None
        assert 0 <= final[name]["mutual_information"] < 1
