"""What is decided once an epoch: schedules, gate, gradient balance, loss weights, StateNet's corrections and its learning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ternary_lib import schedules
from ternary_lib.config import BalanceConfig, Config
from ternary_lib.statenet import StateNet, corrected_lambdas, corrected_learning_rate, penalty


@dataclass(frozen=True)
class Controls:
    """The scalars one epoch is trained with; each is a column of the history."""

    epoch: int
    phase: int
    rho: float
    gate_open: int
    tau_a: float
    tau_b: float
    beta_a: float
    beta_b: float
    learning_rate: float
    learning_rate_applied: float
    lambda_1: float
    lambda_2: float
    lambda_3: float
    delta_lr: float
    delta_lambda_1: float
    delta_lambda_2: float
    delta_lambda_3: float
    grad_ratio: float
    ema_momentum: float


class GradientBalance:
    """Moving averages of both pathways' gradient norms, and the scales g_A, g_B made from them.

    g_A = clip(EMA‖∇_B‖ / EMA‖∇_A‖, 0.5, 2) and g_B is its inverse: the pathway with the smaller gradient is scaled up.
    Before the first measurement both are 1. Source: *Mathematical Foundations*, "Gradient Balance Scaling".
    """

    def __init__(self, config: BalanceConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.norms: Tensor | None = None  # [2]: EMA‖∇_A‖, EMA‖∇_B‖
        if config.initial_norm is not None:
            self.norms = torch.full((2,), config.initial_norm, device=device)

    def ratio(self) -> float:
        """grad_ratio = EMA‖∇_B‖ / EMA‖∇_A‖; 1 before the first measurement."""
        return 1.0 if self.norms is None else float(self.norms[1] / (self.norms[0] + 1e-8))

    def scales(self) -> tuple[Tensor | float, Tensor | float]:
        """(g_A, g_B), without a gradient and without waiting for the device."""
        if self.norms is None:
            return 1.0, 1.0
        scale_a = (self.norms[1] / (self.norms[0] + 1e-8)).clamp(*self.config.scale_bounds)
        scale_b = (self.norms[0] / (self.norms[1] + 1e-8)).clamp(*self.config.scale_bounds)
        return scale_a, scale_b

    def update(self, norms: Tensor, momentum: float) -> None:
        """Take one step's norms [2] into the averages; the first measurement initialises them."""
        self.norms = norms.clone() if self.norms is None else torch.lerp(norms, self.norms, momentum)


class Controller:
    """Opens and closes each epoch: sets its ``Controls`` and, at its end, lets StateNet learn from it.

    StateNet's corrections are computed once, at the start of the epoch, from the means of the epoch before; in the
    first epoch nothing has been measured and they are zero. The corrected λ stay in the graph of L_total: they are a
    leaf (``self.lambdas``) whose gradient adds up over the epoch's steps and is carried into StateNet at the end.
    """

    def __init__(self, config: Config, statenet: StateNet, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.statenet = statenet
        self.device = device
        self.balance = GradientBalance(config.balance, device)
        self.permeability = schedules.Permeability(config.schedules)
        self.lambdas = torch.tensor(config.balance.lambdas, device=device)
        self.optimizer = torch.optim.AdamW(
            statenet.parameters(), lr=config.statenet.learning_rate, weight_decay=config.training.weight_decay
        )
        self.lookahead: list[Tensor] = []  # gradients [4] of L_A + L_B by lr and λ, from the hypergradient's look-aheads
        self._corrections: Tensor | None = None
        self._applied: Tensor | None = None  # [4]: lr and λ as functions of the corrections

    @property
    def signal(self) -> str:
        """``loss``, ``hypergradient`` or ``none``."""
        return self.config.statenet.signal

    def begin_epoch(self, epoch: int, means: dict[str, float] | None) -> Controls:
        """Set this epoch's controls from the schedules, the gradient ratio and the means of the epoch before."""
        s = self.config.schedules
        ratio = self.balance.ratio()
        balanced = schedules.in_balance(ratio, s)
        rho = self.permeability.step(epoch, ratio)
        scheduled = schedules.learning_rate(epoch, s)
        start = self._published_moves(epoch, ratio, first=means is None)
        corrections = self._correct(scheduled, start, rho, ratio, means)
        momentum = self.config.balance.momentum_balanced if balanced else self.config.balance.momentum
        return Controls(
            epoch, schedules.phase(epoch, s), rho, int(balanced), schedules.tau_a(epoch, s), schedules.tau_b(epoch, s),
            schedules.beta_a(epoch, s), schedules.beta_b(epoch, s), scheduled, self._rate, *self.lambdas.tolist(),
            *corrections, ratio, momentum,
        )  # fmt: skip

    def end_epoch(self, steps: int) -> None:
        """One step of StateNet on what the epoch taught; nothing where it made no correction or must not learn."""
        corrections, self._corrections = self._corrections, None
        lookahead, self.lookahead = self.lookahead, []
        weight_gradient = self.lambdas.grad
        self.lambdas = self.lambdas.detach()
        if corrections is None or self.signal == "none":
            return
        objective = penalty(corrections, self.config.statenet)
        if self.signal == "loss" and weight_gradient is not None:
            objective = objective + self._applied[1:] @ (weight_gradient / steps)
        if self.signal == "hypergradient" and lookahead:
            objective = objective + self._applied @ torch.stack(lookahead).mean(0)
        self.optimizer.zero_grad()
        objective.backward()
        clip_grad_norm_(self.statenet.parameters(), self.config.training.grad_clip)
        self.optimizer.step()

    def _published_moves(self, epoch: int, ratio: float, first: bool) -> Tensor:
        # Public implementation: λ₃ is set anew each epoch, λ₁ and λ₂ move against the imbalance.
        lambdas = self.lambdas.detach().clone()
        cycled = schedules.lambda_3(epoch, self.config.schedules)
        if cycled is not None:
            lambdas[2] = cycled
        step, rho = self.config.balance.lambda_step, self.config.schedules.rho
        if step and not first and not rho.gate_low <= ratio <= rho.gate_high:
            direction = 1.0 if ratio < rho.gate_low else -1.0
            for i, sign in ((0, direction), (1, -direction)):
                lambdas[i] = (lambdas[i] + sign * step).clamp(*self.config.balance.lambda_bounds[i])
        return lambdas

    def _correct(
        self, scheduled: float, lambdas: Tensor, rho: float, ratio: float, means: dict[str, float] | None
    ) -> list[float]:
        if means is None:
            self._rate = scheduled
            self.lambdas = lambdas.requires_grad_(self.signal == "loss")
            return [0.0] * 4
        measured = [means[k] for k in ("latent_entropy_a", "latent_entropy_b", "kl_a", "kl_b")]
        state = torch.tensor([*measured, ratio, rho, *lambdas.tolist()], device=self.device)
        corrections = self.statenet(state)
        rate = corrected_learning_rate(scheduled, corrections[0], self.config.statenet)
        weights = corrected_lambdas(lambdas, corrections[1:], self.config.statenet, self.config.balance)
        self._corrections = corrections
        self._applied = torch.cat([rate[None], weights])
        self._rate = float(rate.detach())
        self.lambdas = weights.detach().requires_grad_(self.signal == "loss")
        return corrections.tolist()
