"""The noise that decoders meet and the information that reaches them, against closed forms and draws."""

import math

import numpy as np
import pytest
import torch

from ternary_lib import dynamics
from ternary_lib.config import Config, load_config
from ternary_lib.data import split_indices
from ternary_lib.evaluation import reconstruction
from ternary_lib.model import TernaryVAE, cross_inject, sample_latent
from ternary_lib.operations import all_operations
from ternary_lib.schedules import Permeability
from ternary_lib.training import train


@pytest.fixture(scope="module")
def model():
    return TernaryVAE(Config().model, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cfg = load_config(
        "configs/smoke.yaml",
        {
            "schedules.total_epochs": 2, "schedules.phases": [1, 1, 2], "training.checkpoint_every": 1,
            "data.train": 1024, "data.validation": 256,
            "evaluation.budgets": [1000], "evaluation.final_draws": 2000, "evaluation.cell_draws": 20_000,
            "evaluation.information_samples": 64,
        },
    )  # fmt: skip
    return train(cfg, tmp_path_factory.mktemp("run"), progress=False)


def test_noise_factor_at_its_ends():
    assert dynamics.noise_factor(0.0, 1.0, 0.3) == 1 and dynamics.noise_factor(1.0, 1.0, 0.3) == pytest.approx(0.3)
    rho = np.linspace(0, 1, 1001)
    best = rho[np.argmin(dynamics.noise_factor(rho, 0.8, 0.4))]
    assert best == pytest.approx(0.8**2 / (0.8**2 + 0.4**2), abs=1e-3)  # inverse-variance weights


def test_mixture_is_the_posterior_of_drawn_mixtures(model):
    x = all_operations()[[7]]
    controls = {"rho": 0.4, "tau_a": 0.9, "tau_b": 0.5}
    draws, generator = 200_000, torch.Generator().manual_seed(1)
    with torch.inference_mode():
        codes = {p: getattr(model, f"pathway_{p}").encoder(x) for p in "ab"}
        z = {
            p: sample_latent(mu.expand(draws, -1), logvar.expand(draws, -1), controls[f"tau_{p}"], generator)
            for p, (mu, logvar) in codes.items()
        }
        for which, other in (("a", "b"), ("b", "a")):
            mu, logvar = dynamics.Mixture(model, which, controls).encoder(x)
            drawn = cross_inject(z[which], z[other], 0.4).double()
            assert (drawn.std(0) / torch.exp(0.5 * logvar[0]) - 1).abs().max() < 5 / math.sqrt(2 * draws)
            assert (drawn.mean(0) - mu[0]).abs().max() < 5 * float(drawn.std(0).max()) / math.sqrt(draws)


def test_information_of_a_code_that_tells_all_or_nothing(model):
    controls = {"rho": 0.0, "tau_a": 1.0, "tau_b": 1.0}
    generator = torch.Generator().manual_seed(2)
    silent = TernaryVAE(Config().model)
    for parameter in silent.pathway_a.encoder.mu.parameters():
        torch.nn.init.zeros_(parameter)
    for parameter in silent.pathway_a.encoder.logvar.parameters():
        torch.nn.init.zeros_(parameter)
    value, error = dynamics.received_information(silent, "a", controls, 64, generator)
    assert value == pytest.approx(0, abs=1e-6) and error < 1e-6
    nearly_noiseless = controls | {"tau_a": 1e-4}
    value, error = dynamics.received_information(model, "a", nearly_noiseless, 64, generator)
    assert value == pytest.approx(9 * math.log(3), abs=0.05)


def test_information_rises_as_the_temperature_falls(model):
    values = []
    for tau in (1.0, 0.1, 0.01):
        controls, generator = {"rho": 0.0, "tau_a": tau, "tau_b": 1.0}, torch.Generator().manual_seed(3)
        values.append(dynamics.received_information(model, "a", controls, 64, generator)[0])
    assert values == sorted(values) and values[-1] > values[0] + 1


def test_wrong_entries_agree_with_the_recorded_reconstruction(model):
    means = dynamics.posterior_means(model)
    row = reconstruction(model, split_indices(Config().data), 0.3, torch.Generator().manual_seed(0))
    for p in "ab":
        for rho, column in ((0.0, "exact_all"), (0.3, "exact_mixed")):
            wrong = dynamics.wrong_entries(model, means, p, rho)
            assert wrong.shape == (19_683,) and int(wrong.min()) >= 0 and int(wrong.max()) <= 9
            assert float((wrong == 0).double().mean()) == pytest.approx(row[f"{p}.{column}"], abs=1e-9)


def test_phase_slices_of_long_and_short_runs():
    long = [dynamics.phase_slice(Config(), k) for k in (1, 2, 3, 4)]
    assert long == [slice(0, 40), slice(40, 120), slice(120, 250), slice(250, 400)]
    short = load_config("configs/smoke.yaml", {"schedules.total_epochs": 3})
    slices = [dynamics.phase_slice(short, k) for k in (1, 2, 3, 4)]
    assert slices == [slice(0, 2), slice(2, 3), slice(3, 3), slice(3, 3)]


def test_replay_gives_what_the_run_recorded(run):
    for name, column in dynamics.replay(run.history, run.config).items():
        assert column == run.history[name], name


def test_replay_follows_the_gate():
    cfg = Config()
    ratios = [1.0 if t % 2 else 2.0 for t in range(400)]
    rho = Permeability(cfg.schedules)
    history = {"epoch": list(range(400)), "grad_ratio": ratios}
    assert dynamics.replay(history, cfg)["rho"] == [rho.step(t, r) for t, r in enumerate(ratios)]


def test_kept_models_are_those_of_their_epochs(run):
    models = dynamics.kept_models(run)
    assert sorted(models) == [0, 1]
    assert all(torch.equal(u, v) for u, v in zip(models[1].parameters(), run.model.parameters(), strict=True))
    first, last = (next(models[t].parameters()) for t in (0, 1))
    assert not torch.equal(first, last)
    means = dynamics.posterior_means(models[0])
    wrong = dynamics.wrong_entries(models[0], means, "a", 0.0)
    assert float((wrong == 0).double().mean()) == pytest.approx(run.history["a.exact_all"][0], abs=1e-9)


def test_rank_correlation():
    assert dynamics.rank_correlation([3, 1, 2], [30, 10, 20]) == pytest.approx(1)
    assert dynamics.rank_correlation([3, 1, 2], [-30, -10, -20]) == pytest.approx(-1)
    assert math.isnan(dynamics.rank_correlation([1, 1, 1], [1, 2, 3]))
