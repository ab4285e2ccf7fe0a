"""Files that are whole or not there, and folders that one process at a time writes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ternary_lib.strict_yaml import ConfigError

HALF = re.compile(r"\..+\.[0-9]+\.tmp")  # what `write_atomically` calls a file that it is writing


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold ``folder``, made if missing, against every other process; the system lets go of it however this one ends.

    Raises:
        ConfigError: another process holds it, or it cannot be written; one line.
    """
    lock = FileLock(folder / ".lock", timeout=0, is_singleton=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ConfigError(f"{folder}: another process is at work there; wait until it has ended, or choose another directory") from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        remove_half_written(folder)
        yield
    finally:
        try:
            (folder / ".lock").unlink(missing_ok=True)  # while it is held: who locks a file that is gone sees it, and tries again
        finally:
            lock.release()


def remove_half_written(folder: Path) -> None:
    """Remove the files that a process was writing when it was killed."""
    for leftover in folder.glob(".*.tmp"):
        if HALF.fullmatch(leftover.name) and leftover.is_file():
            leftover.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left in a folder that is done with: its lock, and files half-written."""
    if (folder / ".lock").exists():
        with suppress(ConfigError), claimed(folder):  # else somebody is at work there, or it is not ours to change
            pass


def require_folder(folder: Path) -> None:
    """Refuse, before any work, a folder that is none, or that could not be made; nothing is made yet.

    Raises:
        ConfigError: one line.
    """
    try:
        nearest = next(place for place in (folder, *folder.absolute().parents) if place.is_symlink() or place.exists())
    except OSError as error:  # a name too long
        raise ConfigError(f"{str(folder)[:200]}: cannot be written ({error.strerror})") from None
    if not nearest.is_dir():
        raise ConfigError(f"{folder}: cannot be written ({nearest} is no folder)")
    if not os.access(nearest, os.W_OK):
        raise ConfigError(f"{folder}: cannot be written (no permission to write in {nearest})")


def require_file(path: Path) -> None:
    """Refuse, before any work, a path that is there and no plain file, or whose folder cannot be written.

    Raises:
        ConfigError: one line.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ConfigError(f"{path}: is there and no plain file; choose another name")
    require_folder(path.parent)


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, flush it to disk, then rename it into place."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
