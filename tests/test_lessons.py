"""What StateNet is taught, against hand-derived gradients, and AdamW's answer to scaled gradients."""

import pytest
import torch
from micro import micro_config

from ternary_lib import lessons
from ternary_lib.config import StateNetConfig
from ternary_lib.model import initialise
from ternary_lib.randomness import stream
from ternary_lib.statenet import StateNet
from ternary_lib.step import State, adamw
from ternary_lib.training import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("signal", "learning_rate", "weights"),
    [("loss", False, True), ("hypergradient", True, True), ("none", False, False), ("random", False, False)],
)
def test_which_outputs_are_taught(signal, learning_rate, weights):
    config = micro_config(statenet__signal=signal, statenet__penalty=0.0, statenet__hypergradient_interval=2)
    first, second = lessons.output_gradients(config)
    assert first is None, "the first epoch is not corrected"
    if not weights:
        assert second is None
        return
    assert (float(second[0]) != 0) == learning_rate, "L_total does not hold the learning rate"
    assert all(float(value) != 0 for value in second[1:])


def test_the_penalty_adds_twice_the_correction():
    config = {"statenet__signal": "loss", "statenet__hypergradient_interval": 2}
    bare = lessons.output_gradients(micro_config(**config, statenet__penalty=0.0))[1]
    full = lessons.output_gradients(micro_config(**config, statenet__penalty=1.0))[1]
    assert float(full[0]) != 0, "through the penalty alone, Δlr is drawn to zero"
    assert (bare[1:] > 0).all(), "a smaller weight on a positive loss is a smaller loss"
    assert not torch.equal(bare, full)


def test_resting_correction_is_a_minimum():
    config = StateNetConfig(penalty=2.0, lambda_scale=0.1)
    best = lessons.resting_correction(6.0, config)

    def objective(delta):
        return config.penalty * delta**2 + config.lambda_scale * delta * 6.0

    assert best == pytest.approx(-0.15) and objective(best) < min(objective(best - 0.01), objective(best + 0.01))
    assert lessons.resting_correction(1e6, config) == -1 and lessons.resting_correction(5.0, StateNetConfig(penalty=0.0)) == -1


def test_recorded_states_give_the_recorded_corrections(tmp_path):
    run = train(micro_config(statenet__signal="none"), tmp_path / "run", progress=False)  # its weights never change
    for epoch in range(1, len(run.history["epoch"])):
        corrections = run.model.statenet(lessons.recorded_state(run.history, epoch))
        recorded = [run.history[name][epoch] for name in ("delta_lr", "delta_lambda_1", "delta_lambda_2", "delta_lambda_3")]
        assert corrections.tolist() == pytest.approx(recorded, abs=1e-6)


def test_sensitivity_of_an_input_that_stands_still_is_zero():
    statenet = StateNet()
    initialise(statenet, stream(1, "statenet"))
    states = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    states[:, 3] = 2.0
    found = lessons.sensitivity(statenet, states)
    assert found.shape == (4, 9) and (found[:, 3] == 0).all() and (found[:, :3] > 0).all()


def test_all_weights_doubled_is_nothing_when_the_clip_is_active_or_absent():
    for clip in (1e-3, 1e6):
        response = lessons.scaled_response(micro_config(training__grad_clip=clip), (2.0, 2.0, 2.0), before=0, after=6)
        assert response["a"] == pytest.approx([1] * 6, rel=1e-3) and response["b"] == pytest.approx([1] * 6, rel=1e-3)
        assert response["apart"][-1] < 0.03, "only through AdamW's epsilon"


def test_a_change_on_the_way_is_felt_at_first():
    response = lessons.scaled_response(micro_config(training__grad_clip=1e6), (2.0, 2.0, 2.0), before=12, after=8)
    assert response["a"][-1] > 1.05 and response["apart"][-1] > 0.03


def test_transient_is_what_adamw_does():
    before, after, factor, parameters = 40, 60, 3.0, 40_000
    generator = torch.Generator().manual_seed(0)
    empty = torch.zeros(1, parameters, dtype=torch.float64)
    powers = torch.ones(1, 2, dtype=torch.float64)
    states = [State(*(part.clone() for part in (empty, empty, empty, powers, torch.zeros(1, 2), torch.zeros(1, 2, 0)))) for _ in range(2)]
    found = []
    for k in range(before + after):
        gradient = torch.randn(1, parameters, generator=generator, dtype=torch.float64).sign()
        sizes = []
        for state, scale in zip(states, (1.0, factor if k >= before else 1.0), strict=True):
            start = state.theta.clone()
            adamw(state, scale * gradient, torch.ones(1, 1, dtype=torch.float64), 0.0)
            sizes.append(float((state.theta - start).norm()))
        found.append(sizes[1] / sizes[0])
    assert found[:before] == [1.0] * before
    assert found[before:] == pytest.approx(lessons.transient(factor, before, after), rel=0.02)


def test_multiplications_by_hand():
    assert lessons.multiplications(StateNet()) == 9 * 32 + 32 * 8 + 8 * 32 + 32 * 4
