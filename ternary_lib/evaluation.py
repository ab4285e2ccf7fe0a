"""What is measured: reconstruction, rate and distortion, coverage by mode and budget, cell masses, information."""

from __future__ import annotations

import math
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from ternary_lib import coverage
from ternary_lib.config import Config, EvaluationConfig
from ternary_lib.control import Controls
from ternary_lib.data import Split
from ternary_lib.losses import LossBreakdown, cross_entropy, kl_divergence, total_loss
from ternary_lib.model import Pathway, TernaryVAE, sample_latent
from ternary_lib.operations import NUM_OPERATIONS, all_operations
from ternary_lib.randomness import stream

PATHWAYS = ("a", "b")
SHARDS = 8  # parts that the cell draws are made in
EFFICIENCY_DRAWS = 50_000  # a uniform generator finds 92 % with them: neither few nor nearly all
ACTIVE_VARIANCE = 0.01  # a latent dimension is active where Var over operations of μ reaches it (Burda et al. 2016)


def columns(config: Config) -> dict[str, type]:
    """Names and kinds of what ``evaluate_epoch`` measures, in its order; the draws of a final evaluation left out."""
    names = [f"validation.{name}" for name in (*LossBreakdown._fields, "total_sampled")]
    kinds: dict[str, type] = dict.fromkeys(names, float)
    parts = [part for part in Split._fields if part != "test" or config.data.train + config.data.validation < NUM_OPERATIONS]
    for name in PATHWAYS:
        kinds |= {f"{name}.{measure}": float for measure in ("rate", "distortion", "neg_elbo")}
        kinds |= {f"{name}.active_units": int}
        kinds |= {f"{name}.exact_{part}": float for part in ("all", "mixed", *parts)}
    for name in PATHWAYS:
        kinds |= {f"{name}.coverage.{mode}.{n}": int for mode in coverage.MODES for n in config.evaluation.budgets}
    return kinds


def evaluate_epoch(
    model: TernaryVAE, config: Config, controls: Controls, split: Split, draws: int | None = None, workers: int = 1
) -> dict[str, float | int]:
    """One row of the history: validation loss, reconstruction, rate, distortion and coverage of both pathways.

    Args:
        model: the network; nothing in it changes.
        config: the run's configuration.
        controls: the epoch's τ, ρ, β and λ.
        split: the operations' split.
        draws: prior draws to decode; None for the largest of ``evaluation.budgets``.
        workers: threads that share the decoding; the result does not depend on how many.
    """
    device = next(model.parameters()).device
    with torch.inference_mode(), ThreadPoolExecutor(workers) as pool:
        row: dict[str, float | int] = {}
        losses = validation_loss(model, config, controls, split.validation)
        row |= {f"validation.{name}": float(value) for name, value in zip(LossBreakdown._fields, losses, strict=True)}
        generator = stream(config.seed, "validation", controls.epoch, device=device)
        row["validation.total_sampled"] = float(validation_loss(model, config, controls, split.validation, generator)[0])
        generator = stream(config.seed, "posterior", controls.epoch, device=device)
        row |= reconstruction(model, split, controls.rho, generator, pool)
        for name, pathway in _pathways(model):
            generator = stream(config.seed, "coverage", name, controls.epoch, device=device)
            counts = coverage_counts(pathway, config.evaluation, generator, config.model.latent_dim, draws, pool)
            row |= {f"{name}.coverage.{mode}.{n}": found for (mode, n), found in counts.items()}
    return row


def validation_loss(
    model: TernaryVAE, config: Config, controls: Controls, indices: Int[Tensor, "n"], generator: Generator | None = None
) -> Float[Tensor, "terms"]:
    """L_total and its terms at z = μ and g = 1 with the epoch's λ, ρ and β; means over batches of the training size.

    With a ``generator`` z is sampled at the epoch's τ instead, as in training.
    Batches, because repulsion, output entropy and the histograms depend on how many codes are compared.
    """
    taus = (0.0, 0.0) if generator is None else (controls.tau_a, controls.tau_b)
    operations = all_operations().to(next(model.parameters()).device)[indices]
    lambdas = torch.tensor([controls.lambda_1, controls.lambda_2, controls.lambda_3], device=operations.device)
    rows, sizes = [], []
    for x in operations.split(config.training.batch_size):
        output = model(x, *taus, controls.rho, generator)
        rows.append(torch.stack(total_loss(output, x + 1, (controls.beta_a, controls.beta_b), lambdas, config=config.loss)))
        sizes.append(len(x))
    if not rows:
        return torch.full((len(LossBreakdown._fields),), math.nan)
    weights = torch.tensor(sizes, device=operations.device) / len(operations)
    return weights @ torch.stack(rows)


