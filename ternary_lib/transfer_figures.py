"""Pictures of fine-tuning, and verdicts on means over seeds. Alt texts are made of the numbers drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ternary_lib.colours import COLOURS, MARKS
from ternary_lib.comparison import Summary, summary
from ternary_lib.figures import Picture

STROKES: dict[str, dict[str, Any]] = {"recall": {"linestyle": "--"}, "all rebuilt": {"linestyle": "--"},
                                      "untrained": {"linestyle": ":", "fillstyle": "none"}}  # fmt: skip


class Panel(NamedTuple):
    """One panel: where its points stand, what is written there, and lines of means by (label, pathway)."""

    places: Sequence[float]
    ticks: Sequence[str]
    lines: Mapping[tuple[str, str], Sequence[Summary]]
    title: str = ""
    ylabel: str = ""


class Verdict(NamedTuple):
    """Whether a prediction held on the means over seeds, and whether 95 % intervals say the same; None: not tested."""

    held: bool | None
    sure: bool | None

    def __str__(self) -> str:
        if self.held is None:
            return "is not tested at this size"
        hedge = {True: "", False: " on the mean alone: its 95 % interval reaches past the bar", None: ""}[self.sure]
        return ("holds" if self.held else "fails") + hedge


def judge(margins: Iterable[Sequence[float]]) -> Verdict:
    """A prediction holds where every mean margin is positive; each is a list of (measure - bar) over seeds, or its negative.

    Sure: it holds and every interval lies above 0, or it fails and one lies wholly below.

    >>> judge([[0.1, 0.1, 0.11], [0.3, 0.2, 0.4]]), judge([[0.1, -0.05]])
    (Verdict(held=True, sure=True), Verdict(held=True, sure=False))
    """
    found = [summary(list(values)) for values in margins]
    held = all(s.mean > 0 for s in found)
    return Verdict(held, all(s.low > 0 for s in found) if held else any(s.high < 0 for s in found))


def trends(panels: Sequence[Panel], columns: int, size: tuple[float, float], xlabel: str, logarithmic: bool = False) -> Picture:
    """Means with bands of their 95 % intervals, panel by panel, A with circles and B with squares."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(-(-len(panels) // columns), columns, figsize=size, sharey=True, squeeze=False)
    words, data = [], []
    for k, (ax, panel) in enumerate(zip(axes.flat, panels, strict=True)):
        for (label, p), found in panel.lines.items():
            style = {"color": COLOURS[p], "marker": MARKS[p], "markersize": 4, "linestyle": "-"} | STROKES.get(label, {})
            ax.plot(panel.places, [s.mean for s in found], label=f"{p.upper()}, {label}", **style)
            ax.fill_between(panel.places, [s.low for s in found], [s.high for s in found], color=COLOURS[p], alpha=0.13, linewidth=0)
            data += [
                {"panel": f"{panel.title} {panel.ylabel}".strip(), "pathway": p, "line": label, "x": tick}
                | {"mean": s.mean, "low": s.low, "high": s.high, "n": s.n}
                for tick, s in zip(panel.ticks, found, strict=True)
            ]
        if logarithmic:
            ax.set_xscale("log")
        ax.set(title=panel.title if k < columns else "", ylabel=panel.ylabel if k % columns == 0 else "", ylim=(0, 1.03))
        ax.set_xticks(panel.places, panel.ticks)
        ax.minorticks_off()
        if k >= len(panels) - columns:
            ax.set_xlabel(xlabel)
        words.append(_said(panel))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4 if columns > 1 else 2)
    return Picture(fig, f"Lines of means by {xlabel}. {' '.join(words)}", data)


def _said(panel: Panel) -> str:
    name = ", ".join(filter(None, [panel.title, panel.ylabel]))
    parts = [
        f"{label} of {p.upper()} {found[0].mean:.0%} at {panel.ticks[0]} and {found[-1].mean:.0%} at {panel.ticks[-1]}"
        for (label, p), found in panel.lines.items()
    ]
    return (f"{name[0].upper()}{name[1:]}: " if name else "") + "; ".join(parts) + "."


def losses(curves: Mapping[tuple[str, str, str], Sequence[float]], window: int) -> Picture:
    """Cross-entropy and KL by step, means of so many steps at a time; ``curves`` by (``ce`` or ``kl``, start, pathway)."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.4), sharex=True)
    labels, words, data = {"ce": "cross-entropy (nats)", "kl": "KL (nats)"}, [], []
    for (term, start, p), found in curves.items():
        means = np.asarray(found)[: len(found) // window * window].reshape(-1, window).mean(1)
        middles, ax = window * (0.5 + np.arange(len(means))), axes[list(labels).index(term)]
        ax.plot(middles, means, color=COLOURS[p], linestyle="-" if start == "trained" else ":", label=f"{p.upper()}, {start}")
        data += [{"term": term, "start": start, "pathway": p, "step": s, "nats": v} for s, v in zip(middles, means, strict=True)]
        words.append(f"{labels[term]} of {p.upper()}, {start}: {means[0]:.2f} at first and {means[-1]:.2f} at the end")
    for ax, label in zip(axes, labels.values(), strict=True):
        ax.set(xlabel="steps", ylabel=label, ylim=(0, None))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return Picture(fig, f"Two panels by step. {'; '.join(words)}.", data)
