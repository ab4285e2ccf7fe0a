"""The model of one line, against closed forms, finite differences and decoders whose cells are known."""

import math

import numpy as np
import pytest
import torch
from micro import micro_config

from ternary_lib import mechanism
from ternary_lib.config import Config
from ternary_lib.coverage import TERTILE, tertile_decoder, uniform_coverage
from ternary_lib.mechanism import Code
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, all_operations
from ternary_lib.training import train

QUIET = {"rho": 0.0, "tau_a": 1.0, "tau_b": 1.0, "beta_a": 0.5, "beta_b": 0.5}
MIDDLE = {"rho": 0.4, "tau_a": 0.75, "tau_b": 0.65, "beta_a": 0.75, "beta_b": 0.53}


def test_entropy_at_its_ends():
    assert mechanism.line_terms(Code(1e-6, 1.0, 1.0)).entropy == pytest.approx(math.log(3), abs=1e-6)
    assert mechanism.line_terms(Code(1.0, 1e-3, 1e-3)).entropy == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("code", [Code(0.9, 0.3, 0.15), Code(0.4, 0.8, 0.9), Code(1.2, 0.1, 0.05)])
def test_slopes_equal_finite_differences(code):
    terms, h = mechanism.line_terms(code), 1e-4

    def slope(*powers):
        up, down = (Code(*(x * math.exp(sign * h * k) for x, k in zip(code, powers, strict=True))) for sign in (1, -1))
        return (mechanism.line_terms(up).entropy - mechanism.line_terms(down).entropy) / (2 * h)

    assert terms.gain == pytest.approx(-slope(1, 0, 0), rel=1e-4)
    assert terms.by_outer == pytest.approx(slope(0, 2, 0), rel=1e-4), "of a standard deviation: its variance goes as the square"
    assert terms.by_middle == pytest.approx(slope(0, 0, 2), rel=1e-4)


def test_decision_line_is_where_densities_cross():
    code = Code(0.9, 0.2, 0.1)
    z = code.decision_line
    zero, one = (math.exp(-0.5 * (z - mean) ** 2 / v) / math.sqrt(v) for mean, v in ((0, code.middle), (code.spacing, code.outer)))
    assert zero == pytest.approx(one, rel=1e-9)
    assert Code(2 * TERTILE, 0.3, 0.3).zero_share == pytest.approx(1 / 3, rel=1e-9)
    assert Code(1e-3, 0.2, 0.4).decision_line == 0 and Code(1e-3, 0.2, 0.4).zero_share == 0


def encoder_loss(rest, which, controls, code):
    """One line's CE + β·KL for an encoder that alone changes its code, read by the decoder of the rest."""
    other = {"a": "b", "b": "a"}[which]
    taus = controls[f"tau_{which}"], controls[f"tau_{other}"]
    read = mechanism.mixed(code, rest.code(other), controls["rho"], *taus)
    z, fixed = np.linspace(-8, 8, 40_001), rest.read(which)

    def joint(c):
        spread = np.array([[c.outer], [c.middle], [c.outer]])
        return np.exp(-0.5 * (z - c.spacing * np.array([[-1.0], [0.0], [1.0]])) ** 2 / spread) / np.sqrt(2 * math.pi * spread) / 3

    believed = joint(fixed)
    posterior = believed / (believed.sum(0) + 1e-300)
    paid = -(joint(read) * np.log(posterior + 1e-300)).sum() * (z[1] - z[0])
    return paid + controls[f"beta_{which}"] * code.rate / 9


@pytest.mark.parametrize("controls", [QUIET, MIDDLE, MIDDLE | {"rho": 0.65}])
def test_at_rest_no_encoder_gains_by_another_code(controls):
    rest, h = mechanism.equilibrium(controls), 1e-3
    for which in "ab":
        code = rest.code(which)
        for k in range(3):
            up, down = (code._replace(**{Code._fields[k]: code[k] * math.exp(sign * h)}) for sign in (1, -1))
            slope = (encoder_loss(rest, which, controls, up) - encoder_loss(rest, which, controls, down)) / (2 * h)
            assert slope == pytest.approx(0, abs=2e-4), (which, Code._fields[k])
        wide = code._replace(spacing=1.3 * code.spacing)
        assert encoder_loss(rest, which, controls, wide) > encoder_loss(rest, which, controls, code), "a minimum, not a maximum"


@pytest.mark.parametrize("tau", [1.0, 0.6])
def test_alone_the_second_moment_is_the_priors(tau):
    rest = mechanism.equilibrium(QUIET | {"tau_a": tau})
    assert rest.a.second_moment == pytest.approx(1, abs=1e-4), "scaling the code is free for the decoder, so KL alone decides it"


@pytest.mark.parametrize(("rho", "tau"), [(0.0, 1.0), (0.5, 1.0), (0.7, 1.0), (0.5, 0.8)])
def test_collapse_where_it_is_predicted(rho, tau):
    limit = (1 - rho) / (tau**2 * ((1 - rho) ** 2 + rho**2))
    for beta, collapsed in ((0.9 * limit, False), (1.1 * limit, True)):
        rest = mechanism.equilibrium({"rho": rho, "tau_a": tau, "tau_b": tau, "beta_a": beta, "beta_b": beta})
        assert (rest.a.rate < 1e-6) == collapsed, (beta, rest.a)


