"""The registry: a folder of numbered versions that appear whole and never change.

A version is made in a hidden folder beside the versions and renamed into place. A rename either
happens or does not, and fails where the number is taken; so no lock is needed, a killed run
leaves nothing that a reader sees, and of two runs at once the slower takes the next number.
"""

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from components.checksums import SUMS, verify, write_sums
from components.errors import UserError, first_fault
from components.register.card import METADATA, NAME, ModelMetadata

__all__ = [
    "latest_version",
    "publish",
    "read_metadata",
    "verify",
    "version_folder",
    "versions",
]

_STAGING = ".staging-"
_STALE_SECONDS = 24 * 3600
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def version_folder(root: str | Path, version: int) -> Path:
    """Returns the folder of a version, whether it exists or not."""
    return Path(root) / NAME / str(version)


def versions(root: str | Path) -> list[int]:
    """Returns the registered versions, ascending.

    Args:
        root: The registry's folder; it may not exist yet.

    Returns:
        The numbers of all finished versions: what is being written is not among them.
    """
    return [n for n in _numbers(Path(root) / NAME) if (version_folder(root, n) / SUMS).is_file()]


def latest_version(root: str | Path) -> int | None:
    """Returns the greatest registered version, or None where there is none."""
    return max(versions(root), default=None)


def read_metadata(folder: str | Path) -> ModelMetadata:
    """Reads a version's metadata.

    Args:
        folder: The version's folder.

    Returns:
        The metadata.

    Raises:
        UserError: Missing or malformed.
    """
    path = Path(folder) / METADATA
    try:
        return ModelMetadata.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read the model's metadata: {error}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)}; register the model again") from error


def publish(
    root: str | Path, fill: Callable[[Path], None], describe: Callable[[Path, int], None]
) -> int:
    """Registers a new version.

    Args:
        root: The registry's folder; made where missing.
        fill: Writes into the given folder what does not depend on the version.
        describe: Writes into the given folder what names the given version. Called again, with
            the next number, when another run took that number in the meantime.

    Returns:
        The new version. Its files are on the disk, not only in memory, when this returns.
    """
    home = Path(root) / NAME
    try:
        home.mkdir(parents=True, exist_ok=True)
        _remove_stale(home)
        staging = home / f"{_STAGING}{uuid.uuid4()}"
        staging.mkdir()
    except OSError as error:
        raise UserError(f"registry {root}: cannot write there: {error}") from error
    try:
        fill(staging)
        while True:
            version = max(_numbers(home), default=0) + 1
            describe(staging, version)
            _sync(staging)
            write_sums(staging)
            _sync(staging)
            if _move(staging, home / str(version)):
                _sync_entry(home)
                return version
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _numbers(home: Path) -> list[int]:
    """Returns every number that is taken, finished or not, ascending."""
    try:
        return sorted(int(name) for name in os.listdir(home) if _NUMBER.fullmatch(name))
    except FileNotFoundError:
        return []


def _move(staging: Path, place: Path) -> bool:
    """Renames a folder; returns False where the place is taken."""
    try:
        os.rename(staging, place)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _remove_stale(home: Path) -> None:
    """Removes what killed runs left behind."""
    for staging in home.glob(f"{_STAGING}*"):
        try:
            age = time.time() - staging.lstat().st_mtime
        except FileNotFoundError:  # another run removed it
            continue
        if age > _STALE_SECONDS:
            shutil.rmtree(staging, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Puts files and folders on the disk, so that a power cut cannot empty a renamed version."""
    for path, _, names in os.walk(folder):
        for name in names:
            _sync_entry(Path(path, name))
        _sync_entry(Path(path))


def _sync_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
