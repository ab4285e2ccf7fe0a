"""Pictures of latent space. Their alt texts are made of the numbers drawn: they are true of every run, a short one included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ternary_lib.colours import COLOURS, INK, LINES, MARKS
from ternary_lib.coverage import TERTILE
from ternary_lib.figures import Picture
from ternary_lib.latent import zero_zones
from ternary_lib.mechanism import Axes
from ternary_lib.operations import POSITIONS
from ternary_lib.relabelling import GROUP

SMALL = 9  # points
ENTRIES = [f"{'−0+'[j // 3]}{'−0+'[j % 3]}" for j in range(POSITIONS)]


def span(values: Any, form: str = ".2f") -> str:
    """Least and greatest of some numbers, in words.

    >>> span([0.5, 0.25, 1.0])
    '0.25 to 1.00'
    """
    found = [float(value) for value in values]
    return f"{min(found):{form}} to {max(found):{form}}".replace("-", "−")


def axes_maps(axes: Mapping[str, Axes], explained: Mapping[str, Tensor], flips: Mapping[str, Tensor]) -> Picture:
    """What an entry explains of each dimension, and how often it flips when the dimension is redrawn, [latent, 9] by pathway."""
    import matplotlib.pyplot as plt

    fig, panels = plt.subplots(2, len(axes), figsize=(5.2, 6.2), sharex=True, sharey=True, squeeze=False)
    words, entry = [], torch.arange(POSITIONS)
    for column, (p, lines) in enumerate(axes.items()):
        carriers = list(dict.fromkeys(lines.axis.tolist()))
        order = carriers + [d for d in range(len(explained[p])) if d not in carriers]
        for row, (values, top, title) in enumerate(((explained[p], 1.0, "η²"), (flips[p], 2 / 3, "flips"))):
            ax = panels[row, column]
            ax.imshow(values[order].numpy(), cmap="Blues" if p == "a" else "Oranges", vmin=0, vmax=top, aspect="auto")
            ax.set(title=f"{p.upper()}: {title}", xticks=range(POSITIONS), yticks=[])
            ax.set_xticklabels(ENTRIES, fontsize=SMALL)
            own, rest = values[lines.axis, entry], values.index_put((lines.axis, entry), torch.zeros((), dtype=values.dtype))
            words.append(f"{p.upper()}, {title}: {span(own)} on an entry's own axis, at most {float(rest.max()):.2f} in any other cell")
    for ax in panels[:, 0]:
        ax.set_ylabel("latent dimension, carriers first")
    for ax in panels[1]:
        ax.set_xlabel("entry (x, y)")
    data = [
        {"pathway": p, "dimension": d, "entry": j, "explained": float(table[d, j]), "flips": float(flips[p][d, j])}
        for p, table in explained.items() for d in range(len(table)) for j in range(POSITIONS)
    ]  # fmt: skip
    size = len(next(iter(explained.values())))
    return Picture(fig, f"Four heat maps of {size} latent dimensions by nine entries. {'; '.join(words)}.", data)


def traversals(walks: Mapping[str, Int[Tensor, "9 steps"]], values: Float[Tensor, "steps"]) -> Picture:
    """What each entry is decoded to while its own axis takes these values, a panel for every start."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    fig, panels = plt.subplots(len(walks), 1, figsize=(5.2, 2.7 * len(walks)), sharex=True, squeeze=False)
    colours, ends, words = ListedColormap([COLOURS["a"], "#C8C8C8", COLOURS["b"]]), (float(values[0]), float(values[-1])), []
    for ax, (title, decoded) in zip(panels[:, 0], walks.items(), strict=True):
        ax.imshow(decoded.numpy(), cmap=colours, vmin=-1, vmax=1, aspect="auto", extent=(*ends, 8.5, -0.5), interpolation="none")
        for cut in (-TERTILE, TERTILE):
            ax.axvline(cut, color=INK, linestyle=LINES["limit"], linewidth=1)
        ax.set(title=title, ylabel="entry (x, y)", yticks=range(POSITIONS))
        ax.set_yticklabels(ENTRIES, fontsize=SMALL)
        widths, ordered = zero_zones(decoded, float(values[1] - values[0]))
        words.append(f"{title}, {ordered} of 9 go through the three colours in order, and the grey zones are {span(widths)} wide")
    panels[-1, 0].set_xlabel("value of the entry's axis")
    alt = f"Panels of nine horizontal strips, a strip for each entry. {'; '.join(words)}. Dashed lines at ±{TERTILE:.2f}."
    data = [
        {"start": title, "entry": j, "axis_value": float(v), "decoded": int(decoded[j, k])}
        for title, decoded in walks.items() for j in range(POSITIONS) for k, v in enumerate(values)
    ]  # fmt: skip
    return Picture(fig, alt, data)


def prior_panels(densities: Mapping[int, Mapping[str, Float[Tensor, "n"]]], values: Float[Tensor, "n"], label: str) -> Picture:
    """Aggregated posteriors of both pathways on one axis beside the prior, a panel for every epoch."""
    import matplotlib.pyplot as plt

    prior = torch.exp(-0.5 * values.double().square()) / math.sqrt(2 * math.pi)
    fig, panels = plt.subplots(1, len(densities), figsize=(7.4, 3.2), sharey=True, squeeze=False)
    data, words = {"z": values.tolist(), "prior": prior.tolist()}, []
    for ax, (epoch, by_pathway) in zip(panels[0], densities.items(), strict=True):
        ax.plot(values, prior, color=COLOURS["uniform"], linestyle=LINES["uniform"], label="prior")
        for p, density in by_pathway.items():
            ax.plot(values, density, color=COLOURS[p], linestyle=LINES[p], label=f"pathway {p.upper()}")
            data[f"{p}_epoch_{epoch}"] = density.tolist()
            words.append(f"{float((density - prior).abs().max()):.3f} ({p.upper()}, epoch {epoch})")
        ax.set(title=f"epoch {epoch}", xlabel=label)
    panels[0, 0].set(ylabel="density", ylim=(0, None))
    panels[0, 0].legend(fontsize=SMALL)
    alt = f"Densities of the aggregated posterior beside the prior's bell, which is {float(prior.max()):.2f} high; the largest gap is "
    return Picture(fig, alt + ", ".join(words) + ".", data)


