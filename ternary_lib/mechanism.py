"""A model of the model: every entry of a table on a latent line of its own. Schedules alone then give rates and cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from torch import Generator, Tensor

from ternary_lib import checkpoint, latent
from ternary_lib.coverage import draw_indices
from ternary_lib.dynamics import OTHER, Mixture
from ternary_lib.journal import Run, Saved, load_weights
from ternary_lib.losses import cross_entropy
from ternary_lib.machine import training_settings
from ternary_lib.model import VALUES, TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, POSITIONS, all_operations, from_index
from ternary_lib.training import Trainer

FLOOR = 1e-6  # of a spacing: a collapsed line stays where it can come back
DAMPING, ROUNDS, TOLERANCE = 0.2, 600, 1e-6  # of the search for a rest
SHORTER, LONGER, SHORTEST = 0.6, 1.05, 0.01  # steps, after one that overshot (the way on turns back) and after one that did not
GRID = np.linspace(0.0, 1.0, 513)  # points of an integral along a line
REACH = 8.0  # standard deviations that the integral reaches out
KNOBS = ("rho", "tau_a", "tau_b", "beta_a", "beta_b")


class Code(NamedTuple):
    """One entry's line: its value v ∈ {-1, 0, +1} lies at spacing·v, with variance ``middle`` at 0 and ``outer`` at ±1."""

    spacing: float
    outer: float
    middle: float

    @property
    def rate(self) -> float:
        """KL to N(0, 1) of nine such lines, nats."""
        middle, outer = ((variance - 1 - math.log(variance)) / 3 for variance in (self.middle, self.outer))
        return POSITIONS * 0.5 * (2 / 3 * self.spacing**2 + middle + 2 * outer)

    @property
    def second_moment(self) -> float:
        """E[z²] on the line; the prior's is 1."""
        return 2 / 3 * self.spacing**2 + (self.middle + 2 * self.outer) / 3

    @property
    def decision_line(self) -> float:
        """Where the best decoder changes from 0 to +1, the two Gaussians being equally dense; 0 where it never answers 0.

        >>> round(Code(0.9, 0.2, 0.2).decision_line, 6)  # equal variances: half-way
        0.45
        """
        a = 1 / self.middle - 1 / self.outer
        b = self.spacing / self.outer
        c = self.spacing**2 / self.outer + math.log(self.outer / self.middle)
        root = b * b + a * c
        if c <= 0:
            return 0.0
        return c / (b + math.sqrt(root)) if root >= 0 else math.inf

    @property
    def zero_share(self) -> float:
        """Probability that a draw from the prior is decoded to 0 on this line: even at 1/3."""
        return math.erf(self.decision_line / math.sqrt(2))


class Terms(NamedTuple):
    """H(v | z) on one line under the best decoder, in nats, and how it answers to the code.

    ``gain`` = -∂H/∂ln spacing, ``by_outer`` and ``by_middle`` = ∂H/∂ln of the standard deviations. Scaling everything
    changes nothing, so gain = by_outer + by_middle.
    """

    entropy: float
    gain: float
    by_outer: float
    by_middle: float


def line_terms(code: Code) -> Terms:
    """Integrate along a line. The best decoder's own change does not enter the slopes: it stands at its optimum.

    >>> terms = line_terms(Code(0.9, 0.1, 0.05))
    >>> math.isclose(terms.gain, terms.by_outer + terms.by_middle, rel_tol=1e-6)
    True
    """
    centres = code.spacing * np.array([[-1.0], [0.0], [1.0]])
    sd = np.sqrt([[code.outer], [code.middle], [code.outer]])
    end = code.spacing + REACH * sd.max()
    z = end * (2 * GRID - 1)
    away = (z - centres) / sd
    joint = np.exp(-0.5 * away**2) / (sd * math.sqrt(2 * math.pi) * VALUES)  # p(v, z), [3, points]
    surprise = np.log(joint.sum(0) + 1e-300) - np.log(joint + 1e-300)  # -log p(v | z)
    weighted = joint * surprise * (2 * end * GRID[1])
    by_sd = (weighted * (away**2 - 1)).sum(1)
    gain = -(weighted * away * centres / sd).sum()
    return Terms(float(weighted.sum()), float(gain), float(by_sd[0] + by_sd[2]), float(by_sd[1]))


class Rest(NamedTuple):
    """Both pathways at rest: the codes that KL charges for, and those that the decoders read."""

    a: Code
    b: Code
    read_a: Code
    read_b: Code

    def code(self, which: str) -> Code:
        """A pathway's own code."""
        return getattr(self, which)

    def read(self, which: str) -> Code:
        """The mixture that a decoder reads."""
        return getattr(self, f"read_{which}")

    def distortion(self, which: str) -> float:
        """Cross-entropy of nine lines under the best decoder, nats."""
        return POSITIONS * line_terms(self.read(which)).entropy


