"""Pictures of comparisons: differences as a forest, versions as a ladder. A mark's shape and filling say what its colour says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ternary_lib.colours import COLOURS, INK, MARKS
from ternary_lib.comparison import METRICS, Difference, Record, pathways_of, summary, values
from ternary_lib.comparison_words import titled

OFFSET = {"a": -0.17, "b": 0.17}  # of a pathway's line from the middle of its row
ROW = 0.34  # inches a variant


def threshold(rows: Sequence[Difference]) -> float:
    """Where a symmetric logarithmic axis turns linear: at a power of ten near the median interval's half width.

    What is smaller than that is noise, which a logarithm would blow up to the size of an effect.
    """
    halves = sorted((row.high - row.low) / 2 for row in rows if row.high > row.low)
    if not halves:
        return 1.0
    return 10.0 ** round(math.log10(halves[len(halves) // 2]))


def forest(rows: Sequence[Difference], labels: Mapping[str, str], metrics: Sequence[str], logarithmic: bool = True) -> Any:
    """Every variant's mean difference and its interval, a panel each metric, both pathways in one row: the figure.

    Filled marks are clear after the correction, hollow ones are not; A is a circle, B a square. An interval that leaves the panel ends in
    an arrow. Rows stand in the order in which ``rows`` first names their variants, from the top, with the number of seeds behind the label.
    """
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row.variant for row in rows))
    size = (2.9 + 2.1 * len(metrics), max(2.6, 1.6 + ROW * len(names)))
    fig, axes = plt.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False)
    for ax, metric in zip(axes[0], metrics, strict=True):
        chosen = [row for row in rows if row.metric == metric]
        limit = _scale(ax, chosen, logarithmic)
        for row in chosen:
            _mark(ax, row, names.index(row.variant) + OFFSET[row.pathway], limit)
        ax.axvline(0, color=INK, linewidth=1)
        ax.grid(axis="x")
        unit = METRICS[metric].unit
        ax.set_xlabel(_wrapped(METRICS[metric].label) + ("" if unit == "1" else f"\n({unit})"))
        ax.set_title(("", "better →", "← better")[METRICS[metric].better], loc="center", fontsize="small")
        ax.tick_params(axis="y", length=0)
    n = {row.variant: row.n for row in rows}
    axes[0][0].set_yticks(range(len(names)), [f"{labels.get(name, name)} ({n[name]})" for name in names])
    axes[0][0].set_ylim(len(names) - 0.4, -0.6)
    _legend(fig, {row.pathway for row in rows})
    return fig


def _scale(ax: Any, rows: Sequence[Difference], logarithmic: bool) -> float:
    largest = max((abs(row.mean) for row in rows), default=1.0)
    furthest = max((max(-row.low, row.high) for row in rows), default=1.0)
    limit, inner = max(1.6 * largest, min(1.1 * furthest, 3 * largest)) or 1.0, threshold(rows)
    if logarithmic and limit > 10 * inner:
        ax.set_xscale("symlog", linthresh=inner)
        ax.axvspan(-inner, inner, color="#808080", alpha=0.13, linewidth=0, zorder=0)
        powers = range(round(math.log10(inner)), math.floor(math.log10(limit)) + 1)
        ticks = [10.0**k for k in list(powers)[:: max(1, math.ceil(len(powers) / 2))]]
        words = [f"{t:g}" for t in ticks]
        if len(powers) > 4:  # so many powers leave no room for a label at the edge of the linear part
            words[0] = ""
        ax.set_xticks([*(-t for t in reversed(ticks)), 0, *ticks], [*(w and f"−{w}" for w in reversed(words)), "0", *words])
        ax.minorticks_off()
    else:
        ax.locator_params(axis="x", nbins=5)
    ax.set_xlim(-limit, limit)
    return limit


def _mark(ax: Any, row: Difference, y: float, limit: float) -> None:
    colour, width = COLOURS[row.pathway], 2.2 if row.clear else 1.2
    ax.plot([max(row.low, -limit), min(row.high, limit)], [y, y], "-", color=colour, linewidth=width, solid_capstyle="butt")
    for end, beyond, mark in ((-limit, row.low < -limit, "<"), (limit, row.high > limit, ">")):
        if beyond:
            ax.plot([end], [y], mark, color=colour, markersize=4, clip_on=False)
    ax.plot([row.mean], [y], **_look(row.pathway, row.clear), linestyle="none", zorder=3)


def _look(pathway: str, filled: bool) -> dict[str, Any]:
    colour = COLOURS[pathway]
    face = colour if filled else "none"
    return {"color": colour, "marker": MARKS[pathway], "markerfacecolor": face, "markersize": 5.5, "markeredgewidth": 1.3}


def _legend(fig: Any, pathways: set[str]) -> None:
    from matplotlib.lines import Line2D

    cases = {f"{p.upper()}, {word}": (p, word == "clear") for p in sorted(pathways) for word in ("clear", "not clear")}
    handles = [Line2D([], [], linestyle="-", label=label, **_look(*case)) for label, case in cases.items()]
    fig.legend(handles=handles, loc="outside upper center", ncols=2)


def levels(table: Mapping[str, Mapping[int, Record]], names: Sequence[str], labels: Mapping[str, str], metrics: Sequence[str]) -> Any:
    """Each variant's value, a panel each metric: mean and 95 % interval over seeds, and every seed as a faint dot. The figure."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    fig, axes = plt.subplots(len(metrics), 1, figsize=(5.2, 0.9 + 2.1 * len(metrics)), sharex=True, squeeze=False)
    for ax, metric in zip(axes[:, 0], metrics, strict=True):
        for place, name in enumerate(names):
            for pathway in pathways_of(table[name]):
                found = list(values(table[name], pathway, metric).values())
                s, x = summary(found), place + OFFSET[pathway]
                ax.plot([x + 0.09] * len(found), found, ".", color=COLOURS[pathway], alpha=0.6, markersize=4, linestyle="none")
                if s.n > 1:
                    ax.plot([x, x], [s.low, s.high], "-", color=COLOURS[pathway], linewidth=2)
                ax.plot([x], [s.mean], MARKS[pathway], color=COLOURS[pathway], markersize=6, linestyle="none")
        ax.set_title(titled(metric))
        ax.grid(axis="y")
    axes[-1, 0].set_xticks(range(len(names)), [labels.get(name, name) for name in names])
    handles = [Line2D([], [], color=COLOURS[p], marker=MARKS[p], markersize=6, linestyle="-", label=f"pathway {p.upper()}") for p in MARKS]
    fig.legend(handles=handles, loc="outside upper center", ncols=2)
    return fig


def rows_of(rows: Sequence[Difference]) -> list[dict[str, Any]]:
    """The differences as a table of plain values, for a figure's download."""
    return [row._asdict() | {"clear": row.clear} for row in rows]


def _wrapped(text: str, width: int = 24) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))
