"""Where images come from: every source becomes a list of files that can be read.

Nothing is unpacked and no link is followed. What must not or cannot be read, a folder too, stays in
the list with the problem it has, so that the manifest can name it. What operating systems leave
between the files of people is left out and counted.
"""

import errno
import hashlib
import hmac
import os
import re
import sqlite3
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import parse_qs

import tenacity

from components.ingest.assignment import Assignment
from components.ingest.labels import Labels
from components.ingest.labels_file import is_inside, plain_name, read_file, read_table
from components.ingest.listing import Files, Found, JoinedFiles, Reader
from components.ingest.sample import GENERATOR_VERSION, write_sample
from components.ingest.zips import Entry, ZipArchive
from components.shared.data.class_folders import ClassNames, path_parts
from components.shared.data.dataset import SourceRecord
from components.shared.errors import UserError, network_reason, reason
from components.shared.images.decode import MAX_BYTES
from components.shared.reports.text import printable
from components.shared.storage import STORES, Location, Store, open_store, read_location
from components.shared.storage.near import path_near

SUPPORTED = (
    "a folder, a .zip file, either of them in s3:// or gs://, kaggle://owner/dataset or sample://"
)

_NO_SUCH_PLACE = f"no such file or folder; give {SUPPORTED}"

_STORE_READERS = 8  # a store's answers are waited for, not computed
_KAGGLE_ATTEMPTS, _KAGGLE_WAIT = 4, 0.5  # seconds, doubled each time and jittered
# An uncompressed image that is mostly black shrinks a thousand times, and so does a bomb: all files
# together that shrink more than _MAX_RATIO may be so large, and each as large as any image.
_MAX_RATIO = 200
_MAX_SHRUNK_IN_ALL = 16 * 2**30  # bytes


class _Listing(NamedTuple):
    """What a place holds, in any order, and how one of it is read.

    Attributes:
        found: All that it holds.
        read: Reads an image.
        find: Reads another file, by its name and the most bytes to return.
    """

    found: Iterable[Found]
    read: Reader
    find: Callable[[str, int], bytes]