def mixed(own: Code, other: Code, rho: float, tau: float, tau_other: float) -> Code:
    """What the decoder reads: spacings add as (1-ρ) and ρ, variances as ((1-ρ)·τ)² and (ρ·τ')²."""
    mine, theirs = ((1 - rho) * tau) ** 2, (rho * tau_other) ** 2
    spacing = (1 - rho) * own.spacing + rho * other.spacing
    return Code(spacing, mine * own.outer + theirs * other.outer, mine * own.middle + theirs * other.middle)


def equilibrium(controls: Mapping[str, float], start: Rest | None = None, stop_gradient: bool = True) -> Rest:
    """Where both pathways rest under one epoch's ρ, τ and β: no encoder gains by another spacing or variance.

    Encoder p feels ∂CE/∂ln m = -gain·(1-ρ)·m/M and ∂CE/∂ln σ² = ½·by_σ·(its own share of the variance read), against β
    times the slopes of KL = ½·(⅔m² + ⅓(σ₀² - 1 - ln σ₀²) + ⅔(σ₁² - 1 - ln σ₁²)). Without the stop-gradient it also feels
    the other's decoder, taken as equally weighted.

    Args:
        controls: ``rho``, ``tau_a``, ``tau_b``, ``beta_a``, ``beta_b``.
        start: where the search begins; where several rests exist it decides which is found.
        stop_gradient: whether z' is detached in the mixture.
    """
    rho, first = controls["rho"], Code(1.0, 0.5, 0.5)
    codes = {"a": start.a, "b": start.b} if start else {"a": first, "b": first}
    step, last = DAMPING, [0.0] * 6
    for _ in range(ROUNDS):
        reads = _reads(codes, controls)
        terms = {p: line_terms(read) for p, read in reads.items()}
        wanted = {p: _answer(p, codes, reads, terms, controls, rho, stop_gradient) for p in "ab"}
        way = [math.log(y / x) for p in "ab" for x, y in zip(codes[p], wanted[p], strict=True)]
        if max(map(abs, way)) < TOLERANCE:
            break
        turned = sum(u * v for u, v in zip(way, last, strict=True)) < 0
        step, last = max(SHORTEST, SHORTER * step) if turned else min(DAMPING, LONGER * step), way
        codes = {p: Code(*(x ** (1 - step) * y**step for x, y in zip(codes[p], wanted[p], strict=True))) for p in "ab"}
    return Rest(codes["a"], codes["b"], *_reads(codes, controls).values())


def follow(columns: Mapping[str, Sequence[float]], stop_gradient: bool = True) -> Iterator[Rest]:
    """The rest of every epoch of a history, each search beginning where the epoch before ended."""
    rest = None
    for values in zip(*(columns[name] for name in KNOBS), strict=True):
        rest = equilibrium(dict(zip(KNOBS, values, strict=True)), rest, stop_gradient)
        yield rest


def _reads(codes: Mapping[str, Code], controls: Mapping[str, float]) -> dict[str, Code]:
    rho, taus = controls["rho"], {p: controls[f"tau_{p}"] for p in "ab"}
    return {p: mixed(codes[p], codes[other], rho, taus[p], taus[other]) for p, other in OTHER.items()}


def _answer(
    p: str, codes: Mapping[str, Code], reads: Mapping[str, Code], terms: Mapping[str, Terms], controls: Mapping[str, float],
    rho: float, stop_gradient: bool,
) -> Code:  # fmt: skip
    # the code that balances reconstruction and KL for encoder p, all else as it is
    beta, tau = controls[f"beta_{p}"], controls[f"tau_{p}"]
    weights = {p: 1 - rho} if stop_gradient else {p: 1 - rho, OTHER[p]: rho}  # decoders it hears, with its weight in what they read
    pull = sum(weight * terms[q].gain / reads[q].spacing for q, weight in weights.items())
    middle = sum((weight * tau) ** 2 * terms[q].by_middle / reads[q].middle for q, weight in weights.items())
    outer = sum((weight * tau) ** 2 * terms[q].by_outer / reads[q].outer for q, weight in weights.items())
    return Code(max(FLOOR, 1.5 * pull / beta), beta / (beta + 1.5 * max(0.0, outer)), beta / (beta + 3 * max(0.0, middle)))


def even_shares(zero: float) -> Float[Tensor, "9 3"]:
    """Shares of -1, 0, +1 on nine equal, symmetric lines."""
    return torch.tensor([(1 - zero) / 2, zero, (1 - zero) / 2], dtype=torch.float64).expand(POSITIONS, VALUES)


def product_masses(shares: Float[Tensor, "9 3"]) -> Float[Tensor, "19683"]:
    """Cell masses of nine independent entries: p_i = Π_j shares[j, i_j].

    >>> product_masses(even_shares(1 / 3)).mul(NUM_OPERATIONS).round().unique().tolist()
    [1.0]
    """
    return shares.double().clamp(min=1e-300).log()[torch.arange(POSITIONS), all_operations() + 1].sum(1).exp()


