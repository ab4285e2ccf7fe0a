"""Variants compared on the same seeds: what each run is judged by, paired differences, intervals, corrected p-values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from scipy import stats

from ternary_lib.config import ConfigError
from ternary_lib.coverage import efficiency
from ternary_lib.operations import NUM_OPERATIONS
from ternary_lib.strict_yaml import one_line

Record = Mapping[str, Any]
UNIFORM_DRAWS_TO_COMPLETE = NUM_OPERATIONS * sum(1 / k for k in range(1, NUM_OPERATIONS + 1))  # N·H_N = 205,978 (coupon collector)
LATE = 30  # last epochs, of which the tenth ones (t + 1 a multiple of 10) are averaged: in each cycle of τ_A at another place


class Metric(NamedTuple):
    """A number a run is judged by, of one pathway; always of the last epoch or of a stated span, never of a chosen epoch.

    ``better``: 1 where more of it is better, -1 where less is, 0 where neither is. ``step``: of a count, what one operation more
    adds to it, by a record's split; 0 where it is no count.
    """

    label: str
    unit: str
    read: Callable[[Record, str], float]
    better: int = 1
    step: Callable[[Record], float] = lambda record: 0.0

    def value(self, record: Record, pathway: str) -> float:
        """The number of a run's pathway; ConfigError, one line, where the record has none."""
        try:
            return self.read(record, pathway)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            of = f"{record.get('variant', record.get('name'))} seed {record.get('seed')}"
            what = f"{self.label} of pathway {pathway.upper()}"
            raise ConfigError(f"record of {of}: expected to find in it {what} ({one_line(error)})") from None


class Summary(NamedTuple):
    """A metric over seeds: mean, sd, 95 % interval of the mean (Student's t)."""

    n: int
    mean: float
    sd: float
    low: float
    high: float


class Difference(NamedTuple):
    """A variant's metric minus the reference's, seed by seed.

    ``low`` and ``high``: 95 % interval of the mean, Student's t. ``effect``: mean ÷ sd of the differences. ``p``: two-sided
    paired t test. The sd counts as no less than the measure's step: that each of a few seeds lost the same single operation is
    no certainty. ``p_holm``: corrected for every comparison made beside it (Holm 1979).
    """

    variant: str
    pathway: str
    metric: str
    n: int
    mean: float
    low: float
    high: float
    effect: float
    p: float
    p_holm: float = math.nan

    @property
    def clear(self) -> bool:
        """Whether it stands at 5 % after the correction."""
        return self.p_holm < 0.05

    @property
    def gain(self) -> float:
        """The mean difference, positive where the variant is the better one."""
        return METRICS[self.metric].better * self.mean

    def within(self, margin: float) -> bool:
        """Whether the interval leaves no room for a difference as large as ``margin``."""
        return -margin < self.low and self.high < margin


def _budget(record: Record) -> int:
    return record["config"]["evaluation"]["budgets"][-1]


def _final(name: str) -> Callable[[Record, str], float]:
    return lambda record, pathway: float(record["final"][pathway][name])


def _coverage(mode: str, scale: float = 100.0) -> Callable[[Record, str], float]:
    return lambda record, pathway: scale * record["final"][pathway][f"coverage.{mode}.{_budget(record)}"] / NUM_OPERATIONS


def _one_of(part: str, scale: int = 1) -> Callable[[Record], float]:
    def step(record: Record) -> float:
        data = record["config"]["data"]
        held_out = {"validation": data["validation"], "test": NUM_OPERATIONS - data["train"] - data["validation"]}
        return scale / held_out.get(part, NUM_OPERATIONS)

    return step


def _draws_ratio(record: Record, pathway: str) -> float:
    # Infinite where a cell is empty: no number of draws completes such a decoder.
    return (record["final"][pathway]["draws_to_complete"] or math.inf) / UNIFORM_DRAWS_TO_COMPLETE


def _efficiency(record: Record, pathway: str) -> float:
    return efficiency(_coverage("argmax", 1.0)(record, pathway), _budget(record))


def _late_efficiency(record: Record, pathway: str) -> float:
    # Mean over the last three tenth epochs; a shorter run has fewer, one without any gives its last epoch.
    history, total, n = record["history"], record["config"]["schedules"]["total_epochs"], _budget(record)
    counts = history[f"{pathway}.coverage.argmax.{n}"]
    late = [i for i, t in enumerate(history["epoch"]) if t >= total - LATE and (t + 1) % 10 == 0] or [-1]
    return sum(efficiency(counts[i] / NUM_OPERATIONS, n) for i in late) / len(late)


