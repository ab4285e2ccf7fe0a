"""Drawings of the schedule explorer: curves computed by `ternary_lib.schedules`, written as small SVG strings.

Whole-number coordinates in a view 4800 units wide and relative steps keep a frame near 4 kB: dozens fit in a page.
Ink is `currentColor`; attributes are quoted with apostrophes, which widget state (JSON) need not escape.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ternary_lib.colours import COLOURS, PHASE_NAMES
from ternary_lib.schedules import Permeability, beta_a, beta_b, in_balance, learning_rate, phase, tau_a, tau_b

WIDTH, HEIGHT = 4800, 2300  # of the view
LEFT, RIGHT, TOP, BOTTOM = 520, 4700, 520, 1800  # of the plotted area
FIT = "display:block;width:100%;max-width:40rem;height:auto"
TEXT = 140  # letters: about 10 pixels on a 390-pixel phone
Curves = Mapping[str, Sequence[float]]
NOTHING: Curves = {}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
OPEN, CLOSED, CLOSED_FOR_A_WHILE, AS_MEASURED = GATES = ("always open", "always closed", "closed for a while", "as measured")


def gate_ratios(
    gate: str, schedules: Any, measured: Sequence[float | None] | None = None, closed: tuple[float, float] = (0, 0)
) -> list[float]:
    """Give a gradient ratio for every epoch that opens the gate, closes it, or repeats what a run measured.

    `measured` is a run's `grad_ratio` column; an epoch without one (None) counts as closed. `closed` are the first and
    the last epoch of a gate that is closed for a while.
    """
    low, high = schedules.rho.gate_low, schedules.rho.gate_high
    if gate in (OPEN, CLOSED, CLOSED_FOR_A_WHILE):
        first, last = {OPEN: (1, 0), CLOSED: (0, math.inf), CLOSED_FOR_A_WHILE: closed}[gate]
        return [high if first <= t <= last else (low + high) / 2 for t in range(schedules.total_epochs)]
    if gate == AS_MEASURED and measured is not None and len(measured) == schedules.total_epochs:
        return [high if ratio is None or math.isnan(ratio) else float(ratio) for ratio in measured]
    raise ValueError(f"gate {gate!r}: no measured ratio for each of {schedules.total_epochs} epochs")


def curves(schedules: Any, ratios: Sequence[float]) -> dict[str, list[float]]:
    """Compute τ, β, ρ, the learning rate and the gate at every epoch of a run whose gradient ratio is `ratios`."""
    epochs = range(schedules.total_epochs)
    permeability = Permeability(schedules)
    return {
        "tau_a": [tau_a(t, schedules) for t in epochs],
        "tau_b": [tau_b(t, schedules) for t in epochs],
        "beta_a": [beta_a(t, schedules) for t in epochs],
        "beta_b": [beta_b(t, schedules) for t in epochs],
        "rho": [permeability.step(t, ratios[t]) for t in epochs],
        "learning_rate": [learning_rate(t, schedules) for t in epochs],
        "closed": [float(phase(t, schedules) == 3 and not in_balance(ratios[t], schedules)) for t in epochs],
    }


@dataclass(frozen=True)
class Curve:
    """One line of a panel: its values by epoch, its colour, its dashes and its name in the legend."""

    key: str
    name: str
    values: Sequence[float]
    colour: str
    dashes: str = ""
    width: int = 26
    opacity: float = 1.0


@dataclass(frozen=True)
class Panel:
    """One drawing: curves over the epochs of a run, up to `top`, with the phases shaded behind; `ticks` where round ones do not serve."""

    label: str
    unit: str
    curves: Sequence[Curve]
    schedules: Any
    top: float
    closed: Sequence[float] = ()
    ticks: Sequence[tuple[float, str]] = ()


def x_of(epoch: float, total: int) -> int:
    """Place an epoch in the view; the axis ends at the last epoch."""
    return round(LEFT + (RIGHT - LEFT) * epoch / max(1, total - 1))


def y_of(value: float, top: float) -> int:
    """Place a value between 0 and `top` in the view."""
    return round(BOTTOM - (BOTTOM - TOP) * value / top)


def round_up(value: float) -> float:
    """Give the next half above `value`: the top of an axis.

    >>> [round_up(v) for v in (0.2, 0.5, 1.01)]
    [0.5, 0.5, 1.5]
    """
    return max(1, math.ceil(round(2 * value, 6))) / 2


def thin(points: Sequence[tuple[int, int]], slack: float = 1.0) -> list[tuple[int, int]]:
    """Drop points that a straight line between kept ones passes within `slack` units of.

    >>> thin([(0, 0), (1, 1), (2, 2), (3, 9), (4, 9)], slack=0.1)
    [(0, 0), (2, 2), (3, 9), (4, 9)]
    """
    kept, low, high = [points[0]], -math.inf, math.inf
    for last, point in itertools.pairwise(points):
        x0, y0 = kept[-1]
        if not low <= (point[1] - y0) / max(1, point[0] - x0) <= high:
            kept.append(last)
            (x0, y0), low, high = last, -math.inf, math.inf
        run = max(1, point[0] - x0)
        low, high = max(low, (point[1] - slack - y0) / run), min(high, (point[1] + slack - y0) / run)
    return [*kept, points[-1]] if len(points) > 1 else kept


def path_of(values: Sequence[float], top: float, total: int) -> str:
    """Write values by epoch, of `total`, as path data: one absolute point, then relative steps that add up without drift."""
    points = thin([(x_of(t, total), y_of(v, top)) for t, v in enumerate(values)])
    steps = [f"{b[0] - a[0]} {b[1] - a[1]}" for a, b in itertools.pairwise(points)]
    return f"M{points[0][0]} {points[0][1]}" + ("l" + " ".join(steps).replace(" -", "-") if steps else "h1")


def _phases(schedules: Any) -> str:
    parts, edges = [], [0, *schedules.phases, max(schedules.total_epochs, schedules.phases[-1])]
    for number, (start, stop) in enumerate(itertools.pairwise(edges), 1):
        last = schedules.total_epochs - 1
        x0, x1 = x_of(min(start, last), last + 1), x_of(min(stop, last), last + 1)
        if x1 <= x0:
            continue
        if number % 2:
            parts.append(f"<path d='M{x0} {TOP}H{x1}V{BOTTOM}H{x0}z' fill='#808080' fill-opacity='.16'/>")
        words = f"{number} {PHASE_NAMES[number - 1].split()[0].split('-')[0]}"
        label = words if len(words) * TEXT * 0.55 < x1 - x0 else str(number)
        parts.append(f"<text x='{(x0 + x1) // 2}' y='{TOP - 50}' text-anchor='middle'>{label}</text>")
    return "".join(parts)


def _step(span: float, pieces: int) -> float:
    """Choose a round tick distance (1, 2 or 5 times a power of ten) for about `pieces` ticks."""
    power = 10 ** math.floor(math.log10(span / pieces))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= span / pieces * 0.999)


def _axes(panel: Panel) -> str:
    total = panel.schedules.total_epochs
    parts = [f"<path d='M{LEFT} {TOP}V{BOTTOM}H{RIGHT}' fill='none' stroke='currentColor' stroke-width='14'/>"]
    step = max(1, _step(max(1, total - 1), 4))
    ticks = [k * step for k in range(int((total - 1) / step) + 1)]
    for t in ticks:
        parts.append(f"<text x='{x_of(t, total)}' y='{BOTTOM + 180}' text-anchor='middle'>{t:g}</text>")
    for value, words in panel.ticks or _round_ticks(panel.top):
        y = y_of(value, panel.top)
        parts.append(f"<text x='{LEFT - 40}' y='{y + 48}' text-anchor='end'>{words}</text>")
        parts.append(f"<path d='M{LEFT} {y}H{RIGHT}' stroke='#808080' stroke-width='6' stroke-opacity='.35'/>")
    middle = (TOP + BOTTOM) // 2
    parts.append(f"<text x='{(LEFT + RIGHT) // 2}' y='{BOTTOM + 390}' text-anchor='middle'>epoch</text>")
    parts.append(f"<text transform='translate(120 {middle}) rotate(-90)' text-anchor='middle'>{panel.unit}</text>")
    return "".join(parts)


def _round_ticks(top: float) -> list[tuple[float, str]]:
    step = _step(top, 4)
    return [(k * step, f"{k * step:.3g}") for k in range(int(top / step + 1e-9) + 1)]


def _legend(panel: Panel) -> str:
    parts, x = [], LEFT
    for curve in panel.curves:
        if curve.name:
            name = curve.name if len(curve.name) <= 34 else curve.name[:33] + "…"
            look = f"stroke='{curve.colour}' stroke-width='{curve.width}' stroke-opacity='{curve.opacity:g}'"
            parts.append(f"<path d='M{x} 130h320' {look} stroke-dasharray='{curve.dashes}'/>")
            parts.append(f"<text x='{x + 380}' y='180'>{html.escape(name)}</text>")
            x += 380 + round(len(name) * TEXT * 0.58) + 160
    return "".join(parts)


def panel_svg(panel: Panel) -> str:
    """Draw one panel; the curves carry `data-curve` so that a test (or a reader's script) can read them back."""
    lines, total = [], panel.schedules.total_epochs
    for curve in panel.curves:
        dashes = f" stroke-dasharray='{curve.dashes}'" if curve.dashes else ""
        lines.append(
            f"<path data-curve='{curve.key}' d='{path_of(curve.values, panel.top, total)}' fill='none' stroke='{curve.colour}'"
            f" stroke-width='{curve.width}' stroke-opacity='{curve.opacity:g}' stroke-linejoin='round'{dashes}/>"
        )
    shut = [t for t, value in enumerate(panel.closed) if value]
    if shut:
        ticks = "".join(f"M{x_of(t, total)} {BOTTOM - 90}v90" for t in shut)
        lines.append(f"<path data-curve='closed' d='{ticks}' fill='none' stroke='currentColor' stroke-width='10'/>")
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{html.escape(panel.label, quote=True)}'"
        f" fill='currentColor' font-family='sans-serif' font-size='{TEXT}' style='{FIT}'>"
        f"{_phases(panel.schedules)}{_axes(panel)}{''.join(lines)}{_legend(panel)}</svg>"
    )


