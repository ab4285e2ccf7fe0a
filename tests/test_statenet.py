"""StateNet, the corrections it makes, what it learns from under each signal, and the gradient balance beside it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ternary_lib.config import BalanceConfig, StateNetConfig, load_config
from ternary_lib.control import Controller
from ternary_lib.machine import training_settings
from ternary_lib.model import initialise
from ternary_lib.randomness import stream
from ternary_lib.statenet import (
    CORRECTION_NAMES,
    STATE_NAMES,
    StateNet,
    corrected_lambdas,
    corrected_learning_rate,
    penalty,
)
from ternary_lib.step import State, average_norms, gradient_ratio, gradient_scales
from ternary_lib.training import Trainer

PRODUCTION = "configs/ternary_v5_5.yaml"
PUBLISHED = "configs/ternary_v5_5_published.yaml"
MEANS = {"latent_entropy_a": 3.1, "latent_entropy_b": 2.9, "kl_a": 6.0, "kl_b": 8.0}
LOWER, UPPER = torch.tensor([0.5, 0.5, 0.15]), torch.tensor([0.95, 0.95, 0.75])

pytestmark = pytest.mark.usefixtures("one_thread")


def controller(path=PRODUCTION, **overrides):
    config = load_config(path, {key.replace("__", "."): value for key, value in overrides.items()})
    statenet = StateNet()
    initialise(statenet, stream(5, "statenet"))
    return Controller(config, statenet)


def watch(statenet):
    """A list that will hold the gradient that reaches [Δlr, Δλ₁, Δλ₂, Δλ₃]; it stays empty where none does."""
    found = []

    def on_output(module, args, corrections):
        if corrections.requires_grad:
            corrections.register_hook(lambda gradient: found.append(gradient.clone()))

    statenet.register_forward_hook(on_output)
    return found


class Constant(nn.Module):
    """A StateNet that always answers the same."""

    def __init__(self, *corrections):
        super().__init__()
        self.corrections = nn.Parameter(torch.tensor(corrections))
        self.seen = []

    def forward(self, state):
        self.seen.append(state.tolist())
        return self.corrections * 1.0


# --- the network -------------------------------------------------------------------------------------------------


def test_layers_and_names():
    net = StateNet()
    assert [type(layer) for layer in net.encoder] == [nn.Linear, nn.LayerNorm, nn.Tanh, nn.Linear]
    assert [type(layer) for layer in net.decoder] == [nn.Linear, nn.ReLU, nn.Linear, nn.Tanh]
    assert [p.numel() for p in net.parameters()] == [9 * 32, 32, 32, 32, 32 * 8, 8, 8 * 32, 32, 32 * 4, 4]
    assert sum(p.numel() for p in net.parameters()) == 1_068
    assert STATE_NAMES == ("H_A", "H_B", "KL_A", "KL_B", "grad_ratio", "rho", "lambda_1", "lambda_2", "lambda_3")
    assert CORRECTION_NAMES == ("delta_lr", "delta_lambda_1", "delta_lambda_2", "delta_lambda_3")


@given(st.lists(st.floats(-1e6, 1e6), min_size=9, max_size=9))
@settings(max_examples=40, deadline=None)
def test_corrections_are_bounded_whatever_the_state(state):
    corrections = StateNet()(torch.tensor(state))
    assert corrections.shape == (4,)
    assert (corrections.abs() <= 1).all()


def test_every_input_and_every_weight_matters():
    net = StateNet()
    state = torch.randn(9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    corrections = net(state)
    for output in corrections:
        (gradient,) = torch.autograd.grad(output, state, retain_graph=True)
        assert (gradient != 0).all()
    corrections.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


# --- what the corrections do -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheduled", "delta", "expected"),
    [(1e-3, 0.0, 1e-3), (1e-3, 1.0, 1.05e-3), (1e-3, -1.0, 0.95e-3), (2e-4, 0.5, 2.05e-4), (0.00999, 1.0, 0.01), (1.02e-6, -1.0, 1e-6)],
)
def test_corrected_learning_rate(scheduled, delta, expected):
    assert corrected_learning_rate(scheduled, torch.tensor(delta), StateNetConfig()).item() == pytest.approx(expected, rel=1e-6)


def test_corrected_lambdas_by_hand_and_at_their_bounds():
    def corrected(lambdas, delta):
        return corrected_lambdas(torch.tensor(lambdas), torch.tensor(delta), StateNetConfig(), BalanceConfig()).tolist()

    assert corrected([0.7, 0.7, 0.3], [1.0, -1.0, 0.5]) == pytest.approx([0.71, 0.69, 0.305])
    assert corrected([0.505, 0.945, 0.155], [-1.0, 1.0, -1.0]) == pytest.approx([0.5, 0.95, 0.15])
    assert corrected([0.945, 0.505, 0.745], [1.0, -1.0, 1.0]) == pytest.approx([0.95, 0.5, 0.75])


def test_penalty_is_the_weighted_square():
    assert penalty(torch.tensor([0.5, -0.5, 1.0, 0.0]), StateNetConfig(penalty=2.0)).item() == 3.0


def test_the_first_epoch_is_not_corrected():
    control = controller()
    control.statenet = Constant(1.0, 1.0, 1.0, 1.0)
    first = control.begin_epoch(0, None)
    assert control.statenet.seen == []
    assert (first.delta_lr, first.delta_lambda_1, first.delta_lambda_2, first.delta_lambda_3) == (0, 0, 0, 0)
    assert first.learning_rate_applied == first.learning_rate == 1e-3
    assert (first.lambda_1, first.lambda_2, first.lambda_3) == pytest.approx((0.7, 0.7, 0.3))
    before = [p.clone() for p in control.statenet.parameters()]
    control.end_epoch(torch.ones(3))
    assert all(torch.equal(p, q) for p, q in zip(control.statenet.parameters(), before, strict=True))


def test_the_state_is_read_in_its_order():
    control = controller()
    control.statenet = Constant(0.0, 0.0, 0.0, 0.0)
    control.begin_epoch(0, None)
    control.end_epoch(torch.zeros(3))
    control.begin_epoch(130, MEANS, 1.5)
    (state,) = control.statenet.seen
    assert state == pytest.approx([3.1, 2.9, 6.0, 8.0, 1.5, 0.1, 0.7, 0.7, 0.3])  # ρ: the gate is closed and nothing raised it


def test_corrected_lambdas_keep_the_device_and_the_type_of_their_numbers():
    lambdas = torch.tensor([0.7, 0.7, 0.3], dtype=torch.float64)
    with torch.device("meta"):  # a default device that holds no numbers
        corrected = corrected_lambdas(lambdas, torch.ones_like(lambdas), StateNetConfig(), BalanceConfig())
    assert (corrected.device.type, corrected.dtype) == ("cpu", torch.float64)
    assert corrected_lambdas(lambdas, 1e3 * lambdas, StateNetConfig(), BalanceConfig()).tolist() == [0.95, 0.95, 0.75]


def test_lambdas_accumulate_and_the_learning_rate_does_not():
    control = controller(statenet__learning_rate=1e-12)
    control.statenet = Constant(1.0, 1.0, -1.0, 0.5)
    control.begin_epoch(0, None)
    for epoch in range(1, 41):
        control.end_epoch(torch.zeros(3))
        now = control.begin_epoch(epoch, MEANS)
        assert now.learning_rate_applied == pytest.approx(1.05e-3, rel=1e-6)
        expected = [min(0.95, 0.7 + 0.01 * epoch), max(0.5, 0.7 - 0.01 * epoch), 0.3 + 0.005 * epoch]
        assert [now.lambda_1, now.lambda_2, now.lambda_3] == pytest.approx(expected, abs=1e-5)


def test_random_corrections_are_uniform_repeatable_and_teach_nothing():
    control = controller(statenet__signal="random", statenet__lambda_scale=0.0)
    before = [p.clone() for p in control.statenet.parameters()]
    drawn = []
    for epoch in range(300):
        now = control.begin_epoch(epoch, MEANS if epoch else None)
        drawn.append([now.delta_lr, now.delta_lambda_1, now.delta_lambda_2, now.delta_lambda_3])
        control.end_epoch(torch.tensor([3.0, -1.0, 1.0]))
    assert drawn[0] == [0.0] * 4  # nothing was measured yet
    values = torch.tensor(drawn[1:])
    assert values.abs().max() <= 1
    assert values.mean(0).abs().max() < 4 / (3 * len(values)) ** 0.5  # a uniform number's sd is 1/√3
    assert (values.std(0) - 3**-0.5).abs().max() < 0.06
    assert all(torch.equal(p, q) for p, q in zip(control.statenet.parameters(), before, strict=True))
    assert controller(statenet__signal="random").begin_epoch(7, MEANS).delta_lr == drawn[7][0]


@pytest.mark.parametrize("signal", ["loss", "hypergradient", "none", "random"])
@given(seed=st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_weights_and_rate_never_leave_their_bounds(signal, seed):
    control = controller(statenet__signal=signal, statenet__lambda_scale=0.3, statenet__lr_scale=0.99)
    source = torch.Generator().manual_seed(seed)
    means = None
    for epoch in range(0, 400, 40):
        now = control.begin_epoch(epoch, means)
        weights = torch.tensor([now.lambda_1, now.lambda_2, now.lambda_3])
        assert (weights >= LOWER).all() and (weights <= UPPER).all()
        assert 1e-6 <= now.learning_rate_applied <= 0.01
        assert abs(now.learning_rate_applied / now.learning_rate - 1) <= 0.99 + 1e-6 or now.learning_rate_applied == 1e-6
        control.end_epoch(torch.zeros(3))
        means = {name: 10 * torch.rand((), generator=source).item() for name in MEANS}


# --- what StateNet learns from -----------------------------------------------------------------------------------


def gradient_by_output(signal, penalty_weight=0.0, lookahead=(0.5, -2.0, 3.0, 4.0)):
    """Gradient at [Δlr, Δλ₁, Δλ₂, Δλ₃] as StateNet's own update sees it, and whether its weights moved."""
    control = controller(statenet__signal=signal, statenet__penalty=penalty_weight)
    found = watch(control.statenet)
    control.begin_epoch(0, None)
    control.end_epoch(torch.zeros(3))
    now = control.begin_epoch(1, MEANS)
    before = [p.clone() for p in control.statenet.parameters()]
    # both are always given; which of them is read is the signal's choice
    control.end_epoch(torch.tensor([3.0, -1.0, 1.0]), 2 * torch.tensor(lookahead))
    moved = any(not torch.equal(p, q) for p, q in zip(control.statenet.parameters(), before, strict=True))
    assert len(found) <= 1
    return (found[0].tolist() if found else None), moved, now


