"""What is kept of the images of a model's own dataset: what finds copies of them, and no pixels.

For each file its SHA-256, and for each image a fingerprint.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError, reason
from components.shared.model_folder.contract import KNOWN_FILES, KNOWN_IMAGES
from components.shared.near_duplicates.fingerprints import Fingerprints
from components.shared.run.progress import track
from components.shared.storage.files import read_regular, write_atomically

_BATCH = 256
_MAX_BYTES = 2**30  # of the list of files: 16 million


class KnownImages(Protocol):
    """What finds copies of some images in another dataset."""

    def find(self, dataset: ImageDataset) -> tuple[np.ndarray, np.ndarray]:
        """Finds the copies.

        Args:
            dataset: The other dataset.

        Returns:
            Whether each of its images is of an identical file, and whether it is a near-duplicate,
            bool [n] each.
        """


@dataclass(frozen=True)
class ImagesOfDataset:
    """What is kept of a dataset's images.

    Attributes:
        files: SHA-256 of the files, hex.
        fingerprints: Of the images.
    """

    files: frozenset[str]
    fingerprints: Fingerprints

    @classmethod
    def of(cls, dataset: ImageDataset) -> Self:
        """Takes what is to be kept of a dataset."""
        return cls(
            frozenset(record.sha256 for record in dataset.manifest.images),
            Fingerprints.of(_batches(dataset, "fingerprinted")),
        )

    @classmethod
    def open(cls, folder: str | Path) -> Self | None:
        """Reads what a version's folder keeps.

        Args:
            folder: The version's folder, verified.

        Returns:
            None where it keeps nothing, because it is older than that.

        Raises:
            UserError: It is malformed.
        """
        path = Path(folder, KNOWN_FILES)
        if not path.exists():
            return None
        try:
            files = read_regular(path, _MAX_BYTES).decode("ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}: cannot read: {reason(error)}; register the model again"
            ) from error
        return cls(frozenset(files), Fingerprints.open(Path(folder, KNOWN_IMAGES)))

    def write(self, folder: str | Path) -> None:
        """Writes what a version's folder keeps: 65 bytes a file and 514 bytes an image."""
        write_atomically(
            Path(folder, KNOWN_FILES), "".join(f"{file}\n" for file in sorted(self.files))
        )
        self.fingerprints.write(Path(folder, KNOWN_IMAGES))

    def joined(self, other: Self) -> Self:
        """Returns what is kept of the images of both, each fingerprint once."""
        numbers = np.concatenate([self.fingerprints.numbers, other.fingerprints.numbers])
        return type(self)(self.files | other.files, Fingerprints(np.unique(numbers, axis=0)))

    def find(self, dataset: ImageDataset) -> tuple[np.ndarray, np.ndarray]:
        """Finds copies; see `KnownImages`."""
        identical = np.array([r.sha256 in self.files for r in dataset.manifest.images], dtype=bool)
        twins = self.fingerprints.twins_of(_batches(dataset, "compared with the model's own"))
        return identical, twins >= 0


def learned_images(dataset: ImageDataset, model_folder: str | Path) -> ImagesOfDataset:
    """Returns what is kept of all images that a model was made of.

    Args:
        dataset: Its own dataset.
        model_folder: What the train step wrote. It has what is kept of the images of the version
            that the training started from, if it did.

    Raises:
        UserError: That is malformed.
    """
    own, earlier = ImagesOfDataset.of(dataset), ImagesOfDataset.open(model_folder)
    return own.joined(earlier) if earlier else own


def _batches(dataset: ImageDataset, what: str) -> Iterator[np.ndarray]:
    count = len(dataset)
    batches = dataset.batches(np.arange(count), _BATCH)
    return (
        pixels
        for _, pixels in track(
            batches, math.ceil(count / _BATCH), f"batches of {_BATCH} images {what}"
        )
    )
