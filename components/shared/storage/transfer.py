"""What S3 and Google Cloud Storage have in common: parallel, verified, resumed transfers."""

import builtins
import contextlib
import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import google_crc32c
import tenacity
from typing_extensions import override

from components.shared.errors import UserError
from components.shared.run.progress import Meter
from components.shared.storage.store import (
    LIMIT,
    Entry,
    NotFound,
    Skip,
    Store,
    check_name,
    local_files,
    name_fault,
    on_disk,
    skipped,
    whole_file,
    whole_folder,
)

PIECE = 8 * 2**20  # bytes of one request; a cut connection costs no more than these
THREADS = 8  # transfers at once
RETRY_SECONDS = 30.0  # how long a request that may yet succeed is repeated
FIRST_WAIT, MAX_WAIT = 0.2, 5.0  # seconds between two attempts, at most, jittered
RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})  # 409: a write at the same moment

_DAMAGE_ATTEMPTS = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


class DamagedError(UserError):
    """What arrived is not what was sent, or it changed on the way; worth another attempt."""


class Digest(Protocol):
    """What the hashes of hashlib and google_crc32c share."""

    def update(self, data: bytes, /) -> None:
        """Takes in more bytes."""

    def digest(self) -> bytes:
        """Returns the digest of all bytes so far."""


@dataclass(frozen=True)
class Checksum:
    """A digest that the store holds of an object's content.

    Attributes:
        algorithm: `sha256`, `md5` or `crc32c`.
        digest: The digest, bytes.
    """

    algorithm: str
    digest: bytes

    def hasher(self) -> Digest:
        """Returns a new hash of the algorithm."""
        if self.algorithm == "crc32c":
            return google_crc32c.Checksum()
        return hashlib.new(self.algorithm, usedforsecurity=False)


@dataclass(frozen=True)
class Piece:
    """A run of an object's bytes.

    Attributes:
        content: `PIECE` bytes, or fewer where the object ends.
        stamp: Of the object's state, so that no two states are mixed.
        checksum: Of the whole object, or None where the store has none.
    """

    content: bytes
    stamp: str
    checksum: Checksum | None


