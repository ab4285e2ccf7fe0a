"""Measurements side by side: the library against a plain loop, against pythae, against the machine. No time is judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def seconds(call: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def seconds_each(call: Callable[[], Any], repeats: int) -> float:
    """How long one of ``repeats`` calls takes, for calls too short for a clock."""
    return seconds(lambda: [call() for _ in range(repeats)]) / repeats
