"""Decoded parts -> a dataset: near-duplicates and patients grouped, one manifest written."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.ingest.decode import lacking, missing_class
from components.ingest.parts import (
    Chunk,
    Part,
    link_or_copy,
    pixels_path,
    read_chunk,
    read_heads,
    read_part,
    read_thumbnails,
    save_array,
)
from components.ingest.patients import number_patients
from components.shared.data.dataset import (
    MANIFEST,
    THUMBNAILS,
    ImageRecord,
    Manifest,
    QuarantinedFile,
    Shard,
    write_manifest,
)
from components.shared.errors import UserError
from components.shared.images.decode import THUMBNAIL
from components.shared.near_duplicates.grouping import NearDuplicates
from components.shared.near_duplicates.heads import BRIGHTNESSES, HEAD
from components.shared.reports.numbers import counted, percent


def assemble(folders: Sequence[str | Path], output: str | Path, max_bad_share: float) -> None:
    """Writes a dataset from the parts that workers decoded.

    Whatever the number of parts, the same source gives the same bytes. Of what is known of the
    images, memory holds a few numbers each; the rest is read from disk a chunk at a time.

    Args:
        folders: All parts of a source, in any order; on the output's file system their pixels
            are linked and not copied.
        output: Folder of the dataset. The manifest is the last file written.
        max_bad_share: Greatest share of unusable files, 0..1.

    Raises:
        UserError: A class is empty, too many files are unusable, or the parts are not those of
            one source as it was at one time.
    """
    parts = _Parts([Path(folder) for folder in folders])
    seen = _scan(parts)
    _check_share(parts.source, seen, max_bad_share)
    label = lacking(seen.labels, parts.source.judging)
    if label is not None:
        unused = seen.first_unused.get(label) or seen.first_unused.get(None)
        first = f" ({unused.path}: {unused.reason})" if unused else ""
        fault = f"holds no usable image{first}"
        raise missing_class(parts.source.source, label, fault, "give a source that has some")

    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    thumbnails_sha256 = save_array(
        output / THUMBNAILS,
        len(seen.labels),
        (THUMBNAIL, THUMBNAIL),
        (read_thumbnails(*at, chunk) for at, chunk in parts.chunks()),
    )
    groups, contradicted = _near_duplicates(parts, output, seen.labels)
    patients = number_patients(keys for _, chunk in parts.chunks() for keys in chunk.patients)
    _note_patients_of_several_sources(parts, patients)
    manifest = Manifest(
        source=parts.source.source,
        source_version=parts.source.source_version or seen.content_version,
        sources=parts.source.sources,
        shards=tuple(_hand_over_pixels(parts, output)),
        thumbnails_sha256=thumbnails_sha256,
        images=(),
        quarantined=(),
        left_out=parts.source.left_out,
        mixed_groups=mixed_groups(groups, seen.labels),
        contradicted=tuple(np.flatnonzero(contradicted).tolist()),
    )
    write_manifest(
        output / MANIFEST,
        manifest,
        _grouped(parts, groups, patients),
        (file for _, chunk in parts.chunks() for file in chunk.quarantined),
    )


def _near_duplicates(
    parts: "_Parts", output: Path, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the group of each image, int64 [n], and whether another class has its picture too.

    Only this needs the heads, so they lie in the output's folder no longer than it takes.
    """
    path = output / ".heads.npy"
    heads = (read_heads(*at, chunk) for at, chunk in parts.chunks())
    try:
        save_array(path, len(labels), (len(BRIGHTNESSES), HEAD, HEAD), heads)
        found = NearDuplicates(
            np.load(output / THUMBNAILS, mmap_mode="r"), np.load(path, mmap_mode="r")
        )
        groups = found.groups()
        return groups, found.contradicted(groups, labels)
    finally:
        path.unlink(missing_ok=True)


def mixed_groups(groups: np.ndarray, labels: np.ndarray) -> tuple[int, ...]:
    """Returns the groups that hold more than one class.

    Args:
        groups: int64 [n].
        labels: int [n].
    """
    pairs = np.unique(np.stack([groups, labels], axis=1), axis=0)
    group, classes = np.unique(pairs[:, 0], return_counts=True)
    return tuple(int(g) for g in group[classes > 1])


