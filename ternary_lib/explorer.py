"""The schedule explorer's core: what can be moved, what it draws and what it writes; standard library only.

The widget of a live session and the page of the built book, where it runs in the reader's browser, both call it, so that
the schedules have one implementation, `ternary_lib.schedules`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from ternary_lib.explorer_svg import GATES, OPEN, beta_panel, curves, gate_ratios, rho_panel, round_up, tau_panel

MARK = "# Written by the schedule explorer."  # first line of its files; a file without it is never overwritten
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


class Control(NamedTuple):
    """One number that can be moved: its dotted key below ``schedules``, its name, its range and its step."""

    key: str
    name: str
    low: float
    high: float
    step: float


CONTROLS = {
    "Temperature of pathway A": (
        Control("tau_a.start", "τ_A start", 0.1, 2.0, 0.05),
        Control("tau_a.end", "τ_A end", 0.05, 2.0, 0.05),
        Control("tau_a.amplitude", "τ_A amplitude (× base)", 0.0, 1.0, 0.05),
        Control("tau_a.boost", "τ_A boost in phase 4", 0.0, 1.5, 0.05),
        Control("tau_a.period", "τ_A period (epochs)", 2.0, 100.0, 1.0),
        Control("tau_a.offset", "τ_A offset (radians)", 0.0, 6.3, 0.1),
        Control("tau_a.floor", "τ_A floor", 0.0, 1.0, 0.05),
    ),
    "Temperature of pathway B": (
        Control("tau_b.start", "τ_B start", 0.1, 2.0, 0.05),
        Control("tau_b.end", "τ_B end", 0.05, 2.0, 0.05),
        Control("tau_b.lag", "τ_B lag (epochs)", 0.0, 100.0, 1.0),
        Control("tau_b.boost", "τ_B level in phase 4", 0.05, 1.5, 0.05),
    ),
    "KL weights": (
        Control("beta.start", "β_A start", 0.0, 2.0, 0.05),
        Control("beta.end", "β_A end", 0.0, 2.0, 0.05),
        Control("beta.lag", "lag of β_B (radians)", 0.0, 3.15, 0.05),
    ),
    "Permeability": (
        Control("rho.start", "ρ start", 0.0, 1.0, 0.05),
        Control("rho.consolidated", "ρ consolidated", 0.0, 1.0, 0.05),
        Control("rho.final", "ρ final", 0.0, 1.0, 0.05),
        Control("rho.ramp_epochs", "ρ ramp (open epochs)", 1.0, 200.0, 1.0),
    ),
}
POLICIES = {"hold": "hold ρ", "fall_back": "fall back"}


def controls(schedules: Mapping[str, Any]) -> dict[str, tuple[Control, ...]]:
    """Every control of a ``schedules`` section by its group, the phase boundaries with the range that its epochs give.

    >>> [control.key for control in controls({"total_epochs": 8, "phases": [2, 4, 6]})["Phase boundaries"]]
    ['phases.0', 'phases.1', 'phases.2']
    """
    last = float(max(schedules["total_epochs"], *schedules["phases"]))
    return CONTROLS | {"Phase boundaries": tuple(Control(f"phases.{k}", f"Phase {k + 2} starts at", 0.0, last, 1.0) for k in range(3))}


def value_at(schedules: Mapping[str, Any], key: str) -> float:
    """The number that a control stands at."""
    section, field = key.split(".")
    return schedules["phases"][int(field)] if section == "phases" else schedules[section][field]


def moved(schedules: Mapping[str, Any], values: Mapping[str, float], policy: str) -> dict[str, Any]:
    """A copy of a ``schedules`` section with some numbers moved; one that was not keeps its last bits.

    Raises:
        ValueError: one line, where no run could have these schedules.
    """
    made = json.loads(json.dumps(schedules))
    for key, value in values.items():
        section, field = key.split(".")
        if section == "phases":
            made["phases"][int(field)] = int(value)
        elif float(made[section][field]) != float(value):
            made[section][field] = round(float(value), 6)
    made["rho"]["gate"] = policy
    if sorted(made["phases"]) != made["phases"]:
        raise ValueError("schedules: phases must rise")
    return made


def attributes(values: Any) -> Any:
    """Nested mappings as objects whose parts are attributes, as the schedule functions read them.

    >>> attributes({"tau_a": {"start": 1.0}}).tau_a.start
    1.0
    """
    return SimpleNamespace(**{k: attributes(v) for k, v in values.items()}) if isinstance(values, Mapping) else values


def as_yaml(path: str, base: Mapping[str, Any], made: Mapping[str, Any], name: str) -> str:
    """A configuration file that changes in the file at ``path`` only what was moved.

    Raises:
        ValueError: one line, where the name is none that a configuration can have.
    """
    if not re.fullmatch(NAME, name):
        raise ValueError(f"name {name!r}: use letters, digits, points, hyphens and underscores")
    lines = [MARK, f"extends: {path}", f"name: {name}"]
    changed = []
    for section, values in made.items():
        if isinstance(values, Mapping):
            different = {k: v for k, v in values.items() if v != base[section][k]}
            if different:
                changed.append(f"  {section}: {{{', '.join(f'{k}: {v}' for k, v in different.items())}}}")
        elif values != base[section]:
            changed.append(f"  {section}: {values}")
    return "\n".join([*lines, *(["schedules:", *changed] if changed else [])]) + "\n"


class Gate(NamedTuple):
    """How the gate of phase 3 stands: one of ``GATES``, and the first and last epoch of one that is closed for a while."""

    name: str = OPEN
    closed: tuple[float, float] = (0, 0)


def panels(base: Any, now: Any, name: str, gate: Gate, run: Mapping[str, Any], show_run: bool = False) -> list[str]:
    """The drawings of temperatures, permeability and KL weights: those of ``now``, those of ``base`` behind, the run's dotted."""
    lines = curves(now, gate_ratios(gate.name, now, run.get("grad_ratio"), gate.closed))
    ghost = curves(base, gate_ratios(OPEN, base))
    shown = {key: run[key] for key in run if show_run and key in lines}

    def top(*keys: str) -> float:
        return round_up(max(max(part[key]) for part in (lines, ghost, shown) for key in keys if key in part))

    return [
        tau_panel(lines, ghost, now, name, top("tau_a", "tau_b"), shown),
        rho_panel(lines, ghost, now, name, gate.name, shown),
        beta_panel(lines, ghost, now, name, top("beta_a", "beta_b"), shown),
    ]


def gates(run: Mapping[str, Any]) -> tuple[str, ...]:
    """The positions of the gate: the last only where a run measured a gradient ratio."""
    return GATES if run.get("grad_ratio") else GATES[:-1]


def view(request: str) -> str:
    """What the page shows for the state of its controls; JSON in, JSON out.

    In: ``path`` and ``name`` of a preset, its ``schedules``, ``values`` by key, ``policy``, ``gate``, ``closed`` (two epochs), ``run``
    (columns of a run's history), ``show_run``, ``own_name``. Out: ``panels`` and ``yaml``, or ``fault``, one line.
    """
    asked = json.loads(request)
    try:
        made = moved(asked["schedules"], asked["values"], asked["policy"])
        base, now, gate = attributes(asked["schedules"]), attributes(made), Gate(asked["gate"], tuple(asked["closed"]))
        drawn = panels(base, now, asked["name"], gate, asked["run"], asked["show_run"])
        return json.dumps({"panels": drawn, "yaml": as_yaml(asked["path"], asked["schedules"], made, asked["own_name"])})
    except ValueError as error:
        return json.dumps({"fault": str(error)})
