"""Schedules: pure functions of the epoch, standard library only, so that they also run in a browser.

Each takes the epoch t (a whole or fractional number, t ≥ 0) and the configuration's ``schedules``
section, read by attribute. Source: *Mathematical Foundations*, section "Phase-Scheduled Optimization".
"""

from __future__ import annotations

from math import cos, pi, sin
from typing import Any


def phase(epoch: float, schedules: Any) -> int:
    """Training phase: 1 isolation, 2 consolidation, 3 resonant coupling, 4 ultra-exploration.

    >>> from ternary_lib.config import Config
    >>> [phase(t, Config().schedules) for t in (0, 39, 40, 119, 120, 249, 250, 1000)]
    [1, 1, 2, 2, 3, 3, 4, 4]
    """
    return 1 + sum(epoch >= boundary for boundary in schedules.phases)


def tau_a(epoch: float, schedules: Any) -> float:
    """Temperature of pathway A: τ_A(t) = max(floor, base(t) + A(t)·cos(2πt/T + offset)).

    base(t) = start + (end - start)·t/T_total; A = amplitude·base before phase 4 and ``boost`` in it.
    The floor is a departure: in phase 4 the formula alone goes negative.
    """
    s = schedules.tau_a
    base = s.start + (s.end - s.start) * epoch / schedules.total_epochs
    amplitude = s.boost if phase(epoch, schedules) == 4 else s.amplitude * base
    return max(s.floor, base + amplitude * cos(2 * pi * epoch / s.period + s.offset))


def tau_b(epoch: float, schedules: Any) -> float:
    """Temperature of pathway B: start + (end - start)·max(0, t - lag)/T_total, and ``boost`` in phase 4."""
    s = schedules.tau_b
    if phase(epoch, schedules) == 4:
        return s.boost
    return s.start + (s.end - s.start) * max(0.0, epoch - s.lag) / schedules.total_epochs


def beta_a(epoch: float, schedules: Any) -> float:
    """KL weight of pathway A: β_A(t) = start + (end - start)·t/T_total."""
    s = schedules.beta
    return s.start + (s.end - s.start) * epoch / schedules.total_epochs


def beta_b(epoch: float, schedules: Any) -> float:
    """KL weight of pathway B: β_B(t) = |sin(lag)|·β_A(t); with lag = π/4 a constant factor of 0.7071."""
    return abs(sin(schedules.beta.lag)) * beta_a(epoch, schedules)


def learning_rate(epoch: float, schedules: Any) -> float:
    """Piecewise constant learning rate: ``values[k]`` once k milestones are reached."""
    s = schedules.learning_rate
    return s.values[sum(epoch >= milestone for milestone in s.milestones)]


def lambda_3(epoch: float, schedules: Any) -> float | None:
    """λ₃ of the public implementation, base + amplitude·cos(2πt/period + offset); None where it is not scheduled."""
    s = schedules.lambda_3
    return None if s is None else s.base + s.amplitude * cos(2 * pi * epoch / s.period + s.offset)


def in_balance(grad_ratio: float, schedules: Any) -> bool:
    """Whether gate_low < grad_ratio < gate_high, both bounds excluded."""
    return schedules.rho.gate_low < grad_ratio < schedules.rho.gate_high


class Permeability:
    """Permeability ρ, the one schedule with a memory: in phase 3 it moves only while the gate is open.

    Call ``step`` once at the start of each epoch, in order; a resumed run sets ``rho`` from its checkpoint.
    Phase 3 under the policy ``hold`` adds one epoch's increment (final - consolidated)/ramp_epochs in each epoch
    that starts with the gate open and keeps ρ otherwise; ``fall_back`` follows the time line while open and
    drops to ``consolidated`` while closed. Phase 4 sets ``final`` either way.

    >>> from ternary_lib.config import Config
    >>> permeability = Permeability(Config().schedules)
    >>> [round(permeability.step(t, grad_ratio=1.0), 4) for t in (0, 40, 80, 120, 121, 250)]
    [0.1, 0.1, 0.2, 0.3031, 0.3062, 0.7]
    """

    def __init__(self, schedules: Any, rho: float | None = None) -> None:
        self.schedules = schedules
        self.rho = schedules.rho.start if rho is None else rho

    def step(self, epoch: float, grad_ratio: float) -> float:
        """ρ for this epoch, given the gradient ratio read at its start."""
        s = self.schedules.rho
        second, third, _ = self.schedules.phases
        now = phase(epoch, self.schedules)
        if now == 1:
            self.rho = s.start
        elif now == 2:
            self.rho = s.start + (s.consolidated - s.start) * (epoch - second) / (third - second)
        elif now == 3:
            self.rho = self._resonant(epoch - third, in_balance(grad_ratio, self.schedules))
        else:
            self.rho = s.final
        return self.rho

    def _resonant(self, epochs_in: float, gate_open: bool) -> float:
        s = self.schedules.rho
        span = s.final - s.consolidated
        if s.gate == "fall_back":
            return s.consolidated + span * min(1.0, epochs_in / s.ramp_epochs) if gate_open else s.consolidated
        entered = s.consolidated if epochs_in == 0 else self.rho
        if not gate_open:
            return entered
        moved = entered + span / s.ramp_epochs
        return min(s.final, moved) if span >= 0 else max(s.final, moved)
