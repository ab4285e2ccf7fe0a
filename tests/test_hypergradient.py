"""The look-ahead's gradients against finite differences of real AdamW steps, in double precision."""

import copy

import pytest
import torch

from ternary_lib.config import load_config
from ternary_lib.losses import total_loss
from ternary_lib.training import Trainer

RHO = 0.0  # differences see through a stop-gradient, autograd does not: at ρ > 0 the two rightly differ
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


def one_step(trainer, controls, lambdas, rate, batches):
    """Take the step on the first batch; give the loss of the second and, for the reference, the look-ahead."""
    trainer.controller.lambdas = lambdas
    trainer.optimizer.param_groups[0]["lr"] = rate
    scales = trainer.controller.balance.scales()
    betas = (controls.beta_a, controls.beta_b)
    (x, y), (x_next, y_next) = batches
    first = total_loss(trainer.model(x, 0, 0, RHO), y, betas, lambdas, scales, trainer.config.loss)
    terms = trainer.look_ahead.term_gradients(first, scales)
    trainer.look_ahead.before(terms, lambdas)
    trainer.theta.grad.zero_()
    first.total.backward()
    norm = torch.linalg.vector_norm(trainer.theta.grad)
    trainer.theta.grad.mul_((trainer.config.training.grad_clip / (norm + 1e-6)).clamp(max=1))
    trainer.optimizer.step()
    after = total_loss(trainer.model(x_next, 0, 0, RHO), y_next, betas, lambdas, scales, trainer.config.loss)
    return after.loss_a + after.loss_b, norm


@pytest.mark.parametrize("grad_clip", [0.5, 1e6])
def test_lookahead_equals_finite_differences(double_precision, grad_clip):
    trainer = Trainer(load_config("configs/smoke.yaml", TINY | {"training.grad_clip": grad_clip}))
    controls, _ = trainer.train_epoch(0)
    x = trainer.operations[:128]
    batches = list(zip(x.double().split(64), (x + 1).split(64), strict=True))
    lambdas, rate, h = torch.tensor([0.7, 0.8, 0.3]), 3e-3, 1e-5

    def outcome(delta_rate=0.0, delta_lambdas=(0.0, 0.0, 0.0)):
        copied = copy.deepcopy(trainer.optimizer.state_dict())
        start = trainer.theta.detach().clone()
        loss, norm = one_step(trainer, controls, lambdas + torch.tensor(delta_lambdas), rate + delta_rate, batches)
        gradient = trainer.look_ahead.after(loss, rate)
        trainer.theta.data.copy_(start)
        trainer.optimizer.load_state_dict(copied)
        return float(loss.detach()), gradient, float(norm)

    _, measured, norm = outcome()
    assert (norm > grad_clip) == (grad_clip == 0.5), "one case must clip and the other must not"
    expected = [(outcome(delta_rate=h * rate)[0] - outcome(delta_rate=-h * rate)[0]) / (2 * h * rate)]
    for i in range(3):
        up, down = ([s * h if j == i else 0.0 for j in range(3)] for s in (1, -1))
        expected.append((outcome(delta_lambdas=up)[0] - outcome(delta_lambdas=down)[0]) / (2 * h))
    assert measured.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert all(abs(value) > 1e-7 for value in expected), "a zero gradient would make this test empty"