def _ghost(key: str, name: str, values: Sequence[float]) -> Curve:
    return Curve(key, name, values, COLOURS["production"], width=48, opacity=0.5)


def _as_run(run: Curves, **names: str) -> list[Curve]:
    """Give what a run recorded, dotted; nothing where it recorded none of these columns."""
    return [Curve(f"run_{key}", name, run[key], "currentColor", "16 44", width=20) for key, name in names.items() if key in run]


def _pair(quantity: str, symbol: str, now: Curves, ghost: Curves, name: str, run: Curves) -> list[Curve]:
    """Give a schedule of both pathways: that of `name` in grey behind, then `now`, then the `run` dotted."""
    first, second = f"{quantity}_a", f"{quantity}_b"
    return [
        _ghost(f"ghost_{first}", name, ghost[first]),
        _ghost(f"ghost_{second}", "", ghost[second]),
        Curve(first, f"{symbol}_A", now[first], COLOURS["a"]),
        Curve(second, f"{symbol}_B", now[second], COLOURS["b"], "120 60"),
        *_as_run(run, **{first: "the run", second: ""}),
    ]


def tau_panel(now: Curves, ghost: Curves, schedules: Any, name: str, top: float, run: Curves = NOTHING) -> str:
    """Draw both temperatures `now`, those of the configuration `name` in grey behind, those of a `run` dotted."""
    boosted = f"τ_A is boosted by {schedules.tau_a.boost:g} in phase 4"
    ends = f"they end at {now['tau_a'][-1]:.2f} and {now['tau_b'][-1]:.2f}"
    label = f"Temperatures of both pathways by epoch: {boosted}, {ends}; grey: {name}."
    return panel_svg(Panel(label, "temperature τ", _pair("tau", "τ", now, ghost, name, run), schedules, top))