class _Parts:
    """The chunks of all parts, in the order of the source's files."""

    def __init__(self, folders: Sequence[Path]) -> None:
        parts = sorted(
            ((read_part(folder), folder) for folder in folders),
            key=lambda found: (found[0].first, found[0].stop),
        )
        self.source: Part = parts[0][0]
        self._folders: list[Path] = []
        for part, folder in parts:
            if _common_fields(part) != _common_fields(self.source):
                raise UserError(
                    f"source {self.source.source}: it changed while it was read: the workers found "
                    "other files; ingest it again when it no longer changes"
                )
            if part.first != len(self._folders):
                break
            self._folders += [folder] * (part.stop - part.first)
        if len(self._folders) != self.source.chunks:
            raise UserError(
                f"source {self.source.source}: a worker's part is missing, or there twice; ingest "
                "the data again"
            )

    def chunks(self) -> Iterator[tuple[tuple[Path, int], Chunk]]:
        """Yields where each chunk lies, folder and number, and what is known of it."""
        for number, folder in enumerate(self._folders):
            yield (folder, number), read_chunk(folder, number)


def _common_fields(part: Part) -> Part:
    """Returns what has to be the same in all parts."""
    return part.model_copy(update={"first": 0, "stop": 0})


class _Scan(NamedTuple):
    """What a look through all chunks gives.

    Attributes:
        labels: Of the images, int8 [n].
        unused: How many files are unusable, by source; under "" where there is one.
        first_unused: The first of each class, under None of those without.
        first_of_source: The first of each source, named as in `unused`.
        content_version: SHA-256 of names and digests.
    """

    labels: np.ndarray
    unused: Counter[str]
    first_unused: dict[int | None, QuarantinedFile]
    first_of_source: dict[str, QuarantinedFile]
    content_version: str


def _scan(parts: _Parts) -> _Scan:
    labels = [np.empty(0, dtype=np.int8)]
    unused: Counter[str] = Counter()
    first_unused: dict[int | None, QuarantinedFile] = {}
    first_of_source: dict[str, QuarantinedFile] = {}
    digest, between = hashlib.sha256(), ""
    for _, chunk in parts.chunks():
        labels.append(np.array([record.label for record in chunk.images], dtype=np.int8))
        for file, label in zip(chunk.quarantined, chunk.quarantined_labels, strict=True):
            source = file.path.partition("/")[0] if parts.source.sources else ""
            unused[source] += 1
            first_unused.setdefault(label, file)
            first_of_source.setdefault(source, file)
        for record in chunk.images:
            digest.update(f"{between}{record.path}\t{record.sha256}".encode())
            between = "\n"
    version = f"sha256:{digest.hexdigest()}"
    return _Scan(np.concatenate(labels), unused, first_unused, first_of_source, version)


def _check_share(part: Part, seen: _Scan, allowed: float) -> None:
    """Checks each source by itself: a large good one does not hide a small broken one."""
    several = {source.name: (source.address, source.files) for source in part.sources}
    for name, (address, files) in (several or {"": (part.source, part.files)}).items():
        if unused := seen.unused[name]:
            share, first = unused / files, seen.first_of_source[name]
            found = (
                f"{unused} of {files} files ({percent(share)}) are unusable, "
                f"{percent(allowed)} are allowed; the first is {first.path} ({first.reason})"
            )
            if share > allowed:
                raise UserError(f"source {address}: {found}; mend the data or raise max_bad_share")
            print(f"{name}: {found}" if name else found, flush=True)


def _note_patients_of_several_sources(parts: _Parts, patients: np.ndarray) -> None:
    sources = (record.source for _, chunk in parts.chunks() for record in chunk.images)
    seen = set(zip(patients.tolist(), sources, strict=True))
    of_each = Counter(patient for patient, _ in seen if patient >= 0)
    if shared := sum(count > 1 for count in of_each.values()):
        print(
            f"{counted(shared, 'patient')} in more than one source; if they are different people, "
            "write the source into the patient, as in Ulm-17",
            flush=True,
        )


def _hand_over_pixels(parts: _Parts, output: Path) -> Iterator[Shard]:
    """Gives the dataset the chunks' pixels, but for empty ones; a killed run finds them again."""
    shards = 0
    for (folder, number), chunk in parts.chunks():
        if chunk.images:
            name = f"images-{shards:05d}.npy"
            link_or_copy(pixels_path(folder, number), output / name)
            yield Shard(file=name, images=len(chunk.images), sha256=chunk.pixels_file_sha256)
            shards += 1


def _grouped(parts: _Parts, groups: np.ndarray, patients: np.ndarray) -> Iterator[ImageRecord]:
    """Yields the images with what holds them together."""
    position = 0
    for _, chunk in parts.chunks():
        for record in chunk.images:
            patient = int(patients[position])
            yield replace(
                record,
                group=int(groups[position]),
                patient=None if patient < 0 else patient,
            )
            position += 1
