"""What was expected of version 6, each prediction with the rule that judges it from run records.

A judgement is True, False, or None where the runs leave it open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ternary_lib.comparison import Record, paired, summary, values
from ternary_lib.evaluation import PATHWAYS
from ternary_lib.limit import GOALS, RECIPE, lost_an_entry, verdicts

LEAST_SEEDS = 3  # that a judgement takes
MARGIN = 1e-3  # nats of KL, and share of operations: a smaller change of the recipe counts as none
INNER, ENDS = (RECIPE, "beta_0_4", "beta_0_6"), ("beta_0_2", "beta_1_0")  # values of β in the end


class Evidence:
    """The recorded runs of the recipe and of everything beside it, and what predictions ask of them.

    An answer is True, False, or None where the runs leave it open: an interval that holds both answers, or fewer than three seeds in
    common. Differences are paired by seed; intervals are 95 %. Lost entries are counted.
    """

    def __init__(self, runs: Mapping[str, Mapping[int, Record]], recipe: str = RECIPE) -> None:
        self.runs, self.recipe = runs, recipe

    def change(self, name: str, pathway: str, metric: str, reference: str | None = None) -> tuple[float, float] | None:
        """The interval of a variant's metric minus the reference's (the recipe's); None with fewer than three seeds in common."""
        reference = reference or self.recipe
        shared = self.runs.get(name, {}).keys() & self.runs.get(reference, {}).keys()
        if len(shared) < LEAST_SEEDS:
            return None
        [found] = [d for d in paired(self.runs, [(name, reference)], [metric]) if d.pathway == pathway]
        return found.low, found.high

    def more(self, name: str, metric: str, pathways: Iterable[str] = PATHWAYS, reference: str | None = None) -> bool | None:
        """Whether the metric is higher than the reference's, in all of these pathways."""
        return every(above(self.change(name, p, metric, reference), 0.0) for p in pathways)

    def less(self, name: str, metric: str, pathways: Iterable[str] = PATHWAYS, reference: str | None = None) -> bool | None:
        """Whether the metric is lower than the reference's, in all of these pathways."""
        return every(below(self.change(name, p, metric, reference), 0.0) for p in pathways)

    def no_more(self, name: str, metric: str, margin: float, reference: str | None = None) -> bool | None:
        """Whether the metric is higher than the reference's by less than ``margin``, if at all."""
        return every(below(self.change(name, p, metric, reference), margin) for p in PATHWAYS)

    def same(self, name: str, metric: str, margin: float, pathways: Iterable[str] = PATHWAYS) -> bool | None:
        """Whether the metric differs from the recipe's by less than ``margin``, in all of these pathways."""
        changes = [self.change(name, p, metric) for p in pathways]
        return every([above(c, -margin) for c in changes] + [below(c, margin) for c in changes])

    def losing(self, name: str) -> int | None:
        """The number of seeds on which a pathway rebuilds less than half of all operations: an entry has no line of its own."""
        found = self.runs.get(name, {})
        if len(found) < LEAST_SEEDS:
            return None
        return sum(any(lost_an_entry(run, p) for p in PATHWAYS) for run in found.values())

    def lost_by_most(self, name: str) -> bool | None:
        """Whether an entry is lost on at least half of the seeds."""
        lost = self.losing(name)
        return None if lost is None else 2 * lost >= len(self.runs[name])

    def lost_by_none(self, name: str) -> bool | None:
        """Whether no seed loses an entry."""
        lost = self.losing(name)
        return None if lost is None else lost == 0

    def at_the_limit(self, name: str) -> bool | None:
        """Whether KL and reconstruction keep their goals in both pathways: an operation lost on one seed is a goal missed for sure."""
        found = self.runs.get(name, {})
        if len(found) < LEAST_SEEDS:
            return None
        kl, exact = (next(g for g in GOALS if g.metric == metric) for metric in ("kl_to_uniform", "exact_all"))
        return every(
            [v.kept for v in verdicts(found, [exact])]
            + [below((v.found.low, v.found.high), kl.bound) for v in verdicts(found, [kl])]
        )

    def beaten(self, name: str, rivals: Iterable[str], metric: str) -> bool | None:
        """Whether one of the rivals has a lower metric than this variant, in each pathway."""
        return every(some(self.less(rival, metric, p, name) for rival in rivals) for p in PATHWAYS)

    def level(self, name: str, metric: str, bound: float) -> bool | None:
        """Whether the metric's mean is at least ``bound`` in both pathways."""
        found = self.runs.get(name, {})
        if len(found) < LEAST_SEEDS:
            return None
        means = [summary(list(values(found, p, metric).values())) for p in PATHWAYS]
        return every(above((s.low, s.high), bound) for s in means)

    def a_over_b(self, name: str, metric: str) -> bool | None:
        """Whether pathway A's metric is higher than pathway B's, seed by seed."""
        found = self.runs.get(name, {})
        if len(found) < LEAST_SEEDS:
            return None
        one, other = (values(found, p, metric) for p in PATHWAYS)
        s = summary([one[seed] - other[seed] for seed in one])
        return above((s.low, s.high), 0.0)


def above(interval: tuple[float, float] | None, bound: float) -> bool | None:
    """Whether a value known by its interval is above a bound; None where both are possible.

    >>> above((1.0, 2.0), 0.5), above((1.0, 2.0), 3.0), above((1.0, 2.0), 1.5), above(None, 0.0)
    (True, False, None, None)
    """
    if interval is None or interval[0] <= bound <= interval[1]:
        return None
    return interval[0] > bound


def below(interval: tuple[float, float] | None, bound: float) -> bool | None:
    """Whether a value known by its interval is below a bound; None where both are possible."""
    found = above(interval, bound)
    return None if found is None else not found


def every(answers: Iterable[bool | None]) -> bool | None:
    """All of them: False as soon as one is, None where one is open.

    >>> every([True, None, False]), every([True, None]), every([True, True])
    (False, None, True)
    """
    found = list(answers)
    return False if False in found else None if None in found else True


def some(answers: Iterable[bool | None]) -> bool | None:
    """One of them: True as soon as one is, None where one is open."""
    found = list(answers)
    return True if True in found else None if None in found else False


def opposite(answer: bool | None) -> bool | None:
    """Its contrary; open stays open."""
    return None if answer is None else not answer


# The sentences were written before the runs that judge them; the thresholds of some rules were made precise when the rules were written.
PREDICTIONS: tuple[tuple[str, Callable[[Evidence], bool | None]], ...] = (
    ("1. without prior matching KL is higher, A and B", lambda e: e.more("unmatched", "kl_to_uniform")),
    (
        "1. with the marginals' entropies instead KL lies in between, A and B",
        lambda e: every(
            [e.more("marginals_instead", "kl_to_uniform"), e.less("marginals_instead", "kl_to_uniform", reference="unmatched")]
        ),
    ),
    (
        "2. with a memory of one step KL is not lower than with those entropies, A and B",
        lambda e: e.no_more("marginals_instead", "kl_to_uniform", MARGIN, reference="no_memory"),
    ),
    ("3. with β = 0.8 from the start at least half of the seeds lose an entry", lambda e: e.lost_by_most("beta_constant")),
    ("4. with ρ = 0 A's KL is higher", lambda e: e.more("rho_0", "kl_to_uniform", "a")),
    ("4. and B's is the same, to 0.001", lambda e: e.same("rho_0", "kl_to_uniform", MARGIN, "b")),
    (
        "5. with τ = 0.4 KL rises by less than 0.001 and no entry is lost",
        lambda e: every([e.no_more("low_noise", "kl_to_uniform", MARGIN), e.lost_by_none("low_noise")]),
    ),
    ("5. and −ELBO is higher, A and B", lambda e: e.more("low_noise", "neg_elbo")),
    (
        "6. matched from the first epoch, or without StateNet: the same KL and reconstruction, to 0.001",
        lambda e: every(e.same(name, metric, MARGIN) for name in ("at_once", "statenet_off") for metric in ("kl_to_uniform", "exact_all")),
    ),
    (
        "7. a larger β: less rate and more distortion, A and B",
        lambda e: every([e.less("beta_1_0", "rate", reference="beta_0_2"), e.more("beta_1_0", "distortion", reference="beta_0_2")]),
    ),
    ("7. KL is lowest at neither end of the values of β, A and B", lambda e: every(e.beaten(end, INNER, "kl_to_uniform") for end in ENDS)),
    ("7. at τ = 0.4 distortion is higher at the same β, A and B", lambda e: e.more("low_noise_0_4", "distortion", reference="beta_0_4")),
    (
        "8. shown 1 % of the operations both draw with an efficiency of at least 0.95",
        lambda e: e.level("percent_1", "mass_efficiency", 0.95),
    ),
    ("8. and both rebuild less of what they never saw than with 80 %", lambda e: e.less("percent_1", "exact_test")),
    ("8. and B less than A", lambda e: e.a_over_b("percent_1", "exact_test")),
    (
        "9. nine latent dimensions are enough, eight are not",
        lambda e: every([e.at_the_limit("latent_9"), opposite(e.at_the_limit("latent_8"))]),
    ),
    ("9. a hidden layer of 16 (A), and one block of 32 (B), are enough", lambda e: e.at_the_limit("decoder_quarter")),
)


def fates(evidence: Evidence) -> list[tuple[str, bool | None]]:
    """Every prediction with its fate: held, failed, or open."""
    return [(words, rule(evidence)) for words, rule in PREDICTIONS]