def expected_missed(masses: Float[Tensor, "19683"], draws: int) -> float:
    """Operations absent from so many independent draws, on average: Σ (1 - p_i)^n."""
    return float(torch.exp(draws * torch.log1p(-masses.clamp(max=1 - 1e-12))).sum())


def unevenness(masses: Float[Tensor, "19683"]) -> float:
    """KL of cell masses to uniform in nats: Σ p ln(N·p)."""
    return math.log(NUM_OPERATIONS) - float(torch.special.entr(masses).sum())


class Axes(NamedTuple):
    """For each entry of a table, the latent axis that tells most about it."""

    axis: Int[Tensor, "9"]
    share: Float[Tensor, "9"]  # of the axis' variance over operations that this entry alone explains
    spacing: Float[Tensor, "9"]  # half the distance between the mean codes of -1 and +1

    @property
    def separate(self) -> int:
        """How many different axes there are; nine where every entry has its own."""
        return len(self.axis.unique())


def axes(means: Float[Tensor, "19683 latent"]) -> Axes:
    """Read the lines off the means of a code: an entry's axis is the dimension in which its three values lie furthest apart."""
    groups = latent.value_means(means)  # [9, latent, 3]
    axis, entry = groups.square().mean(-1).argmax(1), torch.arange(POSITIONS, device=means.device)
    spacing = (groups[entry, axis, 2] - groups[entry, axis, 0]).abs() / 2
    return Axes(axis, latent.explained(means)[axis, entry], spacing)


def measured(model: TernaryVAE, which: str, controls: Mapping[str, float] | None = None) -> tuple[Axes, Code]:
    """A network's lines, and the mean of its nine as one: of a pathway's own code, or, given ``controls``, of what its decoder reads.

    Args:
        model: the network of one epoch.
        which: ``"a"`` or ``"b"``.
        controls: that epoch's ``rho``, ``tau_a``, ``tau_b``; None for the code that KL charges for.
    """
    x = all_operations()
    with torch.inference_mode():
        mean, logvar = Mixture(model, which, controls or {"rho": 0.0, "tau_a": 1.0, "tau_b": 1.0}).encoder(x)
    found = axes(mean.double())
    variances = logvar.double().exp()[:, found.axis]  # [19683, 9]
    outer, middle = (float(variances[chosen].mean()) for chosen in (x != 0, x == 0))
    return found, Code(float(found.spacing.mean()), outer, middle)


def value_shares(
    decoder: Callable[[Tensor], Tensor], draws: int, generator: Generator, scale: float = 1.0, latent_dim: int = 16
) -> tuple[Float[Tensor, "9 3"], Int[Tensor, "draws"]]:
    """How often each entry is decoded to each value when scale·z is fed, z from the prior; and the operations drawn (argmax)."""
    found = draw_indices(lambda z: decoder(scale * z), draws, ("argmax",), generator, latent_dim)["argmax"].cpu()
    return torch.nn.functional.one_hot(from_index(found) + 1, VALUES).double().mean(0), found


def retrained(run: Run, epoch: int) -> TernaryVAE:
    """The network after ``epoch``, trained anew from the last checkpoint kept before it.

    By plain steps: the same to the last bit where the run took those, and otherwise alike but for rounding, which training
    amplifies; compare what is measured on it with the history.

    Raises:
        ValueError: no checkpoint was kept before that epoch.
    """
    kept = [path for path in sorted(run.run_dir.glob("epoch_*.safetensors")) if int(path.stem.split("_")[1]) <= epoch + 1]
    if not kept:
        raise ValueError(f"epoch {epoch}: no checkpoint was kept before it")
    with training_settings(run.config):
        trainer = Trainer(run.config, "plain")
        trainer.restore(Saved(kept[-1], *checkpoint.load(kept[-1])))
        for t in range(trainer.epoch, epoch + 1):
            trainer.train_epoch(t)
    model = TernaryVAE(run.config.model)
    load_weights(model, trainer.snapshot())
    return model


class Calibration(NamedTuple):
    """A decoder's cross-entropy as it is, and with its logits multiplied by the factor that serves it best (nats)."""

    distortion: float
    calibrated: float
    factor: float


def calibration(logits: Float[Tensor, "n 9 3"], classes: Int[Tensor, "n 9"]) -> Calibration:
    """How much of the cross-entropy is misplaced sureness: a factor below 1 says that the decoder is surer than it may be."""

    def paid(log_factor: float) -> float:
        return float(cross_entropy(math.exp(log_factor) * logits, classes))

    best: Any = minimize_scalar(paid, bounds=(math.log(0.05), math.log(20)), method="bounded", options={"xatol": 1e-3})
    return Calibration(paid(0.0), float(best.fun), math.exp(best.x))