def test_signal_loss_reaches_the_weights_and_never_the_learning_rate():
    gradient, moved, _ = gradient_by_output("loss")
    assert gradient[0] == 0.0, "Δlr gets exactly nothing from L_total"
    assert gradient[1:] == pytest.approx([0.01 * 3.0, 0.01 * -1.0, 0.01 * 1.0])  # the mean of what each weighs × 0.01
    assert moved


def test_signal_hypergradient_reaches_all_four():
    gradient, moved, _ = gradient_by_output("hypergradient")
    assert gradient == pytest.approx([2 * 0.5 * 0.05 * 1e-3, 2 * -2 * 0.01, 2 * 3 * 0.01, 2 * 4 * 0.01], rel=1e-5)
    assert all(value != 0 for value in gradient)
    assert moved


def test_signal_none_reaches_nothing_though_corrections_are_made():
    gradient, moved, now = gradient_by_output("none", penalty_weight=1.0)
    assert gradient is None
    assert not moved
    assert now.delta_lr != 0 and now.learning_rate_applied != now.learning_rate, "detached, but applied"


def test_the_penalty_alone_reaches_all_four_and_pulls_to_zero():
    gradient, _, now = gradient_by_output("hypergradient", penalty_weight=1.5, lookahead=(0.0, 0.0, 0.0, 0.0))
    corrections = [now.delta_lr, now.delta_lambda_1, now.delta_lambda_2, now.delta_lambda_3]
    assert gradient == pytest.approx([3 * c for c in corrections], rel=1e-5)
    assert all(value != 0 for value in gradient)