class ObjectStore(Store):
    """A store behind a network, made of the few requests that its service offers."""

    def __init__(self, uri: str, prefix: str, what: str) -> None:
        """Notes where the store lies.

        Args:
            uri: Without a trailing slash.
            prefix: Key of the store's folder in its bucket, without slashes around it.
            what: What the folder is, for error messages.

        Raises:
            UserError: The prefix is no plain path.
        """
        if prefix:
            check_name(prefix, what)
        self.uri = uri
        self.what = what
        self._root = f"{prefix}/" if prefix else ""

    @abstractmethod
    def _translated_errors(self, name: str) -> AbstractContextManager[None]:
        """Turns what the client library raises into a `UserError` of one line about an object."""

    @abstractmethod
    def _entries(self, key_prefix: str) -> Iterator[tuple[str, int, str]]:
        """Lists key, size and stamp of all objects whose key begins so."""

    @abstractmethod
    def _folders(self, key_prefix: str) -> Iterator[str]:
        """Lists the keys, up to and with the next slash, that begin so."""

    @abstractmethod
    def _piece(self, key: str, start: int, stamp: str) -> Piece:
        """Reads up to `PIECE` bytes; DamagedError where the stamp is another now."""

    @abstractmethod
    def _create(self, key: str, content: bytes) -> bool | None:
        """Writes if absent; None where there is one and a lost attempt may have written it."""

    @abstractmethod
    def _put(self, path: Path, key: str) -> None:
        """Writes a local file to an object; DamagedError where other bytes arrived."""

    @abstractmethod
    def _remove(self, keys: builtins.list[str]) -> None:
        """Deletes objects; none need be there."""

    @override
    def list(self, prefix: str = "", skip: Skip | None = None) -> Iterator[Entry]:
        skip = skip or partial(skipped, self)
        base = self._below(prefix)
        with self._translated_errors(prefix):
            for key, size, stamp in self._entries(base):
                name = key.removeprefix(self._root)
                if key.endswith("/") and not size:  # what consoles make to show an empty folder
                    continue
                fault = "leads elsewhere" if not key.startswith(base) else name_fault(name)
                if fault:
                    skip(name, fault)
                else:
                    yield Entry(name, size, stamp)

    @override
    def folders(self, prefix: str = "") -> builtins.list[str]:
        base = self._below(prefix)
        with self._translated_errors(prefix):
            names = {key.removeprefix(base).removesuffix("/") for key in self._folders(base)}
        return sorted(name for name in names if name_fault(name) is None and "/" not in name)

    @override
    def stat(self, name: str) -> Entry:
        key = self._key(name)
        with self._translated_errors(name):
            for found, size, stamp in self._entries(key):
                if found == key:
                    return Entry(name, size, stamp)
        raise NotFound(f"{self.what} {self.address(name)}: there is no such object; check the name")

    @override
    def read(self, name: str, limit: int = LIMIT) -> bytes:
        def read() -> bytes:
            content = bytearray()
            for piece in self._content(key):
                content += piece
                if len(content) > limit:
                    raise UserError(
                        f"{self.what} {self.address(name)}: larger than {limit:,} bytes"
                    )
            return bytes(content)

        key = self._key(name)
        with self._translated_errors(name):
            return _undamaged(read)

    @override
    def create(self, name: str, content: bytes) -> bool:
        key = self._key(name)
        with self._translated_errors(name):
            created = self._create(key, content)
        if created is None:
            return self.read(name, max(LIMIT, len(content))) == content
        return created

    @override
    def upload(
        self,
        folder: Path,
        name: str,
        last: str = "",
        commit: Callable[[], bool] | None = None,
    ) -> bool:
        sizes = {file: (folder / file).stat().st_size for file in local_files(folder)}
        key = self._key(name)
        if next(self.list(name), None):
            raise UserError(f"{self.what} {self.address(name)}: is there already; give a new name")
        meter = Meter(sum(sizes.values()), "bytes uploaded")

        def put(file: str) -> None:
            with self._translated_errors(f"{name}/{file}"):
                _undamaged(lambda: self._put(folder / file, f"{key}/{file}"))
            meter.add(sizes[file])

        try:
            in_parallel(put, [file for file in sizes if file != last])
            if last and commit is None:
                put(last)
        except Exception:
            with contextlib.suppress(UserError):  # the first error is the one to tell
                self.delete(name, first=last)
            raise
        if commit is None:
            return True
        if not commit():
            with contextlib.suppress(UserError):  # no permission to delete: so be it
                self.delete(name)
            return False
        put(last)
        return True

    @override
    def download(self, name: str, folder: Path) -> None:
        entries = list(self.list(name))
        if not entries:
            raise NotFound(f"{self.what} {self.address(name)}: there is nothing; check the name")
        targets = {entry.name: entry.name.removeprefix(f"{name}/") for entry in entries}
        _check_targets(list(targets.values()), f"{self.what} {self.address(name)}")
        meter = Meter(sum(entry.size for entry in entries), "bytes downloaded")
        with whole_folder(folder) as staging:
            for target in targets.values():
                (staging / target).parent.mkdir(parents=True, exist_ok=True)
            in_parallel(
                lambda item: self._fetch(item[0], staging / item[1], folder, meter), targets.items()
            )

    @override
    def fetch(self, name: str, path: Path) -> None:
        meter = Meter(self.stat(name).size, "bytes downloaded")
        with whole_file(path) as beside:
            self._fetch(name, beside, path, meter)

    @override
    def delete(self, name: str, first: str = "") -> None:
        base = f"{self._key(name)}/"
        leader = base + first
        with self._translated_errors(name):
            # Not list(): what it skips or ignores is to go as well.
            keys = [key for key, _, _ in self._entries(base) if key.startswith(base)]
            if leader in keys:
                self._remove([leader])
            self._remove([key for key in keys if key != leader])

    def _fetch(self, name: str, path: Path, told: Path, meter: Meter) -> None:
        """Writes an object to a file that must not exist; errors of the disk name `told`."""
        key = self._key(name)

        def write(file: BinaryIO) -> None:
            file.seek(0)
            file.truncate()
            for piece in self._content(key):
                with on_disk(told):
                    file.write(piece)
                meter.add(len(piece))

        with open(path, "xb") as file, self._translated_errors(name):
            _undamaged(lambda: write(file))

    def _content(self, key: str) -> Iterator[bytes]:
        """Reads an object piece by piece; DamagedError at the end where the checksum is another."""
        start, stamp, checksum, hasher = 0, "", None, None
        while True:
            piece = self._piece(key, start, stamp)
            if not start:
                stamp, checksum = piece.stamp, piece.checksum
                hasher = checksum.hasher() if checksum else None
            if hasher:
                hasher.update(piece.content)
            yield piece.content
            start += len(piece.content)
            if len(piece.content) < PIECE:
                break
        if checksum and hasher and hasher.digest() != checksum.digest:
            raise DamagedError(
                f"{self.what} {self.uri}: what was read of {key} does not have the "
                f"{checksum.algorithm} that the store holds; check the network and the object"
            )

    def _key(self, name: str) -> str:
        check_name(name, f"{self.what} {self.uri}")
        return f"{self._root}{name}"

    def _below(self, prefix: str) -> str:
        return f"{self._key(prefix)}/" if prefix else self._root


def in_parallel(function: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Calls a function on each item, several at once; the first failure stops the rest.

    Args:
        function: What to call.
        items: What to call it with.
    """
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _undamaged(transfer: Callable[[], Result]) -> Result:
    """Repeats a transfer whose content was damaged on the way."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(DamagedError),
        stop=tenacity.stop_after_attempt(_DAMAGE_ATTEMPTS),
        wait=tenacity.wait_random_exponential(FIRST_WAIT, MAX_WAIT),
        reraise=True,
    )(transfer)


def _check_targets(names: list[str], where: str) -> None:
    """Refuses names that cannot lie in one folder: an object may be called as a folder is."""
    folders = {str(parent) for name in names for parent in Path(name).parents}
    both = sorted(folders.intersection(names))
    if both:
        raise UserError(f"{where}: {both[0]} is both an object and a folder; rename one of them")