@dataclass(frozen=True, kw_only=True)
class Source:
    """An opened source.

    Attributes:
        uri: As given.
        version: The provider's version of the data; empty where there is none.
        files: In a fixed order: by class, then by path.
        left_out: How many files are no images of a class, by what they are.
        notes: What people should know of how classes were found, in plain text.
        advice: Says what to do where there is no image of a class, an index.
        readers: How many files are best read at once.
        judging: Whether a model is to be judged by it: one class is enough, and strangers count.
        sources: Those that it was joined of; none for a single one.
    """

    uri: str
    version: str
    files: Files | JoinedFiles
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    advice: Callable[[int], str] = lambda _: "give a source that has some"
    readers: int = field(default_factory=lambda: os.cpu_count() or 1)
    judging: bool = False
    sources: tuple[SourceRecord, ...] = ()

    def fingerprint(self) -> str:
        """Returns a SHA-256 of the listing: it changes when a file or what is known of it does."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.uri}\n{self.version}".encode())
        for file in self.files:
            row = (file.path, file.size, file.stamp, file.problem)
            known = (file.label, file.patient, file.site, file.sequence)
            later = (found for found in (file.type, file.plane) if found)
            digest.update("\t".join(map(str, ("\n", *row, *known, *later))).encode())
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
def open_source(
    uri: str, version: str = "", labels: str = "", class_folders: str = "", *, judging: bool = False
) -> Iterator[Source]:
    """Opens a source of images.

    Args:
        uri: A folder or zip, here or in S3 or Google Cloud Storage, `kaggle://owner/dataset` or
            `sample://`.
        version: For Kaggle, the dataset's version; empty for the newest.
        labels: A table beside the images, as `labels_file.read_table` takes it; empty for none.
        class_folders: What other folders and labels mean, as `ClassNames` takes it.
        judging: Whether a model is to be judged by it: one class is enough, and strangers count.

    Yields:
        The source, readable until the context ends.

    Raises:
        UserError: There is no such source, it cannot be opened, or its labels cannot be used.
    """
    classes = ClassNames(class_folders)
    with ExitStack() as stack:
        location = source_location(uri)
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
        assignment = _assignment(listing, labels, classes, judging, uri)
        files = _listed(listing, assignment, uri)
        stack.callback(files.close)
        yield Source(
            uri=uri,
            version=version,
            files=files,
            left_out=dict(sorted(assignment.left_out.items())),
            notes=tuple(assignment.notes()),
            advice=assignment.advice,
            readers=readers,
            judging=judging,
        )


def source_fingerprint(
    uri: str, version: str = "", labels: str = "", class_folders: str = ""
) -> str:
    """Returns what a run's cache key needs to notice that local data has changed.

    Args:
        uri: As for `open_source`.
        version: Likewise.
        labels: Likewise; one outside of the source tells its own changes, if it is pinned.
        class_folders: Likewise.

    Returns:
        The fingerprint of a folder or zip, here or in a store, without reading the images; the
        given version for a Kaggle or made source.

    Raises:
        UserError: As for `open_source`.
    """
    location = source_location(uri)
    if location.scheme in ("kaggle", "sample"):
        return version
    if location.in_store and _is_zip(location):
        store, name = _zip_in_store(location)
        entry = store.stat(name)
        return hashlib.sha256(f"{uri}\t{entry.size}\t{entry.stamp}".encode()).hexdigest()
    with open_source(uri, version, labels, class_folders) as source:
        return source.fingerprint()


def source_location(uri: str) -> Location:
    """Returns the place of a source.

    Raises:
        UserError: The URI is malformed, or of a place that is not read.
    """
    try:
        location = read_location(uri)
    except ValueError as error:
        raise UserError(f"source {uri}: {error}; {_NO_SUCH_PLACE}") from error
    if location.scheme not in ("file", *STORES, "kaggle", "sample"):
        raise UserError(f"source {uri}: cannot read {location.scheme}://; give {SUPPORTED}")
    return location


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


def _is_zip(location: Location) -> bool:
    return location.place.lower().endswith(".zip") and "/" in location.place  # no bucket's name


def _zip_in_store(location: Location) -> tuple[Store, str]:
    folder, name = str(location).rsplit("/", 1)
    return open_store(folder, "source"), name


def _assignment(
    listing: _Listing, labels: str, classes: ClassNames, judging: bool, uri: str
) -> Assignment:
    """Reads the labels, if there are some, before the files that they are of."""
    if not labels:
        return Assignment(classes, judging=judging)
    place, content = read_table(labels, listing.find, uri)
    inside = plain_name(place) if is_inside(place) else ""
    read = Labels(printable(place), content, classes)
    return Assignment(classes, read, inside, judging=judging)


def _listed(listing: _Listing, assignment: Assignment, uri: str) -> Files:
    """Sorts what belongs to a class, or may."""
    try:
        return Files(assignment.listed(listing.found), listing.read)
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
            near = path_near(store.uri)
            raise UserError(f"source {store.uri}: there is no such folder; give {SUPPORTED}{near}")
        yield from skipped

    return _Listing(found(), lambda name, _: store.read(name, MAX_BYTES), store.read)


def _size_problem(size: int) -> str | None:
    if size > MAX_BYTES:
        return f"too-large: {size:,} bytes, at most {MAX_BYTES:,} are allowed"
    return None


def _in_folder(root: Path) -> _Listing:
    def find(name: str, max_bytes: int) -> bytes:
        if os.path.realpath(root / name) != os.path.join(os.path.realpath(root), name):
            raise ValueError("it is a link, or is behind a link")
        return read_file(root / name, max_bytes)

    return _Listing(_below(root), lambda name, _: _read_file(root / name), find)


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
    with _zip_errors_translated(uri):
        archive = ZipArchive(path)
    stack.callback(archive.close)

    def found() -> Iterator[Found]:
        shrunk = 0  # bytes that come of few
        with _zip_errors_translated(uri):
            for entry in archive.entries():
                name = entry.path
                if name.endswith("/") and not entry.size:
                    continue
                problem = _entry_problem(entry, name)
                if _shrinks_much(entry):
                    shrunk += entry.size
                    if shrunk > _MAX_SHRUNK_IN_ALL and not problem:
                        problem = f"a zip bomb: files of few bytes that unpack to {shrunk:,}"
                yield Found(name, entry.size, f"{entry.crc:08x}", problem, entry.as_bytes())

    def find(name: str, max_bytes: int) -> bytes:
        with _zip_errors_translated(uri):
            for entry in archive.entries():
                if entry.path == name:
                    # Which may be larger than an image.
                    small = entry._replace(size=min(entry.size, MAX_BYTES))
                    if problem := _entry_problem(small, name):
                        raise ValueError(problem)
                    return archive.read(entry, max_bytes)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    read = lambda _, place: archive.read(Entry.from_bytes(place), MAX_BYTES + 1)  # noqa: E731
    return _Listing(found(), read, find)


@contextmanager
def _zip_errors_translated(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"source {uri}: cannot read it as a zip: {reason(error)}; give {SUPPORTED}"
        ) from error


def _entry_problem(entry: Entry, path: str) -> str | None:
    """Returns why an entry must not be read, or None."""
    if re.match(r"/|[A-Za-z]:", path) or (".." in path and ".." in path_parts(path)):
        return "a path that leads out of the archive"
    if path.endswith("/"):
        return "a folder that holds bytes"
    if stat.S_ISLNK(entry.mode):
        return "a link"
    if entry.flags & 0x1:
        return "encrypted"
    if entry.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "packed in a way other than deflate"  # whose output zipfile does not bound
    return _size_problem(entry.size)


def _shrinks_much(entry: Entry) -> bool:
    return entry.size > _MAX_RATIO * max(entry.packed, 1024)


def _download_from_kaggle(uri: str, place: str, version: str) -> tuple[Path, str]:
    """Downloads a dataset into kagglehub's cache; returns its folder and its version."""
    handle = place.strip("/")
    if not re.fullmatch(r"[\w-]+/[\w-]+", handle):
        raise UserError(f"source {uri}: give kaggle://owner/dataset")
    if version and not re.fullmatch("[0-9]+", version):
        raise UserError(
            f"source {uri}: version '{version}' is not a number; Kaggle counts 1, 2, 3, …"
        )
    import kagglehub  # slow to import, and needed by this source alone

    download = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_transient),
        stop=tenacity.stop_after_attempt(_KAGGLE_ATTEMPTS),
        wait=tenacity.wait_random_exponential(_KAGGLE_WAIT),
        reraise=True,
    ).wraps(kagglehub.dataset_download)
    try:
        folder = Path(download(f"{handle}/versions/{version}" if version else handle))
    except Exception as error:  # network, HTTP, credentials, disk: kagglehub shares no base class
        raise UserError(
            f"source {uri}: the download from Kaggle failed: {network_reason(error)}; check the "
            "name, the network and, where the dataset is private, KAGGLE_USERNAME and KAGGLE_KEY"
        ) from error
    found = re.search(r"/versions/(\d+)", folder.as_posix())
    return folder, found.group(1) if found else version


def _is_transient(error: BaseException) -> bool:
    """Returns whether Kaggle may answer otherwise when it is asked again."""
    import requests  # as kagglehub does

    if isinstance(error, requests.HTTPError):
        status = error.response.status_code if error.response is not None else 0
        return status == 429 or status >= 500
    return isinstance(
        error,
        requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError,
    )
