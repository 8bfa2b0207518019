"""Files: written so that nobody sees half of one, found and copied with bounds, read as JSON."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, TypeVar

from pydantic import BaseModel, ValidationError

from components.shared.errors import UserError, first_fault, reason

MAX_FILES, MAX_BYTES, MAX_DEPTH = 10_000, 2 * 2**30, 50  # of a folder that can be a model
_PIECE = 2**20
_RESTORE = "restore the folder from its source"

Content = TypeVar("Content", bound=BaseModel)


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Writes a file beside its place, then renames it there.

    Args:
        path: The file; its folder is made where missing.
        content: Text (UTF-8) or bytes.

    Raises:
        OSError: It cannot be written. It names the file.
    """
    with _beside(Path(path)) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def written_atomically(path: Path) -> Iterator[TextIO]:
    """Lends a text file that takes the place of another when the context ends well.

    Args:
        path: The file; its folder is made where missing.

    Yields:
        A file beside it, UTF-8, open for writing.
    """
    with (
        _beside(path) as beside,
        open(beside, "w", encoding="utf-8", newline="") as file,
    ):
        yield file


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Lends the path of a file beside another, whose place it takes when the context ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        if error.filename in (None, str(beside)):  # a name that says nothing to people
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def read_json(path: Path, kind: type[Content], remedy: str) -> Content:
    """Reads what a step wrote as JSON.

    Args:
        path: The file.
        kind: What it holds.
        remedy: What to do where it does not, for the message.

    Raises:
        UserError: Missing or malformed.
    """
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read: {reason(error)}; {remedy}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)}; {remedy}") from error


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def regular_files(folder: Path) -> list[str]:
    """Returns the files below a folder, relative, '/'-separated, sorted.

    Args:
        folder: A folder; anyone may have written into it.

    Raises:
        UserError: It holds a link or another thing that is no file; or more files, deeper folders
            or more bytes than a model has.
    """
    files: list[str] = []
    entries = size = 0
    unread = [""]
    while unread:
        parent = unread.pop()
        try:
            with os.scandir(folder / parent) as found:
                for entry in found:
                    entries += 1
                    file = f"{parent}{entry.name}"
                    info = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(info.st_mode):
                        unread.append(f"{file}/")
                    elif stat.S_ISREG(info.st_mode):
                        files.append(file)
                        size += info.st_size
                    else:
                        raise UserError(
                            f"{folder}: {shown(file)} is a link or no regular file; remove it"
                        )
                    if entries > MAX_FILES or size > MAX_BYTES or file.count("/") > MAX_DEPTH:
                        raise UserError(
                            f"{folder}: holds more than {MAX_FILES:,} files or {MAX_BYTES:,} "
                            f"bytes, or {MAX_DEPTH} folders in each other, which is not a model; "
                            f"{_RESTORE}"
                        )
        except OSError as error:
            raise UserError(f"{folder}: cannot read: {error.strerror}; restore it") from error
    return sorted(files)


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Returns a file's content; anyone may have put anything in its place.

    Args:
        path: The file.
        max_bytes: Bytes that it may have.

    Raises:
        UserError: It is a link, no regular file, or larger.
        OSError: It cannot be read.
    """
    try:
        with open(path, "rb", opener=open_regular) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise UserError(f"{path.parent}: {path.name} has {size:,} bytes; {_RESTORE}")
            return file.read(max_bytes)
    except NotRegularError as error:
        raise UserError(f"{path.parent}: {path.name} {error}; {_RESTORE}") from error


class NotRegularError(OSError):
    """A link, a pipe or another thing where a file should be."""


def open_regular(path: str, flags: int) -> int:
    """Opens a regular file, for `opener` of `open`: follows no link and waits for no pipe.

    Raises:
        NotRegularError: It is another thing.
        OSError: It cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise NotRegularError("is a link or no regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError("is a link or no regular file")
    return descriptor


def copy_files(folder: Path, copy: Path) -> None:
    """Copies the files below a folder, which may change meanwhile, into another one.

    Args:
        folder: As `regular_files` takes it.
        copy: Is there, and empty.

    Raises:
        UserError: As `regular_files`; or there is no space.
    """
    left = MAX_BYTES
    for file in regular_files(folder):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                open(folder / file, "rb", opener=open_regular) as source,
                open(copy / file, "xb") as target,
            ):
                while piece := source.read(min(_PIECE, left)):
                    target.write(piece)
                    left -= len(piece)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot copy {shown(file)} to {copy}: {reason(error)}"
            ) from error


def shown(file: str) -> str:
    """Returns a file's name, quoted where it holds line breaks or what no terminal shows."""
    return file if file.isprintable() else repr(file)
