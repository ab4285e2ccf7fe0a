"""The limit: what a recipe that covers and reconstructs perfectly would measure, and how run records are held against it.

The limit is known: an analytic decoder of nine thresholds (``coverage.tertile_decoder``) has exactly uniform cells, and the same
estimator, with as many draws, says of it what the best possible network could get.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from scipy import stats
from torch import Generator, Tensor

from ternary_lib.comparison import METRICS, Record, Summary, by_variant, summary, values
from ternary_lib.coverage import cell_counts, tertile_decoder
from ternary_lib.evaluation import PATHWAYS, cell_statistics, decode, encode
from ternary_lib.losses import cross_entropy, kl_divergence
from ternary_lib.model import Pathway, sample_latent
from ternary_lib.operations import NUM_OPERATIONS, all_operations
from ternary_lib.randomness import stream
from ternary_lib.records import load_record
from ternary_lib.sweeps import load_sweep, recorded
from ternary_lib.weights import RELEASED

RECIPE, SWEEP, RELEASE = "v6", "configs/sweeps/v6.yaml", "ternary_v6"
IDEAL_SEED = 0
CLAIMED_DRAWS = 195_000  # behind every coverage that the sources report


class Goal(NamedTuple):
    """A bound that the mean over seeds of one pathway's metric has to keep."""

    metric: str
    bound: float
    digits: int

    @property
    def sign(self) -> int:
        """1 where the bound is the least, -1 where it is the most."""
        return METRICS[self.metric].better

    def kept(self, value: float) -> bool:
        """Whether a value is on the right side of the bound, the bound itself included."""
        return self.sign * value >= self.sign * self.bound

    def words(self) -> str:
        """The bound as a table shows it.

        >>> GOALS[0].words()
        '≥ 0.99'
        """
        return f"{'≥' if self.sign > 0 else '≤'} {self.bound:g}"


# Set before the recipe was looked for. Each leaves a perfect decoder's own noise at 1,000 draws a cell well inside.
GOALS = (
    Goal("mass_efficiency", 0.99, 4),
    Goal("kl_to_uniform", 0.003, 4),
    Goal("smallest_cell", 0.7, 3),
    Goal("draws_ratio", 1.05, 3),
    Goal("exact_all", 1.0, 5),
    Goal("exact_test", 1.0, 5),
)
TRAINING_MINUTES = 2.0


class Verdict(NamedTuple):
    """A goal and what the runs of several seeds make of it, one pathway."""

    goal: Goal
    pathway: str
    found: Summary
    worst: float  # of all seeds

    @property
    def kept(self) -> bool:
        """Whether the mean keeps the bound."""
        return self.goal.kept(self.found.mean)


def verdicts(runs: Mapping[int, Record], goals: Sequence[Goal] = GOALS) -> list[Verdict]:
    """Every goal for both pathways; ``runs`` are a variant's records by seed, none left out."""
    found = []
    for goal in goals:
        for pathway in PATHWAYS:
            mine = list(values(runs, pathway, goal.metric).values())
            found.append(Verdict(goal, pathway, summary(mine), min(mine) if goal.sign > 0 else max(mine)))
    return found


def seeds_at_the_limit(runs: Mapping[int, Record], goals: Sequence[Goal] = GOALS) -> list[int]:
    """The seeds on which both pathways keep every goal by themselves."""
    return [seed for seed, run in sorted(runs.items()) if all(g.kept(METRICS[g.metric].value(run, p)) for g in goals for p in PATHWAYS)]


def lost_an_entry(run: Record, pathway: str) -> bool:
    """Whether a pathway rebuilds less than half of all operations: one of the nine entries, or more, has no line of its own."""
    return METRICS["exact_all"].value(run, pathway) < 0.5


class Rival(NamedTuple):
    """A variant's pathway with less rate and less distortion than the recipe's, in nats on the mean; ``clear``: by 95 % intervals, too."""

    variant: str
    pathway: str
    rate: float
    distortion: float
    clear: bool


def better_in_both(runs: Mapping[str, Mapping[int, Record]], recipe: str = RECIPE) -> list[Rival]:
    """The variants that have less rate and less distortion at once than the recipe, pathway by pathway, on the mean.

    Differences are paired by seed; where a variant ran on other seeds alone, means are compared (Welch). Runs whose pathway lost an
    entry are left out: rate and distortion are then another trade.
    """
    found = []
    for name in (name for name in runs if name != recipe):
        for pathway in PATHWAYS:
            sound = {seed: run for seed, run in runs[name].items() if not lost_an_entry(run, pathway)}
            both = [_less(values(sound, pathway, m), values(runs[recipe], pathway, m)) for m in ("rate", "distortion")] if sound else []
            if both and all(part is not None and part[0] < 0 for part in both):
                found.append(Rival(name, pathway, both[0][0], both[1][0], max(high for _, high in both) < 0))
    return found


