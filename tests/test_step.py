"""The training step: equal to a plain loop of modules, autograd and torch's AdamW, alone and stacked."""

import copy

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from ternary_lib.config import load_config
from ternary_lib.losses import LossBreakdown, prior_mismatch, total_loss
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import all_operations, to_index
from ternary_lib.step import STEP_COLUMNS, Batch, Dials, State, Step, adamw, remember
from ternary_lib.training import Trainer

PUBLISHED_FORMS = {
    "loss.repulsion": "off_diagonal", "loss.latent_entropy": "hard", "balance.initial_norm": 1.0, "balance.norm_after_clip": True,
}  # fmt: skip
DIALS = {"tau_a": 0.9, "tau_b": 0.7, "rho": 0.3, "beta_a": 0.6, "beta_b": 0.4, "rate": 2e-3, "momentum": 0.9}


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def dials(seeds=1, **changes):
    values = [torch.full((seeds,), value) for value in (DIALS | changes).values()]
    return Dials(*values, torch.tensor([[0.7, 0.8, 0.3]]).repeat(seeds, 1))


def batches(count, seeds=1, size=64):
    generator = torch.Generator().manual_seed(5)
    for _ in range(count):
        x = all_operations()[torch.randint(19_683, (seeds, size), generator=generator)]
        yield Batch(x.to(torch.get_default_dtype()), x + 1, torch.randn(seeds, 2, size, 16, generator=generator), torch.zeros(seeds, 0, 16))


def model(seed, config):
    return TernaryVAE(config.model, torch.Generator().manual_seed(seed))


MATCHING = {"prior_matching": {"draws": 32, "memory": 0.9}}


def with_prior(batch, draws=32):
    """The batch with draws z ~ N(0, I) to be matched."""
    generator = torch.Generator().manual_seed(8)
    return batch._replace(prior=torch.randn(len(batch.x), draws, 16, generator=generator))


class PlainLoop:
    """One seed's training written out with modules, ``backward`` and ``torch.optim.AdamW``."""

    def __init__(self, config, network):
        self.config, self.network = config, network
        self.paths = [list(p.parameters()) for p in (network.pathway_a, network.pathway_b)]
        self.optimizer = torch.optim.AdamW([p for path in self.paths for p in path], weight_decay=config.training.weight_decay)
        self.norms = None if config.balance.initial_norm is None else [config.balance.initial_norm] * 2

    def step(self, batch, dials):
        d = {name: value[0].item() for name, value in dials._asdict().items() if name != "lambdas"}
        output = self.network(batch.x[0], d["tau_a"], d["tau_b"], d["rho"], noise=batch.noise[0])
        scales = (1.0, 1.0)
        if self.norms is not None:
            a, b = self.norms
            scales = (min(max(b / (a + 1e-8), 0.5), 2.0), min(max(a / (b + 1e-8), 0.5), 2.0))
        losses = total_loss(output, batch.classes[0], (d["beta_a"], d["beta_b"]), dials.lambdas[0], scales, self.config.loss)
        self.optimizer.zero_grad()
        losses.total.backward()
        norms = [torch.sqrt(sum(p.grad.square().sum() for p in path)).item() for path in self.paths]
        total = clip_grad_norm_([p for path in self.paths for p in path], self.config.training.grad_clip).item()
        factor = min(1.0, self.config.training.grad_clip / (total + 1e-6)) if self.config.balance.norm_after_clip else 1.0
        seen = [norm * factor for norm in norms]
        m = d["momentum"]
        self.norms = seen if self.norms is None else [m * o + (1 - m) * n for o, n in zip(self.norms, seen, strict=True)]
        self.optimizer.param_groups[0]["lr"] = d["rate"]
        self.optimizer.step()
        scaled = [scales[0] * losses.loss_a.item(), scales[1] * losses.loss_b.item()]
        return [*(value.item() for value in losses), *norms, *scaled]


def test_layout_of_the_production_network():
    step = Step(load_config("configs/ternary_v5_5.yaml"))
    network = model(1, step.config)
    theta = step.flatten(dict(network.named_parameters()))
    assert (theta.numel(), step.cut) == (167_702, 50_203)
    for name, value in step.unflatten(theta[None]).items():
        assert torch.equal(value[0], network.get_parameter(name)), name


def test_columns_are_the_losses_the_norms_and_what_the_weights_multiply():
    assert (*LossBreakdown._fields, "grad_norm_a", "grad_norm_b", "scaled_loss_a", "scaled_loss_b") == STEP_COLUMNS