METRICS: dict[str, Metric] = {
    "coverage": Metric("argmax coverage, last epoch", "%", _coverage("argmax"), step=_one_of("all", 100)),
    "coverage_expectation": Metric("coverage by rounded expectation, last epoch", "%", _coverage("expectation"), step=_one_of("all", 100)),
    "coverage_categorical": Metric("categorical coverage, last epoch", "%", _coverage("categorical"), step=_one_of("all", 100)),
    "efficiency": Metric("efficiency, last epoch", "1", _efficiency),
    "late_efficiency": Metric("efficiency, last thirty epochs", "1", _late_efficiency),
    "exact_test": Metric("exact reconstruction alone, test set", "fraction", _final("exact_test"), step=_one_of("test")),
    "exact_validation": Metric(
        "exact reconstruction alone, validation set", "fraction", _final("exact_validation"), step=_one_of("validation")
    ),
    "exact_mixed": Metric("exact reconstruction mixed", "fraction", _final("exact_mixed"), step=_one_of("all")),
    "rate": Metric("rate", "nats", _final("rate"), 0),
    "distortion": Metric("distortion", "nats", _final("distortion"), -1),
    "neg_elbo": Metric("-ELBO", "nats", _final("neg_elbo"), -1),
    "mutual_information": Metric("I(x; z)", "nats", _final("mutual_information")),
    "kl_to_uniform": Metric("KL of cell masses to uniform", "nats", _final("kl_to_uniform"), -1),
    "smallest_cell": Metric("smallest cell mass × 19,683", "1", _final("smallest_cell")),
    "mass_efficiency": Metric("efficiency at 50,000 draws, from cell masses", "1", _final("efficiency")),
    "draws_ratio": Metric("expected draws to complete coverage ÷ uniform", "1", _draws_ratio, -1),
    "exact_all": Metric("exact reconstruction alone, all operations", "fraction", _final("exact_all"), step=_one_of("all")),
}


def by_variant(found: Iterable[Record]) -> dict[str, dict[int, Record]]:
    """Records by variant and seed."""
    table: dict[str, dict[int, Record]] = {}
    for record in found:
        table.setdefault(record["variant"], {})[record["seed"]] = record
    return table


def pathways_of(records: Mapping[int, Record]) -> tuple[str, ...]:
    """The pathways a variant trains."""
    return tuple(next(iter(records.values())).get("pathways", ("a", "b")))


def summary(values: Sequence[float], least_sd: float = 0.0) -> Summary:
    """Mean, sd, taken as no less than ``least_sd``, and the mean's 95 % interval; NaN where one value has none.

    >>> summary([1.0, 2.0, 3.0])._asdict()["high"]  # 2 + 4.303/√3
    4.484137...
    """
    n, mean = len(values), sum(values) / len(values)
    if n < 2:
        return Summary(n, mean, math.nan, math.nan, math.nan)
    sd = max(least_sd, math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1)))
    half = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return Summary(n, mean, sd, mean - half, mean + half)


def values(records: Mapping[int, Record], pathway: str, metric: str) -> dict[int, float]:
    """A metric's value by seed."""
    return {seed: METRICS[metric].value(record, pathway) for seed, record in sorted(records.items())}


def differences(
    table: Mapping[str, Mapping[int, Record]], reference: str, metrics: Sequence[str], variants: Sequence[str] | None = None
) -> list[Difference]:
    """Every variant against ``reference`` on the seeds they share, each trained pathway and metric; p-values corrected over all.

    Raises:
        ValueError: a variant shares fewer than two seeds with the reference.
    """
    pairs = [(variant, reference) for variant in variants or [name for name in table if name != reference]]
    return paired(table, pairs, metrics)