def beta_panel(now: Curves, ghost: Curves, schedules: Any, name: str, top: float, run: Curves = NOTHING) -> str:
    """Draw both KL weights `now`, those of the configuration `name` in grey behind, those of a `run` dotted."""
    ends = f"β_A from {now['beta_a'][0]:.2f} to {now['beta_a'][-1]:.2f}, β_B from {now['beta_b'][0]:.2f} to {now['beta_b'][-1]:.2f}"
    label = f"KL weights of both pathways by epoch: {ends}; grey: {name}."
    return panel_svg(Panel(label, "KL weight β", _pair("beta", "β", now, ghost, name, run), schedules, top))


def rho_panel(now: Curves, ghost: Curves, schedules: Any, name: str, gate: str, run: Curves = NOTHING) -> str:
    """Draw the permeability `now`, that of `name` with an open gate in grey behind, and ticks where it is closed."""
    resonant = [value for t, value in enumerate(now["rho"]) if phase(t, schedules) == 3]
    shut = f"closed in {sum(now['closed']):.0f} epochs" if any(now["closed"]) else "never closed"
    reached = f"at most {max(resonant, default=0):.2f} in phase 3, {now['rho'][-1]:.2f} at the end"
    lines = [_ghost("ghost_rho", f"{name}, gate open", ghost["rho"]), Curve("rho", "ρ", now["rho"], COLOURS["argmax"])]
    lines += _as_run(run, rho="the run")
    label = f"Permeability by epoch, gate {gate} ({shut}): {reached}; grey: {name}."
    return panel_svg(Panel(label, "permeability ρ", lines, schedules, 1.0, now["closed"]))


def rate_panel(now: Curves, ghost: Curves, schedules: Any, name: str, run: Curves = NOTHING) -> str:
    """Draw the learning rate `now`, that of the configuration `name` in grey behind, that of a `run` dotted; by powers of ten."""
    drawn = [part["learning_rate"] for part in (now, ghost, run) if "learning_rate" in part]
    low = math.floor(math.log10(min(map(min, drawn))) + 1e-9)
    top = max(1, math.ceil(math.log10(max(map(max, drawn))) - 1e-9) - low)

    def powers(part: Curves) -> Curves:
        return {"learning_rate": [math.log10(value) - low for value in part["learning_rate"]]} if "learning_rate" in part else NOTHING

    lines = [
        _ghost("ghost_learning_rate", name, powers(ghost)["learning_rate"]),
        Curve("learning_rate", "learning rate", powers(now)["learning_rate"], COLOURS["argmax"]),
        *_as_run(powers(run), learning_rate="the run"),
    ]
    ticks = [(k, f"10{str(low + k).translate(SUPERSCRIPTS)}") for k in range(top + 1)]
    label = f"Learning rate by epoch, from {now['learning_rate'][0]:g} to {now['learning_rate'][-1]:g}; grey: {name}."
    return panel_svg(Panel(label, "learning rate", lines, schedules, top, ticks=ticks))
