"""Relay a kernel's printed text to the terminal, or to a log where progress bars must not fill the page."""

from __future__ import annotations

import time
from typing import TextIO


class Relay:
    """A writable that passes text on.

    A terminal gets it as it comes. A file or pipe gets whole lines only; of a line redrawn with carriage returns it gets
    the last state, and every ``interval`` seconds the state so far, so that a log shows that a long run is alive.
    """

    def __init__(self, target: TextIO, interval: float = 30.0) -> None:
        self._target, self._interval = target, interval
        self._terminal = target.isatty()
        self._pending, self._last = "", time.monotonic()

    def write(self, text: str) -> int:
        """Pass ``text`` on, or keep it until its line is complete."""
        if self._terminal:
            return self._target.write(text)
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._emit(line)
        if "\r" in self._pending and time.monotonic() - self._last > self._interval:
            self._emit(self._pending)
            self._pending = self._pending.rpartition("\r")[1]
        return len(text)

    def flush(self) -> None:
        """Flush the target."""
        self._target.flush()

    def _emit(self, line: str) -> None:
        states = [state for state in line.split("\r") if state.strip()]
        if states:
            self._target.write(states[-1].rstrip() + "\n")
            self._target.flush()
        self._last = time.monotonic()