def test_a_weight_at_its_bound_passes_no_gradient():
    control = controller(statenet__signal="loss", statenet__penalty=0.0, balance__lambdas=[0.5, 0.7, 0.3])
    control.statenet = Constant(0.0, -0.5, -0.5, -0.5)
    control.optimizer = torch.optim.SGD(control.statenet.parameters(), lr=1.0)
    control.begin_epoch(0, None)
    control.end_epoch(torch.zeros(3))
    control.begin_epoch(1, MEANS)
    control.end_epoch(torch.ones(3))
    assert control.statenet.corrections.grad.tolist() == pytest.approx([0.0, 0.0, 0.01, 0.01])


@pytest.mark.parametrize("signal", ["loss", "hypergradient", "none"])
def test_in_real_training_each_signal_reaches_what_it_should(signal):
    config = load_config("configs/smoke.yaml", {"statenet.signal": signal, "statenet.penalty": 0.0, "data.train": 768})
    trainer = Trainer(config)
    found = watch(trainer.models[0].statenet)
    before = [p.detach().clone() for p in trainer.models[0].statenet.parameters()]
    with training_settings(config):
        for epoch in range(2):
            trainer.train_epoch(epoch)
    after = list(trainer.models[0].statenet.parameters())
    if signal == "none":
        assert found == []
        assert all(torch.equal(p, q) for p, q in zip(after, before, strict=True))
        return
    (gradient,) = found
    assert torch.isfinite(gradient).all()
    assert (gradient[1:] != 0).all()
    assert (gradient[0] == 0).item() is (signal == "loss")
    assert not any(torch.equal(p, q) for p, q in zip(after, before, strict=True)), "every weight of StateNet moves"


