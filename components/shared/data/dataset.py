"""The ingested dataset: a few shards of pixels, one manifest, and the split that lies over them."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from components.shared.data.classes import CLASSES, STRANGER
from components.shared.data.groups import join_groups
from components.shared.errors import UserError, first_fault, reason
from components.shared.images.decode import SHAPE, THUMBNAIL
from components.shared.storage.files import file_digest
from components.shared.strict import Strict

MANIFEST = "manifest.json"
THUMBNAILS = "thumbnails.npy"
SPLIT = "split.json"

PARTS = ("train", "validation", "held_out")
# Fields by which results are told, as far as they are known, and what people call them. A table of
# labels has those of KINDS.
KINDS = {"site": "site", "sequence": "sequence", "type": "tumour type", "plane": "plane"}
SUBGROUPS = {"source": "source"} | KINDS
MAX_NAME = 64  # characters of each of their names
Strategy = Literal["grouped", "by-name"]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ImageRecord:
    """One usable image, in the order of the shards.

    There may be a million in memory, where this takes half of what a pydantic model would.
    """

    path: str = Field(
        description="inside the source, with forward slashes; scan.dcm#3 is the third slice of a "
        "file that holds several"
    )
    label: int = Field(
        ge=0,
        le=STRANGER,
        description="index into classes, or 2 for no brain MRI, which only judges a model",
    )
    bytes: int = Field(gt=0, description="size of the file")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="digest of the file")
    pixels_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="digest of the pixels")
    phash: str = Field(pattern="^[0-9a-f]{16}$", description="perceptual hash of the pixels")
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    mode: str = Field(description="Pillow's mode, as stored")
    format: Literal["JPEG", "PNG", "TIFF", "DICOM", "NIfTI"]
    wrong_extension: bool = Field(description="the name says another format")
    group: int = Field(ge=0, description="near-duplicates share a group")
    patient: int | None = Field(
        default=None,
        ge=0,
        description="images of one patient share a number, which says nothing of them; null where "
        "the patient is unknown",
    )
    site: str | None = Field(
        default=None, min_length=1, max_length=MAX_NAME, description="where it was taken, if known"
    )
    sequence: str | None = Field(
        default=None, min_length=1, max_length=MAX_NAME, description="such as FLAIR, if known"
    )
    type: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_NAME,
        description="of the tumour, such as glioma, if known",
    )
    plane: str | None = Field(
        default=None, min_length=1, max_length=MAX_NAME, description="such as axial, if known"
    )
    source: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_NAME,
        description="which of the dataset's sources it is from; null where there is one",
    )


class QuarantinedFile(Strict):
    """A file in a class folder that could not be used."""

    path: str
    reason: str


class SourceRecord(Strict):
    """One of several sources that a dataset was made of."""

    name: str = Field(min_length=1, max_length=MAX_NAME, description="its images' paths begin so")
    address: str
    version: str = Field(description="the provider's; empty where there is none")
    weight: float = Field(gt=0, description="what each of its images counts for in training")
    files: int = Field(gt=0, description="of a class, usable or not")


class Shard(Strict):
    """A file of pixels: uint8 [images, 150, 150, 3] in NumPy's format."""

    file: str = Field(pattern=r"^images-\d{5}\.npy$")
    images: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(Strict):
    """What an ingested dataset says of itself."""

    schema_version: Literal[1] = 1
    source: str
    source_version: str
    sources: tuple[SourceRecord, ...] = Field(
        default=(), description="those that were joined, where there are several"
    )
    classes: tuple[str, ...] = CLASSES
    shards: tuple[Shard, ...]
    thumbnails_sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="digest of thumbnails.npy; datasets of before it was written have none",
    )
    images: tuple[ImageRecord, ...]
    quarantined: tuple[QuarantinedFile, ...]
    left_out: dict[str, int] = Field(
        default={}, description="files that are no images of a class, counted by what they are"
    )
    mixed_groups: tuple[int, ...] = Field(description="groups that hold more than one class")
    contradicted: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(),
        description="positions of the images whose picture is filed under another class too",
    )

    def digest(self) -> str:
        """Returns the SHA-256 of what is known of the images: the same data, the same digest."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update(f"{source.name}\t{source.weight!r}\n".encode())
        for number, r in enumerate(self.images):
            row = f"{r.path}\t{r.label}\t{r.sha256}\t{r.pixels_sha256}\t{r.group}"
            if (r.patient, r.site, r.sequence) != (None, None, None):
                row += f"\t{r.patient}\t{r.site}\t{r.sequence}"
            if (r.type, r.plane) != (None, None):
                row += f"\ttype {r.type}\tplane {r.plane}"
            digest.update(f"\n{row}".encode() if number else row.encode())
        return digest.hexdigest()

    @classmethod
    def open(cls, folder: str | Path) -> "Manifest":
        """Reads the manifest of a dataset.

        Args:
            folder: Of the dataset.

        Raises:
            UserError: Missing or malformed.
        """
        path = Path(folder) / MANIFEST
        try:
            return cls.model_validate_json(_read(path, "dataset"))
        except ValidationError as error:
            raise UserError(f"{path}: {first_fault(error)}; ingest the data again") from error


class Split(Strict):
    """Which images belong to which part; indices into the manifest's images."""

    schema_version: Literal[1] = 1
    strategy: Strategy
    seed: int
    dataset_digest: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    held_out: tuple[int, ...]
    source: str | None = Field(
        default=None, description="the source that is held out whole, if it is one"
    )

    def part(self, name: str) -> np.ndarray:
        """Returns the sorted indices of `train`, `validation` or `held_out`, int64 [n]."""
        return np.asarray(getattr(self, name), dtype=np.int64)

    def digest(self) -> str:
        """Returns the SHA-256 of the split's content."""
        return hashlib.sha256(self.model_dump_json(exclude_none=True).encode()).hexdigest()

    @classmethod
    def open(cls, folder: str | Path, dataset: "ImageDataset") -> "Split":
        """Reads a split and checks it against the dataset that it was made for.

        Args:
            folder: Where the split step wrote.
            dataset: The dataset to use it on.

        Returns:
            The split.

        Raises:
            UserError: Missing, malformed, or made for another dataset.
        """
        path = Path(folder) / SPLIT
        try:
            split = cls.model_validate_json(_read(path, "split"))
        except ValidationError as error:
            raise UserError(f"{path}: {first_fault(error)}; split the dataset again") from error
        if split.dataset_digest != dataset.digest:
            raise UserError(
                f"split {folder} was made for another dataset: split the dataset at hand again"
            )
        if any(i >= len(dataset) or i < 0 for name in PARTS for i in split.part(name)):
            raise UserError(f"split {folder} names images that the dataset does not have")
        return split