def reconstruction(
    model: TernaryVAE, split: Split, rho: float, generator: Generator, pool: Executor | None = None
) -> dict[str, float | int]:
    """Of each pathway, over all operations: rate, distortion, -ELBO, active units and exact reconstruction.

    Alone, the pathway decodes its own μ (ρ = 0); mixed, both means cross-injected at ``rho``.
    Rate and distortion are those of the pathway as a VAE of its own: τ = 1, ρ = 0, one draw an operation.
    """
    x = all_operations().to(generator.device)
    classes = x + 1
    posteriors = {name: encode(pathway, x, pool) for name, pathway in _pathways(model)}
    row: dict[str, float | int] = {}
    for name, pathway in _pathways(model):
        mu, logvar = posteriors[name]
        other = posteriors["b" if name == "a" else "a"][0]
        rate = kl_divergence(mu, logvar).item()
        distortion = cross_entropy(decode(pathway, sample_latent(mu, logvar, 1.0, generator), pool), classes).item()
        exact = (decode(pathway, mu, pool).argmax(-1) == classes).all(-1).double()
        mixed = (decode(pathway, torch.lerp(mu, other, rho), pool).argmax(-1) == classes).all(-1).double()
        row |= {
            f"{name}.rate": rate,
            f"{name}.distortion": distortion,
            f"{name}.neg_elbo": rate + distortion,
            f"{name}.active_units": int((mu.var(0) >= ACTIVE_VARIANCE).sum()),
            f"{name}.exact_all": float(exact.mean()),
            f"{name}.exact_mixed": float(mixed.mean()),
        }
        row |= {f"{name}.exact_{part}": float(exact[index].mean()) for part, index in split._asdict().items() if len(index)}
    return row


def coverage_counts(
    pathway: Pathway,
    config: EvaluationConfig,
    generator: Generator,
    latent_dim: int,
    draws: int | None = None,
    pool: Executor | None = None,
) -> dict[tuple[str, int], int]:
    """Distinct operations among prior draws, by (decode mode, budget); every budget is a prefix of one pass."""
    budgets = sorted({*config.budgets, draws or config.budgets[-1]})
    found = coverage.draw_indices(pathway.decoder, budgets[-1], coverage.MODES, generator, latent_dim, pool)
    return {(mode, n): coverage.distinct(indices[:n]) for mode, indices in found.items() for n in budgets}


def evaluate_final(model: TernaryVAE, config: Config, epoch: int, workers: int = 1) -> dict[str, dict[str, Any]]:
    """Of each pathway after the last epoch: what needs many draws or all posteriors at once.

    Keys: ``missed`` (operations not among ``final_draws`` argmax draws), cell-mass statistics (``cell_statistics``)
    and ``mutual_information``. ``workers`` threads share the draws; the result does not depend on how many.
    """
    device = next(model.parameters()).device
    result = {}
    for name, pathway in _pathways(model):
        latent, draws = config.model.latent_dim, config.evaluation.final_draws
        generator = stream(config.seed, "coverage", name, epoch, device=device)
        found = coverage.draw_indices(pathway.decoder, draws, coverage.MODES, generator, latent)["argmax"]
        counts = _count_cells(pathway, config, (name, epoch), workers)
        generator = stream(config.seed, "information", name, epoch, device=device)
        with torch.inference_mode():
            information = mutual_information(pathway, config.evaluation.information_samples, generator)
        missed = (~coverage.seen(found)).nonzero().flatten().tolist()
        result[name] = {"missed": missed, **cell_statistics(counts), "mutual_information": information}
    return result


def _count_cells(pathway: Pathway, config: Config, purpose: tuple[str, int], workers: int) -> Int[Tensor, "19683"]:
    # Shards with streams of their own: threads that share nothing do not wait for each other on a busy machine.
    device = next(pathway.parameters()).device

    def count(shard: int) -> Tensor:
        size = len(range(shard, config.evaluation.cell_draws, SHARDS))
        generator = stream(config.seed, "cells", *purpose, shard, device=device)
        return coverage.cell_counts(pathway.decoder, size, generator, config.model.latent_dim)

    with ThreadPoolExecutor(workers) as pool:
        return torch.stack(list(pool.map(count, range(min(SHARDS, config.evaluation.cell_draws))))).sum(0)


