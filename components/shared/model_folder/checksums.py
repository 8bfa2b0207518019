"""SHA256SUMS: the list of digests that makes a folder checkable, as `sha256sum -c` reads it."""

import hashlib
import re
from pathlib import Path, PurePosixPath

from components.shared.errors import UserError, reason
from components.shared.model_folder.contract import SIGNATURE, SUMS
from components.shared.storage.files import (
    open_regular,
    read_regular,
    regular_files,
    shown,
    write_atomically,
)

_MAX_BYTES = 2**20  # of the list
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<file>[^\\\r\n\0]+)")


def write_sums(folder: str | Path) -> None:
    """Lists the digest of every file in a folder, sorted by path, in its `SHA256SUMS`.

    Args:
        folder: A folder of regular files and folders; their names hold no line break.

    Raises:
        UserError: The folder holds a link or another thing that is not a file.
    """
    folder = Path(folder)
    lines = (f"{_digest(folder / file)}  {file}\n" for file in _files(folder))
    write_atomically(folder / SUMS, "".join(lines))


def verify(folder: str | Path) -> None:
    """Checks that a folder holds exactly the files that its `SHA256SUMS` lists, unchanged.

    Args:
        folder: The folder.

    Raises:
        UserError: Names the first file that is missing, extra or changed, or the bad line.
    """
    folder = Path(folder)
    listed = _read_sums(folder)
    present = set(_files(folder))
    for file in sorted(listed.keys() | present):
        name = shown(file)
        if file not in present:
            raise UserError(f"{folder}: {name} is missing; restore the folder from its source")
        if file not in listed:
            raise UserError(f"{folder}: {name} is extra, {SUMS} does not list it; remove it")
        if _digest(folder / file) != listed[file]:
            raise UserError(
                f"{folder}: {name} has changed since it was written; "
                "restore the folder from its source"
            )


def _read_sums(folder: Path) -> dict[str, str]:
    try:
        text = read_regular(folder / SUMS, _MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{folder}: cannot read {SUMS} ({reason(error)}), so this is not a complete model "
            "folder; give that of a registered version, such as runs/registry/brain-tumor/1"
        ) from error
    listed: dict[str, str] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), start=1):
        match = _LINE.fullmatch(line)
        if match is None or match["file"] in listed or not _stays_inside(match["file"]):
            raise UserError(f"{folder}: {SUMS} line {number} is malformed; restore the folder")
        listed[match["file"]] = match["digest"]
    return listed


def _files(folder: Path) -> list[str]:
    """Returns the files below a folder but for its `SHA256SUMS` and its signature.

    A signature signs the list too, so the list cannot hold it.
    """
    return [file for file in regular_files(folder) if file not in (SUMS, SIGNATURE)]


def _stays_inside(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts


def _digest(path: Path) -> str:
    try:
        with open(path, "rb", opener=open_regular) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{shown(str(path))}: cannot read: {reason(error)}; check its permissions"
        ) from error
