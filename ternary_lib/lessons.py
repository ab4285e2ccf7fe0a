"""What StateNet is taught under each signal, and what AdamW makes of the corrections that it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ternary_lib.config import Config, StateNetConfig
from ternary_lib.statenet import StateNet
from ternary_lib.step import BETA1, BETA2, Dials, State
from ternary_lib.training import Trainer

PATH = "plain"  # a few steps do not pay for compiling them


def output_gradients(config: Config, epochs: int = 2) -> list[Float[Tensor, "4"] | None]:
    """∂(StateNet's objective) / ∂[Δlr, Δλ₁, Δλ₂, Δλ₃] in each of the first epochs, as training itself computes it.

    None where nothing is taught: in the first epoch, which is not corrected, and under ``signal: none`` or ``random``.
    """
    trainer, taught = Trainer(config, PATH), []
    found: list[Tensor] = []

    def watch(module: StateNet, args: tuple[Tensor, ...], corrections: Tensor) -> None:
        corrections.register_hook(lambda gradient: found.append(gradient.detach().clone()))

    with trainer.controllers[0].statenet.register_forward_hook(watch):
        for epoch in range(epochs):
            found.clear()
            trainer.train_epoch(epoch)
            taught.append(found[0] if found else None)
    return taught


def resting_correction(weighed: float, config: StateNetConfig) -> float:
    """The Δλ that minimises penalty·Δ² + lambda_scale·Δ·ℓ, ℓ being what the weight multiplies: what ``signal: loss`` teaches.

    >>> resting_correction(5.0, StateNetConfig())
    -0.025
    """
    if config.penalty == 0:
        return -1.0 if weighed > 0 else 1.0
    return max(-1.0, min(1.0, -config.lambda_scale * weighed / (2 * config.penalty)))


def recorded_state(history: Mapping[str, Sequence[float]], epoch: int) -> Float[Tensor, "9"]:
    """What StateNet saw at the start of ``epoch`` ≥ 1: the means of the epoch before, this epoch's grad_ratio and ρ, the last λ."""
    before = [history[f"train.{name}"][epoch - 1] for name in ("latent_entropy_a", "latent_entropy_b", "kl_a", "kl_b")]
    lambdas = [history[f"lambda_{k}"][epoch - 1] for k in (1, 2, 3)]
    return torch.tensor([*before, history["grad_ratio"][epoch], history["rho"][epoch], *lambdas])


def sensitivity(statenet: StateNet, states: Float[Tensor, "epochs 9"]) -> Float[Tensor, "4 9"]:
    """Root mean square of ∂correction/∂input times the input's standard deviation over the states: what each input can say."""
    jacobians = torch.stack([torch.autograd.functional.jacobian(statenet, state) for state in states])  # [epochs, 4, 9]
    return jacobians.square().mean(0).sqrt() * states.std(0)


def scaled_response(config: Config, factors: Sequence[float], before: int, after: int) -> dict[str, list[float]]:
    """Steps under other loss weights against the same steps under the configured ones.

    Two copies share ``before`` steps; then one has its λ multiplied by ``factors``. Same batches, same noise, controls of
    the first epoch throughout.

    Returns:
        Step by step: ``a`` and ``b``, size of each pathway's update over its size without; ``apart``, distance between both
        copies over the way that the plain one went since they parted.
    """
    trainer = Trainer(config, PATH)
    dials = Dials.of([trainer.controllers[0].begin_epoch(0, None)], trainer.device)
    other = dials._replace(lambdas=dials.lambdas * torch.tensor(factors, device=trainer.device))
    batches: list[Any] = []
    while len(batches) < before + after:
        batches += trainer._batches()
    for batch in batches[:before]:
        trainer.run_step(trainer.state, batch, dials)
    plain, scaled = (State(*(part.clone() for part in trainer.state)) for _ in range(2))
    ratios: dict[str, list[float]] = {"a": [], "b": [], "apart": []}
    for batch in batches[before : before + after]:
        moved = []
        for state, knobs in ((plain, dials), (scaled, other)):
            start = state.theta.clone()
            trainer.run_step(state, batch, knobs)
            moved.append([part.norm() for part in (state.theta - start).tensor_split([trainer.step.cut], dim=1)])
        for name, without, with_it in zip("ab", *moved, strict=True):
            ratios[name].append(float(with_it / without))
        ratios["apart"].append(float((scaled.theta - plain.theta).norm() / (plain.theta - trainer.state.theta).norm()))
    return ratios


def transient(factor: float, before: int, steps: int) -> list[float]:
    """Size of AdamW's update after its gradient was multiplied by ``factor``, over what it would have been.

    For gradients of steady size and random sign: the mean forgets with β₁ = 0.9 and follows in ten steps, the mean square
    with β₂ = 0.999 in a thousand. In between the updates are larger (or smaller); after that they are what they were.

    >>> curve = transient(2.0, 10_000, 20_000)
    >>> [round(value, 2) for value in (curve[0], max(curve), curve[-1])]
    [1.25, 1.93, 1.0]
    """
    ratios = []
    for k in range(1, steps + 1):
        old, old_square = BETA1 ** (2 * k) * (1 - BETA1 ** (2 * before)), BETA2**k * (1 - BETA2**before)
        mean = (old + factor**2 * (1 - BETA1 ** (2 * k))) / (1 - BETA1 ** (2 * (before + k)))
        square = (old_square + factor**2 * (1 - BETA2**k)) / (1 - BETA2 ** (before + k))
        ratios.append((mean / square) ** 0.5)
    return ratios


def multiplications(statenet: StateNet) -> int:
    """Multiplications of one forward pass: one a weight of each linear layer."""
    return sum(layer.weight.numel() for layer in statenet.modules() if isinstance(layer, torch.nn.Linear))
