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

from ternary_lib.explorer_svg import (
    CLOSED_FOR_A_WHILE,
    GATES,
    OPEN,
    beta_panel,
    curves,
    gate_ratios,
    rate_panel,
    rho_panel,
    round_up,
    tau_panel,
)

MARK = "# Written by the schedule explorer."  # first line of its files; a file without it is never overwritten
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
BEHIND = "production"  # what lies in grey behind, whatever the preset
LENGTH, RATE = "total_epochs", "learning_rate.factor"  # the two controls that are no single number of a section


class Control(NamedTuple):
    """One number that can be moved: its dotted key below ``schedules``, its name, its range and its step.

    The learning rates move together: the number is what the preset's are multiplied by.
    """

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
        Control("rho.gate_low", "gate opens above", 0.0, 1.0, 0.01),
        Control("rho.gate_high", "gate opens below", 1.0, 3.0, 0.01),
    ),
    "Learning rate": (Control(RATE, "learning rate (× preset)", 0.05, 5.0, 0.05),),
}
POLICIES = {"hold": "hold ρ", "fall_back": "fall back"}


def controls(schedules: Mapping[str, Any]) -> dict[str, tuple[Control, ...]]:
    """Every control of a ``schedules`` section by its group, the phase boundaries with the range that its epochs give.

    >>> [control.key for control in controls({"total_epochs": 8, "phases": [2, 4, 6]})["Epochs and phases"]]
    ['total_epochs', 'phases.0', 'phases.1', 'phases.2']
    """
    last = float(max(schedules[LENGTH], *schedules["phases"]))
    boundaries = (Control(f"phases.{k}", f"Phase {k + 2} starts at", 0.0, last, 1.0) for k in range(3))
    return CONTROLS | {"Epochs and phases": (Control(LENGTH, "Epochs of the run (T_total)", 1.0, 1000.0, 1.0), *boundaries)}


def is_whole(key: str) -> bool:
    """Whether a control counts epochs one by one."""
    return key == LENGTH or key.startswith("phases.")


def value_at(schedules: Mapping[str, Any], key: str) -> float:
    """The number that a control stands at."""
    if key in (LENGTH, RATE):
        return schedules[LENGTH] if key == LENGTH else 1.0
    section, field = key.split(".")
    return schedules["phases"][int(field)] if section == "phases" else schedules[section][field]


def moved(schedules: Mapping[str, Any], values: Mapping[str, float], policy: str) -> dict[str, Any]:
    """A copy of a ``schedules`` section with some numbers moved; one that was not keeps its last bits.

    Raises:
        ValueError: one line, where no run could have these schedules.
    """
    made = json.loads(json.dumps(schedules))
    for key, value in values.items():
        section, _, field = key.partition(".")
        if key == LENGTH:
            made[LENGTH] = int(value)
        elif key == RATE:
            rates = made["learning_rate"]
            rates["values"] = [rate if value == 1 else float(f"{rate * value:.6g}") for rate in rates["values"]]
        elif section == "phases":
            made["phases"][int(field)] = int(value)
        elif float(made[section][field]) != float(value):
            made[section][field] = round(float(value), 6)
    made["rho"]["gate"] = policy
    if sorted(made["phases"]) != made["phases"]:
        raise ValueError("schedules: phases must rise")
    low, high = made["rho"]["gate_low"], made["rho"]["gate_high"]
    if low >= high:
        raise ValueError(f"schedules.rho: gate_low must be below gate_high, got {low:g} and {high:g}")
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
                changed.append(f"  {section}: {{{', '.join(f'{k}: {_spelt(v)}' for k, v in different.items())}}}")
        elif values != base[section]:
            changed.append(f"  {section}: {_spelt(values)}")
    return "\n".join([*lines, *(["schedules:", *changed] if changed else [])]) + "\n"


def _spelt(value: Any) -> str:
    """A value in YAML, which takes ``5e-06`` for text.

    >>> _spelt([0.001, 5e-06])
    '[0.001, 0.000005]'
    """
    if isinstance(value, list):
        return f"[{', '.join(map(_spelt, value))}]"
    return f"{value:.15f}".rstrip("0") if isinstance(value, float) and "e" in repr(value) else str(value)


class Gate(NamedTuple):
    """How the gate of phase 3 stands: one of ``GATES``, and the first and last epoch of one that is closed for a while."""

    name: str = OPEN
    closed: tuple[float, float] = (0, 0)

    def checked(self) -> Gate:
        """This gate; ValueError, one line, where it is closed for a while that is none."""
        first, last = self.closed
        if self.name == CLOSED_FOR_A_WHILE and not (_is_epoch(first) and _is_epoch(last) and first <= last):
            raise ValueError(f"closed from {_shown(first)} to {_shown(last)}: expected two whole epochs, the first not after the last")
        return self


def _is_epoch(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 0 and value == int(value)


def _shown(value: Any) -> str:
    return f"epoch {value:g}" if isinstance(value, int | float) else "no number"


def panels(ghost: Any, now: Any, gate: Gate, run: Mapping[str, Any], show_run: bool = False) -> list[str]:
    """The drawings of temperatures, permeability, KL weights and learning rate: those of ``now``, and dotted the run's.

    Behind them, at the same epochs, production's: ``ghost`` holds its schedules. Where a run of ``now`` ends earlier, so does the drawing.
    """
    lines = curves(now, gate_ratios(gate.name, now, run.get("grad_ratio"), gate.closed))
    epochs = now.total_epochs
    behind = {key: values[:epochs] for key, values in curves(ghost, gate_ratios(OPEN, ghost)).items()}
    shown = {key: run[key][:epochs] for key in run if show_run and key in lines}

    def top(*keys: str) -> float:
        return round_up(max(max(part[key]) for part in (lines, behind, shown) for key in keys if key in part))

    return [
        tau_panel(lines, behind, now, BEHIND, top("tau_a", "tau_b"), shown),
        rho_panel(lines, behind, now, BEHIND, gate.name, shown),
        beta_panel(lines, behind, now, BEHIND, top("beta_a", "beta_b"), shown),
        rate_panel(lines, behind, now, BEHIND, shown),
    ]


def gates(run: Mapping[str, Any]) -> tuple[str, ...]:
    """The positions of the gate: the last only where a run measured a gradient ratio."""
    return GATES if run.get("grad_ratio") else GATES[:-1]


def view(request: str) -> str:
    """What the page shows for the state of its controls; JSON in, JSON out.

    In: ``path`` of a preset, its ``schedules``, those of production as ``ghost``, ``values`` by key, ``policy``, ``gate``, ``closed`` (two
    epochs), ``run`` (columns of a run's history), ``show_run``, ``own_name``. Out: ``panels`` and ``yaml``, or ``fault``, one line.
    """
    asked = json.loads(request)
    try:
        made = moved(asked["schedules"], asked["values"], asked["policy"])
        gate = Gate(asked["gate"], tuple(asked["closed"])).checked()
        drawn = panels(attributes(asked["ghost"]), attributes(made), gate, asked["run"], asked["show_run"])
        return json.dumps({"panels": drawn, "yaml": as_yaml(asked["path"], asked["schedules"], made, asked["own_name"])})
    except ValueError as error:
        return json.dumps({"fault": str(error)})
