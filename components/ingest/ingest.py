"""Files -> a dataset: decoded once, in parallel, a chunk at a time, resumable."""

import hashlib
import io
import os
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import imagehash
import numpy as np
from PIL import Image
from pydantic import BaseModel, TypeAdapter, ValidationError

from components.dataset import (
    CLASSES,
    MANIFEST,
    THUMBNAILS,
    ImageRecord,
    Manifest,
    QuarantinedFile,
    Shard,
)
from components.errors import UserError
from components.files import file_digest, write_atomically
from components.images import SHAPE, THUMBNAIL, ImageError, decode, thumbnail
from components.ingest.duplicates import group_duplicates
from components.ingest.listing import SourceFile
from components.ingest.patients import number_patients, patient_keys, run_salt
from components.ingest.sources import Source
from components.progress import track
from components.work import work_folder

FILES_IN_A_CHUNK = 2048

_EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "TIFF": {".tif", ".tiff"},
}

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_REASON = "a Git LFS pointer in place of the image; fetch the images with: git lfs pull"


class _Chunk(BaseModel):
    """What is known of a run of files once their pixels are on disk; groups come later."""

    images: list[ImageRecord]
    patients: list[tuple[str, ...]]  # keys of each image's patient
    quarantined: list[QuarantinedFile]
    pixels_file_sha256: str
    thumbnails_file_sha256: str


def ingest(
    source: Source, output: str | Path, state: str | Path, max_bad_share: float = 0.05
) -> Manifest:
    """Writes a dataset from a source.

    Chunks that are finished stay in `state` until all are, so that a killed run goes on where it
    was. The same input gives the same bytes.

    Args:
        source: An opened source.
        output: Folder of the dataset.
        state: Folder for unfinished work; outlives a killed run if it is to be resumed.
        max_bad_share: Greatest share of unusable files, 0..1.

    Returns:
        The manifest, which is the last file written.

    Raises:
        UserError: A class is missing or empty, or too many files are unusable.
    """
    for what, files in source.left_out.items():
        print(f"left out: {files:,} files, {what}", flush=True)
    _check_classes(source, source.files.labels, "holds no files")
    with work_folder(Path(state) / source.fingerprint()[:16]) as work:
        chunks = _decode_all(source, work)
        records = [record for chunk in chunks for record in chunk.images]
        patients = number_patients([keys for chunk in chunks for keys in chunk.patients])
        quarantined = [file for chunk in chunks for file in chunk.quarantined]
        _check_share(source, quarantined, max_bad_share)
        _check_classes(source, {record.label for record in records}, "holds no usable image")

        output = Path(output)
        output.mkdir(parents=True, exist_ok=True)
        thumbnails = np.concatenate(
            [np.load(_thumbnails_path(work, i)) for i in range(len(chunks))]
        )
        groups = group_duplicates(thumbnails)
        thumbnails_sha256 = _save_array(output / THUMBNAILS, thumbnails)
        labels = np.array([record.label for record in records])
        manifest = Manifest(
            source=source.uri,
            source_version=source.version or _content_version(records),
            shards=tuple(_move_shards(work, output, chunks)),
            thumbnails_sha256=thumbnails_sha256,
            images=tuple(
                record.model_copy(update={"group": int(group), "patient": patient})
                for record, group, patient in zip(records, groups, patients, strict=True)
            ),
            quarantined=tuple(quarantined),
            left_out=dict(source.left_out),
            mixed_groups=mixed_groups(groups, labels),
        )
        write_atomically(output / MANIFEST, manifest.as_json())
        shutil.rmtree(work)
        return manifest


def mixed_groups(groups: np.ndarray, labels: np.ndarray) -> tuple[int, ...]:
    """Returns the groups that hold more than one class.

    Args:
        groups: int64 [n].
        labels: int [n].
    """
    pairs = np.unique(np.stack([groups, labels], axis=1), axis=0)
    group, classes = np.unique(pairs[:, 0], return_counts=True)
    return tuple(int(g) for g in group[classes > 1])


def _decode_all(source: Source, work: Path) -> list[_Chunk]:
    files = source.files
    runs = [files[i : i + FILES_IN_A_CHUNK] for i in range(0, len(files), FILES_IN_A_CHUNK)]
    salt = run_salt(work)
    chunks = []
    for number, run in enumerate(runs):
        chunk = _finished_chunk(work, number)
        if chunk is None:
            chunk = _decode_chunk(run, work, number, source.readers, salt)
        else:
            print(f"chunk {number + 1} of {len(runs)} was decoded before", flush=True)
        chunks.append(chunk)
    return chunks


