"""What every store can do, and the rules that hold in each of them."""

import builtins
import os
import re
import shutil
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import UserError, reason
from components.shared.storage.files import regular_files

LIMIT = 16 * 2**20
STAGING = ".staging-"  # unfinished work begins with this and is never listed
STALE = 24 * 3600.0  # seconds; a writer that wrote nothing for so long was killed

_STAGED = re.compile(rf"{re.escape(STAGING)}[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")

Skip = Callable[[str, str], None]


class NotFound(UserError):  # noqa: N818  # it says what a reader needs to know
    """There is no such object or folder."""


@dataclass(frozen=True)
class Entry:
    """An object in a listing.

    Attributes:
        name: Relative to the store, '/'-separated.
        size: Bytes.
        stamp: Changes when the content does: a checksum, or a time of change.
    """

    name: str
    size: int
    stamp: str


class Store(ABC):
    """A folder of objects. Names are relative to it and '/'-separated.

    Every method retries what may pass, and raises a `UserError` of one line for what does not:
    wrong credentials, no such bucket, no permission, a full disk, a connection that stays cut.

    Attributes:
        uri: Absolute, without a trailing slash.
        what: What the folder is, for error messages.
    """

    uri: str
    what: str

    def address(self, name: str) -> str:
        """Returns the URI of an object or folder in the store."""
        return f"{self.uri}/{name}" if name else self.uri

    @abstractmethod
    def list(self, prefix: str = "", skip: Skip | None = None) -> Iterator[Entry]:
        """Lists all objects below a folder as they come; none where there is no such folder.

        Args:
            prefix: The folder; empty for the whole store. `models/x` is not `models/x-old`.
            skip: Is told the name and the fault of each object whose name could lead astray.
                Without it, a line is printed.

        Yields:
            The objects, but for those that are skipped.
        """

    @abstractmethod
    def folders(self, prefix: str = "") -> builtins.list[str]:
        """Returns the names of the folders directly below a folder, sorted.

        Args:
            prefix: The folder; empty for the whole store.
        """

    @abstractmethod
    def stat(self, name: str) -> Entry:
        """Returns what a listing says of one object.

        Args:
            name: The object.

        Raises:
            NotFound: There is no such object.
        """

    @abstractmethod
    def read(self, name: str, limit: int = LIMIT) -> bytes:
        """Returns the content of an object.

        Args:
            name: The object.
            limit: Greatest size, bytes.

        Raises:
            NotFound: There is no such object.
            UserError: It is larger than the limit.
        """

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Writes an object if there is none of its name: of any number of writers, one succeeds.

        Args:
            name: The object.
            content: All of it. That of two writers should differ, so that a writer whose
                confirmation was lost can tell its own object from another's.

        Returns:
            Whether the object was written; False where there was one.
        """

    @abstractmethod
    def upload(
        self,
        folder: Path,
        name: str,
        last: str = "",
        commit: Callable[[], bool] | None = None,
    ) -> bool:
        """Copies a local folder into the store; nothing stays behind where that fails.

        Args:
            folder: A folder of regular files.
            name: The folder to make in the store; the caller sees to it that nobody else does.
            last: The file that is written once all others are there and verified, so that
                whoever sees it sees all.
            commit: Called once all but `last` are there. Where it returns False, they go again;
                else they stay, even where `last` cannot be written.

        Returns:
            Whether the folder is there now: what `commit` returned.

        Raises:
            UserError: There is such a folder already, or `folder` holds what is no file.
        """

    @abstractmethod
    def download(self, name: str, folder: Path) -> None:
        """Copies a folder of the store into a local folder, which appears whole or not at all.

        Args:
            name: The folder in the store.
            folder: Must not exist, or be empty.

        Raises:
            NotFound: There is nothing below `name`.
            UserError: `folder` is not empty, or the names cannot all be files there.
        """

    @abstractmethod
    def fetch(self, name: str, path: Path) -> None:
        """Copies one object into a local file, which appears whole or not at all.

        Args:
            name: The object.
            path: The file; its folder exists.

        Raises:
            NotFound: There is no such object.
        """

    @abstractmethod
    def delete(self, name: str, first: str = "") -> None:
        """Deletes all objects below a folder; none need be there.

        Args:
            name: The folder.
            first: The object in it that goes before all others.
        """

    @abstractmethod
    def sweep(self, name: str) -> None:
        """Removes the unfinished work that killed writers left below a folder.

        Only what is older than `STALE` goes, so a live writer keeps its own.

        Args:
            name: The folder; it need not exist.
        """


def is_stale(written: float) -> bool:
    """Returns whether unfinished work is so old that its writer was killed.

    Args:
        written: When its writer last gave a sign, seconds since the epoch.
    """
    return time.time() - written > STALE


def remove_stale(folder: Path) -> None:
    """Removes the staging files and folders that killed writers left directly in a folder.

    Args:
        folder: Need not exist.
    """
    for path in folder.glob(f"{STAGING}*"):
        # Its writer finished meanwhile, another run removed it, or nobody here may: so be it.
        with suppress(OSError):
            if _STAGED.fullmatch(path.name) and is_stale(_last_written(path)):
                _remove(path)


def _last_written(path: Path) -> float:
    """Returns when a file, or anything in a folder, was last written."""
    return max(one.lstat().st_mtime for one in (path, *path.rglob("*")))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def name_fault(name: str) -> str | None:
    """Returns why a name is refused in every store, or None.

    Args:
        name: Relative, '/'-separated; it may come from a hostile server.
    """
    if len(name.encode(errors="surrogatepass")) > 1024:
        return "is longer than 1,024 bytes"
    if not name.isprintable():
        return "holds characters that do not print"
    if "\\" in name:
        return "holds a backslash"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return "is not a plain relative path"
        if part.startswith(STAGING):
            return f"begins a part with {STAGING}, which is reserved"
        if len(part.encode(errors="surrogatepass")) > 255:
            return "holds a part longer than 255 bytes"
    return None


def check_name(name: str, what: str) -> None:
    """Refuses a name that no store may hold.

    Args:
        name: Relative, '/'-separated.
        what: For the error message.

    Raises:
        UserError: Names the fault.
    """
    fault = name_fault(name)
    if fault:
        raise UserError(f"{what}: the name {ascii(name)[:300]} {fault}; give another")


def skipped(store: Store, name: str, fault: str) -> None:
    """Says in a line that a listing leaves an object out.

    Args:
        store: Where it lies.
        name: Its name, which may be hostile.
        fault: What `name_fault` says of it.
    """
    print(f"{store.what} {store.uri}: skipped {ascii(name)[:300]}: the name {fault}", flush=True)


def local_files(folder: Path) -> list[str]:
    """Returns the files below a local folder, relative, sorted.

    Args:
        folder: A folder.

    Raises:
        UserError: It holds a link or another thing that is no file, or a name that no store takes.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one that can be stored")
    files = regular_files(folder)
    for name in files:
        check_name(name, str(folder))
    return files


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Lets a folder be filled beside its place and appear there whole.

    What killed processes left beside it goes first.

    Args:
        folder: Must not exist, or be empty.

    Yields:
        The folder to fill. It is renamed when the context ends well, and removed otherwise.

    Raises:
        UserError: `folder` is there and not empty, or the disk refuses.
    """
    staging = folder.with_name(f"{STAGING}{uuid.uuid4()}")
    try:
        with on_disk(folder):
            remove_stale(folder.parent)
            if folder.is_symlink() or _holds_something(folder):
                raise UserError(f"{folder}: is there already; give a folder that is new or empty")
            staging.mkdir(parents=True)
            yield staging
            os.rename(staging, folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Lets a file be written beside its place and appear there whole.

    Args:
        path: The file; its folder exists.

    Yields:
        The file to write. It is renamed when the context ends well, and removed otherwise.

    Raises:
        UserError: The disk refuses.
    """
    beside = path.with_name(f"{STAGING}{uuid.uuid4()}")
    with on_disk(path):
        try:
            yield beside
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def on_disk(where: object) -> Iterator[None]:
    """Turns what the local file system says into one line.

    Args:
        where: The file or folder that is worked on.

    Raises:
        UserError: The file system refused.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(where, error) from error


def disk_error(where: object, error: OSError) -> UserError:
    """Returns what to tell of a local file system that refuses.

    Args:
        where: The file, folder or store.
        error: What it said.
    """
    return UserError(
        f"{where}: {reason(error)}; check the path, its permissions and the free space"
    )


def _holds_something(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))
