"""Loss terms as pure functions, in nats; ``total_loss`` alone weighs and sums them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ternary_lib.config import LossConfig, PriorMatchingConfig
from ternary_lib.model import DualOutput
from ternary_lib.operations import NUM_OPERATIONS, POSITIONS


class LossBreakdown(NamedTuple):
    """Every term of one batch, each a scalar in nats (``repulsion_b`` is a mean of kernels in [0, 1])."""

    total: Float[Tensor, ""]
    loss_a: Float[Tensor, ""]
    loss_b: Float[Tensor, ""]
    ce_a: Float[Tensor, ""]
    kl_a: Float[Tensor, ""]
    ce_b: Float[Tensor, ""]
    kl_b: Float[Tensor, ""]
    output_entropy_b: Float[Tensor, ""]
    repulsion_b: Float[Tensor, ""]
    alignment: Float[Tensor, ""]
    latent_entropy_a: Float[Tensor, ""]
    latent_entropy_b: Float[Tensor, ""]


def cross_entropy(logits: Float[Tensor, "batch 9 3"], classes: Int[Tensor, "batch 9"]) -> Float[Tensor, ""]:
    """CE = -1/N Σ_i Σ_j log p(x_ij | z_i): summed over positions, mean over the batch, in nats.

    Args:
        logits: unnormalised log-probabilities of -1, 0, +1.
        classes: the true values plus one, in {0, 1, 2}.

    Example:
        >>> round(cross_entropy(torch.zeros(4, 9, 3), torch.zeros(4, 9, dtype=torch.long)).item(), 4)  # 9 ln 3
        9.8875
    """
    # [n, 9, 3] -> [9n, 3]: one flat softmax over the values
    return functional.cross_entropy(logits.reshape(-1, 3), classes.reshape(-1), reduction="sum") / len(logits)


def kl_divergence(
    mu: Float[Tensor, "batch latent"], logvar: Float[Tensor, "batch latent"], free_bits: float = 0.0
) -> Float[Tensor, ""]:
    """KL(q ‖ N(0, I)) = -½ Σ_d (1 + log σ² - μ² - σ²): summed over dimensions, mean over the batch, in nats.

    Args:
        mu: posterior means.
        logvar: posterior log-variances.
        free_bits: nats per dimension (batch mean) below which nothing is charged (Kingma et al. 2016).
    """
    per_dimension = 0.5 * (mu.square() + logvar.exp() - logvar - 1).mean(0)
    if free_bits:
        per_dimension = per_dimension.clamp(min=free_bits)
    return per_dimension.sum()


def output_entropy(logits: Float[Tensor, "batch 9 3"]) -> Float[Tensor, ""]:
    """H_output = -Σ_j Σ_k p̄_jk log p̄_jk with p̄ the batch-mean output distribution: at most 9 ln 3 nats."""
    return _entropy(logits.softmax(-1).mean(0)).sum()


def repulsion(z: Float[Tensor, "batch latent"], sigma: float = 0.5, form: str = "gaussian") -> Float[Tensor, ""]:
    """L_rep = 1/N² Σ_ij exp(-‖z_i - z_j‖²/(2σ²)), the constant diagonal included: in [1/N, 1].

    ``form="off_diagonal"`` is the public implementation's: mean of exp(-‖z_i - z_j‖²/σ²) over i ≠ j, in [0, 1].
    """
    squared = z.square().sum(1)
    distances = (squared[:, None] + squared[None, :] - 2 * z @ z.T).clamp(min=0)  # [n, n]
    n = len(z)
    if form == "gaussian":
        return torch.exp(distances / (-2 * sigma**2)).mean()
    off_diagonal = torch.exp(distances / -(sigma**2)).sum() - n
    return off_diagonal / max(1, n * (n - 1))


def latent_entropy(
    z: Float[Tensor, "batch latent"], bins: int = 50, limit: float = 3.0, form: str = "soft"
) -> Float[Tensor, ""]:
    """H(z) = -Σ p log p of a histogram on [-limit, limit], mean over dimensions, in nats: in [0, ln bins].

    ``soft`` shares each sample linearly between the two nearest bin centres, so that a gradient passes;
    ``hard`` counts it in its bin and has none. Samples outside count in the end bins.
    """
    position = (z.T + limit) * (bins / (2 * limit))  # [latent, n], in bins from the left edge
    if form == "hard":
        index = position.detach().floor().clamp(0, bins - 1).nan_to_num().long()  # NaN is no place; it is found in the loss
        counts = z.new_zeros(z.shape[1], bins).scatter_add(1, index, torch.ones_like(position))
    else:
        centred = (position - 0.5).clamp(0, bins - 1)  # in bins from the first centre
        index = centred.detach().floor().clamp(max=bins - 2).nan_to_num().long()
        right = centred - index
        counts = z.new_zeros(z.shape[1], bins).scatter_add(1, index, 1 - right).scatter_add(1, index + 1, right)
    return _entropy(counts / len(z)).mean()


def entropy_alignment(entropy_a: Float[Tensor, ""], entropy_b: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """L_align = |H(z_A) - H(z_B)|, in nats."""
    return (entropy_a - entropy_b).abs()


def cell_masses(logits: Float[Tensor, "draws 9 3"]) -> Float[Tensor, "19683"]:
    """p̂(x) = 1/M Σ_m Π_j p(x_j | z_m): the share of M decoded draws that falls to each operation, in the order of their indices.

    Example:
        >>> masses = cell_masses(torch.zeros(4, 9, 3))
        >>> round(float(masses.sum()), 4), round(19_683 * float(masses[0]), 4)
        (1.0, 1.0)
    """
    # Draws come last, so that every product below reads and writes in memory's order: a third of the time.
    p = logits.permute(1, 2, 0).contiguous().softmax(1)
    # Σ over draws of an outer product is a matrix product: the 19,683 masses of a single draw are never written down.
    return (_joint(p[:5]) @ _joint(p[5:]).T).flatten() / len(logits)


def prior_mismatch(
    logits: Float[Tensor, "draws 9 3"], memory: Float[Tensor, "19683"], config: PriorMatchingConfig
) -> Float[Tensor, ""]:
    """How far decoded prior draws are from uniform: α_cell·(N·Σ_x p̂(x)·p̄(x) - 1) + α_marg·(9 ln 3 - H_output).

    p̂ are the draws' probabilities (``cell_masses``) and p̄ the memory, a constant: how often each operation was the likeliest. Were
    both the same p, the first bracket would be the χ² divergence of p from uniform, near which χ² is twice the KL divergence, and the
    gradient half that of χ². It is 0 for a uniform memory. The second bracket, in nats, sees the entries alone, not which operations
    they make together.

    Args:
        logits: what prior draws decode to.
        memory: the operations' masses among the draws of many earlier steps; sums to 1.
        config: the weights α_cell, α_marg.
    """
    mismatch = config.cells * (NUM_OPERATIONS * cell_masses(logits) @ memory - 1)
    if config.marginals:
        mismatch = mismatch + config.marginals * (POSITIONS * math.log(3) - output_entropy(logits))
    return mismatch


def total_loss(
    output: DualOutput,
    classes: Int[Tensor, "batch 9"],
    betas: tuple[float | Tensor, float | Tensor],
    lambdas: Float[Tensor, "3"],
    scales: tuple[float, float] | Float[Tensor, "2"] = (1.0, 1.0),
    config: LossConfig | None = None,
    mismatches: Sequence[Float[Tensor, ""]] | None = None,
) -> LossBreakdown:
    """L_total = λ₁·g_A·L_A + λ₂·g_B·L_B + λ₃·L_align.

    L_A = CE_A + β_A·KL_A; L_B = CE_B + β_B·KL_B - α_ent·H_output + α_rep·L_rep; with prior matching each has its mismatch added.
    Source: *Mathematical Foundations*, section "Complete Loss Decomposition".

    Args:
        output: both pathways' outputs for the batch.
        classes: the operations plus one, in {0, 1, 2}.
        betas: β_A, β_B.
        lambdas: λ₁, λ₂, λ₃; where they require a gradient they stay in the graph.
        scales: g_A, g_B, taken as constants.
        config: α_ent, α_rep and the forms of the terms; None for the defaults.
        mismatches: of A and B, from ``prior_mismatch``; None where prior draws are not matched.
    """
    config = config or LossConfig()
    a, b = output
    ce_a, ce_b = cross_entropy(a.logits, classes), cross_entropy(b.logits, classes)
    kl_a = kl_divergence(a.mu, a.logvar, config.free_bits)
    kl_b = kl_divergence(b.mu, b.logvar, config.free_bits)
    h_output = output_entropy(b.logits)
    rep = repulsion(b.z, config.repulsion_sigma, config.repulsion)
    histogram = (config.latent_bins, config.latent_range, config.latent_entropy)
    h_a, h_b = latent_entropy(a.z, *histogram), latent_entropy(b.z, *histogram)
    align = entropy_alignment(h_a, h_b)
    loss_a = ce_a + betas[0] * kl_a
    loss_b = ce_b + betas[1] * kl_b - config.output_entropy_weight * h_output + config.repulsion_weight * rep
    if mismatches is not None:
        loss_a, loss_b = loss_a + mismatches[0], loss_b + mismatches[1]
    total = lambdas[0] * scales[0] * loss_a + lambdas[1] * scales[1] * loss_b + lambdas[2] * align
    return LossBreakdown(total, loss_a, loss_b, ce_a, kl_a, ce_b, kl_b, h_output, rep, align, h_a, h_b)


def _joint(p: Float[Tensor, "positions 3 draws"]) -> Float[Tensor, "joint draws"]:
    # Π_j p(x_j) for every combination of the positions' values, the last position changing fastest
    joint = p[0]
    for position in p[1:]:
        joint = (joint[:, None] * position[None]).flatten(0, 1)
    return joint


def _entropy(p: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
    # The clamp keeps the gradient finite where p = 0: an infinite one times a clamped sample's zero would be NaN.
    return -(p * p.clamp(min=1e-12).log()).sum(-1)
