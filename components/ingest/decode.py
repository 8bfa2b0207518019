"""Files -> checked pixels: decoded once, in parallel, a chunk at a time, resumable."""

import hashlib
import math
import tempfile
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, TypeVar

import imagehash
import numpy as np
from PIL import Image

from components.ingest.listing import SourceFile
from components.ingest.parts import (
    PART,
    Chunk,
    Part,
    finished_chunk,
    heads_path,
    pixels_path,
    record_path,
    save_array,
    thumbnails_path,
)
from components.ingest.patients import patient_keys
from components.ingest.sources import Source
from components.shared.data.classes import CLASSES
from components.shared.data.dataset import ImageRecord, QuarantinedFile
from components.shared.errors import UserError
from components.shared.images.decode import SHAPE, THUMBNAIL, ImageError, thumbnail
from components.shared.images.slices import MAX_SLICES, Slices, read
from components.shared.near_duplicates.heads import BRIGHTNESSES, HEAD, heads
from components.shared.reports.numbers import counted
from components.shared.run.progress import track
from components.shared.storage.files import write_atomically

Item = TypeVar("Item")
Result = TypeVar("Result")

FILES_IN_A_CHUNK = 2048

_IMAGES_AT_ONCE = 64  # whose arrays are copied
# What is kept of an image: where the arrays of a chunk lie, and the shape of one.
_ARRAYS = (
    (pixels_path, SHAPE),
    (thumbnails_path, (THUMBNAIL, THUMBNAIL)),
    (heads_path, (len(BRIGHTNESSES), HEAD, HEAD)),
)

_EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "TIFF": {".tif", ".tiff"},
    "NIfTI": {".nii", ".gz"},
}
_OF_OTHERS = set().union(*_EXTENSIONS.values())  # a DICOM's name ends in .dcm, a number or nothing

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_REASON = "a Git LFS pointer in place of the image; fetch the images with: git lfs pull"


def decode_part(
    source: Source,
    folder: Path,
    worker: int = 1,
    workers: int = 1,
    slices: int = MAX_SLICES,
) -> None:
    """Decodes one worker's share of a source's files.

    Chunks that are finished stay in the folder, so that a killed worker goes on where it was. The
    same input gives the same bytes, and the chunks of all workers are those of a single one.

    Args:
        source: An opened source.
        folder: Where the part is written, and an earlier, killed worker may have left chunks.
        worker: Which, from 1.
        workers: How many share the files.
        slices: To take, at most, of a file that holds several.

    Raises:
        UserError: A class is missing.
    """
    for what, files in source.left_out.items():
        print(f"left out: {counted(files, 'file')}, {what}", flush=True)
    for note in source.notes:
        print(note, flush=True)
    _check_classes(source)
    chunks = math.ceil(len(source.files) / FILES_IN_A_CHUNK)
    salt = source.salt()
    first, stop = (chunks * n // workers for n in (worker - 1, worker))
    for number in range(first, stop):
        if finished_chunk(folder, number):
            print(f"chunk {number + 1} of {chunks} was decoded before", flush=True)
        else:
            start = number * FILES_IN_A_CHUNK
            run = source.files[start : start + FILES_IN_A_CHUNK]
            _decode_chunk(run, folder, number, readers=source.readers, salt=salt, max_slices=slices)
    part = Part(
        source=source.uri,
        source_version=source.version,
        listing=source.listing_id(),
        files=len(source.files),
        left_out=dict(source.left_out),
        judging=source.judging,
        sources=source.sources,
        chunks=chunks,
        first=first,
        stop=stop,
    )
    write_atomically(folder / PART, part.model_dump_json())


class _Image(NamedTuple):
    """A slice of a file, as the dataset has it.

    Attributes:
        record: All but its group and its patient.
        arrays: Those of `_ARRAYS`.
        identifiers: What is known of its patient. They are never written.
    """

    record: ImageRecord
    arrays: tuple[np.ndarray, ...]
    identifiers: Sequence[str]


def _decode_chunk(
    files: Sequence[SourceFile],
    folder: Path,
    number: int,
    *,
    readers: int,
    salt: bytes,
    max_slices: int,
) -> None:
    """Decodes a run of files; writes their arrays first and the chunk's record last."""
    images: list[ImageRecord] = []
    patients: list[tuple[str, ...]] = []
    quarantined: list[QuarantinedFile] = []
    labels: list[int | None] = []
    decode = partial(_decode_file, max_slices=max_slices)
    # Volumes have many slices, so that arrays wait on disk until their number is known.
    with ThreadPoolExecutor(max_workers=readers) as pool, ExitStack() as stack:
        spools = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in _ARRAYS]
        decoded = _in_order(pool, decode, files, 4 * readers)
        results = track(decoded, len(files), "files read")
        for file, result in zip(files, results, strict=True):
            if isinstance(result, QuarantinedFile):
                quarantined.append(result)
                labels.append(file.label)
                continue
            for image in result:
                for spool, array in zip(spools, image.arrays, strict=True):
                    spool.write(array)
                images.append(image.record)
                patients.append(patient_keys(image.identifiers, salt))
        pixels_sha256, thumbnails_sha256, heads_sha256 = (
            save_array(
                path(folder, number), len(images), shape, _spooled(spool, len(images), shape)
            )
            for spool, (path, shape) in zip(spools, _ARRAYS, strict=True)
        )
    chunk = Chunk(
        images=images,
        patients=patients,
        quarantined=quarantined,
        quarantined_labels=labels,
        pixels_file_sha256=pixels_sha256,
        thumbnails_file_sha256=thumbnails_sha256,
        heads_file_sha256=heads_sha256,
    )
    write_atomically(record_path(folder, number), chunk.model_dump_json())


