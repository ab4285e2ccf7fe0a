"""What a chapter asks of its parameters beyond their types, said in one line before any work is done."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ternary_lib.strict_yaml import InputError


def require(name: str, value: Any, good: bool, expected: str) -> None:
    """Refuse a parameter that cannot be used.

    Raises:
        InputError: ``good`` is false; one line with the parameter, what was expected and what was given.

    >>> require("marks", [5], False, "at least three steps")
    Traceback (most recent call last):
    ternary_lib.strict_yaml.InputError: parameter 'marks': expected at least three steps, got [5]
    """
    if not good:
        raise InputError(f"parameter {name!r}: expected {expected}, got {value!r}")


def require_list(name: str, values: Sequence[float], least: int, low: float, high: float, expected: str, rising: bool = False) -> None:
    """Refuse a list with fewer than ``least`` members, with one outside [low, high], or with two alike (``rising``: out of order).

    >>> require_list("shares", [0.1, 1.0], 1, 0.0, 1.0, "shares")
    """
    good = len(values) >= least and all(low <= v <= high for v in values) and len(set(values)) == len(values)
    require(name, list(values), good and (not rising or all(a < b for a, b in itertools.pairwise(values))), expected)
