"""How much a code withstands: noise on it, corrupted tables, and what two pathways know together."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from ternary_lib.evaluation import decode
from ternary_lib.latent import Codes
from ternary_lib.model import VALUES
from ternary_lib.operations import POSITIONS, all_operations


def noisy_codes(codes: Codes, scale: float, generator: Generator) -> Float[Tensor, "19683 latent"]:
    """μ + scale·ε, ε ~ N(0, I): noise in units of the prior's standard deviation."""
    return codes.mu + scale * torch.randn(codes.mu.shape, generator=generator)


def exact_under_noise(codes: Codes, scale: float, generator: Generator) -> float:
    """Share of operations rebuilt exactly from noisy codes."""
    return float((codes.tables(noisy_codes(codes, scale, generator)) == all_operations()).all(-1).double().mean())


def exact_on_lines(spacing: Float[Tensor, "9"], cut: Float[Tensor, "9"], scale: float | Float[Tensor, "9"]) -> float:
    """The same where entry j's values lie at -m_j, 0, m_j on an axis of its own and the decoder cuts it at ±θ_j.

    Π_j [⅔·Φ((m_j - θ_j)/s_j) + ⅓·(2Φ(θ_j/s_j) - 1)], s_j > 0 the noise on each axis, or one noise for all.

    >>> exact_on_lines(torch.full((9,), 1.0), torch.full((9,), 0.5), 1e-6)
    1.0
    """
    outer = torch.special.ndtr((spacing - cut).double() / scale)
    middle = 2 * torch.special.ndtr(cut.double() / scale) - 1
    return float((2 / 3 * outer + 1 / 3 * middle).prod())


def corrupt(ops: Int[Tensor, "n 9"], entries: int, generator: Generator) -> Int[Tensor, "n 9"]:
    """Tables with so many entries, chosen at random, replaced by one of the two other values."""
    places = torch.rand(len(ops), POSITIONS, generator=generator).argsort(-1)[:, :entries]
    shift = torch.zeros_like(ops).scatter_(1, places, torch.randint(1, VALUES, (len(ops), entries), generator=generator))
    return (ops + 1 + shift) % VALUES - 1


class Repair(NamedTuple):
    """What a pathway makes of corrupted tables: shares of them, 0 to 1."""

    restored: float  # decoded to what it was before
    copied: float  # decoded to the corrupted table


def repair(codes: Codes, entries: int, generator: Generator) -> Repair:
    """Corrupt every operation, encode it, decode its μ."""
    x = all_operations()
    wrong = corrupt(x, entries, generator)
    found = codes.tables(codes.encoder(wrong)[0])
    return Repair(*(float((found == wanted).all(-1).double().mean()) for wanted in (x, wrong)))


def exact_under_input_noise(pathway: Any, scale: float, generator: Generator) -> float:
    """Share of operations rebuilt exactly when the encoder reads x + scale·ε; scale in units of one trit's step."""
    x = all_operations()
    with torch.inference_mode():
        mu, _ = pathway.encoder(x + scale * torch.randn(x.shape, generator=generator))
        return float((decode(pathway, mu).argmax(-1) - 1 == x).all(-1).double().mean())


def combine(logits: tuple[Float[Tensor, "n 9 3"], Float[Tensor, "n 9 3"]]) -> dict[str, Int[Tensor, "n 9"]]:
    """The tables that two decoders answer together, by rule; trits.

    ``vote``: entry by entry, the mean of both probabilities. ``product``: their product, right for independent witnesses that know
    how sure they may be. ``confidence``: the whole table of the decoder that is surer of its own.
    """
    logs = torch.stack([part.double().log_softmax(-1) for part in logits])  # [2, n, 9, 3]
    sure = logs.amax(-1).sum(-1)  # [2, n]: log-probability of each one's table
    tables = logs.argmax(-1) - 1  # [2, n, 9]
    return {
        "vote": logs.exp().mean(0).argmax(-1) - 1,
        "product": logs.sum(0).argmax(-1) - 1,
        "confidence": torch.where((sure[0] >= sure[1]).unsqueeze(-1), tables[0], tables[1]),
    }


def ensemble(pair: tuple[Codes, Codes], scale: float, generator: Generator) -> dict[str, float]:
    """Share of operations rebuilt exactly from two noisy codes: by each decoder alone, by both together, and by the better of the two.

    ``best_of_two`` counts an operation where either is right. **It uses the answer**: no rule can have it, and none that picks one
    of the two tables can exceed it. Give the same codes twice to see what a second look with fresh noise is worth by itself.
    """
    x = all_operations()
    with torch.inference_mode():
        logits = tuple(decode(codes, noisy_codes(codes, scale, generator)) for codes in pair)  # type: ignore[arg-type]
    alone = [(part.argmax(-1) - 1 == x).all(-1) for part in logits]
    right = {"first": alone[0], "second": alone[1]}
    right |= {rule: (tables == x).all(-1) for rule, tables in combine(logits).items()}  # type: ignore[arg-type]
    right["best_of_two"] = alone[0] | alone[1]
    return {rule: float(mask.double().mean()) for rule, mask in right.items()}
