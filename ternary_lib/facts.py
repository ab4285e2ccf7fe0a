"""What the claims ledger knows without any run: arithmetic, the schedules, the configurations.

A fact is a function ``(…) -> float``, called by name from ``results/claims.yaml``;
``computed_facts`` adds those that compute with a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, reduce
from statistics import fmean
from types import SimpleNamespace
from typing import Any

from ternary_lib import schedules
from ternary_lib.config import Config, load_config
from ternary_lib.coverage import efficiency, uniform_coverage
from ternary_lib.operations import NUM_OPERATIONS, POSITIONS, all_operations

FACTS: dict[str, Callable[..., float]] = {}
PRODUCTION = "configs/ternary_v5_5.yaml"


def fact(function: Callable[..., float]) -> Callable[..., float]:
    """Register a quantity that no run is needed for."""
    FACTS[function.__name__] = function
    return function


# --- arithmetic --------------------------------------------------------------------------------------------------


@fact
def operations() -> float:
    """Tables of nine entries with three values each, counted one by one."""
    return float(len(all_operations()))


@fact
def product(factors: list[float], divisor: float = 1.0) -> float:
    """The product of some numbers, over a divisor."""
    return math.prod(factors) / divisor


@fact
def percent_of_all(count: int) -> float:
    """A count as a percentage of all operations."""
    return 100 * count / NUM_OPERATIONS


@fact
def share(part: float, whole: float) -> float:
    """A part as a percentage of a whole."""
    return 100 * part / whole


@fact
def bits_of_a_table() -> float:
    """Bits that it takes to name one table: 9·log₂ 3."""
    return POSITIONS * math.log2(3)


@fact
def digits_of_functions(inputs: int, outputs: int) -> float:
    """Decimal digits of the number of functions from Σ^inputs to Σ^outputs."""
    return 1 + math.floor(3**inputs * outputs * math.log10(3))


@fact
def uniform(draws: int) -> float:
    """Expected coverage of a uniform generator, per cent."""
    return 100 * uniform_coverage(draws)


@fact
def uniform_draws(percent: float) -> float:
    """Draws after which a uniform generator is expected at a coverage."""
    return math.log1p(-percent / 100) / math.log1p(-1 / NUM_OPERATIONS)


@fact
def efficiency_of(percent: float, draws: int) -> float:
    """Efficiency of a coverage at a number of draws."""
    return efficiency(percent / 100, draws)


@fact
def uniform_complete_epochs(epochs: int, draws: int) -> float:
    """Epochs of so many in which a uniform generator is expected to miss nothing (misses taken as Poisson)."""
    return epochs * math.exp(-NUM_OPERATIONS * (1 - uniform_coverage(draws)))


@fact
def logarithm(of: float) -> float:
    """ln of a number: the entropy, in nats, of so many equally likely values."""
    return math.log(of)


@fact
def elbo_limit() -> float:
    """The least -ELBO averaged over all operations: 9 ln 3 nats."""
    return POSITIONS * math.log(3)


# --- the model, the schedules, the configurations ----------------------------------------------------------------


@lru_cache(maxsize=4)
def config_of(path: str) -> Config:
    """A configuration, read once."""
    return load_config(path)


@fact
def config_value(config: str, key: str) -> float:
    """A number of a configuration, by its dotted key; a list's entry by its index."""
    return float(_setting(config, key))


@fact
def config_is(config: str, key: str, value: str | bool) -> float:
    """1 where a configuration's setting is this value, else 0."""
    return float(_setting(config, key) == value)


@fact
def config_share(part: str, config: str = PRODUCTION) -> float:
    """A number of a configuration over the number of all operations."""
    return config_value(config, part) / NUM_OPERATIONS


def _setting(config: str, key: str) -> Any:
    def enter(node: Any, part: str) -> Any:
        return node[int(part)] if isinstance(node, list) else node[part]

    return reduce(enter, key.split("."), config_of(config).model_dump(mode="json"))


@fact
def schedule(name: str, epoch: float, config: str = PRODUCTION) -> float:
    """A schedule of a configuration at one epoch."""
    return float(getattr(schedules, name)(epoch, config_of(config).schedules))


@fact
def schedule_mean(name: str, first: int, last: int, config: str = PRODUCTION) -> float:
    """Mean of a schedule over the epochs first … last."""
    return fmean([schedule(name, epoch, config) for epoch in range(first, last + 1)])


def _unfloored(config: str) -> Any:
    s = config_of(config).schedules
    tau_a = SimpleNamespace(**s.tau_a.model_dump() | {"floor": -math.inf})
    return SimpleNamespace(tau_a=tau_a, phases=s.phases, total_epochs=s.total_epochs)


@fact
def tau_a_formula_below(limit: float, config: str = PRODUCTION) -> float:
    """Epochs at which the formula of τ_A, without a floor, is below a limit."""
    s = _unfloored(config)
    return float(sum(schedules.tau_a(epoch, s) < limit for epoch in range(s.total_epochs)))


@fact
def tau_a_formula_least(config: str = PRODUCTION) -> float:
    """The lowest value of the formula of τ_A without a floor."""
    s = _unfloored(config)
    return min(schedules.tau_a(epoch, s) for epoch in range(s.total_epochs))


@fact
def hotter_epochs(first: int, last: int, config: str = PRODUCTION) -> float:
    """Per cent of the epochs first … last in which τ_A is above τ_B."""
    s = config_of(config).schedules
    return 100 * fmean([schedules.tau_a(t, s) > schedules.tau_b(t, s) for t in range(first, last + 1)])


@fact
def tau_a_amplitude(epoch: int, config: str = PRODUCTION) -> float:
    """Amplitude of τ_A's wave at one epoch: relative to a falling base before phase 4, absolute in it."""
    s = config_of(config).schedules
    base = s.tau_a.start + (s.tau_a.end - s.tau_a.start) * epoch / s.total_epochs
    return s.tau_a.boost if schedules.phase(epoch, s) == 4 else s.tau_a.amplitude * base


@fact
def tau_a_above(limit: float, config: str = PRODUCTION) -> float:
    """Epochs in which τ_A is above a limit."""
    s = config_of(config).schedules
    return float(sum(schedules.tau_a(t, s) > limit for t in range(s.total_epochs)))


@fact
def tau_b_formula(epoch: float, config: str = PRODUCTION) -> float:
    """The sources' formula of τ_B before phase 4, its lag not floored at zero."""
    s = config_of(config).schedules
    return s.tau_b.start + (s.tau_b.end - s.tau_b.start) * (epoch - s.tau_b.lag) / s.total_epochs


@fact
def beta_ratio(epoch: float, config: str = PRODUCTION) -> float:
    """β_B over β_A at one epoch."""
    s = config_of(config).schedules
    return schedules.beta_b(epoch, s) / schedules.beta_a(epoch, s)


@fact
def lowest_beta_epoch(pathway: str, config: str = PRODUCTION) -> float:
    """The epoch in which a pathway's KL weight is lowest."""
    s = config_of(config).schedules
    function = schedules.beta_a if pathway == "a" else schedules.beta_b
    return float(min(range(s.total_epochs), key=lambda t: function(t, s)))


@fact
def compounding_epochs(factor: float, start: float, limit: float) -> float:
    """Epochs until a rate that grows by a factor each epoch reaches a limit."""
    return math.log(limit / start) / math.log(factor)