def looked_ahead(epochs=2, **overrides):
    """Every look-ahead's gradient of a short training, by epoch."""
    settings_ = {"statenet.signal": "hypergradient", "data.train": 768} | {k.replace("__", "."): v for k, v in overrides.items()}
    trainer = Trainer(load_config("configs/smoke.yaml", settings_))
    found, after = [], trainer.look_ahead.after

    def watched(*arguments):
        found[-1].append(after(*arguments)[0])
        return found[-1][-1][None]

    trainer.look_ahead.after = watched
    for epoch in range(epochs):
        found.append([])
        trainer.train_epoch(epoch)
    return found


def test_a_hard_histogram_and_the_look_ahead_go_together():
    none, (gradient,) = looked_ahead(loss__latent_entropy="hard")
    assert none == [], "the first epoch is not corrected, so nothing is learned from it"
    assert gradient[3] == 0, "L_align has no gradient, so its weight has no effect"
    assert (gradient[:3] != 0).all()


@pytest.mark.parametrize(("interval", "examples", "expected"), [(2, 768, 1), (2, 1024, 2), (16, 512, 1)])
def test_every_look_ahead_that_was_prepared_is_evaluated(interval, examples, expected):
    found = looked_ahead(statenet__hypergradient_interval=interval, data__train=examples)
    assert [len(epoch) for epoch in found] == [0, expected]


def test_signal_loss_pushes_a_weight_down_while_its_loss_is_positive():
    """The finding of the text's own rule: it makes the weights small, for nothing in L_total rewards a large one."""
    control = controller(statenet__signal="loss", statenet__penalty=0.0, statenet__learning_rate=0.05)
    control.begin_epoch(0, None)
    history = []
    for epoch in range(1, 60):
        control.end_epoch(torch.tensor([5.0, 5.0, 0.5]))
        now = control.begin_epoch(epoch, MEANS)
        history.append((now.lambda_1, now.lambda_2, now.lambda_3))
    assert history[-1] == pytest.approx((0.5, 0.5, 0.15), abs=1e-4), "all three end at their lower bounds"


# --- gradient balance --------------------------------------------------------------------------------------------


def averaged(measurements, momentum=0.9, config=None):
    """The moving average after each measurement [‖∇_A‖, ‖∇_B‖] of one seed."""
    config = config or BalanceConfig()
    empty = torch.zeros(1, 1)
    state = State(empty, empty, empty, torch.ones(1, 2), torch.full((1, 2), config.initial_norm or 0.0), torch.zeros(1, 2, 0))
    for values in measurements:
        state.norms.copy_(average_norms(state, torch.tensor([values]), torch.tensor([momentum]), config))
        state.powers.mul_(0.9)
        yield state.norms[0].tolist()


def test_the_first_measurement_initialises_the_average():
    first, second = averaged([[2.0, 3.0], [4.0, 1.0]])
    assert first == [2.0, 3.0]
    assert second == pytest.approx([0.9 * 2 + 0.1 * 4, 0.9 * 3 + 0.1 * 1])
    assert gradient_ratio(torch.tensor(second)) == pytest.approx(second[1] / second[0])