@pytest.mark.parametrize("overrides", [{}, PUBLISHED_FORMS, {"loss.free_bits": 0.1, "training.grad_clip": 0.05}])
def test_steps_equal_a_plain_loop_in_double_precision(double_precision, overrides):
    config = load_config("configs/ternary_v5_5.yaml", overrides)
    network = model(3, config)
    step, plain = Step(config), PlainLoop(config, copy.deepcopy(network))
    state, now = step.initial_state([network]), dials()
    for batch in batches(12):
        assert step(state, batch, now)[0].tolist() == pytest.approx(plain.step(batch, now), rel=1e-9, abs=1e-12)
    assert state.norms[0].tolist() == pytest.approx(plain.norms, rel=1e-9)
    for name, value in step.unflatten(state.theta).items():
        assert torch.allclose(value[0], plain.network.get_parameter(name), rtol=1e-8, atol=1e-11), name


def test_adamw_equals_torchs_with_a_rate_of_its_own_for_each_seed():
    rates, generator = torch.tensor([[1e-3], [7e-2]]), torch.Generator().manual_seed(2)
    theta = torch.randn(2, 50, generator=generator)
    powers, norms, memory = torch.ones(2, 2, dtype=torch.float64), torch.zeros(2, 2), torch.zeros(2, 2, 0)
    state = State(theta.clone(), torch.zeros(2, 50), torch.zeros(2, 50), powers, norms, memory)
    twins = [torch.nn.Parameter(row.clone()) for row in theta]
    optimizers = [torch.optim.AdamW([p], lr=rate.item(), weight_decay=0.01) for p, rate in zip(twins, rates, strict=True)]
    for _ in range(50):
        gradient = torch.randn(2, 50, generator=generator)
        adamw(state, gradient, rates, 0.01)
        for twin, optimizer, row in zip(twins, optimizers, gradient, strict=True):
            twin.grad = row
            optimizer.step()
    assert torch.allclose(state.theta, torch.stack([t.detach() for t in twins]), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(state.theta, theta, atol=1e-2)


SMALL = {"model.encoder_widths": [48, 32], "model.decoder_b_width": 32}
RATES = torch.tensor([1e-3, 2e-3, 5e-4, 1e-3])


def test_each_seed_of_a_stack_takes_its_lone_steps(double_precision):
    """100 steps along one trajectory, each from the same state: no seed sees another."""
    config = load_config("configs/ternary_v5_5.yaml", SMALL)
    step, seeds = Step(config), len(RATES)
    together = step.initial_state([model(seed, config) for seed in range(seeds)])
    now = dials(seeds, rho=0.4)._replace(rate=RATES.double())
    for batch in batches(100, seeds):
        alone = [State(*(part[i : i + 1].clone() for part in together)) for i in range(seeds)]
        got = step(together, batch, now)
        for i, state in enumerate(alone):
            expected = step(state, Batch(*(part[i : i + 1] for part in batch)), Dials(*(part[i : i + 1] for part in now)))
            assert torch.allclose(got[i], expected[0], rtol=1e-10, atol=1e-12)
            for ours, own in zip(together, state, strict=True):
                assert torch.allclose(ours[i], own[0], rtol=1e-7, atol=1e-10)


def test_rounding_grows_along_a_trajectory_but_stays_small_for_a_hundred_steps():
    """Training amplifies rounding (by about ten every six steps), so that two free runs agree to fewer and fewer digits."""
    overrides = SMALL | {"data.train": 6400}
    configs = [load_config("configs/ternary_v5_5.yaml", overrides | {"seed": seed}) for seed in range(10)]
    together, alone = Trainer(configs, "plain"), [Trainer(config, "plain") for config in configs]
    now = dials(10, rate=1e-3)
    batches_alone = [trainer._batches() for trainer in alone]
    for number, batch in enumerate(together._batches()):
        got = together.step(together.state, batch, now)
        for i, trainer in enumerate(alone):
            one = Dials(*(part[i : i + 1] for part in now))
            expected = trainer.step(trainer.state, batches_alone[i][number], one)[0]
            assert torch.equal(batch.noise[i], batches_alone[i][number].noise[0]), "same operations, same noise"
            tolerance = 1e-5 if number < 5 else 1e-3 if number < 20 else 5e-2
            assert got[i, 0].item() == pytest.approx(expected[0].item(), rel=tolerance), (number, i)
    assert len({round(value, 5) for value in got[:, 0].tolist()}) == 10


def test_the_first_step_scales_nothing_and_the_second_balances():
    config = load_config("configs/ternary_v5_5.yaml")
    step = Step(config)
    state = step.initial_state([model(1, config)])
    assert step.scales(state).tolist() == [[1.0, 1.0]]
    first, second = (step(state, batch, dials())[0] for batch in batches(2))
    column = STEP_COLUMNS.index
    assert first[column("scaled_loss_a")] == first[column("loss_a")]
    ratio = first[column("grad_norm_b")] / first[column("grad_norm_a")]
    expected = float(ratio.clamp(0.5, 2)) * second[column("loss_a")]
    assert float(second[column("scaled_loss_a")]) == pytest.approx(float(expected), rel=1e-5)


# --- prior matching ----------------------------------------------------------------------------------------------


def test_steps_that_match_the_prior_equal_a_plain_loop_in_double_precision(double_precision):
    """Each pathway's loss has its own mismatch added, computed from its decoder and its memory alone."""
    config = load_config("configs/ternary_v5_5.yaml", MATCHING)
    network = model(3, config)
    step = Step(config)
    state, now, batch = step.initial_state([network]), dials(), with_prior(next(batches(1)))
    state.memory.copy_(torch.rand(1, 2, 19_683, generator=torch.Generator().manual_seed(1)).softmax(-1))
    memory = state.memory.clone()
    row = dict(zip(STEP_COLUMNS, step(state, batch, now)[0].tolist(), strict=True))
    unmatched = step(step.initial_state([network]), batch._replace(prior=batch.prior[:, :0]), now)
    plain = dict(zip(STEP_COLUMNS, unmatched[0].tolist(), strict=True))
    for i, (letter, pathway) in enumerate((("a", network.pathway_a), ("b", network.pathway_b))):
        expected = prior_mismatch(pathway.decoder(batch.prior[0]), memory[0, i], config.prior_matching).item()
        assert row[f"loss_{letter}"] - plain[f"loss_{letter}"] == pytest.approx(expected, rel=1e-9)
        assert row[f"grad_norm_{letter}"] != pytest.approx(plain[f"grad_norm_{letter}"], rel=1e-3), "it reaches the weights"
        assert row[f"kl_{letter}"] == plain[f"kl_{letter}"]
        drawn = torch.bincount(to_index(pathway.decoder(batch.prior[0]).argmax(-1) - 1), minlength=19_683) / 32
        assert torch.allclose(state.memory[0, i], 0.9 * memory[0, i] + 0.1 * drawn, rtol=1e-12)


def test_each_seed_of_a_stack_matches_its_own_prior(double_precision):
    config = load_config("configs/ternary_v5_5.yaml", SMALL | MATCHING)
    step, now = Step(config), dials(2)
    together = step.initial_state([model(seed, config) for seed in range(2)])
    for batch in map(with_prior, batches(5, 2)):
        alone = [State(*(part[i : i + 1].clone() for part in together)) for i in range(2)]
        got = step(together, batch, now)
        for i, state in enumerate(alone):
            expected = step(state, Batch(*(part[i : i + 1] for part in batch)), Dials(*(part[i : i + 1] for part in now)))
            assert torch.allclose(got[i], expected[0], rtol=1e-10, atol=1e-12)
            assert torch.allclose(together.memory[i], state.memory[0], rtol=1e-12)


def test_memory_stays_a_distribution_and_forgets():
    memory = torch.full((1, 2, 4), 0.25)
    for _ in range(50):
        remember(memory, torch.tensor([[[0, 0, 1, 3], [2, 2, 2, 2]]]), 0.8)
    assert torch.allclose(memory.sum(-1), torch.ones(1, 2))
    assert torch.allclose(memory[0], torch.tensor([[0.5, 0.25, 0.0, 0.25], [0.0, 0.0, 1.0, 0.0]]), atol=1e-4)


@pytest.mark.parametrize("phase, draws", [(1, 0), (2, 0), (3, 32), (4, 32)])
def test_prior_draws_begin_with_their_phase(phase, draws):
    trainer = Trainer(load_config("configs/smoke.yaml", {"prior_matching": {"draws": 32, "from_phase": 3}}))
    assert {batch.prior.shape[1:] for batch in trainer._batches(phase)} == {(draws, 16)}
