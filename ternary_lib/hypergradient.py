"""One-step look-ahead: how the next batch's loss depends on the learning rate and the weights of the update just made."""

from __future__ import annotations

import torch
from torch import Tensor

from ternary_lib.losses import LossBreakdown


class LookAhead:
    """Hypergradient of an AdamW step (Baydin et al. 2018, extended from the learning rate to the loss weights).

    With θ' = θ - lr·(u(ĝ) + wd·θ), ĝ the clipped gradient of Σ λ_i ℓ_i, and h = ∇(L_A + L_B)(θ') on the next batch:
    d/dlr = h·(θ' - θ)/lr and d/dλ_i = -lr·h·(∂u/∂ĝ ⊙ ∂ĝ/∂λ_i). ``before`` is called between backward and the
    optimiser's step, ``after`` with the next batch's L_A + L_B; both read training batches only.
    """

    def __init__(self, optimizer: torch.optim.AdamW, theta: Tensor, parameters: list[Tensor], grad_clip: float) -> None:
        self.optimizer = optimizer
        self.theta = theta  # all parameters, flat
        self.parameters = parameters
        self.grad_clip = grad_clip

    def term_gradients(self, losses: LossBreakdown, scales: tuple[Tensor | float, Tensor | float]) -> list[Tensor]:
        """Flat gradients of g_A·L_A, g_B·L_B and L_align: what each λ multiplies in L_total."""
        terms = (scales[0] * losses.loss_a, scales[1] * losses.loss_b, losses.alignment)
        return [self._flat_gradient(term) for term in terms]

    def before(self, terms: list[Tensor], lambdas: Tensor) -> None:
        """Remember θ and ∂ĝ/∂λ_i = c·G_i - c·(G·G_i)/‖G‖²·G, the second part only where the clip was active."""
        gradient = sum(weight * term for weight, term in zip(lambdas.detach(), terms, strict=True))
        norm = torch.linalg.vector_norm(gradient)
        factor = (self.grad_clip / (norm + 1e-6)).clamp(max=1)
        clipped = (norm > self.grad_clip).to(norm.dtype)
        self._clipped_gradient = factor * gradient
        self._by_lambda = [
            factor * (term - clipped * (gradient @ term) / (norm * (norm + 1e-6)) * gradient) for term in terms
        ]
        self._theta_before = self.theta.detach().clone()

    def after(self, next_loss: Tensor, rate: float) -> Tensor:
        """[d/dlr, d/dλ₁, d/dλ₂, d/dλ₃] of the next batch's loss, in nats per unit of each."""
        h = self._flat_gradient(next_loss)
        by_rate = h @ (self.theta.detach() - self._theta_before) / rate
        weighted = -rate * h * self._update_slope()
        return torch.stack([by_rate, *(weighted @ direction for direction in self._by_lambda)])

    def _update_slope(self) -> Tensor:
        # ∂u/∂ĝ of Adam's u = m̂/(√v̂ + ε), with the moments after the step
        group = self.optimizer.param_groups[0]
        (beta1, beta2), epsilon = group["betas"], group["eps"]
        state = self.optimizer.state[group["params"][0]]
        step = float(state["step"])
        correction1, correction2 = 1 - beta1**step, 1 - beta2**step
        m, root = state["exp_avg"] / correction1, (state["exp_avg_sq"] / correction2).sqrt()
        through_m = (1 - beta1) / correction1 / (root + epsilon)
        through_v = m * (1 - beta2) / correction2 * self._clipped_gradient / (root * (root + epsilon).square())
        return through_m - torch.where(root > 0, through_v, 0.0)

    def _flat_gradient(self, value: Tensor) -> Tensor:
        if not value.requires_grad:  # a hard histogram's L_align
            return torch.zeros_like(self.theta)
        gradients = torch.autograd.grad(value, self.parameters, retain_graph=True, materialize_grads=True)
        return torch.cat([gradient.reshape(-1) for gradient in gradients])
