"""Decoded files on disk, before they are a dataset: chunks, in parts that machines share out."""

import hashlib
import io
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from components.shared.data.dataset import ImageRecord, QuarantinedFile, SourceRecord
from components.shared.errors import UserError, reason
from components.shared.storage.files import file_digest, read_json

PART = "part.json"
_AGAIN = "ingest the data again"


class Chunk(BaseModel):
    """What is known of a run of files once their pixels are on disk; groups come later."""

    images: list[ImageRecord]
    patients: list[tuple[str, ...]] = Field(description="keys of each image's patient")
    quarantined: list[QuarantinedFile]
    quarantined_labels: list[int | None] = Field(description="class of each, None where unknown")
    pixels_file_sha256: str
    thumbnails_file_sha256: str
    heads_file_sha256: str


class Part(BaseModel):
    """Which chunks of a source's files one of the workers decoded.

    Every worker lists the source by itself, so what it says of the list has to be what the others
    say.
    """

    source: str
    source_version: str
    listing: str = Field(description="changes when a file comes, goes or changes")
    files: int = Field(ge=0, description="of the source")
    left_out: dict[str, int]
    judging: bool = Field(default=False, description="a model is only to be judged by the source")
    sources: tuple[SourceRecord, ...] = ()
    chunks: int = Field(ge=0, description="of the source")
    first: int = Field(ge=0, description="chunk of this part")
    stop: int = Field(description="the first chunk that is no longer of this part")

    @model_validator(mode="after")
    def _check_order(self) -> "Part":
        if not self.first <= self.stop <= self.chunks:
            raise ValueError("the chunks of the part are not among those of the source")
        return self


def read_part(folder: Path) -> Part:
    """Returns what a finished part says of itself.

    Raises:
        UserError: It is not finished, or damaged.
    """
    return read_json(folder / PART, Part, _AGAIN)


def read_chunk(folder: Path, number: int) -> Chunk:
    """Returns what is known of a chunk.

    Raises:
        UserError: It is missing or damaged.
    """
    return read_json(record_path(folder, number), Chunk, _AGAIN)


def finished_chunk(folder: Path, number: int) -> bool:
    """Returns whether a chunk is whole; False too where a part lacks or has changed."""
    try:
        chunk = TypeAdapter(Chunk).validate_json(record_path(folder, number).read_bytes())
        pixels = file_digest(pixels_path(folder, number))
        thumbnails = file_digest(thumbnails_path(folder, number))
        heads = file_digest(heads_path(folder, number))
    except (OSError, ValidationError):
        return False
    return (pixels, thumbnails, heads) == (
        chunk.pixels_file_sha256,
        chunk.thumbnails_file_sha256,
        chunk.heads_file_sha256,
    )


def read_thumbnails(folder: Path, number: int, chunk: Chunk) -> np.ndarray:
    """Returns a chunk's thumbnails, uint8 [n, 32, 32].

    Raises:
        UserError: They are missing or have changed.
    """
    return _read_array(thumbnails_path(folder, number), chunk.thumbnails_file_sha256)


def read_heads(folder: Path, number: int, chunk: Chunk) -> np.ndarray:
    """Returns the heads of a chunk's images, uint8 [n, 3, 40, 40].

    Raises:
        UserError: They are missing or have changed.
    """
    return _read_array(heads_path(folder, number), chunk.heads_file_sha256)


def _read_array(path: Path, sha256: str) -> np.ndarray:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read: {reason(error)}; {_AGAIN}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{path}: has changed since it was written; {_AGAIN}")
    array: np.ndarray = np.load(io.BytesIO(content))  # which reads no pickle
    return array


def hand_over(work: Path, folder: Path) -> None:
    """Gives another folder the files of a finished part, the one that says so last.

    Args:
        work: Folder of the part.
        folder: Made where missing. On the same file system no byte is copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = read_part(work)
    for number in range(part.first, part.stop):
        for path in (pixels_path, thumbnails_path, heads_path, record_path):
            link_or_copy(path(work, number), path(folder, number))
    link_or_copy(work / PART, folder / PART)


def link_or_copy(source: Path, target: Path) -> None:
    """Makes a file appear in another place, whole, without its bytes passing through memory."""
    beside = target.with_name(f".{target.name}")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:  # another file system
        shutil.copyfile(source, beside)
    beside.replace(target)


def save_array(path: Path, count: int, item: tuple[int, ...], blocks: Iterable[np.ndarray]) -> str:
    """Writes an array of bytes beside its place, block by block, and renames it there.

    Args:
        path: The file.
        count: Items in all.
        item: Shape of one.
        blocks: uint8 [any, *item], together `count` items.

    Returns:
        The file's SHA-256.
    """
    beside = path.with_name(f".{path.name}")
    header = io.BytesIO()
    form = {"descr": "|u1", "fortran_order": False, "shape": (count, *item)}
    np.lib.format.write_array_header_1_0(header, form)
    digest = hashlib.sha256(header.getvalue())
    with open(beside, "wb") as file:
        file.write(header.getvalue())
        for block in blocks:
            content = np.ascontiguousarray(block, dtype=np.uint8)
            digest.update(content)
            file.write(content)
    beside.replace(path)
    return digest.hexdigest()


def pixels_path(folder: Path, number: int) -> Path:
    """Returns the file of a chunk's pixels."""
    return folder / f"pixels-{number:05d}.npy"


def thumbnails_path(folder: Path, number: int) -> Path:
    """Returns the file of a chunk's thumbnails."""
    return folder / f"thumbnails-{number:05d}.npy"


def heads_path(folder: Path, number: int) -> Path:
    """Returns the file of the heads of a chunk's images."""
    return folder / f"heads-{number:05d}.npy"


def record_path(folder: Path, number: int) -> Path:
    """Returns the file of what is known of a chunk; it is written when the others are."""
    return folder / f"chunk-{number:05d}.json"
