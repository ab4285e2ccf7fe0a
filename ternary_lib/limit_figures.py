"""Pictures of the way to the limit. Alt texts are made of the numbers drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ternary_lib.colours import COLOURS, MARKS
from ternary_lib.comparison import Record, summary, values
from ternary_lib.coverage import efficiency
from ternary_lib.evaluation import EFFICIENCY_DRAWS, PATHWAYS
from ternary_lib.figures import PALETTE, Picture
from ternary_lib.operations import NUM_OPERATIONS

Runs = Mapping[str, Mapping[int, Record]]
STROKES = ("-", "--", "-.", ":")


def course(runs: Runs, names: Sequence[str], labels: Mapping[str, str]) -> Picture:
    """Efficiency at 50,000 argmax draws by epoch: each variant's mean over seeds and the band of all seeds, a panel each pathway."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 1, figsize=(5.2, 5.2), sharex=True, sharey=True)
    data: list[dict[str, Any]] = []
    for ax, pathway in zip(axes, PATHWAYS, strict=True):
        for place, name in enumerate(names):
            epochs, curves = _curves(runs[name], pathway)
            means = [sum(column) / len(column) for column in zip(*curves, strict=True)]
            low, high = ([pick(column) for column in zip(*curves, strict=True)] for pick in (min, max))
            colour = PALETTE[place]
            ax.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
            look = {"color": colour, "linestyle": STROKES[place % 4], "marker": MARKS[pathway], "markersize": 4}
            ax.plot(epochs, means, label=labels.get(name, name), **look)
            data += [
                {"variant": name, "pathway": pathway, "epoch": t, "mean": m, "low": a, "high": b}
                for t, m, a, b in zip(epochs, means, low, high, strict=True)
            ]
        ax.axhline(1, color=COLOURS["uniform"], linestyle=":", linewidth=1.2)
        ax.set(ylabel="efficiency", title=f"Pathway {pathway.upper()}")
        ax.grid(axis="y")
    axes[-1].set_xlabel("epoch")
    axes[-1].legend()
    last = {(row["variant"], row["pathway"]): row["mean"] for row in data}  # the last epoch's is written last
    ends = [f"{labels.get(name, name)} {p.upper()} {mean:.3f}" for (name, p), mean in last.items()]
    return Picture(fig, "Efficiency rises over training in two panels, one a pathway; at the last epoch: " + ", ".join(ends) + ".", data)


def _curves(runs: Mapping[int, Record], pathway: str) -> tuple[list[int], list[list[float]]]:
    histories = [record["history"] for record in runs.values()]
    counts = [history[f"{pathway}.coverage.argmax.{EFFICIENCY_DRAWS}"] for history in histories]
    return histories[0]["epoch"], [[efficiency(n / NUM_OPERATIONS, EFFICIENCY_DRAWS) for n in column] for column in counts]


def trade(runs: Runs) -> Picture:
    """Rate against distortion, and rate against KL to uniform, along β: a line for each temperature and pathway; means over seeds."""
    import matplotlib.pyplot as plt

    points = sorted(
        (record["config"]["schedules"]["tau_a"]["start"], record["config"]["schedules"]["beta"]["end"], name)
        for name, found in runs.items()
        for record in list(found.values())[:1]
    )
    fig, axes = plt.subplots(2, 1, figsize=(5.2, 6.4))
    data: list[dict[str, Any]] = []
    for place, tau in enumerate(sorted({tau for tau, _, _ in points})):
        for pathway in PATHWAYS:
            line = [(beta, *_means(runs[name], pathway)) for t, beta, name in points if t == tau]
            betas, rates, distortions, kls = zip(*line, strict=True)
            look = {"color": COLOURS[pathway], "marker": MARKS[pathway], "linestyle": STROKES[place], "markersize": 5}
            axes[0].plot(rates, distortions, label=f"{pathway.upper()}, τ = {tau:g}", **look)
            axes[1].plot(betas, kls, **look)
            for beta, rate, distortion in zip(betas, rates, distortions, strict=True):
                if pathway == "b":
                    axes[0].annotate(f"β {beta:g}", (rate, distortion), xytext=(5, 4), textcoords="offset points", fontsize=8)
            data += [
                {"tau": tau, "beta": beta, "pathway": pathway, "rate": r, "distortion": d, "kl_to_uniform": k} for beta, r, d, k in line
            ]
    axes[0].set(xlabel="rate (nats)", ylabel="distortion (nats)")
    axes[1].set(xlabel="β at the end", ylabel="KL to uniform (nats)", yscale="log")
    axes[0].legend()
    for ax in axes:
        ax.grid(alpha=0.3)
    words = [
        f"τ {r['tau']:g}, β {r['beta']:g}, {r['pathway'].upper()}: {r['rate']:.2f}, {r['distortion']:.2f}, {r['kl_to_uniform']:.4f}"
        for r in data
    ]
    alt = "Rate against distortion, and KL to uniform against β; rate, distortion and KL are, at " + "; ".join(words) + "."
    return Picture(fig, alt, data)


def _means(runs: Mapping[int, Record], pathway: str) -> list[float]:
    return [summary(list(values(runs, pathway, metric).values())).mean for metric in ("rate", "distortion", "kl_to_uniform")]
