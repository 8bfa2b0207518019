"""Where images come from: every source becomes a list of files that can be read.

Nothing is unpacked and no link is followed. What must not or cannot be read, a folder too, stays in
the list with the problem it has, so that the manifest can name it. What operating systems leave
between the files of people is left out and counted.
"""

import hashlib
import hmac
import os
import re
import sqlite3
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import parse_qs

import tenacity

from components.dataset import HEALTHY, TUMOR
from components.errors import UserError
from components.images import MAX_BYTES
from components.ingest.listing import Files, Found, Listed, Reader
from components.ingest.sample import GENERATOR_VERSION, write_sample
from components.ingest.zips import Entry, ZipArchive
from components.storage import Location, Store, open_store, read_location
from components.text import printable

SUPPORTED = (
    "a folder, a .zip file, either of them in s3:// or gs://, kaggle://owner/dataset or sample://"
)

_NO_SUCH_PLACE = f"no such file or folder; give {SUPPORTED}"

_CLASS_FOLDERS = {"brain tumor": TUMOR, "brain tumour": TUMOR, "healthy": HEALTHY}
# What systems leave: Windows, macOS, Synology, QNAP, Linux. Names that begin with a dot besides.
_JUNK = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("__macosx", "icon\r", "@eadir", "#recycle", "@recycle", "#snapshot", "lost+found"),
}
_FOLDERS_KEPT = 1024  # of the answers for a folder, since files come folder by folder
_ZONE = "zone.identifier"  # from which site Windows has a file
_STORE_READERS = 8  # a store's answers are waited for, not computed
_KAGGLE_ATTEMPTS, _KAGGLE_WAIT = 4, 0.5  # seconds, doubled each time and jittered
# An uncompressed image that is mostly black shrinks a thousand times, and so does a bomb: what
# shrinks more than _MAX_RATIO may be so large, and all of it together.
_MAX_RATIO = 200
_MAX_SHRUNK, _MAX_SHRUNK_IN_ALL = 16 * 2**20, 16 * 2**30  # bytes


class _Listing(NamedTuple):
    """What a place holds, in any order, and how one of it is read."""

    found: Iterable[Found]
    read: Reader


@dataclass(frozen=True)
class Source:
    """An opened source.

    Attributes:
        uri: As given.
        version: The provider's version of the data; empty where there is none.
        files: In a fixed order: by class, then by path.
        left_out: How many files are no images of a class, by what they are.
        readers: How many files are best read at once.
    """

    uri: str
    version: str
    files: Files
    left_out: Mapping[str, int] = field(default_factory=dict)
    readers: int = field(default_factory=lambda: os.cpu_count() or 1)

    def fingerprint(self) -> str:
        """Returns a SHA-256 of the listing: it changes when a file comes, goes or changes."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.uri}\n{self.version}".encode())
        for file in self.files:
            digest.update(f"\n{file.path}\t{file.size}\t{file.stamp}\t{file.problem}".encode())
        return digest.hexdigest()

    def listing_id(self) -> str:
        """Returns what changes with the fingerprint, which it does not tell."""
        return self._derived("listing").hex()

    def salt(self) -> bytes:
        """Returns the salt for patients' identifiers: only who can list the source has it."""
        return self._derived("patients")

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self.fingerprint().encode(), purpose.encode(), "sha256")