def paired(table: Mapping[str, Mapping[int, Record]], pairs: Sequence[tuple[str, str]], metrics: Sequence[str]) -> list[Difference]:
    """Each pair's first variant minus its second: as :func:`differences`, the references chosen freely.

    Raises:
        ValueError: as :func:`differences`.
        ConfigError: a measure is infinite in some run, so that a difference has no mean; one line.
    """
    found = []
    for variant, reference in pairs:
        for pathway in (p for p in pathways_of(table[variant]) if p in pathways_of(table[reference])):
            for metric in metrics:
                theirs, ours = (values(table[name], pathway, metric) for name in (reference, variant))
                shared = sorted(theirs.keys() & ours.keys())
                if len(shared) < 2:
                    raise ValueError(f"{variant}: shares {len(shared)} seeds with {reference}; two are the least an interval takes")
                for name, of in ((reference, theirs), (variant, ours)):
                    if broken := [s for s in shared if not math.isfinite(of[s])]:
                        what = f"{METRICS[metric].label} of pathway {pathway.upper()}, {name} seed {broken[0]}"
                        raise ConfigError(f"{what}: {of[broken[0]]}, so that no difference has a mean; leave out the measure {metric}")
                step = METRICS[metric].step(table[variant][shared[0]])
                found.append(_paired(variant, pathway, metric, [ours[s] - theirs[s] for s in shared], step))
    corrected = holm([d.p for d in found])
    return [d._replace(p_holm=p) for d, p in zip(found, corrected, strict=True)]


def comparable(table: Mapping[str, Mapping[int, Record]], reference: str, variants: Iterable[str]) -> list[str]:
    """Those of ``variants`` that share at least two seeds with ``reference``; an interval takes as many."""
    return [name for name in variants if len(table.get(name, {}).keys() & table.get(reference, {}).keys()) > 1]


def _paired(variant: str, pathway: str, metric: str, deltas: Sequence[float], step: float) -> Difference:
    s = summary(deltas, step)
    p = p_value(s.n, s.mean, s.sd)
    if s.sd <= 1e-12 * max(1.0, abs(s.mean)):  # the same in every seed but for rounding: the effect has no scale
        effect = 0.0 if p else math.copysign(math.inf, s.mean)
        return Difference(variant, pathway, metric, s.n, s.mean, s.mean, s.mean, effect, p)
    return Difference(variant, pathway, metric, s.n, s.mean, s.low, s.high, s.mean / s.sd, p)


def p_value(n: int, mean: float, sd: float) -> float:
    """Two-sided p of n differences with this mean and sd (paired t test); without a spread 1 at no difference, else 0.

    >>> round(p_value(10, 1.58, 1.229995), 5)  # Student's own ten
    0.00283
    """
    if sd <= 1e-12 * max(1.0, abs(mean)):
        return float(abs(mean) <= 1e-12)
    return float(2 * stats.t.sf(abs(mean) * math.sqrt(n) / sd, n - 1))


def unpaired_p(one: Sequence[float], other: Sequence[float], least_sd: float = 0.0) -> float:
    """Two-sided p of two groups with nothing in common (Welch's t test), each sd taken as no less than ``least_sd``; 1 without any.

    >>> round(unpaired_p([1.0, 2.0, 3.0], [3.0, 5.0, 7.0, 9.0]), 4)  # t = -4/√2, 4.0755 degrees of freedom
    0.0464
    """
    a, b = summary(one, least_sd), summary(other, least_sd)
    if a.sd == b.sd == 0:
        return float(a.mean == b.mean)
    return float(stats.ttest_ind_from_stats(a.mean, a.sd, a.n, b.mean, b.sd, b.n, equal_var=False).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the chance that any of them is a false alarm stays below the level.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def describe(table: Mapping[str, Mapping[int, Record]], reference: str, rows: Sequence[Difference]) -> str:
    """The comparison as a table of text; the reference's mean is that over the seeds which a row's variant shares with it."""
    seeds = ", ".join(map(str, sorted(table[reference])))
    lines = [f"Against {reference} (seeds {seeds}), paired by the n seeds in common: its mean over them, mean difference, 95 % interval."]
    columns = f"  {'':32}{'n':>3}{reference[:14]:>16}{'difference':>14}{'95 % interval':>26}{'p (Holm)':>11}"
    for metric in dict.fromkeys(row.metric for row in rows):
        chosen = METRICS[metric]
        lines += ["", f"{chosen.label} ({chosen.unit})", columns]
        for row in (r for r in rows if r.metric == metric):
            shared = {seed: table[reference][seed] for seed in table[row.variant].keys() & table[reference].keys()}
            base = summary(list(values(shared, row.pathway, metric).values())).mean
            name = f"{row.variant[:29]} {row.pathway.upper()}"
            interval = f"[{row.low:+.4g}, {row.high:+.4g}]"
            lines.append(f"  {name:32}{row.n:3}{base:16.5g}{row.mean:+14.4g}{interval:>26}{row.p_holm:11.3g}")
    return "\n".join(lines)
