"""One line of progress: a bar on a terminal, a line that rewrites itself in a notebook, silence elsewhere."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

WIDTH = 20  # characters of the bar


class Progress:
    """Shows ``done`` of ``total`` epochs (or runs, or what ``unit`` says); what stays behind is one final line.

    In a notebook one display is updated in place, so that the stored output holds only its last state.
    $TERNARY_PROGRESS names a file that also receives the line: a build can show it while a notebook runs.
    """

    def __init__(self, total: int, shown: bool = True, unit: str = "epoch") -> None:
        self.total = total
        self.unit = unit
        self.shown = shown
        self.started = time.monotonic()
        self.first: int | None = None
        self.handle = None
        self.file = os.environ.get("TERNARY_PROGRESS")

    def note(self, text: str) -> None:
        """Show what is done before the first one."""
        self._show(text)

    def update(self, done: int, remark: str) -> None:
        """Show that ``done`` are finished."""
        self.first = done - 1 if self.first is None else self.first
        elapsed = time.monotonic() - self.started
        left = elapsed / max(1, done - self.first) * (self.total - done)
        bar = "█" * (WIDTH * done // self.total)
        self._show(f"{bar:░<{WIDTH}} {self.unit} {done}/{self.total} · {remark} · {_clock(elapsed)} so far, {_clock(left)} left")

    def close(self, text: str) -> None:
        """Replace the bar by its final line."""
        self._show(text, last=True)

    def _show(self, text: str, last: bool = False) -> None:
        if self.file:
            try:
                Path(self.file).write_text(text + "\n", encoding="utf-8")
            except OSError:  # a line of progress is not worth the work it is about
                self.file = None
        if not self.shown:
            return
        if _in_notebook():
            self._show_in_notebook(text)
        elif sys.stderr.isatty():
            print(f"\r\x1b[2K{text}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last:
            print(text, file=sys.stderr, flush=True)

    def _show_in_notebook(self, text: str) -> None:
        from IPython.display import display

        plain = {"text/plain": text}
        if self.handle is None:
            self.handle = display(plain, raw=True, display_id=True)
        else:
            self.handle.update(plain, raw=True)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
