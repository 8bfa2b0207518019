"""Where images come from: every source becomes a list of files that can be read.

Nothing is unpacked and no link is followed. A file that must not be read stays in the list with
the problem it has, so that the manifest can name it.
"""

import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs

import tenacity

from components.dataset import HEALTHY, TUMOR
from components.errors import UserError
from components.images import MAX_BYTES
from components.ingest.sample import GENERATOR_VERSION, write_sample
from components.storage import Store, open_store

SUPPORTED = (
    "a folder, a .zip file, either of them in s3:// or gs://, kaggle://owner/dataset or sample://"
)

_CLASS_FOLDERS = {"brain tumor": TUMOR, "brain tumour": TUMOR, "healthy": HEALTHY}
_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}
_STORES = ("s3", "gs")
_STORE_READERS = 8  # a store's answers are waited for, not computed
_KAGGLE_ATTEMPTS, _KAGGLE_WAIT = 4, 0.5  # seconds, doubled each time and jittered
_MAX_RATIO = 200  # image files are compressed already: what still shrinks this much is a bomb


@dataclass(frozen=True)
class SourceFile:
    """A file in a class folder.

    Attributes:
        path: Inside the source, with forward slashes.
        label: Class index, from the nearest class folder above it.
        size: Bytes, as the source declares them.
        stamp: Changes when the content does: a checksum, or a time of change.
        read: Returns the content, never more than the largest allowed size plus one byte. It
            raises a UserError where not the file but the store that holds it is at fault.
        problem: Why the file must not be read, or None.
    """

    path: str
    label: int
    size: int
    stamp: str
    read: Callable[[], bytes]
    problem: str | None = None


@dataclass(frozen=True)
class Source:
    """An opened source.

    Attributes:
        uri: As given.
        version: The provider's version of the data; empty where there is none.
        files: In a fixed order: by class, then by path.
        readers: How many files are best read at once.
    """

    uri: str
    version: str
    files: tuple[SourceFile, ...]
    readers: int = field(default_factory=lambda: os.cpu_count() or 1)

    def fingerprint(self) -> str:
        """Returns a SHA-256 of the listing: it changes when a file comes, goes or changes."""
        rows = (f"{f.path}\t{f.size}\t{f.stamp}\t{f.problem}" for f in self.files)
        return hashlib.sha256("\n".join([self.uri, self.version, *rows]).encode()).hexdigest()


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
        scheme = _scheme(uri)
        readers = os.cpu_count() or 1
        if scheme == "kaggle":
            folder, version = _download_from_kaggle(uri, version)
            files = _folder_files(folder)
        elif scheme == "sample":
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="sample-")))
            write_sample(folder, **sample_options(uri))
            files, version = _folder_files(folder), GENERATOR_VERSION
        elif scheme in _STORES and _is_zip(uri):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="source-")))
            store, name = _zip_in_store(uri)
            store.fetch(name, folder / "source.zip")
            files = _zip_files(stack.enter_context(_open_zip(folder / "source.zip", uri)))
        elif scheme in _STORES:
            files, readers = _store_files(open_store(uri, "source")), _STORE_READERS
        elif scheme and scheme != "file":
            raise UserError(f"source {uri}: cannot read {scheme}://; give {SUPPORTED}")
        else:
            path = os.path.expanduser(uri.removeprefix("file://"))
            if os.path.isdir(path):
                files = _folder_files(Path(path))
            elif os.path.isfile(path):
                files = _zip_files(stack.enter_context(_open_zip(Path(path), uri)))
            else:
                raise UserError(f"source {uri}: no such file or folder; give {SUPPORTED}")
        files.sort(key=lambda file: (file.label, file.path))
        yield Source(uri, version, tuple(files), readers)


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
    if uri.startswith(("kaggle://", "sample://")):
        return version
    if _scheme(uri) in _STORES and _is_zip(uri):
        store, name = _zip_in_store(uri)
        entry = store.stat(name)
        return hashlib.sha256(f"{uri}\t{entry.size}\t{entry.stamp}".encode()).hexdigest()
    with open_source(uri, version) as source:
        return source.fingerprint()