def test_the_published_average_starts_at_one():
    (first,) = averaged([[3.0, 0.0]], 0.5, load_config(PUBLISHED).balance)
    assert first == pytest.approx([2.0, 0.5])


@pytest.mark.parametrize(
    ("norm_a", "norm_b", "scale_a", "scale_b"),
    [(1.0, 1.5, 1.5, 1 / 1.5), (1.0, 9.0, 2.0, 0.5), (9.0, 1.0, 0.5, 2.0), (3.0, 3.0, 1.0, 1.0)],
)
def test_scales_by_hand(norm_a, norm_b, scale_a, scale_b):
    scales = gradient_scales(torch.tensor([norm_a, norm_b]), BalanceConfig())
    assert scales.tolist() == pytest.approx([scale_a, scale_b], rel=1e-6)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_scales_are_inverse_and_bounded(norm_a, norm_b):
    scale_a, scale_b = gradient_scales(torch.tensor([norm_a, norm_b]), BalanceConfig()).tolist()
    assert scale_a * scale_b == pytest.approx(1.0, rel=1e-3)
    assert 0.5 <= scale_a <= 2.0 and 0.5 <= scale_b <= 2.0


@pytest.mark.parametrize(
    ("path", "ratio", "momentum"),
    [(PRODUCTION, 1.0, 0.95), (PRODUCTION, 0.81, 0.95), (PRODUCTION, 1.19, 0.95), (PRODUCTION, 0.79, 0.9), (PRODUCTION, 1.21, 0.9),
     (PUBLISHED, 1.0, 0.95), (PUBLISHED, 2.0, 0.5)],
)  # fmt: skip
def test_momentum_follows_the_balance(path, ratio, momentum):
    control = controller(path)
    now = control.begin_epoch(0, None, ratio)
    assert now.ema_momentum == momentum
    assert now.gate_open == (0.8 < ratio < 1.2)
    assert now.grad_ratio == pytest.approx(ratio)


# --- the public implementation's moves ---------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "move"), [(0.5, 0.02), (0.79, 0.02), (0.81, 0.0), (1.0, 0.0), (1.19, 0.0), (1.21, -0.02), (3.0, -0.02)])
def test_published_weights_move_against_the_imbalance(ratio, move):
    control = controller(PUBLISHED)
    control.statenet = Constant(0.0, 0.0, 0.0, 0.0)
    first = control.begin_epoch(0, None)
    assert (first.lambda_1, first.lambda_2) == pytest.approx((0.7, 0.7)), "nothing moves before the first epoch"
    for epoch in (1, 2):
        control.end_epoch(torch.zeros(3))
        now = control.begin_epoch(epoch, MEANS, ratio)
        assert (now.lambda_1, now.lambda_2) == pytest.approx((0.7 + epoch * move, 0.7 - epoch * move))


def test_published_weights_stop_at_their_bounds():
    control = controller(PUBLISHED)
    control.statenet = Constant(0.0, 0.0, 0.0, 0.0)
    control.begin_epoch(0, None)
    for epoch in range(1, 30):
        control.end_epoch(torch.zeros(3))
        now = control.begin_epoch(epoch, MEANS, 0.5)
    assert (now.lambda_1, now.lambda_2) == pytest.approx((0.95, 0.5))


def test_published_lambda_3_is_set_anew_each_epoch():
    control = controller(PUBLISHED)
    control.statenet = Constant(0.0, 0.0, 0.0, 1.0)
    first = control.begin_epoch(0, None)
    assert first.lambda_3 == pytest.approx(0.3)
    for epoch in (1, 2, 10, 20):
        control.end_epoch(torch.zeros(3))
        now = control.begin_epoch(epoch, MEANS)
        cycle = 0.3 - 0.15 * math.sin(2 * math.pi * epoch / 30)
        assert now.lambda_3 == pytest.approx(max(0.15, cycle + 0.01)), "StateNet's correction on top, not accumulated"


def test_the_described_weights_are_moved_by_statenet_alone():
    control = controller()
    control.statenet = Constant(0.0, 0.0, 0.0, 0.0)
    control.begin_epoch(0, None)
    control.end_epoch(torch.zeros(3))
    now = control.begin_epoch(7, MEANS, 0.5)
    assert (now.lambda_1, now.lambda_2, now.lambda_3) == pytest.approx((0.7, 0.7, 0.3))