def _less(ours: Mapping[int, float], theirs: Mapping[int, float]) -> tuple[float, float] | None:
    # The mean difference and its interval's upper end; None with too few seeds for either.
    if len(shared := sorted(ours.keys() & theirs.keys())) > 1:
        of = summary([ours[seed] - theirs[seed] for seed in shared])
        return of.mean, of.high
    if shared or min(len(ours), len(theirs)) < 2:
        return None
    one, other = list(ours.values()), list(theirs.values())
    return fmean(one) - fmean(other), float(stats.ttest_ind(one, other, equal_var=False).confidence_interval().high)


def ideal(draws: int) -> Record:
    """What the same estimator says of the analytic ideal decoder, in the form of a run record (reconstruction is not defined)."""
    found: dict[str, Any] = cell_statistics(cell_counts(tertile_decoder, draws, stream(IDEAL_SEED, "ideal"), 9))
    return {"final": {pathway: found for pathway in PATHWAYS}}


def first_page() -> dict[str, Any]:
    """What the book's first page says of version 6: means over its recorded seeds, goals kept, the released run's time.

    ``seconds`` are those of its training steps, ``minutes`` all of it;
    ``argmax`` and ``expectation`` are coverages in the sources' number of draws, as a fraction of all operations.
    """
    tasks = [task for task in load_sweep(SWEEP) if task.variant == RECIPE]
    runs = by_variant(recorded(tasks)).get(RECIPE, {})
    if not runs:
        return {}
    found = verdicts(runs)
    means: dict[str, Any] = {p: {v.goal.metric: v.found.mean for v in found if v.pathway == p} for p in PATHWAYS}
    for p in PATHWAYS:
        for way in ("argmax", "expectation"):
            means[p][way] = fmean(run["final"][p][f"coverage.{way}.{CLAIMED_DRAWS}"] / NUM_OPERATIONS for run in runs.values())
    least = min(run["final"][p]["exact_all"] for run in runs.values() for p in PATHWAYS)
    seconds = load_record(RELEASED[RELEASE].record)["seconds"]
    return means | {
        "seeds": f"{len(runs)} seeds" if len(runs) == len(tasks) else f"{len(runs)} of {len(tasks)} seeds",
        "rebuilt": "every operation" if least == 1 else f"at least {least:.3%} of the operations",
        "kept": sum(v.kept for v in found),
        "goals": len(found),
        "seconds": seconds["train"],
        "minutes": seconds["total"] / 60,
    }


def refit_encoder(pathway: Pathway, shown: Int[Tensor, "n 9"], epochs: int, generator: Generator) -> tuple[float, float, float]:
    """What a decoder permits the bound to be, at most: (rate, distortion, exact) once its encoder alone was trained, at τ = 1 and β = 1.

    It is trained on the operations ``shown``. Rate and distortion in nats over all operations, one posterior draw each; exact: the
    fraction rebuilt from μ. ``pathway`` itself is not changed.
    """
    pathway = copy.deepcopy(pathway)
    pathway.decoder.requires_grad_(False)
    optimizer = torch.optim.AdamW(pathway.encoder.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in shown[torch.randperm(len(shown), generator=generator)].split(256):
            mu, logvar = pathway.encoder(batch)
            z = sample_latent(mu, logvar, 1.0, generator)
            loss = kl_divergence(mu, logvar) + cross_entropy(pathway.decoder(z), batch + 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
    x = all_operations()
    with torch.inference_mode():
        mu, logvar = encode(pathway, x)
        distortion = cross_entropy(decode(pathway, sample_latent(mu, logvar, 1.0, generator)), x + 1)
        exact = (decode(pathway, mu).argmax(-1) == x + 1).all(-1).double().mean()
        return float(kl_divergence(mu, logvar)), float(distortion), float(exact)


def undominated(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the points that no other one beats in both coordinates, less being better.

    >>> undominated({"p": (1.0, 4.0), "q": (2.0, 3.0), "r": (2.5, 3.5)})
    ['p', 'q']
    """
    return [name for name, (x, y) in points.items() if not any(u < x and v < y for other, (u, v) in points.items() if other != name)]