def cell_statistics(counts: Int[Tensor, "19683"]) -> dict[str, float | int | None]:
    """Statistics of the argmax cell masses p_i = counts_i / draws.

    ``efficiency`` (of the coverage that 50,000 draws from these masses reach on average; 1 is uniform),
    ``kl_to_uniform`` (nats, less its expected bias (cells - 1)/(2·draws)), ``smallest_cell`` (×19,683; 1 is uniform),
    ``empty_cells``, ``draws_to_complete`` (expected draws until every operation is found; None where a cell is empty).
    """
    draws = int(counts.sum())
    masses = counts.double() / draws
    excess = float(torch.special.entr(masses).sum())
    empty = int((counts == 0).sum())
    return {
        "cell_draws": draws,
        "efficiency": coverage.efficiency(float(-torch.expm1(EFFICIENCY_DRAWS * torch.log1p(-masses)).mean()), EFFICIENCY_DRAWS),
        "kl_to_uniform": math.log(NUM_OPERATIONS) - excess - (NUM_OPERATIONS - 1) / (2 * draws),
        "smallest_cell": float(masses.min()) * NUM_OPERATIONS,
        "empty_cells": empty,
        "draws_to_complete": None if empty else draws_to_complete(masses),
    }


def draws_to_complete(masses: Float[Tensor, "cells"]) -> float:
    """Expected draws until every cell was hit: ∫₀^∞ 1 - Π_i (1 - e^{-p_i t}) dt (coupon collector, Flajolet et al. 1992).

    >>> round(draws_to_complete(torch.full((2,), 0.5, dtype=torch.float64)), 3)
    3.0
    """
    # In u = log t the integrand is smooth and falls to zero at both ends.
    masses = masses.double().cpu()
    log_t = torch.linspace(math.log(1e-3), math.log(60 / float(masses.min())), 2_001, dtype=torch.float64)
    t = log_t.exp()
    # log Π = Σ log(1 - e^{-p t}); equal masses are counted once, which makes the sum cheap
    values, repeats = masses.unique(return_counts=True)
    log_complete = torch.stack([(repeats * torch.log(-torch.expm1(-values * step))).sum() for step in t])
    unfinished = -torch.expm1(log_complete)
    return float(torch.trapezoid(unfinished * t, log_t)) + 1e-3  # below t = 1e-3 nothing is complete


def mutual_information(pathway: Pathway, samples: int, generator: Generator) -> float:
    """I(x; z) = E[log q(z|x) - log q(z)] in nats, q(z) the exact mixture of all 19,683 posteriors; at most ln 19683.

    Monte Carlo over ``samples`` draws z ~ q(z|x), x uniform.
    """
    mu, logvar = (part.double() for part in encode(pathway, all_operations().to(generator.device)))
    chosen = torch.randint(NUM_OPERATIONS, (samples,), generator=generator, device=mu.device)
    noise = torch.randn(samples, mu.shape[1], generator=generator, device=mu.device).double()
    total = 0.0
    for index, epsilon in zip(chosen.split(128), noise.split(128), strict=True):
        z = mu[index] + torch.exp(0.5 * logvar[index]) * epsilon
        own = (epsilon.square() + logvar[index]).sum(1)
        total += float((-0.5 * own - log_mixture(z, mu, logvar)).sum())
    return total / samples


def log_mixture(
    z: Float[Tensor, "n latent"], mu: Float[Tensor, "operations latent"], logvar: Float[Tensor, "operations latent"]
) -> Float[Tensor, "n"]:
    """log q(z) + d/2·ln 2π, q the even mixture of the Gaussians N(μ_k, σ_k²); [n, 19683] at once, 20 MB for 128 codes in double."""
    precision = torch.exp(-logvar)
    # log q(z|x_k) up to a constant = -½ Σ_d [(z - μ_k)²/σ_k² + log σ_k²], expanded into matrix products
    offset = (mu.square() * precision + logvar).sum(1)
    quadratic = z.square() @ precision.T - 2 * z @ (mu * precision).T + offset
    return torch.logsumexp(-0.5 * quadratic, 1) - math.log(len(mu))


def encode(
    pathway: Pathway, x: Int[Tensor, "n 9"], pool: Executor | None = None
) -> tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]]:
    """μ and log σ² of many operations, in chunks that stay in the cache and that the threads of ``pool`` share."""
    mu, logvar = zip(*_in_chunks(pathway.encoder, x, pool), strict=True)
    return torch.cat(mu), torch.cat(logvar)


def decode(pathway: Pathway, z: Float[Tensor, "n latent"], pool: Executor | None = None) -> Float[Tensor, "n 9 3"]:
    """Logits of many latent codes, in chunks that stay in the cache and that the threads of ``pool`` share."""
    return torch.cat(_in_chunks(pathway.decoder, z, pool))


def _in_chunks(module: nn.Module, values: Tensor, pool: Executor | None) -> list[Any]:
    inference = torch.is_inference_mode_enabled()  # a thread of the pool would not know

    def apply(chunk: Tensor) -> Any:
        with torch.inference_mode(inference):
            return module(chunk)

    return list((pool.map if pool else map)(apply, values.split(coverage.CHUNK)))


def _pathways(model: TernaryVAE) -> list[tuple[str, Pathway]]:
    return [("a", model.pathway_a), ("b", model.pathway_b)]