@contextmanager
def open_source(uri: str, version: str = "") -> Iterator[Source]:
    """Opens a source of images.

    Args:
        uri: A folder or zip, here or in S3 or Google Cloud Storage, `kaggle://owner/dataset` or
            `sample://`.
        version: For Kaggle, the dataset's version; empty for the newest.

    Yields:
        The source, readable until the context ends.

    Raises:
        UserError: There is no such source, or it cannot be opened.
    """
    with ExitStack() as stack:
        location = _location(uri)
        readers = os.cpu_count() or 1
        if location.scheme == "kaggle":
            folder, version = _download_from_kaggle(uri, location.place, version)
            listing = _without_times(_in_folder(folder))
        elif location.scheme == "sample":
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="sample-")))
            write_sample(folder, **sample_options(uri))
            listing, version = _without_times(_in_folder(folder)), GENERATOR_VERSION
        elif location.in_store and _is_zip(location):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="source-")))
            store, name = _zip_in_store(location)
            store.fetch(name, folder / "source.zip")
            listing = _in_zip(stack, folder / "source.zip", uri)
        elif location.in_store:
            listing, readers = _in_store(open_store(uri, "source")), _STORE_READERS
        elif os.path.isdir(location.place):
            listing = _in_folder(Path(location.place))
        elif os.path.isfile(location.place):
            listing = _in_zip(stack, Path(location.place), uri)
        else:
            raise UserError(f"source {uri}: {_NO_SUCH_PLACE}")
        left_out: Counter[str] = Counter()
        files = _listed(listing, left_out, uri)
        stack.callback(files.close)
        yield Source(uri, version, files, dict(sorted(left_out.items())), readers)


def source_fingerprint(uri: str, version: str = "") -> str:
    """Returns what a run's cache key needs to notice that local data has changed.

    Args:
        uri: As for `open_source`.
        version: Likewise.

    Returns:
        The fingerprint of a folder or zip, here or in a store, without reading the images; the
        given version for a Kaggle or made source.

    Raises:
        UserError: As for `open_source`.
    """
    location = _location(uri)
    if location.scheme in ("kaggle", "sample"):
        return version
    if location.in_store and _is_zip(location):
        store, name = _zip_in_store(location)
        entry = store.stat(name)
        return hashlib.sha256(f"{uri}\t{entry.size}\t{entry.stamp}".encode()).hexdigest()
    with open_source(uri, version) as source:
        return source.fingerprint()


def class_of(path: str) -> int | None:
    r"""Returns the class that a path's nearest class folder names, or None.

    Case, spaces, dashes and underscores do not matter: `brain_tumor`, `Brain Tumor` and
    `Brain-Tumour` are one. Windows' separator counts too, as in `Healthy\a.png`.
    """
    return _class_of_folder(_split(path)[0])


@lru_cache(maxsize=_FOLDERS_KEPT)
def _class_of_folder(folder: str) -> int | None:
    for part in reversed(_parts(folder)):
        label = _CLASS_FOLDERS.get(re.sub(r"[\s_-]+", " ", part).strip().lower())
        if label is not None:
            return label
    return None


def sample_options(uri: str) -> dict[str, int]:
    """Returns the options in a `sample://?images=240&seed=7` URI.

    Raises:
        UserError: An option that there is not, or a value that is no whole number.
    """
    options: dict[str, int] = {}
    query = read_location(uri).place.removeprefix("?")
    for name, values in parse_qs(query, keep_blank_values=True).items():
        if name not in ("images", "seed") or not re.fullmatch(r"[0-9]{1,9}", values[-1]):
            raise UserError(
                f"source {uri}: '{name}={values[-1]}' is not known; options are images and seed, "
                "both whole numbers, as in sample://?images=240&seed=7"
            )
        options[name] = int(values[-1])
    return options


def _location(uri: str) -> Location:
    try:
        location = read_location(uri)
    except ValueError as error:
        raise UserError(f"source {uri}: {error}; {_NO_SUCH_PLACE}") from error
    if location.scheme not in ("file", "s3", "gs", "kaggle", "sample"):
        raise UserError(f"source {uri}: cannot read {location.scheme}://; give {SUPPORTED}")
    return location


def _is_zip(location: Location) -> bool:
    return location.place.lower().endswith(".zip") and "/" in location.place  # no bucket's name


def _zip_in_store(location: Location) -> tuple[Store, str]:
    folder, name = str(location).rsplit("/", 1)
    return open_store(folder, "source"), name


