"""Unfinished work: kept for the next run, and never in the hands of two runs at once."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Lends the folder of unfinished work to one process.

    A lock, which the system releases when a process dies, says whether another process uses it.
    Then `folder-2` is lent, and so on: both runs go on, and neither waits. A file system without
    locks lends the folder to everyone.

    Args:
        folder: Where an earlier, killed run may have left work; made where missing.

    Yields:
        The folder. Who finishes the work removes it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lent, lock, descriptor = _free(folder)
    try:
        lent.mkdir(exist_ok=True)
        yield lent
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _free(folder: Path) -> tuple[Path, Path, int]:
    """Returns the first folder that nobody uses, its lock and the lock's descriptor."""
    lent, number = folder, 1
    while True:
        lock = lent.with_name(f".{lent.name}.lock")
        descriptor = _lock(lock)
        if descriptor is not None:
            return lent, lock, descriptor
        number += 1
        lent = folder.with_name(f"{folder.name}-{number}")


def _lock(path: Path) -> int | None:
    """Returns the open, locked file, or None where another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # no locks here
            return descriptor
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # who had it removed it


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
