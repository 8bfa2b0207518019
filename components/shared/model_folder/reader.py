"""A registered model's folder: checked whole before any of it is believed."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from components.shared.data.classes import CLASSES, HEALTHY
from components.shared.errors import UserError, first_fault, reason
from components.shared.model_folder.checksums import verify
from components.shared.model_folder.contract import (
    CARD,
    DRIFT,
    LABELS,
    METADATA,
    SAVED_MODEL,
    SUMS,
)
from components.shared.model_folder.drift_reference import DriftReference
from components.shared.model_folder.served import Precision, Served, UnsureRange, Word
from components.shared.model_folder.signing import Trust
from components.shared.storage.files import MAX_FILES, copy_files, read_regular
from components.shared.storage.near import path_near

_MAX_BYTES = 4 * 2**20  # of a description

_T = TypeVar("_T")
_LABELS = TypeAdapter(tuple[Word, Word])


@dataclass(frozen=True)
class ModelFolder:
    """What a model says of itself.

    Attributes:
        path: The folder in which the SavedModel lies.
        name: The model's name.
        version: Its version.
        classes: Labels in the order of their indices.
        positive: Index of the class that is answered where its probability reaches the threshold.
        threshold: 0..1.
        unsure: Between which probabilities of the positive class the answer is unsure; None where
            the version knows of no such.
        score_limit: The greatest in-distribution score of an image that looks like those of the
            training; None where the model carries no such check.
        precision: In which numbers it is served.
        digest: SHA-256 of the list of its files' digests, hex; names these very bytes.
        card: What people should know of it, Markdown.
        drift: How its answers for unseen images are spread; None where the version is older.
    """

    path: Path
    name: str
    version: int
    classes: tuple[str, str]
    positive: int
    threshold: float
    unsure: UnsureRange | None
    score_limit: float | None
    precision: Precision
    digest: str
    card: str
    drift: DriftReference | None


@contextmanager
def settled(path: str | Path, trust: Trust | None, uri: str = "") -> Iterator[Path]:
    """Lets a registered model be read while nobody can change it, if somebody is to be trusted.

    Then the signature is checked on a private copy, and that is what the caller loads.

    Args:
        path: The version's folder.
        trust: The signer it needs; None takes the folder as it is.
        uri: Where the folder was fetched from, empty if unknown. If its last part is a number, or
            that of the folder itself, the model has to be that version.

    Yields:
        The folder to open and load, until the context ends.

    Raises:
        UserError: It is not signed by who is trusted, or it is another version.
    """
    if trust is None:
        yield Path(path)
        return
    source = _linked_from(_folder(path))
    with _temporary_folder() as copy:
        copy_files(source, copy)
        try:
            trust.verify(copy)
            version = open_model_folder(copy).version
            for asked in _numbers(Path(path), uri):
                if asked != str(version):
                    raise UserError(f"{copy}: is signed as version {version}, not as {asked}")
            yield copy
        except UserError as error:
            raise UserError(str(error).replace(str(copy), str(path))) from error


def open_model_folder(path: str | Path) -> ModelFolder:
    """Checks a registered model's digests and descriptions.

    Args:
        path: The version's folder.

    Returns:
        What it says of itself.

    Raises:
        UserError: A file is missing, extra or changed, or the descriptions are malformed or
            contradict each other.
    """
    path = _linked_from(_folder(path))
    verify(path)
    metadata = _read(path / METADATA, TypeAdapter(Served))
    labels = _read(path / LABELS, _LABELS)
    if labels != metadata.classes:
        raise UserError(f"{path}: {LABELS} and {METADATA} name different classes")
    if sorted((metadata.positive_class, CLASSES[HEALTHY])) != sorted(set(labels)):
        raise UserError(
            f"{path}: {METADATA}: classes have to be {CLASSES[HEALTHY]} and the positive class, "
            f"not {list(labels)}"
        )
    if not (path / SAVED_MODEL).is_file():
        raise UserError(f"{path}: holds no {SAVED_MODEL}; register the model again")
    return ModelFolder(
        path=path,
        name=metadata.name,
        version=metadata.version,
        classes=labels,
        positive=labels.index(metadata.positive_class),
        threshold=metadata.threshold,
        unsure=metadata.unsure,
        score_limit=metadata.in_distribution.score_limit if metadata.in_distribution else None,
        precision=metadata.precision,
        digest=hashlib.sha256((path / SUMS).read_bytes()).hexdigest(),
        card=_read_card(path),
        drift=_read_drift(path),
    )


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        temporary = TemporaryDirectory(prefix="model-")
    except OSError as error:
        raise UserError(
            f"no folder for a copy of the model: {reason(error)}; mount one at /tmp"
        ) from error
    with temporary as folder:
        yield Path(folder)


def _numbers(path: Path, uri: str) -> list[str]:
    """Returns the versions that a folder is asked for as: by address, by name, by KServe's link.

    What lies in the folder may be anyone's links, so none of them is followed.
    """
    sums = path / SUMS
    linked = os.path.dirname(os.readlink(sums)) if sums.is_symlink() else ""
    ends = [where.rstrip("/").rpartition("/")[2] for where in (uri, str(path.absolute()), linked)]
    return [end for end in ends if end.isdecimal()]


def _folder(path: str | Path) -> Path:
    if not os.path.isdir(path):
        raise UserError(
            f"{path}: there is no such folder; give the folder of a registered model"
            f"{path_near(path, Path.is_dir)}"
        )
    return Path(path)


def _linked_from(path: Path) -> Path:
    """Returns the folder that every entry of this one is linked from, or this one.

    KServe's storage initializer links what lies on a volume instead of copying it.
    """
    if not (path / SUMS).is_symlink():
        return path
    try:
        source = (path / SUMS).resolve(strict=True).parent
        names = [*_names(path), *_names(source)]
        same = all(
            (path / name).resolve(strict=True) == (source / name).resolve(strict=True)
            for name in names
        )
    except (OSError, RuntimeError) as error:  # RuntimeError: links that go round
        raise UserError(f"{path}: holds links that lead nowhere: {reason(error)}") from error
    if not same:
        raise UserError(f"{path}: its entries are not all linked from one folder; copy the model")
    return source


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, MAX_FILES)]  # no model has more


def _read_card(path: Path) -> str:
    try:
        text = _bytes_of(path / CARD).decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path / CARD}: cannot read: {reason(error)}; register the model again"
        ) from error
    # Front matter is for programs.
    return text.split("\n---\n", 1)[-1] if text.startswith("---\n") else text


def _read_drift(path: Path) -> DriftReference | None:
    if not (path / DRIFT).exists():
        return None
    return _read(path / DRIFT, TypeAdapter(DriftReference))


def _read(path: Path, adapter: TypeAdapter[_T]) -> _T:
    try:
        return adapter.validate_json(_bytes_of(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)}; register the model again") from error


def _bytes_of(path: Path) -> bytes:
    try:
        return read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise UserError(
            f"{path}: cannot read: {reason(error)}; register the model again"
        ) from error