def _listed(listing: _Listing, left_out: Counter[str], uri: str) -> Files:
    """Sorts what belongs to a class, or may, and counts the rest by what it is."""

    def of_a_class() -> Iterator[Listed]:
        for found in listing.found:
            junk = _junk(found.name)
            label = class_of(f"{found.name}/" if found.is_folder else found.name)
            if junk or (label is None and not found.is_folder):
                left_out[junk or "in no class folder"] += 1
            else:
                yield Listed(found, printable(found.name), label)

    try:
        return Files(of_a_class(), listing.read)
    except sqlite3.Error as error:
        raise UserError(
            f"source {uri}: cannot keep the list of its files: {error}; free space for temporary "
            "files, or name another folder for them in TMPDIR"
        ) from error


def _in_store(store: Store) -> _Listing:
    def found() -> Iterator[Found]:
        skipped: list[Found] = []
        empty = True
        entries = store.list(
            skip=lambda name, fault: skipped.append(Found(name, problem=f"the name {fault}"))
        )
        for entry in entries:
            empty = False
            yield Found(entry.name, entry.size, entry.stamp, _size_problem(entry.size))
            while skipped:
                yield skipped.pop()
        if empty and not skipped:
            raise UserError(f"source {store.uri}: there is no such folder; give {SUPPORTED}")
        yield from skipped

    return _Listing(found(), lambda name, _: store.read(name, MAX_BYTES))


def _size_problem(size: int) -> str | None:
    if size > MAX_BYTES:
        return f"too-large: {size:,} bytes, at most {MAX_BYTES:,} are allowed"
    return None


def _parts(path: str) -> list[str]:
    """Returns the parts of a path, whichever system wrote it."""
    return re.split(r"[/\\]+", path)


def _split(path: str) -> tuple[str, str]:
    """Returns a path's folder and its last part."""
    at = max(path.rfind("/"), path.rfind("\\"))
    return path[: max(at, 0)], path[at + 1 :]


def _junk(path: str) -> str | None:
    """Returns the part of a path that no person made, as a system names it, or None."""
    folder, name = _split(path)
    return _junk_folder(folder) or _junk_part(name)


@lru_cache(maxsize=_FOLDERS_KEPT)
def _junk_folder(folder: str) -> str | None:
    return next(filter(None, map(_junk_part, _parts(folder))), None)


def _junk_part(part: str) -> str | None:
    name = part.lower()
    if name in _JUNK:
        return part
    if name.endswith((_ZONE, f"{_ZONE}:$data")):
        return "Zone.Identifier"
    if name.startswith("._"):
        return "._* (macOS)"
    if name.startswith(".") and name not in (".", ".."):
        return "hidden (begins with a dot)"
    return None


def _in_folder(root: Path) -> _Listing:
    return _Listing(_below(root), lambda name, _: _read_file(root / name))


def _without_times(listing: _Listing) -> _Listing:
    """Returns a listing for files of a version, which are written again on each machine."""
    return listing._replace(found=(found._replace(stamp="") for found in listing.found))


def _below(root: Path) -> Iterator[Found]:
    """Lists folder after folder: its files as they come, and its folders later."""
    unread = [""]
    while unread:
        parent = unread.pop()
        try:
            with os.scandir(root / parent) as entries:
                for entry in entries:
                    name = f"{parent}/{entry.name}" if parent else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        unread.append(name)
                    else:
                        yield _file(entry, name)
        except OSError as error:
            reason = f"a folder that cannot be read: {error.strerror}"
            yield Found(parent or ".", problem=reason, is_folder=True)


def _file(entry: os.DirEntry[str], name: str) -> Found:
    try:
        info = entry.stat(follow_symlinks=False)
        is_link = stat.S_ISLNK(info.st_mode)
        if is_link and entry.is_dir():
            reason = "a link to a folder; copy the folder in its place"
            return Found(name, problem=reason, is_folder=True)
        is_dead = is_link and not os.path.exists(entry)  # it may have been a folder
    except OSError as error:
        return Found(name, problem=f"unreadable: {error.strerror}")
    problem = _size_problem(info.st_size)
    if not stat.S_ISREG(info.st_mode):
        problem = "a link" if is_link else "not a regular file"
    return Found(name, info.st_size, str(info.st_mtime_ns), problem, is_folder=is_dead)


