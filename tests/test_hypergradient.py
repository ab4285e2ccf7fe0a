"""The look-ahead's gradients against finite differences of real AdamW steps, in double precision."""

import pytest
import torch
from micro import copied

from ternary_lib.config import load_config
from ternary_lib.step import STEP_COLUMNS, Dials
from ternary_lib.training import Trainer

# ρ = 0 below: differences see through a stop-gradient, autograd does not, so at ρ > 0 the two rightly differ.
TINY = {
    "model.encoder_widths": [12, 8],
    "model.decoder_a_widths": [8],
    "model.decoder_b_width": 8,
    "data.train": 640,
    "training.batch_size": 64,
    "statenet.signal": "hypergradient",
}


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("grad_clip", [0.5, 1e6])
def test_lookahead_equals_finite_differences(double_precision, grad_clip):
    trainer = Trainer(load_config("configs/smoke.yaml", TINY | {"training.grad_clip": grad_clip}))
    controls, _ = trainer.train_epoch(0)
    first, second = (batch._replace(noise=torch.zeros_like(batch.noise)) for batch in trainer._batches()[:2])
    start, h = trainer.state, 1e-5
    dials = Dials.of(controls)._replace(rho=torch.zeros(1), rate=torch.tensor([3e-3]), lambdas=torch.tensor([[0.7, 0.8, 0.3]]))

    def outcome(delta_rate=0.0, delta_lambdas=(0.0, 0.0, 0.0)):
        """L_A + L_B of the second batch after a step on the first, and the look-ahead's gradient of it."""
        state = copied(start)
        moved = dials._replace(rate=dials.rate + delta_rate, lambdas=dials.lambdas + torch.tensor([delta_lambdas]))
        trainer.look_ahead.before(state, first, moved)
        norms = trainer.step(state, first, moved)[0, [STEP_COLUMNS.index(f"grad_norm_{p}") for p in "ab"]]
        gradient = trainer.look_ahead.after(state, second, moved)
        losses, _ = trainer.step.losses(trainer.step.unflatten(state.theta), state, second, moved)
        return float(losses.loss_a + losses.loss_b), gradient[0], float(torch.linalg.vector_norm(norms))

    _, measured, norm = outcome()
    assert (norm > grad_clip) == (grad_clip == 0.5), "one case must clip and the other must not"
    rate = float(dials.rate)
    expected = [(outcome(delta_rate=h * rate)[0] - outcome(delta_rate=-h * rate)[0]) / (2 * h * rate)]
    for i in range(3):
        up, down = ([s * h if j == i else 0.0 for j in range(3)] for s in (1, -1))
        expected.append((outcome(delta_lambdas=up)[0] - outcome(delta_lambdas=down)[0]) / (2 * h))
    assert measured.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert all(abs(value) > 1e-7 for value in expected), "a zero gradient would make this test empty"
