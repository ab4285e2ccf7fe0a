"""Words for comparisons: a mean, a difference and their intervals, as a sentence or a table's cell has them."""

from __future__ import annotations

from collections.abc import Sequence

from ternary_lib.comparison import METRICS, Difference, Summary
from ternary_lib.report import signed


def span(found: Summary | Difference, digits: int = 3) -> str:
    """A difference with its 95 % interval.

    >>> from ternary_lib.comparison import summary
    >>> span(summary([-1.0, 1.0]), 1)
    '+0.0 [−12.7, +12.7]'
    """
    return f"{signed(found.mean, digits)} [{signed(found.low, digits)}, {signed(found.high, digits)}]"


def marked(difference: Difference, digits: int = 3) -> str:
    """The same for a table: in one piece, with a ● where it is clear after the correction."""
    return span(difference, digits).replace(" ", "\u00a0") + ("\u00a0●" if difference.clear else "")


def level(found: Summary, digits: int = 3) -> str:
    """A mean over seeds, ± half of its 95 % interval where there is one, the minus a real one and none before a zero.

    >>> from ternary_lib.comparison import summary
    >>> level(summary([-0.0001]))
    '0.000'
    """
    mean = f"{round(found.mean, digits) + 0.0:.{digits}f}".replace("-", "−")
    return mean + (f"\u00a0±\u00a0{found.high - found.mean:.{digits}f}" if found.n > 1 else "")


def titled(metric: str) -> str:
    """A measure's name with its unit."""
    return METRICS[metric].label + ("" if METRICS[metric].unit == "1" else f" ({METRICS[metric].unit})")


def seeds_of(rows: Sequence[Difference]) -> str:
    """How many seeds stand behind some rows: `n = 5`, `n = 2 to 5`."""
    low, high = min(row.n for row in rows), max(row.n for row in rows)
    return f"n = {low}" if low == high else f"n = {low} to {high}"