def _read_file(path: Path) -> bytes:
    with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NOFOLLOW)) as file:
        return file.read(MAX_BYTES + 1)


def _in_zip(stack: ExitStack, path: Path, uri: str) -> _Listing:
    with _told_of_zip(uri):
        archive = ZipArchive(path)
    stack.callback(archive.close)

    def found() -> Iterator[Found]:
        shrunk = 0  # bytes that come of few
        with _told_of_zip(uri):
            for entry in archive.entries():
                # Programs end a name at a NUL; old ones of Windows separate folders so.
                name = entry.name.partition("\0")[0].replace("\\", "/")
                if name.endswith("/") and not entry.size:
                    continue
                problem = _entry_problem(entry, name)
                if _shrinks_much(entry):
                    shrunk += entry.size
                    if shrunk > _MAX_SHRUNK_IN_ALL and not problem:
                        problem = f"a zip bomb: files of few bytes that unpack to {shrunk:,}"
                yield Found(name, entry.size, f"{entry.crc:08x}", problem, entry.as_bytes())

    return _Listing(found(), lambda _, place: archive.read(Entry.from_bytes(place), MAX_BYTES + 1))


@contextmanager
def _told_of_zip(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"source {uri}: cannot read it as a zip: {error}; give {SUPPORTED}"
        ) from error


def _entry_problem(entry: Entry, path: str) -> str | None:
    """Returns why an entry must not be read, or None."""
    if re.match(r"/|[A-Za-z]:", path) or (".." in path and ".." in _parts(path)):
        return "a path that leads out of the archive"
    if path.endswith("/"):
        return "a folder that holds bytes"
    if stat.S_ISLNK(entry.mode):
        return "a link"
    if entry.flags & 0x1:
        return "encrypted"
    if entry.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "packed in a way other than deflate"  # whose output zipfile does not bound
    if entry.size > MAX_BYTES:
        return _size_problem(entry.size)
    if entry.size > _MAX_SHRUNK and _shrinks_much(entry):
        return f"a zip bomb: {entry.packed:,} bytes that unpack to {entry.size:,}"
    return None


def _shrinks_much(entry: Entry) -> bool:
    return entry.size > _MAX_RATIO * max(entry.packed, 1024)


def _download_from_kaggle(uri: str, place: str, version: str) -> tuple[Path, str]:
    """Downloads a dataset into kagglehub's cache; returns its folder and its version."""
    handle = place.strip("/")
    if not re.fullmatch(r"[\w-]+/[\w-]+", handle):
        raise UserError(f"source {uri}: give kaggle://owner/dataset")
    if version and not re.fullmatch("[0-9]+", version):
        raise UserError(f"source {uri}: version '{version}' is no number; Kaggle counts 1, 2, 3, …")
    import kagglehub  # slow to import, and needed by this source alone

    download = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_attempt(_KAGGLE_ATTEMPTS),
        wait=tenacity.wait_random_exponential(_KAGGLE_WAIT),
        reraise=True,
    ).wraps(kagglehub.dataset_download)
    try:
        folder = Path(download(f"{handle}/versions/{version}" if version else handle))
    except Exception as error:  # network, HTTP, credentials, disk: kagglehub shares no base class
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"source {uri}: the download from Kaggle failed: {reason}; check the name, the network "
            "and, where the dataset is private, KAGGLE_USERNAME and KAGGLE_KEY"
        ) from error
    found = re.search(r"/versions/(\d+)", folder.as_posix())
    return folder, found.group(1) if found else version


def _may_pass(error: BaseException) -> bool:
    """Returns whether Kaggle may answer otherwise when it is asked again."""
    import requests  # as kagglehub does

    if isinstance(error, requests.HTTPError):
        status = error.response.status_code if error.response is not None else 0
        return status == 429 or status >= 500
    return isinstance(
        error,
        requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError,
    )
