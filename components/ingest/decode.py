"""Files -> checked pixels: decoded once, in parallel, a chunk at a time, resumable."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import imagehash
import numpy as np
from PIL import Image

from components.dataset import CLASSES, ImageRecord, QuarantinedFile
from components.errors import UserError
from components.files import write_atomically
from components.images import SHAPE, THUMBNAIL, ImageError, decode, thumbnail
from components.ingest.listing import SourceFile
from components.ingest.parts import (
    PART,
    Chunk,
    Part,
    blocks_of,
    finished_chunk,
    pixels_path,
    record_path,
    save_array,
    thumbnails_path,
)
from components.ingest.patients import patient_keys
from components.ingest.sources import Source
from components.progress import track

FILES_IN_A_CHUNK = 2048

_EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "TIFF": {".tif", ".tiff"},
}

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_REASON = "a Git LFS pointer in place of the image; fetch the images with: git lfs pull"


def decode_part(source: Source, folder: Path, worker: int = 1, workers: int = 1) -> None:
    """Decodes one worker's share of a source's files.

    Chunks that are finished stay in the folder, so that a killed worker goes on where it was. The
    same input gives the same bytes, and the chunks of all workers are those of a single one.

    Args:
        source: An opened source.
        folder: Where the part is written, and an earlier, killed worker may have left chunks.
        worker: Which, from 1.
        workers: How many share the files.

    Raises:
        UserError: A class is missing.
    """
    for what, files in source.left_out.items():
        print(f"left out: {files:,} files, {what}", flush=True)
    for note in source.notes:
        print(note, flush=True)
    _check_classes(source)
    chunks = -(-len(source.files) // FILES_IN_A_CHUNK)
    salt = source.salt()
    first, stop = (chunks * n // workers for n in (worker - 1, worker))
    for number in range(first, stop):
        if finished_chunk(folder, number):
            print(f"chunk {number + 1} of {chunks} was decoded before", flush=True)
        else:
            start = number * FILES_IN_A_CHUNK
            run = source.files[start : start + FILES_IN_A_CHUNK]
            _decode_chunk(run, folder, number, source.readers, salt)
    part = Part(
        source=source.uri,
        source_version=source.version,
        listing=source.listing_id(),
        files=len(source.files),
        left_out=dict(source.left_out),
        chunks=chunks,
        first=first,
        stop=stop,
    )
    write_atomically(folder / PART, part.model_dump_json())


def _decode_chunk(
    files: Sequence[SourceFile], folder: Path, number: int, readers: int, salt: bytes
) -> None:
    """Decodes a run of files; writes pixels and thumbnails first and the chunk's record last."""
    pixels = np.empty((len(files), *SHAPE), dtype=np.uint8)
    thumbnails = np.empty((len(files), THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    images: list[ImageRecord] = []
    patients: list[tuple[str, ...]] = []
    quarantined: list[QuarantinedFile] = []
    labels: list[int | None] = []
    with ThreadPoolExecutor(max_workers=readers) as pool:
        results = track(pool.map(_decode_file, files), len(files), "files decoded")
        for file, result in zip(files, results, strict=True):
            if isinstance(result, QuarantinedFile):
                quarantined.append(result)
                labels.append(file.label)
            else:
                record, pixels[len(images)], thumbnails[len(images)] = result
                images.append(record)
                patients.append(patient_keys([file.patient] if file.patient else [], salt))

    def save(path: Path, array: np.ndarray) -> str:
        return save_array(path, len(images), array.shape[1:], blocks_of(array[: len(images)]))

    chunk = Chunk(
        images=images,
        patients=patients,
        quarantined=quarantined,
        quarantined_labels=labels,
        pixels_file_sha256=save(pixels_path(folder, number), pixels),
        thumbnails_file_sha256=save(thumbnails_path(folder, number), thumbnails),
    )
    write_atomically(record_path(folder, number), chunk.model_dump_json())


def _decode_file(file: SourceFile) -> tuple[ImageRecord, np.ndarray, np.ndarray] | QuarantinedFile:
    if file.problem or file.label is None:
        return QuarantinedFile(path=file.path, reason=file.problem or "in no class folder")
    try:
        content = file.read()
    except UserError:  # the store failed, and the file may be good
        raise
    except Exception as error:  # hostile archives raise nearly anything
        return QuarantinedFile(path=file.path, reason=f"unreadable: {error}")
    try:
        image = decode(content)
    except ImageError as error:
        reason = _LFS_REASON if content.startswith(_LFS_POINTER) else str(error)
        return QuarantinedFile(path=file.path, reason=reason)
    suffix = PurePosixPath(file.path).suffix.lower()
    record = ImageRecord(
        path=file.path,
        label=file.label,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        pixels_sha256=hashlib.sha256(image.pixels).hexdigest(),
        phash=str(imagehash.phash(Image.fromarray(image.pixels))),
        width=image.width,
        height=image.height,
        mode=image.mode,
        format=image.format,  # type: ignore[arg-type]  # decode() allows these formats only
        wrong_extension=suffix not in _EXTENSIONS[image.format],
        group=0,
        site=file.site,
        sequence=file.sequence,
    )
    return record, image.pixels, thumbnail(image.pixels)


def _check_classes(source: Source) -> None:
    for label in range(len(CLASSES)):
        if label not in source.files.labels:
            unread = (f for f in source.files if f.problem and f.label is None)
            first = next((f" ({f.path}: {f.problem})" for f in unread), "")
            raise missing_class(source.uri, label, f"holds no files{first}", source.advice(label))


def missing_class(uri: str, label: int, fault: str, advice: str) -> UserError:
    """Returns what to tell of a source that lacks a class.

    Args:
        uri: Of the source.
        label: Of the class.
        fault: What is wrong with it.
        advice: What to do.
    """
    return UserError(f"source {uri}: class '{CLASSES[label]}' {fault}; {advice}")
