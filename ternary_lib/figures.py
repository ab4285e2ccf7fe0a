"""One visual style for every figure and table of the book, and the functions that display them.

A figure is one inline SVG whose ink follows the page (`currentColor`), so that light and dark pages both read well.
Under it stand its caption and links that download the same SVG and the plotted numbers as CSV. Letters are drawn as
paths: they look alike on every machine.
"""

from __future__ import annotations

import html
import itertools
import re
from typing import Any, NamedTuple

from ternary_lib.colours import COLOURS, INK, LINES, PALETTE, PHASE_NAMES
from ternary_lib.report import colophon, counted, display_html, listed, say, signed, table
from ternary_lib.svg import data_uri, standalone, to_csv, to_svg

__all__ = [
    "COLOURS",
    "INK",
    "LINES",
    "PALETTE",
    "PHASE_NAMES",
    "Picture",
    "colophon",
    "counted",
    "listed",
    "phase_spans",
    "say",
    "shade_phases",
    "show",
    "signed",
    "style",
    "table",
]

SMALLEST_TEXT = (
    9.0  # CSS pixels: a figure wider than the page scrolls sideways rather than shrink its letters below this
)
FONT_SIZE = 11.0  # points; 5.2 inches is the widest figure that fits a 390-pixel phone without scrolling


class Picture(NamedTuple):
    """A figure with its words and numbers, as drawn by a function: ``show(name=…, caption=…, **picture._asdict())``."""

    fig: Any
    alt: str  # built from the numbers drawn, so that it is true of every run
    data: Any


def style() -> None:
    """Set matplotlib's and seaborn's defaults: palette, line styles, transparent ground, figure 5.2 by 3.2 inches."""
    import matplotlib as mpl
    import seaborn as sns
    from cycler import cycler

    strokes = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1.5)), (0, (8, 2))]
    sns.set_theme(style="ticks", palette=PALETTE)
    ink = (
        "text.color",
        "axes.edgecolor",
        "axes.labelcolor",
        "axes.titlecolor",
        "xtick.color",
        "ytick.color",
        "legend.labelcolor",
    )
    mpl.rcParams.update({key: INK for key in ink})
    mpl.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=strokes),
            "figure.figsize": (5.2, 3.2),
            "figure.facecolor": "none",
            "figure.constrained_layout.use": True,
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": FONT_SIZE,
            "axes.titlepad": 8.0,
            "axes.labelsize": FONT_SIZE,
            "font.family": ["DejaVu Sans"],  # ships with matplotlib, so every machine draws the same letters
            "font.size": FONT_SIZE,
            "xtick.labelsize": FONT_SIZE - 1,
            "ytick.labelsize": FONT_SIZE - 1,
            "legend.fontsize": FONT_SIZE - 1,
            "legend.frameon": False,
            "grid.color": "#808080",
            "grid.alpha": 0.3,
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.8,
            "patch.edgecolor": "none",
            "svg.fonttype": "path",
        }
    )


def phase_spans(cfg: Any) -> list[tuple[int, int, int]]:
    """List (phase, first epoch, epoch after its last) for the phases that a run of `cfg` reaches.

    >>> from types import SimpleNamespace as N
    >>> phase_spans(N(schedules=N(phases=(40, 120, 250), total_epochs=130)))
    [(1, 0, 40), (2, 40, 120), (3, 120, 130)]
    """
    end = cfg.schedules.total_epochs
    edges = [0, *cfg.schedules.phases, max(end, cfg.schedules.phases[-1] + 1)]
    spans = [(k + 1, int(a), int(min(b, end))) for k, (a, b) in enumerate(itertools.pairwise(edges))]
    return [(k, a, b) for k, a, b in spans if a < b]


