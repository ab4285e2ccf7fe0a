"""What is decided once an epoch: schedules, gate, loss weights, StateNet's corrections and its learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ternary_lib import schedules
from ternary_lib.config import Config
from ternary_lib.randomness import stream
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

    @classmethod
    def kinds(cls) -> dict[str, type]:
        """Names and kinds of the columns."""
        return {field.name: {"int": int, "float": float}[str(field.type)] for field in fields(cls)}


class Controller:
    """Opens and closes each epoch: sets its ``Controls`` and, at its end, lets StateNet learn from it.

    StateNet's corrections are computed once, at the start of the epoch, from the means of the epoch before; in the
    first epoch nothing has been measured and they are zero. L_total is linear in the corrected λ, so its gradient by
    them is the mean of what they weigh, (g_A·L_A, g_B·L_B, L_align), and is carried into StateNet at the epoch's end.
    """

    def __init__(self, config: Config, statenet: StateNet, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.statenet = statenet
        self.device = device
        self.permeability = schedules.Permeability(config.schedules)
        self.lambdas = torch.tensor(config.balance.lambdas, device=device)
        self.optimizer = torch.optim.AdamW(
            statenet.parameters(), lr=config.statenet.learning_rate, weight_decay=config.training.weight_decay
        )
        self._corrections: Tensor | None = None
        self._applied: Tensor | None = None  # [4]: lr and λ as functions of the corrections

    @property
    def signal(self) -> str:
        """``loss``, ``hypergradient``, ``none`` or ``random``."""
        return self.config.statenet.signal

    @property
    def corrected(self) -> bool:
        """Whether StateNet itself corrected this epoch: there is nothing to learn from where it did not."""
        return self._corrections is not None

    def begin_epoch(self, epoch: int, means: Mapping[str, float] | None, ratio: float = 1.0) -> Controls:
        """Set this epoch's controls from the schedules, grad_ratio and the means of the epoch before (None in the first)."""
        s = self.config.schedules
        balanced = schedules.in_balance(ratio, s)
        rho = self.permeability.step(epoch, ratio)
        scheduled = schedules.learning_rate(epoch, s)
        start = self._published_moves(epoch, ratio)
        corrections = self._correct(epoch, scheduled, start, rho, ratio, means)
        momentum = self.config.balance.momentum_balanced if balanced else self.config.balance.momentum
        return Controls(
            epoch, schedules.phase(epoch, s), rho, int(balanced), schedules.tau_a(epoch, s), schedules.tau_b(epoch, s),
            schedules.beta_a(epoch, s), schedules.beta_b(epoch, s), scheduled, self._rate, *self.lambdas.tolist(),
            *corrections, ratio, momentum,
        )  # fmt: skip

    def end_epoch(self, by_lambda: Float[Tensor, "3"], by_all: Float[Tensor, "4"] | None = None) -> None:
        """One step of StateNet on what the epoch taught; nothing where it made no correction or must not learn.

        Args:
            by_lambda: the gradient of the epoch's mean L_total by the corrected λ, what ``signal: loss`` learns from.
            by_all: the look-aheads' mean gradient by lr and λ, what ``signal: hypergradient`` learns from.
        """
        corrections, self._corrections = self._corrections, None
        if corrections is None or self.signal == "none":
            return
        objective = penalty(corrections, self.config.statenet)
        if self.signal == "loss":
            objective = objective + self._applied[1:] @ by_lambda
        if self.signal == "hypergradient" and by_all is not None:
            objective = objective + self._applied @ by_all
        self.optimizer.zero_grad()
        objective.backward()
        clip_grad_norm_(self.statenet.parameters(), self.config.training.grad_clip)
        self.optimizer.step()

    def _published_moves(self, epoch: int, ratio: float) -> Tensor:
        # Public implementation: λ₃ is set anew each epoch, λ₁ and λ₂ move against the imbalance.
        lambdas = self.lambdas.clone()
        cycled = schedules.lambda_3(epoch, self.config.schedules)
        if cycled is not None:
            lambdas[2] = cycled
        step, rho = self.config.balance.lambda_step, self.config.schedules.rho
        if step and not rho.gate_low <= ratio <= rho.gate_high:
            direction = 1.0 if ratio < rho.gate_low else -1.0
            for i, sign in ((0, direction), (1, -direction)):
                lambdas[i] = (lambdas[i] + sign * step).clamp(*self.config.balance.lambda_bounds[i])
        return lambdas

    def _correct(
        self, epoch: int, scheduled: float, lambdas: Tensor, rho: float, ratio: float, means: Mapping[str, float] | None
    ) -> list[float]:
        if means is None:
            self._rate = scheduled
            self.lambdas = lambdas
            return [0.0] * 4
        if self.signal == "random":
            corrections = 2 * torch.rand(4, generator=stream(self.config.seed, "corrections", epoch)).to(self.device) - 1
        else:
            measured = [means[k] for k in ("latent_entropy_a", "latent_entropy_b", "kl_a", "kl_b")]
            corrections = self.statenet(torch.tensor([*measured, ratio, rho, *lambdas.tolist()], device=self.device))
        rate = corrected_learning_rate(scheduled, corrections[0], self.config.statenet)
        weights = corrected_lambdas(lambdas, corrections[1:], self.config.statenet, self.config.balance)
        self._corrections = None if self.signal == "random" else corrections
        self._applied = torch.cat([rate[None], weights])
        self._rate = float(rate.detach())
        self.lambdas = weights.detach()
        return corrections.tolist()