def test_more_mixing_brings_codes_together():
    rests = [mechanism.equilibrium(MIDDLE | {"rho": rho}) for rho in (0.3, 0.5, 0.7)]
    for read in ([rest.a.rate for rest in rests], [rest.read_a.spacing for rest in rests]):
        assert read == sorted(read, reverse=True)


def test_a_rest_is_kept_when_nothing_changes():
    first, again = mechanism.follow({name: [value] * 2 for name, value in MIDDLE.items()})
    assert again.a == pytest.approx(first.a, rel=1e-4)


def test_masses_of_nine_independent_entries():
    fair = mechanism.product_masses(mechanism.even_shares(1 / 3))
    assert fair.sum() == pytest.approx(1) and mechanism.unevenness(fair) == pytest.approx(0, abs=1e-9)
    assert mechanism.expected_missed(fair, 50_000) == pytest.approx(NUM_OPERATIONS * (1 - uniform_coverage(50_000)), rel=1e-9)
    poor = mechanism.product_masses(mechanism.even_shares(0.2))
    assert poor.sum() == pytest.approx(1) and float(poor[9841]) == pytest.approx(0.2**9), "the table of nine zeros"
    by_hand = 9 * (0.2 * math.log(0.6) + 0.8 * math.log(1.2))
    assert mechanism.unevenness(poor) == pytest.approx(by_hand)
    assert mechanism.expected_missed(poor, 50_000) > 2 * mechanism.expected_missed(fair, 50_000)


def test_axes_of_a_code_made_by_hand():
    x = all_operations().double()
    means = torch.zeros(NUM_OPERATIONS, 16, dtype=torch.float64)
    places = [15, 3, 7, 0, 1, 2, 4, 5, 6]
    means[:, places] = x * torch.linspace(-0.8, 0.8, 9, dtype=torch.float64)
    found = mechanism.axes(means)
    chosen = [j for j in range(9) if j != 4]  # the fifth entry is not coded at all
    assert [found.axis.tolist()[j] for j in chosen] == [places[j] for j in chosen]
    assert found.spacing[chosen].tolist() == pytest.approx([abs(-0.8 + 0.2 * j) for j in chosen])
    assert found.share[chosen].min() == pytest.approx(1) and float(found.spacing[4]) < 1e-9
    mixed_up = means.clone()
    mixed_up[:, 15] += 0.8 * x[:, 1]  # two entries on one axis
    assert float(mechanism.axes(mixed_up).share[0]) == pytest.approx(0.5)


def test_measured_code_is_the_mean_of_its_lines():
    model = TernaryVAE(Config().model, torch.Generator().manual_seed(0))
    controls = {"rho": 0.5, "tau_a": 0.5, "tau_b": 0.5}
    own, read = mechanism.measured(model, "a"), mechanism.measured(model, "a", controls)
    assert own[1].spacing == pytest.approx(float(own[0].spacing.mean()))
    assert read[1].outer < own[1].outer, "mixing and cooling quieten"


def test_value_shares_of_the_ideal_decoder():
    generator, draws = torch.Generator().manual_seed(0), 50_000
    shares, found = mechanism.value_shares(tertile_decoder, draws, generator, latent_dim=9)
    assert len(found) == draws and shares.sum(1).tolist() == pytest.approx([1] * 9)
    assert (shares - 1 / 3).abs().max() < 5 * math.sqrt(2 / 9 / draws)
    narrow, _ = mechanism.value_shares(tertile_decoder, draws, generator, 0.5, 9)
    assert (narrow[:, 1] - math.erf(2 * TERTILE / math.sqrt(2))).abs().max() < 5 * math.sqrt(0.25 / draws)


def test_calibration_finds_the_factor():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 9, 3, generator=generator)
    classes = torch.multinomial(logits.softmax(-1).reshape(-1, 3), 1, generator=generator).view(-1, 9)
    honest, sure = mechanism.calibration(logits, classes), mechanism.calibration(3 * logits, classes)
    assert honest.factor == pytest.approx(1, abs=0.03) and sure.factor == pytest.approx(1 / 3, abs=0.01)
    assert sure.calibrated == pytest.approx(honest.calibrated, abs=1e-3) and sure.distortion > honest.distortion + 0.1


def test_a_network_is_trained_anew_from_its_checkpoint(tmp_path):
    run = train(micro_config(), tmp_path / "run", progress=False)
    again = mechanism.retrained(run, 3)  # its checkpoints are of epochs 1 and 3
    assert all(torch.equal(u, v) for u, v in zip(run.model.parameters(), again.parameters(), strict=True))
    (tmp_path / "run" / "epoch_0004.safetensors").unlink()
    further = mechanism.retrained(run, 3)
    assert all(torch.equal(u, v) for u, v in zip(run.model.parameters(), further.parameters(), strict=True)), "two epochs on"
    with pytest.raises(ValueError, match="epoch 0"):
        mechanism.retrained(run, 0)
