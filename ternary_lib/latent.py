"""Latent space: the codes of all operations, which axis carries which trit, and the aggregated posterior against the prior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from ternary_lib.coverage import Decoder
from ternary_lib.dynamics import Mixture
from ternary_lib.evaluation import decode, log_mixture
from ternary_lib.losses import kl_divergence
from ternary_lib.model import VALUES, TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, all_operations, to_index

OWN = {"rho": 0.0, "tau_a": 1.0, "tau_b": 1.0}  # a pathway's own posterior, unmixed and at the temperature that KL charges for


class Codes(NamedTuple):
    """The posteriors of all operations and the decoder that reads them; stands where a pathway stands."""

    mu: Float[Tensor, "19683 latent"]
    logvar: Float[Tensor, "19683 latent"]
    decoder: Decoder

    def encoder(self, x: Int[Tensor, "n 9"]) -> tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]]:
        """μ and log σ² of operations, looked up."""
        i = to_index(x)
        return self.mu[i], self.logvar[i]

    def tables(self, z: Float[Tensor, "n latent"]) -> Int[Tensor, "n 9"]:
        """The truth tables that codes are decoded to (argmax), trits."""
        with torch.inference_mode():
            return decode(self, z).argmax(-1) - 1  # type: ignore[arg-type]


def codes_of(model: TernaryVAE, which: str, controls: Mapping[str, float] = OWN) -> Codes:
    """A pathway's own codes, or, given an epoch's ``rho``, ``tau_a`` and ``tau_b``, the mixtures that its decoder reads in training."""
    with torch.inference_mode():
        mu, logvar = Mixture(model, which, controls).encoder(all_operations())
    return Codes(mu, logvar, getattr(model, f"pathway_{which}").decoder)


def value_means(mu: Float[Tensor, "19683 latent"]) -> Float[Tensor, "9 latent 3"]:
    """E[μ_d | f_j = v] - E[μ_d] for every entry j, dimension d and value v: where each value lies; double."""
    chosen = torch.nn.functional.one_hot(all_operations().to(mu.device) + 1, VALUES).double()  # [19683, 9, 3]
    return torch.einsum("nd,njv->jdv", (mu - mu.mean(0)).double(), chosen) * VALUES / len(mu)


def explained(mu: Float[Tensor, "19683 latent"]) -> Float[Tensor, "latent 9"]:
    """η²[d, j] = Var_v E[μ_d | f_j = v] / Var μ_d: the share of dimension d's variance over operations that entry j alone explains.

    0 to 1. Entries of all operations are independent, so a row sums to at most 1; what is left belongs to combinations.
    """
    variance = mu.double().var(0, correction=0).clamp(min=1e-12)
    return (value_means(mu).square().mean(-1) / variance).T


def flips(codes: Codes, draws: int, generator: Generator) -> Float[Tensor, "latent 9"]:
    """How often entry j of a decoded prior draw changes when dimension d alone is drawn anew; 2/3 for even shares on an axis of its own."""
    latent = codes.mu.shape[1]
    z, anew = (torch.randn(draws, latent, generator=generator) for _ in range(2))
    before = codes.tables(z)
    changed = []
    for d in range(latent):
        moved = z.clone()
        moved[:, d] = anew[:, d]
        changed.append((codes.tables(moved) != before).double().mean(0))
    return torch.stack(changed)


def traverse(codes: Codes, origin: Float[Tensor, "latent"], values: Float[Tensor, "steps"]) -> Int[Tensor, "latent steps 9"]:
    """The tables decoded while each dimension in turn takes every value and the others stay at ``origin``."""
    latent, steps = len(origin), len(values)
    z = origin.repeat(latent, steps, 1)
    z[torch.arange(latent), :, torch.arange(latent)] = values.expand(latent, steps).to(z.dtype)
    return codes.tables(z.flatten(0, 1)).unflatten(0, (latent, steps))


def zero_zones(decoded: Int[Tensor, "9 steps"], step: float) -> tuple[list[float], int]:
    """Entries decoded along their own axes: how wide the zone of 0 is on each, and how many take their three values in order."""
    moves = decoded.diff(dim=1)
    ordered = ((moves >= 0).all(1) | (moves <= 0).all(1)) & (decoded[:, 0] * decoded[:, -1] == -1) & (decoded == 0).any(1)
    return [step * int(row) for row in (decoded == 0).sum(1)], int(ordered.sum())


class Aggregate(NamedTuple):
    """The aggregated posterior q(z) = mean of all q(z|x) against the prior; nats, vectors one entry a dimension.

    rate = I(x; z) + KL(q(z)‖p(z)), and KL(q‖p) = Σ_d KL(Gaussian of q_d's moments‖N(0, 1)) + total correlation of the Gaussian
    with q's covariance + KL(q‖that Gaussian): a Gaussian prior makes the split exact (Hoffman & Johnson 2016; Chen et al. 2018).
    """

    mean: Float[Tensor, "latent"]
    variance: Float[Tensor, "latent"]
    by_dimension: Float[Tensor, "latent"]
    total_correlation: float
    rate: float
    information: float
    error: float  # standard error of ``information`` and ``shape``, a Monte Carlo estimate

    @property
    def mismatch(self) -> float:
        """KL(q(z)‖p(z)), as uncertain as the information."""
        return self.rate - self.information

    @property
    def bound(self) -> float:
        """The most that I(x; z) can be, exactly: ``rate`` less what single dimensions and their correlation cost."""
        return self.rate - float(self.by_dimension.sum()) - self.total_correlation

    @property
    def shape(self) -> float:
        """KL(q(z)‖the Gaussian of its moments), what is not Gaussian about q: never negative but for the estimate's error."""
        return self.bound - self.information


def aggregate(codes: Codes, samples: int, generator: Generator) -> Aggregate:
    """Moments, rate and information of q(z), from ``samples`` draws z ~ q, at least two.

    Only KL(q‖g) = E_q[log q(z) - log g(z)] is estimated, g the Gaussian of q's moments; the rest is exact. Where q is nearly g both
    logarithms move together, so that the error is small just where the information is.
    """
    mu, variance = codes.mu.double(), codes.logvar.double().exp()
    mean, total = mu.mean(0), mu.var(0, correction=0) + variance.mean(0)
    covariance = torch.cov(mu.T, correction=0) + variance.mean(0).diag()
    scale = total.sqrt()
    correlation = -0.5 * float(torch.logdet(covariance / scale / scale.unsqueeze(1)))
    chosen = torch.randint(NUM_OPERATIONS, (samples,), generator=generator)
    z = mu[chosen] + variance[chosen].sqrt() * torch.randn(samples, mu.shape[1], generator=generator).double()
    gaussian = torch.distributions.MultivariateNormal(mean, covariance)
    surplus = log_aggregate(codes, z) - gaussian.log_prob(z)  # [samples]
    by_dimension = 0.5 * (mean.square() + total - 1 - total.log())
    rate = float(kl_divergence(mu, codes.logvar.double()))
    information = rate - float(by_dimension.sum()) - correlation - float(surplus.mean())
    return Aggregate(mean, total, by_dimension, correlation, rate, information, float(surplus.std()) / math.sqrt(samples))


def log_aggregate(codes: Codes, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n"]:
    """log q(z), q the exact mixture of the posteriors of all operations; nats, double."""
    mu, logvar = codes.mu.double(), codes.logvar.double()
    constant = 0.5 * mu.shape[1] * math.log(2 * math.pi)
    return torch.cat([log_mixture(part, mu, logvar) - constant for part in z.double().split(128)])


def density(codes: Codes, dimension: int, values: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The aggregated posterior's density on one dimension."""
    mean, sd = codes.mu[:, dimension].double(), torch.exp(0.5 * codes.logvar[:, dimension].double())
    return torch.stack([torch.exp(-0.5 * ((v - mean) / sd).square()).div(sd).mean() for v in values]) / math.sqrt(2 * math.pi)
