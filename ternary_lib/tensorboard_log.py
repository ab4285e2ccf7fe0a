"""TensorBoard scalars of a run: every column of its history, written as the epochs end."""

from __future__ import annotations

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
        if self.writer is None:
            self.writer = self._open()
        for i in range(self.written, len(history["epoch"])):
            for name, values in history.items():
                self.writer.add_scalar(tag(name), values[i], history["epoch"][i])
        self.written = len(history["epoch"])
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self.writer is not None:
            self.writer.close()

    def _open(self) -> Any:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self.open(str(self.folder), purge_step=0)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror})") from None


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
    return SummaryWriter