def noise_panels(noises: Sequence[float], curves: Mapping[tuple[int, str], Mapping[str, Sequence[float]]]) -> Picture:
    """Operations rebuilt against noise: ``measured``, from ``lines`` and from ``lines_and_scatter``, by (epoch, pathway)."""
    import matplotlib.pyplot as plt

    epochs, order = list(dict.fromkeys(epoch for epoch, _ in curves)), np.argsort(noises)
    fig, panels = plt.subplots(1, len(epochs), figsize=(7.4, 3.4), sharey=True, squeeze=False)
    data, words = [], []
    for (epoch, p), found in curves.items():
        ax, places = panels[0, epochs.index(epoch)], np.take(noises, order)
        seen, lines, scattered = (np.take(found[part], order) for part in ("measured", "lines", "lines_and_scatter"))
        name = p.upper()
        ax.plot(places, seen, color=COLOURS[p], marker=MARKS[p], markersize=5, linestyle="", label=f"{name} measured")
        ax.plot(places, lines, color=COLOURS[p], linestyle=LINES[p], linewidth=1, alpha=0.7, label=f"{name} from lines")
        ax.plot(places, scattered, color=INK, linestyle=LINES[p], linewidth=1.2, label=f"{name}, with scatter")
        ax.set(title=f"epoch {epoch}", xlabel="noise on the code (prior's sd)", ylim=(-0.02, 1.03))
        data += [{"epoch": epoch, "pathway": p, "noise": s} | {part: found[part][k] for part in found} for k, s in enumerate(noises)]
        words.append(f"{name}, epoch {epoch}: {seen[0]:.0%} at {places[0]:g} to {seen[-1]:.0%} at {places[-1]:g}, lines off by at most "
                     f"{abs(seen - lines).max():.2f}, with scatter {abs(seen - scattered).max():.2f}")  # fmt: skip
    panels[0, 0].set_ylabel("operations rebuilt exactly")
    panels[0, 0].legend(fontsize=SMALL)
    return Picture(fig, f"Markers and curves: the share of operations rebuilt exactly against noise on the code. {'; '.join(words)}.", data)


def relabelling_dots(
    active: Mapping[str, Sequence[float]], every: Mapping[str, Sequence[float]], masses: Mapping[str, Sequence[float]]
) -> Picture:
    """R² on active and on all dimensions, and correlations of masses, of ``GROUP`` by pathway; the identity is left out."""
    import matplotlib.pyplot as plt

    order = sorted(range(1, len(GROUP)), key=lambda k: (not GROUP[k].linear, k))
    linear, rows = [k for k in order if GROUP[k].linear], np.arange(len(order))
    fig, panels = plt.subplots(1, 2, figsize=(7.4, 4.4), sharey=True)
    for p in active:
        where, look = rows + (0.18 if p == "b" else -0.18), {"color": COLOURS[p], "marker": MARKS[p], "markersize": 6, "linestyle": ""}
        panels[0].plot([active[p][k] for k in order], where, label=f"{p.upper()}, active dimensions", **look)
        panels[0].plot([every[p][k] for k in order], where, markerfacecolor="none", label=f"{p.upper()}, all dimensions", **look)
        panels[1].plot([masses[p][k] for k in order], where, **look)
    for ax, below, words in zip(panels, (0.25, -0.5), ("R² of a linear map", "correlation of log masses"), strict=True):
        ax.plot([1.0 if k in linear else below for k in order], rows, color=INK, marker="x", markersize=6, linestyle="", label="nine lines")
        ax.set_xlabel(words)
        ax.axhline(len(linear) - 0.5, color=COLOURS["uniform"], linewidth=0.8)
    panels[0].set(xlim=(min(0.0, *(v for part in (active, every) for found in part.values() for v in found)), 1.05), yticks=rows)
    panels[0].set(ylim=(len(order) - 0.4, -0.6))
    panels[0].set_yticklabels([str(GROUP[k]) for k in order], fontsize=SMALL)
    panels[1].legend(*panels[0].get_legend_handles_labels(), fontsize=SMALL, loc="lower right")
    panels[1].set_xlim(-0.75, 1.08)

    def said(part: Mapping[str, Sequence[float]]) -> str:
        above, below = ([found[k] for found in part.values() for k in order if (k in linear) == keeps] for keeps in (True, False))
        return f"{span(above)} above the line and {span(below)} below"

    alt = (f"Two dot plots with a row for each relabelling. Left, R squared: on active dimensions {said(active)}, on all {said(every)}. "
           f"Right, correlations of masses: {said(masses)}.")  # fmt: skip
    data = [
        {"pathway": p, "relabelling": str(GROUP[k]), "keeps_zero": GROUP[k].linear, "r2_active": active[p][k], "r2_all": every[p][k],
         "mass_correlation": masses[p][k]} for p in active for k in range(len(GROUP))
    ]  # fmt: skip
    return Picture(fig, alt, data)
