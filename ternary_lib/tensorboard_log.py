"""TensorBoard scalars of a run: every column of its history, written as the epochs end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ternary_lib.files import require_folder
from ternary_lib.journal import History
from ternary_lib.strict_yaml import InputError


class TensorBoardLog:
    """An observer for ``training.train`` that writes event files to ``folder``.

    It is given the whole history and writes what it has not written yet; the folder is made with the first epoch. A log that is opened
    anew, as after an interruption, writes all epochs again and tells TensorBoard to forget what lay in the folder before, so that a
    folder always shows one whole run.

    Raises:
        InputError: the package ``tensorboard`` is missing, or the folder cannot be written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        require_folder(self.folder)
        self.open = _writer_class()
        self.writer: Any = None
        self.written = 0  # epochs

    def __call__(self, history: History) -> None:
        """Write the epochs that were added since the last call."""
        with self._writing():
            self._write(history)

    def _write(self, history: History) -> None:
        if self.writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.writer = self.open(str(self.folder), purge_step=0)
        for i in range(self.written, len(history["epoch"])):
            for name, values in history.items():
                self.writer.add_scalar(tag(name), values[i], history["epoch"][i])
        self.written = len(history["epoch"])
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self.writer is not None:
            with self._writing():
                self.writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"{self.folder}: cannot be written ({error.strerror})"
            raise InputError(f"{reason}; the run itself is saved, and goes on with --resume") from None


def tag(column: str) -> str:
    """A history column's name in TensorBoard, which groups by what stands before the slash.

    >>> [tag(name) for name in ("rho", "train.kl_a", "b.coverage.argmax.50000")]
    ['controls/rho', 'train/kl_a', 'b/coverage.argmax.50000']
    """
    group, _, rest = column.partition(".")
    return f"{group}/{rest}" if rest else f"controls/{group}"


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("TensorBoard's event files need the package tensorboard: pip install -e '.[tensorboard]'") from None
    threading.excepthook = _leave_out_tensorboard(threading.excepthook)
    return SummaryWriter


def _leave_out_tensorboard(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # What breaks in its thread is raised again where the thread is waited for; there it gets one line.
    return lambda broken: None if type(broken.thread).__name__ == "_AsyncWriterThread" else hook(broken)
