"""Coverage of the operation space by prior draws: by decode mode and budget, beside what a uniform generator reaches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from ternary_lib.operations import NUM_OPERATIONS, POSITIONS

Decoder = Callable[[Float[Tensor, "batch latent"]], Float[Tensor, "batch 9 3"]]

MODES = ("argmax", "categorical", "expectation")
TERTILE = 0.4307272992954576  # Φ⁻¹(2/3): N(0, 1) falls below -TERTILE, between, and above it with probability 1/3 each
CHUNK = 1_024  # rows decoded at once: activations stay in the cache, memory stays flat at any budget


def sample_coverage(
    decoder: Decoder, num_samples: int, decode: str, generator: Generator | None = None, latent_dim: int = 16
) -> float:
    """Fraction of the 19,683 operations found in ``num_samples`` decoded draws from N(0, I).

    Args:
        decoder: maps latent codes [n, latent] to logits [n, 9, 3].
        num_samples: draws, ≥ 1.
        decode: ``argmax`` (most likely value per position), ``categorical`` (one random draw per position)
            or ``expectation`` (mean value rounded).
        generator: source of the draws; its device is where they are made.
        latent_dim: dimension of the prior.

    Raises:
        ValueError: unknown decode mode or no draws.

    Example:
        >>> sample_coverage(lambda z: torch.zeros(len(z), 9, 3), 100, "argmax", torch.Generator())  # one operation
        5.080526342529086e-05
    """
    indices = draw_indices(decoder, num_samples, (decode,), generator, latent_dim)[decode]
    return distinct(indices) / NUM_OPERATIONS


def draw_indices(
    decoder: Decoder,
    num_samples: int,
    modes: Iterable[str] = MODES,
    generator: Generator | None = None,
    latent_dim: int = 16,
    pool: Executor | None = None,
) -> dict[str, Int[Tensor, "num_samples"]]:
    """Operation index of every draw under each decode mode, from one pass through the decoder.

    The first k entries are what a budget of k draws gives: smaller budgets are prefixes of the largest. All random
    numbers are drawn here, in order; the threads of ``pool`` only decode, so the result does not depend on them.
    """
    modes = tuple(modes)
    device = _device(generator)

    def draws() -> Iterator[tuple[Tensor, Tensor | None]]:
        for z in _prior_draws(num_samples, generator, latent_dim):
            yield z, torch.rand(len(z), POSITIONS, generator=generator, device=device) if "categorical" in modes else None

    def decode(drawn: tuple[Tensor, Tensor | None]) -> dict[str, Tensor]:
        with torch.inference_mode():
            return decode_indices(decoder(drawn[0]), modes, drawn[1])

    chunks = list((pool.map if pool else map)(decode, draws()))
    return {mode: torch.cat([chunk[mode] for chunk in chunks])[:num_samples] for mode in modes}


def decode_indices(
    logits: Float[Tensor, "batch 9 3"], modes: Iterable[str], uniforms: Float[Tensor, "batch 9"] | None = None
) -> dict[str, Int[Tensor, "batch"]]:
    """Decode logits to operation indices under each mode; ``categorical`` alone reads ``uniforms``, drawn from [0, 1)."""
    low, mid, high = logits.movedim(-1, 0).contiguous()  # three [n, 9]
    powers = (3.0 ** torch.arange(POSITIONS - 1, -1, -1, device=logits.device)).float()
    exponentials = None
    decoded = {}
    for mode in modes:
        if mode == "argmax":
            digits = torch.where(high > torch.maximum(low, mid), 2.0, (mid > low).to(logits.dtype))
        elif mode in ("categorical", "expectation"):
            exponentials = exponentials or _exponentials(low, mid, high)
            digits = _random_digits(*exponentials, uniforms) if mode == "categorical" else _mean_digits(*exponentials)
        else:
            raise ValueError(f"decode mode {mode!r}: expected one of {', '.join(MODES)}")
        decoded[mode] = (digits.float() @ powers).long()  # exact in float32: every index < 2**24
    return decoded


def cell_counts(
    decoder: Decoder, num_samples: int, generator: Generator | None = None, latent_dim: int = 16
) -> Int[Tensor, "19683"]:
    """How often each operation is decoded (argmax) in ``num_samples`` prior draws; memory does not grow with them."""
    counts = torch.zeros(NUM_OPERATIONS, dtype=torch.long, device=_device(generator))
    left = num_samples
    with torch.inference_mode():
        for z in _prior_draws(num_samples, generator, latent_dim):
            indices = decode_indices(decoder(z[:left]), ("argmax",))["argmax"]
            counts += torch.bincount(indices, minlength=NUM_OPERATIONS)
            left -= len(indices)
    return counts


def distinct(indices: Int[Tensor, "n"]) -> int:
    """Number of different operations among the indices."""
    return int(seen(indices).sum())


def seen(indices: Int[Tensor, "n"]) -> Tensor:
    """Mask [19683] of the operations that occur."""
    mask = torch.zeros(NUM_OPERATIONS, dtype=torch.bool, device=indices.device)
    mask[indices] = True
    return mask


def uniform_coverage(n: int) -> float:
    """Expected coverage of n draws of a uniform generator: 1 - (1 - 1/19683)^n.

    >>> round(uniform_coverage(195_000), 5)
    0.99995
    """
    return -math.expm1(n * math.log1p(-1 / NUM_OPERATIONS))


def efficiency(coverage: float, n: int) -> float:
    """Share of n draws a uniform generator would need for the same coverage: ln(1 - c) / (n·ln(1 - 1/19683)).

    1 is a uniform generator. With nothing missing, half an operation is taken as missing.

    Args:
        coverage: fraction found, in [0, 1].
        n: draws, ≥ 1.

    Example:
        >>> efficiency(uniform_coverage(50_000), 50_000)
        1.0
    """
    if not 0 <= coverage <= 1:
        raise ValueError(f"coverage {coverage!r}: expected a fraction from 0 to 1")
    if n < 1:
        raise ValueError(f"n {n!r}: expected at least one draw")
    missing = max(1 - coverage, 0.5 / NUM_OPERATIONS)
    return math.log(missing) / (n * math.log1p(-1 / NUM_OPERATIONS))


def tertile_decoder(
    z: Float[Tensor, "batch latent"], sharpness: float = 1_000.0, positions: int = POSITIONS
) -> Float[Tensor, "batch positions 3"]:
    """The analytic ideal decoder: trit j is -1, 0 or +1 by the tertile of N(0, 1) that z_j falls in.

    Its cells are exactly uniform, and both decoders can represent it. It reads the first ``positions`` dimensions.
    """
    first = z[:, :positions]
    return sharpness * torch.stack([-first - TERTILE, torch.zeros_like(first), first - TERTILE], dim=-1)


def uniform_decoder(z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 9 3"]:
    """Every value equally likely whatever z: perfect categorical coverage without knowing anything."""
    return z.new_zeros(len(z), POSITIONS, 3)


def _prior_draws(num_samples: int, generator: Generator | None, latent_dim: int) -> Iterator[Float[Tensor, "chunk latent"]]:
    if num_samples < 1:
        raise ValueError(f"num_samples {num_samples!r}: expected at least one draw")
    device = _device(generator)
    for _ in range(0, num_samples, CHUNK):
        # Always whole chunks, cut by the caller: the first k draws are then the same at every budget.
        yield torch.randn(CHUNK, latent_dim, generator=generator, device=device)


def _device(generator: Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device


def _exponentials(low: Tensor, mid: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    top = torch.maximum(torch.maximum(low, mid), high)
    return (low - top).exp_(), (mid - top).exp_(), (high - top).exp_()


def _random_digits(low: Tensor, mid: Tensor, high: Tensor, uniforms: Tensor | None) -> Tensor:
    if uniforms is None:
        raise ValueError("decode mode 'categorical' needs uniforms, one a position")
    threshold = uniforms * (low + mid + high)
    return (threshold >= low).to(low.dtype) + (threshold >= low + mid)


def _mean_digits(low: Tensor, mid: Tensor, high: Tensor) -> Tensor:
    half = 0.5 * (low + mid + high)
    return 1 + (high - low > half).to(low.dtype) - (low - high > half).to(low.dtype)
