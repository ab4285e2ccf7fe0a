"""Colours, line styles and names that every drawing shares; standard library only, so that they also serve in a browser."""

from __future__ import annotations

from typing import Any

INK = "black"  # exact black becomes the page's own text colour; any other colour stays what it is

# Variants of Okabe & Ito (2008), each with a contrast of at least 3 : 1 against white and against a near-black page.
COLOURS: dict[str, Any] = {
    "a": "#1F83C6",
    "b": "#D55E00",
    "argmax": "#009E73",
    "categorical": "#B9629A",
    "expectation": "#BE8200",
    "uniform": "#808080",
    "untrained": "#9A6A3C",
    "production": "#808080",
    "train": "#1F83C6",
    "validation": "#D55E00",
    "test": "#009E73",
    "limit": INK,
    "ink": INK,
    "phases": ("#808080", "none", "#808080", "none"),
}
# Line styles that tell the same things apart without colour.
LINES: dict[str, Any] = {
    "a": "-",
    "b": "--",
    "argmax": "-",
    "categorical": "--",
    "expectation": "-.",
    "uniform": ":",
    "untrained": (0, (1, 1.5)),
    "production": ":",
    "limit": (0, (5, 2)),
}
MARKS = {"a": "o", "b": "s"}  # of the pathways
PALETTE = [COLOURS[name] for name in ("a", "b", "argmax", "categorical", "expectation", "uniform", "untrained")]
PHASE_NAMES = ("isolation", "consolidation", "resonant coupling", "ultra-exploration")
