"""Distances in latent space: paths between operations, neighbours, arithmetic of codes, and where families of operations lie."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata
from torch import Generator, Tensor

from ternary_lib import operations
from ternary_lib.dynamics import rank_correlation
from ternary_lib.latent import Codes
from ternary_lib.model import VALUES
from ternary_lib.operations import NUM_OPERATIONS, all_operations, from_index, to_index

FAMILIES = {
    "associative": operations.is_associative,
    "commutative": operations.is_commutative,
    "idempotent": operations.is_idempotent,
    "identity": operations.has_identity,
    "conservative": operations.is_conservative,
    "Latin square": operations.is_latin_square,
}
FOLDS = 5
RIDGE = 1e-3  # of the mean variance: keeps dimensions that carry nothing from being blown up


def straight(a: Float[Tensor, "n latent"], b: Float[Tensor, "n latent"], steps: int) -> Float[Tensor, "n steps latent"]:
    """Evenly spaced points of the segments from a to b, ends included."""
    t = torch.linspace(0, 1, steps, dtype=a.dtype).view(1, -1, 1)
    return torch.lerp(a.unsqueeze(1), b.unsqueeze(1), t)


def spherical(a: Float[Tensor, "n latent"], b: Float[Tensor, "n latent"], steps: int) -> Float[Tensor, "n steps latent"]:
    """[sin((1-t)Ω)·a + sin(tΩ)·b] / sin Ω, Ω the angle between a and b (Shoemake 1985): codes do not shrink on their way."""
    t = torch.linspace(0, 1, steps, dtype=a.dtype).view(1, -1, 1)
    angle = torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1).acos().clamp(1e-3, math.pi - 1e-3).view(-1, 1, 1)
    return (((1 - t) * angle).sin() * a.unsqueeze(1) + (t * angle).sin() * b.unsqueeze(1)) / angle.sin()


class Walk(NamedTuple):
    """What is decoded along paths, one value a path."""

    distinct: Int[Tensor, "n"]  # different operations met, both ends included
    steps: Int[Tensor, "n"]  # sum of all changes of all entries: -1 to +1 counts 2
    least: Int[Tensor, "n"]  # the same between the ends
    direct: Tensor  # whether no entry ever turned back

    def summary(self) -> dict[str, float]:
        """Means over the paths."""
        return {name: float(part.double().mean()) for name, part in self._asdict().items()}


def walk(codes: Codes, path: Float[Tensor, "n steps latent"]) -> Walk:
    """Decode every point of every path."""
    tables = codes.tables(path.flatten(0, 1)).unflatten(0, path.shape[:2])  # [n, steps, 9]
    distinct = torch.tensor([len(row.unique()) for row in to_index(tables)])
    steps = tables.diff(dim=1).abs().sum((1, 2))
    least = (tables[:, -1] - tables[:, 0]).abs().sum(-1)
    return Walk(distinct, steps, least, steps == least)


class Agreement(NamedTuple):
    """Spearman's rank correlation of the distance of two codes with the distance of their tables."""

    hamming: float  # number of entries that differ
    trits: float  # √Σ_j (a_j - b_j)²: -1 and +1 are twice as far apart as 0 and either


def distance_agreement(mu: Float[Tensor, "19683 latent"], pairs: int, generator: Generator) -> Agreement:
    """Rank correlations over random pairs of different operations."""
    a, b = torch.randint(NUM_OPERATIONS, (2, pairs), generator=generator)
    a, b = a[a != b], b[a != b]
    away = from_index(a) - from_index(b)
    latent = (mu[a] - mu[b]).double().norm(dim=-1).numpy()
    tables = ((away != 0).sum(-1).numpy(), away.square().sum(-1).numpy())
    return Agreement(*(rank_correlation(latent, distance) for distance in tables))


def neighbour_precision(mu: Float[Tensor, "19683 latent"], chosen: Int[Tensor, "n"], k: int) -> float:
    """Share of the k nearest codes of the chosen operations whose table differs in one entry; each operation has 18 such tables.

    A code with an even axis for each entry has 1 at k ≤ 9 and 2/3 at k = 18: it puts two steps of one apart nearer than one of two.
    """
    x, right = all_operations(), 0.0
    for part in chosen.split(256):
        distance = torch.cdist(mu[part].double(), mu.double())  # [256, 19683]
        distance[torch.arange(len(part)), part] = math.inf
        near = distance.topk(k, largest=False).indices
        right += float(((x[near] != x[part].unsqueeze(1)).sum(-1) == 1).double().mean(1).sum())
    return right / len(chosen)


