"""Relay a kernel's printed text and a run's progress to the terminal, or to a log that progress must not fill."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

CLEAR = "\r\x1b[2K"


class Relay:
    """A writable that passes text on, with one line of progress below it.

    On a terminal the progress line redraws itself. A file or pipe gets whole lines of text (the last state of a line
    redrawn with carriage returns), and the progress line every ``interval`` seconds, so that a log shows life.
    Without ``text``, progress is all that is shown.
    """

    def __init__(self, target: TextIO, interval: float = 30.0, text: bool = True) -> None:
        self._target, self._interval, self._text = target, interval, text
        self._terminal = target.isatty()
        self._pending, self._shown, self._last = "", False, time.monotonic()
        self._lock = threading.Lock()  # text and progress come from two threads

    def write(self, text: str) -> int:
        """Pass ``text`` on; into a log, once its line is complete."""
        with self._lock:
            passed = text if self._text else ""
            if self._terminal:
                self._target.write(CLEAR * self._shown + passed)
                self._shown = False
            else:
                *lines, self._pending = (self._pending + passed).split("\n")
                for line in lines:
                    states = [state for state in line.split("\r") if state.strip()]
                    self._target.write((states[-1].rstrip() if states else "") + "\n")
        return len(text)

    def progress(self, text: str) -> None:
        """Show ``text`` as the progress line."""
        with self._lock:
            if self._terminal:
                self._target.write(CLEAR + text)
                self._shown = True
            elif time.monotonic() - self._last >= self._interval:
                self._target.write(text + "\n")
                self._last = time.monotonic()
            self._target.flush()

    def flush(self) -> None:
        """Flush the target."""
        self._target.flush()


@contextmanager
def shown_progress(relay: Relay, every: float = 1.0) -> Iterator[None]:
    """While this is open, show on ``relay`` the line that training in another process keeps in $TERNARY_PROGRESS."""
    with tempfile.TemporaryDirectory(prefix="ternary-") as folder:
        file, stop, before = Path(folder) / "progress", threading.Event(), os.environ.get("TERNARY_PROGRESS")
        os.environ["TERNARY_PROGRESS"] = str(file)
        watcher = threading.Thread(target=_watch, args=(file, relay, stop, every), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            relay.write("")
            if before is None:
                del os.environ["TERNARY_PROGRESS"]
            else:
                os.environ["TERNARY_PROGRESS"] = before


def _watch(file: Path, relay: Relay, stop: threading.Event, every: float) -> None:
    last = ""
    while not stop.wait(every):
        text = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        if text and text != last:
            relay.progress(f"    {text}")
            last = text
