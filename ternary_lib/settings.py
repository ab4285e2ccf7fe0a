"""What the environment variables say, each checked before any work begins; nothing heavy is imported here."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ternary_lib.strict_yaml import ConfigError

STEP_PATHS = ("plain", "compiled", "graph")  # the forms of a training step


def device() -> str:
    """$TERNARY_DEVICE, or ``cpu``."""
    name = os.environ.get("TERNARY_DEVICE") or "cpu"
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", name):
        raise ConfigError(f"TERNARY_DEVICE={name}: expected cpu, cuda or cuda:N")
    return name


def threads() -> int:
    """$TERNARY_THREADS, or every core."""
    text = os.environ.get("TERNARY_THREADS") or str(min(os.cpu_count() or 1, 999))
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text):
        raise ConfigError(f"TERNARY_THREADS={text}: expected a whole number from 1 to 999")
    return int(text)


def step() -> str:
    """$TERNARY_STEP, or ``auto``."""
    asked = os.environ.get("TERNARY_STEP") or "auto"
    if asked not in ("auto", *STEP_PATHS):
        raise ConfigError(f"TERNARY_STEP={asked}: expected auto, plain, compiled or graph")
    return asked


def progress_file() -> Path | None:
    """$TERNARY_PROGRESS: a file that also receives the line of progress; None where it is not set."""
    name = os.environ.get("TERNARY_PROGRESS")
    if not name:
        return None
    folder, last = os.path.split(name)
    where = name if os.path.exists(name) else folder or "."
    if os.path.isdir(name) or len(last) > 255 or not os.access(where, os.W_OK):
        raise ConfigError(f"TERNARY_PROGRESS={name}: expected a file that can be written, in a folder that exists")
    return Path(name)


def check() -> None:
    """Refuse what no run can use before hours are spent.

    Raises:
        ConfigError: one line naming the variable and what was expected.
    """
    threads(), progress_file()
    if step() == "graph" and device() == "cpu":
        raise ConfigError("TERNARY_STEP=graph: needs TERNARY_DEVICE=cuda")
    if device() != "cpu":
        from ternary_lib.machine import training_device

        training_device()  # is there one?