def class_of(path: str) -> int | None:
    """Returns the class that a path's nearest class folder names, or None.

    Case, spaces, dashes and underscores do not matter: `brain_tumor`, `Brain Tumor` and
    `Brain-Tumour` are one.
    """
    for part in reversed(PurePosixPath(path).parts[:-1]):
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
    query = uri.removeprefix("sample://").removeprefix("?")
    for name, values in parse_qs(query, keep_blank_values=True).items():
        if name not in ("images", "seed") or not re.fullmatch(r"[0-9]{1,9}", values[-1]):
            raise UserError(
                f"source {uri}: '{name}={values[-1]}' is not known; options are images and seed, "
                "both whole numbers, as in sample://?images=240&seed=7"
            )
        options[name] = int(values[-1])
    return options


def _scheme(uri: str) -> str:
    return uri.split("://", 1)[0] if "://" in uri else ""


def _is_zip(uri: str) -> bool:
    return uri.lower().endswith(".zip") and uri.count("/") > 2  # and no bucket of such a name


def _zip_in_store(uri: str) -> tuple[Store, str]:
    folder, name = uri.rsplit("/", 1)
    return open_store(folder, "source"), name


def _store_files(store: Store) -> list[SourceFile]:
    files = []
    empty = True
    for entry in store.list():
        empty = False
        label = class_of(entry.name)
        if label is None or _is_junk(entry.name):
            continue
        files.append(
            SourceFile(
                entry.name,
                label,
                entry.size,
                entry.stamp,
                lambda name=entry.name: store.read(name, MAX_BYTES),  # type: ignore[misc]
                _size_problem(entry.size),
            )
        )
    if empty:
        raise UserError(f"source {store.uri}: there is no such folder; give {SUPPORTED}")
    return files


def _size_problem(size: int) -> str | None:
    if size > MAX_BYTES:
        return f"too-large: {size:,} bytes, at most {MAX_BYTES:,} are allowed"
    return None


def _is_junk(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return any((part.startswith(".") and part != "..") or part.lower() in _JUNK for part in parts)


def _printable(name: str) -> str:
    """Returns a name for one line of UTF-8, whatever bytes it was made of."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in name
    )


def _folder_files(folder: Path) -> list[SourceFile]:
    files = []
    for parent, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(parent, name)
            name = path.relative_to(folder).as_posix()
            relative, label = _printable(name), class_of(name)
            if label is None or _is_junk(relative):
                continue
            info = path.lstat()
            problem = _size_problem(info.st_size)
            if not stat.S_ISREG(info.st_mode):
                problem = "not a regular file" if not path.is_symlink() else "a link"
            files.append(
                SourceFile(
                    relative,
                    label,
                    info.st_size,
                    str(info.st_mtime_ns),
                    lambda path=path: _read_file(path),  # type: ignore[misc]
                    problem,
                )
            )
    return files


def _read_file(path: Path) -> bytes:
    with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NOFOLLOW)) as file:
        return file.read(MAX_BYTES + 1)


def _open_zip(path: Path, uri: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # hostile archives raise nearly anything
        raise UserError(
            f"source {uri}: cannot read it as a zip: {error}; give {SUPPORTED}"
        ) from error


def _zip_files(archive: zipfile.ZipFile) -> list[SourceFile]:
    files = []
    seen: set[str] = set()
    for info in archive.infolist():
        path, label = _printable(info.filename), class_of(info.filename)
        if info.is_dir() or label is None or _is_junk(path):
            continue
        files.append(
            SourceFile(
                path,
                label,
                info.file_size,
                f"{info.CRC:08x}",
                lambda info=info: _read_entry(archive, info),  # type: ignore[misc]
                "a second file of this name" if path in seen else _entry_problem(info),
            )
        )
        seen.add(path)
    return files


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as entry:
        return entry.read(MAX_BYTES + 1)


def _entry_problem(info: zipfile.ZipInfo) -> str | None:
    """Returns why an entry must not be read, or None."""
    path = info.filename
    if re.match(r"/|[A-Za-z]:", path) or "\\" in path or ".." in PurePosixPath(path).parts:
        return "a path that leads out of the archive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link"
    if info.flag_bits & 0x1:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "packed in a way other than deflate"  # whose output zipfile does not bound
    if info.file_size > MAX_BYTES:
        return _size_problem(info.file_size)
    if info.file_size > _MAX_RATIO * max(info.compress_size, 1024):
        return f"a zip bomb: {info.compress_size:,} bytes that unpack to {info.file_size:,}"
    return None


def _download_from_kaggle(uri: str, version: str) -> tuple[Path, str]:
    """Downloads a dataset into kagglehub's cache; returns its folder and its version."""
    handle = uri.removeprefix("kaggle://").strip("/")
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
