"""The store that is a folder of this machine."""

import builtins
import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from typing_extensions import override

from components.shared.errors import UserError
from components.shared.storage.files import shown
from components.shared.storage.location import read_location
from components.shared.storage.store import (
    LIMIT,
    STAGING,
    Entry,
    NotFound,
    Skip,
    Store,
    check_name,
    disk_error,
    local_files,
    name_fault,
    remove_stale,
    skipped,
    whole_file,
    whole_folder,
)


def local_folder(uri: str, what: str) -> Path:
    """Returns the local folder that a URI names; it need not exist.

    Args:
        uri: A path, relative or absolute, with or without `~`; or `file:///absolute/path`.
        what: What the folder is, for the error message.

    Returns:
        An absolute path.

    Raises:
        UserError: The URI is empty, malformed, or of a scheme that is not supported.
    """
    try:
        location = read_location(uri)
    except ValueError as error:
        raise UserError(
            f"{what}: {shown(uri)}: {error}; give one such as path/to/folder or s3://bucket/folder"
        ) from error
    if location.scheme != "file":
        raise UserError(
            f"{what}: {location.scheme}:// is not supported; give a folder, as a path or as "
            "file:///path"
        )
    return Path(location.place)


class LocalStore(Store):
    """A folder of this machine, or one that is mounted on it. No link in it is followed."""

    def __init__(self, folder: Path, what: str) -> None:
        """Opens a folder.

        Args:
            folder: An absolute path; it need not exist.
            what: What the folder is, for error messages.
        """
        self.uri = str(folder)
        self.what = what
        self._folder = folder

    @override
    def list(self, prefix: str = "", skip: Skip | None = None) -> Iterator[Entry]:
        skip = skip or partial(skipped, self)
        with self._translated_errors(prefix):
            yield from self._entries(self._below(prefix), skip)

    @override
    def folders(self, prefix: str = "") -> builtins.list[str]:
        with self._translated_errors(prefix):
            try:
                below = list(os.scandir(self._below(prefix)))
            except (FileNotFoundError, NotADirectoryError):
                return []
        names = (entry.name for entry in below if entry.is_dir(follow_symlinks=False))
        return sorted(name for name in names if name_fault(name) is None)

    @override
    def stat(self, name: str) -> Entry:
        with self._translated_errors(name):
            info = self._path(name).lstat()
            if not stat.S_ISREG(info.st_mode):
                raise FileNotFoundError
        return Entry(name, info.st_size, str(info.st_mtime_ns))

    @override
    def read(self, name: str, limit: int = LIMIT) -> bytes:
        with self._translated_errors(name), open(self._path(name), "rb", opener=_no_link) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise UserError(f"{self.what} {self.address(name)}: larger than {limit:,} bytes")
        return content

    @override
    def create(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        beside = path.with_name(f"{STAGING}{uuid.uuid4()}")
        with self._translated_errors(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                beside.write_bytes(content)
                _sync_entry(beside)
                os.link(beside, path)  # unlike a rename, fails where there is one
            except FileExistsError:
                return False
            finally:
                beside.unlink(missing_ok=True)
            _sync_entry(path.parent)
        return True

    @override
    def upload(
        self,
        folder: Path,
        name: str,
        last: str = "",
        commit: Callable[[], bool] | None = None,
    ) -> bool:
        files = [file for file in local_files(folder) if commit is None or file != last]
        place = self._path(name)
        with self._translated_errors(name):
            place.parent.mkdir(parents=True, exist_ok=True)
            with whole_folder(place) as staging:  # so nothing is seen before `last`
                _copy(folder, files, staging)
                _sync(staging)
            _sync_entry(place.parent)
        if commit is None:
            return True
        if not commit():
            self.delete(name)
            return False
        self.create(f"{name}/{last}", (folder / last).read_bytes())
        return True

    @override
    def download(self, name: str, folder: Path) -> None:
        files = [entry.name.removeprefix(f"{name}/") for entry in self.list(name)]
        if not files:
            raise NotFound(f"{self.what} {self.address(name)}: there is nothing; check the name")
        with self._translated_errors(name), whole_folder(folder) as staging:
            _copy(self._path(name), files, staging)

    @override
    def fetch(self, name: str, path: Path) -> None:
        with self._translated_errors(name), open(self._path(name), "rb", opener=_no_link) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise IsADirectoryError
            with whole_file(path) as beside, open(beside, "xb") as target:
                shutil.copyfileobj(file, target, 2**20)

    @override
    def delete(self, name: str, first: str = "") -> None:
        place = self._path(name)
        gone = place.with_name(f"{STAGING}{uuid.uuid4()}")
        with self._translated_errors(name):
            try:
                os.utime(place)  # so that nobody sweeps it meanwhile
                os.rename(place, gone)  # all at once, so `first` is before the others
            except FileNotFoundError:
                return
            shutil.rmtree(gone)

    @override
    def sweep(self, name: str) -> None:
        with self._translated_errors(name):
            for folder, _, _ in os.walk(self._below(name), onerror=_unless_missing):
                remove_stale(Path(folder))

    def _entries(self, folder: Path, skip: Skip) -> Iterator[Entry]:
        for parent, folders, names in os.walk(folder, onerror=_unless_missing):
            folders[:] = [name for name in folders if not name.startswith(STAGING)]
            for name in names:
                path = Path(parent, name)
                relative = path.relative_to(self._folder).as_posix()
                fault = name_fault(relative)
                if fault and not name.startswith(STAGING):
                    skip(relative, fault)
                with contextlib.suppress(FileNotFoundError):  # deleted in the meantime
                    info = path.lstat()
                    if stat.S_ISREG(info.st_mode) and not fault:
                        yield Entry(relative, info.st_size, str(info.st_mtime_ns))

    def _below(self, prefix: str) -> Path:
        return self._path(prefix) if prefix else self._folder

    def _path(self, name: str) -> Path:
        check_name(name, f"{self.what} {self.uri}")
        return self._folder / name

    @contextlib.contextmanager
    def _translated_errors(self, name: str) -> Iterator[None]:
        """Turns what the file system says into one line."""
        where = f"{self.what} {self.address(name)}"
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"{where}: there is no such file or folder; check the name") from error
        except OSError as error:
            raise disk_error(where, error) from error


def _copy(source: Path, files: list[str], target: Path) -> None:
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        _copy_file(source / file, target / file)


def _copy_file(source: Path, target: Path) -> None:
    with open(source, "rb", opener=_no_link) as reader, open(target, "xb") as writer:
        shutil.copyfileobj(reader, writer, 2**20)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _sync(folder: Path) -> None:
    """Puts files and folders on the disk, so that a power cut cannot empty a renamed folder."""
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
