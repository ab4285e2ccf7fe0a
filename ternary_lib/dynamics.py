"""What the schedules do to a model: the noise its decoders meet, the information that reaches them, their mixtures."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from ternary_lib import checkpoint, schedules
from ternary_lib.evaluation import PATHWAYS, decode, encode, mutual_information
from ternary_lib.journal import Run, load_weights
from ternary_lib.model import TernaryVAE, cross_inject
from ternary_lib.operations import all_operations

OTHER = {"a": "b", "b": "a"}
BATCHES = 4  # independent estimates behind each standard error


def noise_factor(rho: Any, tau_own: Any, tau_other: Any) -> Any:
    """ν = √(((1-ρ)·τ)² + (ρ·τ')²): spread of z̃ over the spread that KL charges for, where both pathways' σ are equal.

    Numbers or arrays; no unit. 1 at τ = 1 and ρ = 0.

    >>> float(noise_factor(0.5, 1.0, 1.0))
    0.7071067811865476
    """
    return np.sqrt(((1 - rho) * tau_own) ** 2 + (rho * tau_other) ** 2)


def phase_slice(config: Any, number: int) -> slice:
    """The epochs of one phase of a run, as a slice of its history; empty where the run does not reach it.

    >>> from ternary_lib.config import Config
    >>> phase_slice(Config(), 3)
    slice(120, 250, None)
    """
    edges = [0, *config.schedules.phases, max(config.schedules.total_epochs, config.schedules.phases[-1])]
    start, stop = (min(edge, config.schedules.total_epochs) for edge in edges[number - 1 : number + 1])
    return slice(start, stop)


def replay(history: Mapping[str, Sequence[float]], config: Any) -> dict[str, list[float]]:
    """Every scheduled column of a history, computed anew from the schedules and the recorded gradient ratios."""
    permeability = schedules.Permeability(config.schedules)
    functions = {name: getattr(schedules, name) for name in ("tau_a", "tau_b", "beta_a", "beta_b", "learning_rate")}
    columns = {name: [f(t, config.schedules) for t in history["epoch"]] for name, f in functions.items()}
    ratios = zip(history["epoch"], history["grad_ratio"], strict=True)
    return columns | {"rho": [permeability.step(t, ratio) for t, ratio in ratios]}


def rank_correlation(u: Sequence[float], v: Sequence[float]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; NaN where a series is constant.

    >>> rank_correlation([1, 2, 3, 4], [1, 8, 27, 64]), round(rank_correlation([1, 2, 3], [2, 1, 1]), 3)
    (1.0, -0.866)
    """
    ranks = []
    for series in (u, v):
        values, inverse, counts = np.unique(np.asarray(series), return_inverse=True, return_counts=True)
        if len(values) < 2:
            return math.nan
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    return float(np.corrcoef(*ranks)[0, 1])


@dataclass(frozen=True)
class Mixture:
    """Stands where a pathway stands: its ``encoder`` gives the posterior of z̃ at one epoch's τ and ρ.

    z̃ = (1-ρ)·z + ρ·z' has mean (1-ρ)·μ + ρ·μ' and variance ((1-ρ)·τ·σ)² + (ρ·τ'·σ')², its noises being independent.
    """

    model: TernaryVAE
    which: str
    controls: Mapping[str, float]

    def encoder(self, x: Int[Tensor, "n 9"]) -> tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]]:
        """Mean and log variance of z̃ for each operation."""
        other, rho = OTHER[self.which], self.controls["rho"]
        (mu, logvar), (mu_other, logvar_other) = (
            getattr(self.model, f"pathway_{name}").encoder(x) for name in (self.which, other)
        )
        own, rest = (1 - rho) * self.controls[f"tau_{self.which}"], rho * self.controls[f"tau_{other}"]
        return cross_inject(mu, mu_other, rho), torch.log(own**2 * logvar.exp() + rest**2 * logvar_other.exp())


def received_information(
    model: TernaryVAE, which: str, controls: Mapping[str, float], draws: int, generator: Generator
) -> tuple[float, float]:
    """I(x; z̃), what the code that a decoder reads in training tells about x, and its standard error, in nats.

    Args:
        model: the network of one epoch.
        which: ``"a"`` or ``"b"``, the decoder.
        controls: that epoch's ``rho``, ``tau_a``, ``tau_b``.
        draws: Monte Carlo draws, shared among a few independent estimates.
        generator: their randomness.
    """
    mixture, share = Mixture(model, which, controls), max(1, draws // BATCHES)
    with torch.inference_mode():
        estimates = [mutual_information(mixture, share, generator) for _ in range(BATCHES)]
    return float(np.mean(estimates)), float(np.std(estimates, ddof=1) / math.sqrt(BATCHES))


def kept_models(run: Run) -> dict[int, TernaryVAE]:
    """The network after every epoch whose checkpoint was kept, by epoch, on the CPU; the last is always among them."""
    models = {}
    for path in sorted(run.run_dir.glob("epoch_*.safetensors")):
        tensors, meta = checkpoint.load(path)
        models[meta["epoch"] - 1] = TernaryVAE(run.config.model)
        load_weights(models[meta["epoch"] - 1], tensors)
    return models | {run.history["epoch"][-1]: copy.deepcopy(run.model).cpu()}


def posterior_means(model: TernaryVAE) -> dict[str, Float[Tensor, "19683 latent"]]:
    """μ of every operation under both pathways."""
    with torch.inference_mode():
        x = all_operations().to(next(model.parameters()).device)
        return {name: encode(getattr(model, f"pathway_{name}"), x)[0] for name in PATHWAYS}


def wrong_entries(
    model: TernaryVAE, means: Mapping[str, Float[Tensor, "19683 latent"]], which: str, rho: float
) -> Int[Tensor, "19683"]:
    """How many of its nine entries each operation gets wrong when (1-ρ)·μ + ρ·μ' is decoded by argmax."""
    with torch.inference_mode():
        mixed = cross_inject(means[which], means[OTHER[which]], rho)
        decoded = decode(getattr(model, f"pathway_{which}"), mixed).argmax(-1)
        return (decoded.cpu() != all_operations() + 1).sum(-1)
