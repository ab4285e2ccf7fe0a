"""StateNet: the meta-controller that nudges the learning rate and the loss weights once an epoch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ternary_lib.config import BalanceConfig, StateNetConfig

STATE_NAMES = ("H_A", "H_B", "KL_A", "KL_B", "grad_ratio", "rho", "lambda_1", "lambda_2", "lambda_3")
CORRECTION_NAMES = ("delta_lr", "delta_lambda_1", "delta_lambda_2", "delta_lambda_3")


class StateNet(nn.Module):
    """Corrections in (-1, 1) from the state of training; 1,068 parameters.

    z = Linear(Tanh(LayerNorm(Linear(s)))), [Δlr, Δλ₁, Δλ₂, Δλ₃] = Tanh(Linear(ReLU(Linear(z)))).
    Source: *Mathematical Foundations*, section "StateNet Architecture".

    Example:
        >>> StateNet()(torch.zeros(9)).shape
        torch.Size([4])
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(len(STATE_NAMES), 32), nn.LayerNorm(32), nn.Tanh(), nn.Linear(32, 8)
        )
        self.decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, len(CORRECTION_NAMES)), nn.Tanh())

    def forward(self, state: Float[Tensor, "... 9"]) -> Float[Tensor, "... 4"]:
        """[Δlr, Δλ₁, Δλ₂, Δλ₃] for s = [H_A, H_B, KL_A, KL_B, grad_ratio, ρ, λ₁, λ₂, λ₃] (entropies and KL in nats)."""
        return self.decoder(self.encoder(state))


def corrected_learning_rate(scheduled: float, delta_lr: Tensor, config: StateNetConfig) -> Tensor:
    """lr = clip(scheduled·(1 + lr_scale·Δlr), lr_bounds)."""
    return torch.clamp(scheduled * (1 + config.lr_scale * delta_lr), *config.lr_bounds)


def corrected_lambdas(
    lambdas: Float[Tensor, "3"], delta: Float[Tensor, "3"], config: StateNetConfig, balance: BalanceConfig
) -> Float[Tensor, "3"]:
    """λ ← clip(λ + lambda_scale·Δλ, bounds): accumulates from epoch to epoch."""
    bounds = torch.tensor(balance.lambda_bounds, device=lambdas.device, dtype=lambdas.dtype)
    return torch.clamp(lambdas + config.lambda_scale * delta, bounds[:, 0], bounds[:, 1])


def penalty(corrections: Float[Tensor, "4"], config: StateNetConfig) -> Float[Tensor, ""]:
    """penalty·‖corrections‖², which pulls every correction toward zero."""
    return config.penalty * corrections.square().sum()