class ImageDataset:
    """Read access to an ingested dataset; pixels stay on disk until asked for."""

    def __init__(self, folder: str | Path) -> None:
        """Opens the dataset that the ingest step wrote.

        Args:
            folder: The dataset's folder.

        Raises:
            UserError: The manifest or a shard is missing, malformed or of the wrong shape, or a
                shard's pixels have changed. So does `thumbnails`, once it is read.
        """
        self.folder = Path(folder)
        self.manifest = Manifest.open(self.folder)
        self._shards = [
            _map(self.folder / shard.file, (shard.images, *SHAPE), shard.sha256)
            for shard in self.manifest.shards
        ]
        self._starts = np.cumsum([0, *(shard.images for shard in self.manifest.shards)])
        if self._starts[-1] != len(self.manifest.images):
            raise UserError(f"{self.folder}: shards and manifest disagree; ingest the data again")
        if max(self.manifest.contradicted, default=-1) >= len(self.manifest.images):
            raise UserError(f"{self.folder}: contradicted names no image; ingest the data again")
        self.digest = self.manifest.digest()

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.manifest.images)

    @cached_property
    def labels(self) -> np.ndarray:
        """Class of each image, int8 [n]: 0 Brain Tumor, 1 Healthy."""
        return np.array([record.label for record in self.manifest.images], dtype=np.int8)

    @cached_property
    def duplicate_groups(self) -> np.ndarray:
        """Near-duplicate group of each image, int64 [n]."""
        return np.array([record.group for record in self.manifest.images], dtype=np.int64)

    @cached_property
    def contradicted(self) -> np.ndarray:
        """Whether the picture of each image is filed under another class too, bool [n]."""
        mask = np.zeros(len(self), dtype=bool)
        mask[list(self.manifest.contradicted)] = True
        return mask

    @cached_property
    def patients(self) -> np.ndarray:
        """Patient of each image, int64 [n]; -1 where unknown."""
        numbers = (record.patient for record in self.manifest.images)
        return np.array([-1 if n is None else n for n in numbers], dtype=np.int64)

    @cached_property
    def sources(self) -> np.ndarray:
        """Source of each image, a position in the manifest's `sources`, int64 [n]; 0 if one."""
        position = {source.name: i for i, source in enumerate(self.manifest.sources)}
        return np.array([position.get(r.source or "", 0) for r in self.manifest.images], np.int64)

    @cached_property
    def source_weights(self) -> np.ndarray:
        """What the source of each image lets it count for in training, float64 [n]."""
        weights = [source.weight for source in self.manifest.sources] or [1.0]
        return np.array(weights)[self.sources]

    @cached_property
    def groups(self) -> np.ndarray:
        """Images that are one piece of evidence share a group, int64 [n].

        They are near-duplicates or of one patient, directly or over others: a near-duplicate of
        one of a patient's images stands with all of them. Splits and intervals take groups whole.
        """
        return join_groups(self.duplicate_groups, self.patients)

    @cached_property
    def reaches_other_sources(self) -> np.ndarray:
        """Whether the group of each image has images of several sources, bool [n]."""
        pairs = np.unique(np.stack([self.groups, self.sources], axis=1), axis=0)
        sources_of = np.bincount(pairs[:, 0])
        return sources_of[self.groups] > 1

    def count_patients(self, rows: np.ndarray) -> int | None:
        """Returns how many patients some images are of, as far as they are known; None: of none."""
        known = self.patients[rows]
        return len(np.unique(known[known >= 0])) or None

    @cached_property
    def thumbnails(self) -> np.ndarray:
        """Grey thumbnails, uint8 [n, 32, 32], mapped from disk."""
        shape = (len(self), THUMBNAIL, THUMBNAIL)
        return _map(self.folder / THUMBNAILS, shape, self.manifest.thumbnails_sha256)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns the pixels of some images, in the order asked for.

        Args:
            indices: Positions in the manifest.

        Returns:
            uint8 [len(indices), 150, 150, 3].
        """
        wanted = np.asarray(indices, dtype=np.int64)
        pixels = np.empty((len(wanted), *SHAPE), dtype=np.uint8)
        homes = np.searchsorted(self._starts, wanted, side="right") - 1
        for home in np.unique(homes):
            rows = homes == home
            pixels[rows] = self._shards[home][wanted[rows] - self._starts[home]]
        return pixels

    def batches(
        self, indices: Sequence[int] | np.ndarray, size: int = 256
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields images a batch at a time, so that memory does not grow with the dataset.

        Args:
            indices: Positions in the manifest.
            size: Images a batch.

        Yields:
            Positions, int64 [b], and pixels, uint8 [b, 150, 150, 3]; the last may be shorter.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        for start in range(0, len(wanted), size):
            batch = wanted[start : start + size]
            yield batch, self.read(batch)


def write_manifest(
    path: Path,
    manifest: Manifest,
    images: Iterable[ImageRecord],
    quarantined: Iterable[QuarantinedFile],
) -> None:
    """Writes a manifest as JSON, image by image; what is not known of an image is left out.

    Args:
        path: The file, which appears whole.
        manifest: All but the images and the quarantined files.
        images: In the order of the shards.
        quarantined: In the order of the source.
    """
    text = manifest.model_dump_json(indent=1, exclude_none=True)
    # A line break stands only between the members, never in a text.
    head, between = text.split('\n "images": []')
    between, tail = between.split('\n "quarantined": []')
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(beside, "w", encoding="utf-8", newline="\n") as file:
        parts: tuple[tuple[str, str, TypeAdapter[Any], Iterable[Any]], ...] = (
            (head, "images", TypeAdapter(ImageRecord), images),
            (between, "quarantined", TypeAdapter(QuarantinedFile), quarantined),
        )
        for before, name, kind, members in parts:
            file.write(f'{before}\n "{name}": [')
            end = ""
            for number, member in enumerate(members):
                file.write(",\n  " if number else "\n  ")
                lines = kind.dump_json(member, indent=1, exclude_none=True).decode()
                file.write(lines.replace("\n", "\n  "))
                end = "\n "
            file.write(f"{end}]")
        file.write(tail)
    beside.replace(path)


def twins_in_training(groups: np.ndarray, train: np.ndarray, rows: np.ndarray) -> int:
    """Counts the images with a near-duplicate, other than themselves, in training.

    Args:
        groups: Group of every image, int64 [n].
        train: Positions of the training images.
        rows: Positions of the images to look at.

    Returns:
        How many of `rows` have one.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    others = np.bincount(group_of[train], minlength=int(group_of.max()) + 1)[group_of]
    others[train] -= 1
    return int(np.sum(others[rows] > 0))


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read the {what}: {reason(error)}") from error


def _map(path: Path, shape: tuple[int, ...], sha256: str | None) -> np.ndarray:
    """Maps an array from disk after checking that it is what the manifest says."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # which never reads a pickle
    except Exception as error:  # hostile headers raise nearly anything
        raise UserError(f"{path}: cannot read: {reason(error)}; ingest the data again") from error
    if array.shape != shape or array.dtype != np.uint8:
        raise UserError(
            f"{path}: holds {array.dtype} {list(array.shape)} where the manifest says "
            f"uint8 {list(shape)}; ingest the data again"
        )
    if sha256 and file_digest(path) != sha256:
        raise UserError(
            f"{path}: has changed since it was written; remove {path.parent} and ingest the data "
            "again"
        )
    return array
