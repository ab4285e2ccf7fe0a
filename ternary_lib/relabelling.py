"""The group of twelve that renames the three values and swaps the arguments of an operation, and what it does to codes."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ternary_lib.operations import NUM_OPERATIONS, all_operations, to_index


class Relabelling(NamedTuple):
    """g = (π, s): (g·f)(x, y) = π(f(π⁻¹x, π⁻¹y)), with x and y exchanged if s.

    The same π renames arguments and result, as an isomorphism does; with the exchange, anti-isomorphisms are counted too. The
    six π and the exchange commute, so the group is S₃ × Z₂ of order 12.
    """

    values: tuple[int, int, int]  # π(-1), π(0), π(+1)
    swap: bool

    def __call__(self, ops: Int[Tensor, "*batch 9"]) -> Int[Tensor, "*batch 9"]:
        """The relabelled tables."""
        pi = torch.tensor(self.values)
        back = pi.argsort()  # positions of π⁻¹(-1), π⁻¹(0), π⁻¹(+1)
        square = pi[ops.unflatten(-1, (3, 3)) + 1][..., back, :][..., back]
        return (square.mT if self.swap else square).flatten(-2)

    @property
    def linear(self) -> bool:
        """Whether v ↦ π(v) is linear on {-1, 0, +1}: π leaves every value or turns its sign. Four of the twelve."""
        return self.values[1] == 0

    def __str__(self) -> str:
        """In words, e.g. ``- ↔ 0``, or ``swap`` for the exchange of the arguments alone."""
        return " + ".join(filter(None, [NAMES[self.values], "swap" if self.swap else ""])) or "identity"


NAMES = {
    (-1, 0, 1): "", (1, 0, -1): "− ↔ +", (0, -1, 1): "− ↔ 0", (-1, 1, 0): "0 ↔ +",
    (0, 1, -1): "− → 0 → +", (1, -1, 0): "− → + → 0",
}  # fmt: skip
GROUP = tuple(Relabelling(values, swap) for swap in (False, True) for values in itertools.permutations((-1, 0, 1)))


def images() -> Int[Tensor, "12 19683"]:
    """The index of every operation under every element of ``GROUP``."""
    return torch.stack([to_index(g(all_operations())) for g in GROUP])


def orbits() -> Int[Tensor, "19683"]:
    """The orbit of every operation, named by its least member: operations alike up to relabelling share one (1,734 in all: OEIS A001424).

    >>> len(orbits().unique())
    1734
    """
    return images().amin(0)


def fit_relabelling(
    mu: Float[Tensor, "19683 latent"], image: Int[Tensor, "19683"], train: Int[Tensor, "n_train"], test: Int[Tensor, "n"]
) -> float:
    """R² of the affine map that carries μ(f) to μ(g·f) best over the training operations, on the test operations, which it has not seen.

    1 - Σ‖error‖² / Σ‖code - mean‖², over all dimensions; NaN where μ has no dimension.
    """
    if mu.shape[1] == 0:
        return math.nan
    source = torch.cat([mu, torch.ones(len(mu), 1, dtype=mu.dtype)], 1).double()
    target = mu[image].double()
    weights = torch.linalg.lstsq(source[train], target[train], driver="gelsd").solution  # gelsd: dead dimensions may be collinear
    wanted = target[test]
    error, spread = (source[test] @ weights - wanted).square().sum(), (wanted - wanted.mean(0)).square().sum()
    return float(1 - error / spread)


def mass_agreement(counts: Int[Tensor, "19683"], image: Int[Tensor, "19683"]) -> float:
    """Correlation of ln(count + ½) with that of the relabelled operation: 1 where masses are the same along orbits, but for noise."""
    logs = (counts.double() + 0.5).log()
    return float(torch.corrcoef(torch.stack([logs, logs[image]]))[0, 1])


class OrbitSplit(NamedTuple):
    """Where the variance of ln(count + ½) over operations lies; shares of it, 0 to 1."""

    between: float  # between the means of orbits
    noise: float  # expected from counting alone: Poisson counts have variance about 1/count in their logarithm
    total: float  # the variance itself


def orbit_split(counts: Int[Tensor, "19683"]) -> OrbitSplit:
    """Masses that depend on the orbit alone would have ``between`` = 1 but for the noise of counting."""
    logs, orbit = (counts.double() + 0.5).log(), orbits()
    size = torch.bincount(orbit, minlength=NUM_OPERATIONS).double()
    means = torch.bincount(orbit, logs, minlength=NUM_OPERATIONS) / size.clamp(min=1)
    total = float(logs.var(correction=0))
    return OrbitSplit(float(means[orbit].var(correction=0)) / total, float((1 / (counts.double() + 0.5)).mean()) / total, total)