class Arithmetic(NamedTuple):
    """Decoded z(a) - z(b) + z(c) against a - b + c by entries; shares of the triples, 0 to 1."""

    triples: int
    inside: int  # of them with -1 ≤ a - b + c ≤ 1 in every entry
    exact_inside: float  # decoded to a - b + c, of those inside
    copied_inside: float  # of those, how often the better of "answer a" and "answer c" is right: the baseline
    clipped: float  # of all: decoded to a - b + c cut off at ±1
    modular: float  # of all: decoded to a - b + c mod 3
    chance: float  # of all: the clipped answer is decoded from another, random triple


def arithmetic(codes: Codes, triples: int, generator: Generator) -> Arithmetic:
    """Random triples of operations, their codes added and subtracted."""
    i = torch.randint(NUM_OPERATIONS, (3, triples), generator=generator)
    a, b, c = from_index(i)
    found = codes.tables(codes.mu[i[0]] - codes.mu[i[1]] + codes.mu[i[2]])
    wanted = a - b + c
    inside, clipped = (wanted.abs() <= 1).all(-1), wanted.clamp(-1, 1)

    def share(answer: Tensor, right: Tensor, among: Tensor | slice = slice(None)) -> float:
        return float((answer == right).all(-1)[among].double().mean())

    copied = max(share(a, wanted, inside), share(c, wanted, inside))
    modular, other = (wanted + 1) % VALUES - 1, found.roll(1, 0)
    return Arithmetic(triples, int(inside.sum()), share(found, wanted, inside), copied, share(found, clipped), share(found, modular), share(
        other, clipped))  # fmt: skip


class Closeness(NamedTuple):
    """Mean squared distance between the members of a family, beside random sets of as many operations."""

    members: int
    distance: float
    chance: float
    low: float  # central 95 % of the random sets
    high: float
    p: float  # two-sided permutation p-value, at least 2 / (permutations + 1)

    @property
    def ratio(self) -> float:
        """Distance over chance: below 1 the members lie closer together; NaN where all points are one."""
        return self.distance / self.chance if self.chance else math.nan


def closeness(points: Float[Tensor, "19683 d"], members: Bool[Tensor, "19683"], permutations: int, generator: Generator) -> Closeness:
    """Permutation test: are a family's points closer together, or further apart, than as many points drawn without replacement?

    ``permutations`` bounds the p-value from below; each is a fresh random set.
    """
    centred, n = (points - points.mean(0)).double(), int(members.sum())
    summands = torch.cat([centred, centred.square().sum(1, keepdim=True)], 1).numpy()  # a set's sums of these are all it takes
    chance = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))  # numpy draws a small set without shuffling all
    sets = (chance.choice(len(points), n, replace=False, shuffle=False) for _ in range(permutations))
    sums = np.stack([summands[members.numpy()].sum(0), *(summands[index].sum(0) for index in sets)])
    distances = 2 * (sums[:, -1] - (sums[:, :-1] ** 2).sum(1) / n) / (n - 1)  # Σ‖u - v‖² over pairs, from sums
    seen, drawn = distances[0], distances[1:]
    tail = min((drawn <= seen).sum(), (drawn >= seen).sum())
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Closeness(n, float(seen), float(drawn.mean()), float(low), float(high), min(1.0, 2 * (1 + int(tail)) / (permutations + 1)))


class Separability(NamedTuple):
    """Area under the ROC curve of a linear classifier on operations that it was not fitted to; ½ is chance, 1 is separated."""

    auc: float
    sd: float  # over the folds


def linear_separability(points: Float[Tensor, "19683 d"], members: Bool[Tensor, "19683"], generator: Generator) -> Separability:
    """Cross-validated: Fisher's discriminant w = S⁻¹(mean of members - mean of others), S pooled; folds hold equal shares of members."""
    points, scores = points.double(), []
    fold = torch.empty(len(points), dtype=torch.long)
    for part in (members, ~members):
        size = int(part.sum())
        fold[part] = torch.arange(size)[torch.randperm(size, generator=generator)] % FOLDS
    for k in range(FOLDS):
        fit, test = fold != k, fold == k
        inside, outside = points[fit & members], points[fit & ~members]
        pooled = sum(torch.cov(part.T, correction=0) * len(part) for part in (inside, outside)) / int(fit.sum())
        pooled += (RIDGE * pooled.diagonal().mean() + 1e-12) * torch.eye(points.shape[1], dtype=torch.float64)
        direction = torch.linalg.solve(pooled, inside.mean(0) - outside.mean(0))
        scores.append(area_under_curve(points[test] @ direction, members[test]))
    return Separability(float(np.mean(scores)), float(np.std(scores, ddof=1)))


def area_under_curve(scores: Float[Tensor, "n"], labels: Bool[Tensor, "n"]) -> float:
    """P(score of a member > score of another), ties counted half (Mann & Whitney 1947).

    >>> area_under_curve(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True]))
    0.75
    """
    positive = int(labels.sum())
    ranks = rankdata(scores.numpy())[labels.numpy()]
    return float((ranks.sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))