def _decode_chunk(
    files: tuple[SourceFile, ...], work: Path, number: int, readers: int, salt: bytes
) -> _Chunk:
    """Decodes a run of files; writes pixels and thumbnails first and the chunk's record last."""
    pixels = np.empty((len(files), *SHAPE), dtype=np.uint8)
    thumbnails = np.empty((len(files), THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    images: list[ImageRecord] = []
    patients: list[tuple[str, ...]] = []
    quarantined: list[QuarantinedFile] = []
    with ThreadPoolExecutor(max_workers=readers) as pool:
        results = track(pool.map(_decode_file, files), len(files), "files decoded")
        for file, result in zip(files, results, strict=True):
            if isinstance(result, QuarantinedFile):
                quarantined.append(result)
            else:
                record, pixels[len(images)], thumbnails[len(images)] = result
                images.append(record)
                patients.append(patient_keys([file.patient] if file.patient else [], salt))
    digest = _save_array(_pixels_path(work, number), pixels[: len(images)])
    chunk = _Chunk(
        images=images,
        patients=patients,
        quarantined=quarantined,
        pixels_file_sha256=digest,
        thumbnails_file_sha256=_save_array(
            _thumbnails_path(work, number), thumbnails[: len(images)]
        ),
    )
    write_atomically(_record_path(work, number), chunk.model_dump_json())
    return chunk


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


def _finished_chunk(work: Path, number: int) -> _Chunk | None:
    """Returns a chunk that an earlier run finished, or None where a part lacks or has changed."""
    try:
        chunk = TypeAdapter(_Chunk).validate_json(_record_path(work, number).read_bytes())
        pixels = file_digest(_pixels_path(work, number))
        thumbnails = file_digest(_thumbnails_path(work, number))
    except (OSError, ValidationError):
        return None
    if (pixels, thumbnails) != (chunk.pixels_file_sha256, chunk.thumbnails_file_sha256):
        return None
    return chunk


def _move_shards(work: Path, output: Path, chunks: list[_Chunk]) -> list[Shard]:
    """Moves the chunks' pixels into the dataset, leaving out the empty ones."""
    shards: list[Shard] = []
    for number, chunk in enumerate(chunks):
        if chunk.images:
            name = f"images-{len(shards):05d}.npy"
            # A copy beside, renamed: a run killed here finds the chunk again.
            beside = output / f".{name}"
            _link_or_copy(_pixels_path(work, number), beside)
            beside.replace(output / name)
            shards.append(
                Shard(file=name, images=len(chunk.images), sha256=chunk.pixels_file_sha256)
            )
    return shards


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _save_array(path: Path, array: np.ndarray) -> str:
    """Writes an array beside its place, renames it there and returns the file's SHA-256."""
    beside = path.with_name(f".{path.name}")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    digest = hashlib.sha256(header.getvalue())
    with open(beside, "wb") as file:
        file.write(header.getvalue())
        for start in range(0, len(array), 64):
            block = np.ascontiguousarray(array[start : start + 64])
            digest.update(block)
            file.write(block)
    beside.replace(path)
    return digest.hexdigest()


def _pixels_path(work: Path, number: int) -> Path:
    return work / f"pixels-{number:05d}.npy"


def _thumbnails_path(work: Path, number: int) -> Path:
    return work / f"thumbnails-{number:05d}.npy"


def _record_path(work: Path, number: int) -> Path:
    return work / f"chunk-{number:05d}.json"


def _content_version(records: list[ImageRecord]) -> str:
    rows = "\n".join(f"{record.path}\t{record.sha256}" for record in records)
    return "sha256:" + hashlib.sha256(rows.encode()).hexdigest()


def _check_classes(source: Source, labels: Collection[int | None], fault: str) -> None:
    for label, name in enumerate(CLASSES):
        if label not in labels:
            unread = (f for f in source.files if f.problem and f.label in (label, None))
            first = next((f" ({f.path}: {f.problem})" for f in unread), "")
            raise UserError(
                f"source {source.uri}: class '{name}' {fault}{first}; "
                f"give a source with image folders named {' and '.join(CLASSES)}"
            )


def _check_share(source: Source, quarantined: list[QuarantinedFile], allowed: float) -> None:
    if not quarantined:
        return
    share, first = len(quarantined) / len(source.files), quarantined[0]
    found = (
        f"{len(quarantined)} of {len(source.files)} files ({share:.1%}) are unusable, "
        f"{allowed:.1%} are allowed; the first is {first.path} ({first.reason})"
    )
    if share > allowed:
        raise UserError(f"source {source.uri}: {found}; mend the data or raise max_bad_share")
    print(found, flush=True)