def shade_phases(ax: Any, cfg: Any, names: bool = True) -> None:
    """Shade the phases that a run of `cfg` reaches behind `ax` (x in epochs), numbered and, given room, named."""
    total = cfg.schedules.total_epochs
    size = FONT_SIZE - 1
    width = (
        0.85
        * 72
        * ax.figure.get_figwidth()
        / max(1, ax.get_subplotspec().get_gridspec().ncols if ax.get_subplotspec() else 1)
    )
    for number, start, stop in phase_spans(cfg):
        ax.axvspan(start, stop, color=COLOURS["phases"][number - 1], alpha=0.16, linewidth=0, zorder=0)
        room = width * (stop - start) / total
        words = PHASE_NAMES[number - 1]
        choices = [f"{number} {words}", f"{number} {re.split('[ -]', words)[0]}"] if names else []
        label = next((c for c in choices if len(c) * size * 0.62 < room), str(number))
        ax.text(
            (start + stop) / 2,
            1.01,
            label,
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=size,
            gid="phase-label",
        )
    ax.set_xlim(0, total)


def lift_titles(fig: Any) -> None:
    """Move titles above the phase labels that `shade_phases` wrote."""
    for ax in fig.axes:
        if any(text.get_gid() == "phase-label" for text in ax.texts):
            for loc in ("left", "center", "right"):
                if words := ax.get_title(loc):
                    ax.set_title(words, loc=loc, pad=FONT_SIZE + 10)


def _plotted(fig: Any) -> list[dict[str, Any]]:
    """Read the labelled lines of a figure back as rows, for figures shown without `data`."""
    rows = []
    for panel, ax in enumerate(fig.axes, 1):
        lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
        rows += [
            {"panel": panel, "line": ln.get_label(), "x": x, "y": y}
            for ln in lines
            for x, y in zip(*ln.get_data(), strict=True)
        ]
    return rows


def figure_html(fig: Any, name: str, caption: str, alt: str, data: Any = None) -> str:
    """Give the HTML that `show` displays; raises ValueError where name, caption, alt text or data are missing."""
    fig = getattr(fig, "figure", fig)  # seaborn's grids carry their figure
    if not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", name):
        raise ValueError(f"figure name {name!r}: use lower-case words joined by hyphens")
    if not caption.strip() or not alt.strip():
        raise ValueError(f"figure {name}: a caption and an alt text are needed")
    table_data = _plotted(fig) if data is None else data
    if len(table_data) == 0:
        raise ValueError(f"figure {name}: no labelled line to export, so pass data=")
    lift_titles(fig)
    svg, width, height = to_svg(fig, f"fig-{name}")
    least = width * SMALLEST_TEXT / ((FONT_SIZE - 1) * 4 / 3)  # ticks, the smallest letters, are FONT_SIZE - 1 points
    box = ' tabindex="0"' if least > 350 else ""
    svg_link = data_uri("image/svg+xml", standalone(svg, width, height).replace('"', "'"))
    csv_link = data_uri("text/csv;charset=utf-8", to_csv(table_data))
    look = f"min-width:{min(least, width):.0f}px;max-width:{1.25 * width:.0f}px;margin:0 auto;background:none"
    look = f'role="img" aria-label="{html.escape(alt)}" style="display:block;width:100%;height:auto;{look}"'
    return (
        f'<figure class="ternary-figure" id="fig-{name}" style="margin:1em 0">'
        f'<div class="ternary-scroll" style="overflow-x:auto"{box}>{svg.replace("<svg ", f"<svg {look} ", 1)}</div>'
        f'<figcaption style="text-align:left;margin-top:.4em">{caption} '
        f'<span class="ternary-downloads" style="white-space:nowrap"><a download="{name}.svg" href="{svg_link}">SVG</a>'
        f' · <a download="{name}.csv" href="{csv_link}">CSV</a></span></figcaption></figure>'
    )


def show(fig: Any, name: str, caption: str, alt: str, data: Any = None) -> None:
    """Display `fig` as an accessible figure with its caption, and links to download its SVG and CSV, then close it.

    `name` is a unique lower-case word (the figure's anchor is `fig-name`), `caption` may hold HTML, `alt` says in words
    what is to be seen, `data` holds the plotted numbers (a mapping of columns or a list of rows; the labelled lines
    where it is left out). Raises ValueError where one of them is missing.
    """
    import matplotlib.pyplot as plt

    page = figure_html(fig, name, caption, alt, data)
    plt.close(getattr(fig, "figure", fig))
    display_html(page, f"Figure {name}. {re.sub('<[^>]+>', '', caption)} ({alt})")
