"""One-step look-ahead: how the next batch's loss depends on the learning rate and the weights of the update just made."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ternary_lib.losses import LossBreakdown
from ternary_lib.step import BETA1, BETA2, EPSILON, Batch, Dials, State, Step, bias_corrections, clip_factor


class LookAhead:
    """Hypergradient of an AdamW step (Baydin et al. 2018, extended from the learning rate to the loss weights).

    With θ' = θ - lr·(u(ĝ) + wd·θ), ĝ the clipped gradient of Σ λ_i ℓ_i, and h = ∇(L_A + L_B)(θ') on the next batch:
    d/dlr = h·(θ' - θ)/lr and d/dλ_i = -lr·h·(∂u/∂ĝ ⊙ ∂ĝ/∂λ_i). ``before`` is called ahead of a step and ``after`` ahead
    of the next one, each with the batch that step reads; only training batches are read.
    """

    def __init__(self, step: Step) -> None:
        self.step = step

    def before(self, state: State, batch: Batch, dials: Dials) -> None:
        """Remember θ and ∂ĝ/∂λ_i = c·G_i - c·(G·G_i)/‖G‖²·G, the second part only where the clip was active."""
        terms = self._term_gradients(state, batch, dials)  # G_i, [seeds, parameters] each
        gradient = sum(weight[:, None] * term for weight, term in zip(dials.lambdas.unbind(1), terms, strict=True))
        limit = self.step.config.training.grad_clip
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        factor = clip_factor(norm, limit)
        clipped = (norm > limit).to(norm.dtype)
        self._clipped_gradient = factor * gradient
        self._by_lambda = [factor * (term - clipped * _dot(gradient, term)[:, None] / (norm * (norm + 1e-6)) * gradient) for term in terms]
        self._theta_before = state.theta.clone()

    def after(self, state: State, batch: Batch, dials: Dials) -> Float[Tensor, "seeds 4"]:
        """[d/dlr, d/dλ₁, d/dλ₂, d/dλ₃] of the next batch's L_A + L_B, in nats per unit of each."""
        leaves, losses = self._losses(state, batch, dials)
        h = _flat(torch.autograd.grad((losses.loss_a + losses.loss_b).sum(), leaves, materialize_grads=True))
        by_rate = _dot(h, state.theta - self._theta_before) / dials.rate
        weighted = -dials.rate[:, None] * h * self._update_slope(state)
        return torch.stack([by_rate, *(_dot(weighted, direction) for direction in self._by_lambda)], dim=1)

    def _term_gradients(self, state: State, batch: Batch, dials: Dials) -> list[Tensor]:
        # of g_A·L_A, g_B·L_B and L_align: what each λ multiplies in L_total
        leaves, losses = self._losses(state, batch, dials)
        scales = self.step.scales(state)
        terms = (scales[:, 0] * losses.loss_a, scales[:, 1] * losses.loss_b, losses.alignment)
        return [
            _flat(torch.autograd.grad(term.sum(), leaves, retain_graph=True, materialize_grads=True))
            if term.requires_grad
            else torch.zeros_like(state.theta)  # a hard histogram's L_align
            for term in terms
        ]

    def _losses(self, state: State, batch: Batch, dials: Dials) -> tuple[list[Tensor], LossBreakdown]:
        leaves = {name: p.detach().requires_grad_() for name, p in self.step.unflatten(state.theta).items()}
        losses, _ = self.step.losses(leaves, state, batch, dials)
        return list(leaves.values()), losses

    def _update_slope(self, state: State) -> Tensor:
        # ∂u/∂ĝ of Adam's u = m̂/(√v̂ + ε), with the moments after the step
        correction1, correction2 = bias_corrections(state)
        m, root = state.exp_avg / correction1, (state.exp_avg_sq / correction2).sqrt()
        through_m = (1 - BETA1) / correction1 / (root + EPSILON)
        through_v = m * (1 - BETA2) / correction2 * self._clipped_gradient / (root * (root + EPSILON).square())
        return through_m - torch.where(root > 0, through_v, 0.0)


def _flat(gradients: tuple[Tensor, ...]) -> Float[Tensor, "seeds parameters"]:
    return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, "seeds"]:
    return (a * b).sum(1)