def _in_order(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], max_waiting: int
) -> Iterator[Result]:
    """Yields results in the items' order, and keeps a few of them waiting for a slow one."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        if len(waiting) == max_waiting:
            yield waiting.popleft().result()
        waiting.append(pool.submit(work, item))
    while waiting:
        yield waiting.popleft().result()


def _spooled(spool: IO[bytes], count: int, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yields the arrays that were written, a few at a time."""
    spool.seek(0)
    for _ in range(0, count, _IMAGES_AT_ONCE):
        content = spool.read(_IMAGES_AT_ONCE * math.prod(shape))
        yield np.frombuffer(content, np.uint8).reshape(-1, *shape)


def _decode_file(file: SourceFile, max_slices: int) -> list[_Image] | QuarantinedFile:
    if file.problem or file.label is None:
        return QuarantinedFile(path=file.path, reason=file.problem or "in no class folder")
    try:
        content = file.read()
    except UserError:  # the store failed, and the file may be good
        raise
    except Exception as error:  # hostile archives raise nearly anything
        return QuarantinedFile(path=file.path, reason=f"unreadable: {error}")
    try:
        slices = read(content, max_slices=max_slices)
    except ImageError as error:
        reason = _LFS_REASON if content.startswith(_LFS_POINTER) else str(error)
        return QuarantinedFile(path=file.path, reason=reason)
    digest, identifiers = hashlib.sha256(content).hexdigest(), _identifiers(file, slices)
    images = []
    for number, image in zip(slices.numbers, slices.images, strict=True):
        record = ImageRecord(
            path=file.path if slices.of == 1 else f"{file.path}#{number}",
            label=file.label,
            bytes=len(content),
            sha256=digest,
            pixels_sha256=hashlib.sha256(image.pixels).hexdigest(),
            phash=str(imagehash.phash(Image.fromarray(image.pixels))),
            width=image.width,
            height=image.height,
            mode=image.mode,
            format=image.format,  # type: ignore[arg-type]  # read() allows these formats only
            wrong_extension=_has_wrong_extension(file.path, image.format),
            group=0,
            site=file.site,
            sequence=file.sequence,
            type=file.type,
            plane=file.plane,
            source=file.source,
        )
        arrays = image.pixels, thumbnail(image.pixels), heads(image.pixels)
        images.append(_Image(record, arrays, identifiers))
    return images


def _identifiers(file: SourceFile, slices: Slices) -> list[str]:
    """Returns what is known of a file's patient: labels count for more than what the file says.

    So who knows better than tags, in which all patients may be number 1, can say so.
    """
    known = [file.patient] if file.patient else list(slices.subject)
    return known if slices.of == 1 else [*known, f"file\t{file.path}"]


def _has_wrong_extension(path: str, kind: str) -> bool:
    suffix = PurePosixPath(path).suffix.lower()
    return suffix in _OF_OTHERS if kind == "DICOM" else suffix not in _EXTENSIONS[kind]


def _check_classes(source: Source) -> None:
    label = lacking(source.files.counts, source.judging)
    if label is not None:
        unread = (f for f in source.files if f.problem and f.label is None)
        first = next((f" ({f.path}: {f.problem})" for f in unread), "")
        raise missing_class(source.uri, label, f"holds no files{first}", source.advice(label))


def lacking(labels: Container[object], judging: bool) -> int | None:
    """Returns the first class that a source should have and has not, or None.

    Args:
        labels: Those that it has.
        judging: Whether a model is only to be judged by it, for which one class is enough.
    """
    missing = [label for label in range(len(CLASSES)) if label not in labels]
    enough = len(missing) < len(CLASSES) if judging else not missing
    return None if enough else missing[0]


def missing_class(uri: str, label: int, fault: str, advice: str) -> UserError:
    """Returns what to tell of a source that lacks a class.

    Args:
        uri: Of the source.
        label: Of the class.
        fault: What is wrong with it.
        advice: What to do.
    """
    return UserError(f"source {uri}: class '{CLASSES[label]}' {fault}; {advice}")
