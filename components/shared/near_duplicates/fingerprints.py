"""Fingerprints: what near-duplicates of some images are found by where the images are not at hand.

A fingerprint is 514 whole numbers and no pixels: the lowest frequencies of the thumbnail and of the
head, as far as they are the same for all eight flips and quarter turns, and the length of the rest
of each. But for rounding, the product of two is never less than the correlation of what they were
made of. How many near-duplicates are found, and how many others are taken for some, is in
docs/decisions/near_duplicates.md.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from components.shared.errors import UserError, one_line
from components.shared.images.decode import thumbnail
from components.shared.near_duplicates.heads import BRIGHT, BRIGHTNESSES, head
from components.shared.near_duplicates.matcher import orientation_free_features, unit_rows
from components.shared.storage.files import write_atomically

FINGERPRINTS = "fingerprints.npy"

_OF_THUMBNAIL, _OF_HEAD = 192, 320  # frequencies
_NUMBERS = _OF_THUMBNAIL + 1 + _OF_HEAD + 1
# A head's is that of the groups. A thumbnail's has to be closer: 0.98 would take strangers for
# twins, and what lies between is found by its head.
_THUMBNAIL_LIMIT, _HEAD_LIMIT = 0.99, 0.96
_AT_ONCE = 1024


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of some images.

    Attributes:
        numbers: int8 [n, 514].
    """

    numbers: np.ndarray

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.numbers)

    @classmethod
    def of(cls, batches: Iterable[np.ndarray]) -> Self:
        """Takes the fingerprints of images.

        Args:
            batches: Decoded images, uint8 [b, 150, 150, 3] each.
        """
        none = np.empty((0, _NUMBERS), dtype=np.int8)
        taken = [
            np.concatenate([_thumbnails(part), _heads(part)], axis=1) for part in _parts(batches)
        ]
        return cls(np.concatenate([none, *taken]))

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Reads what `write` wrote.

        Raises:
            UserError: It is missing or holds something else.
        """
        try:
            numbers = np.load(path, allow_pickle=False)
            if numbers.dtype != np.int8 or numbers.shape[1:] != (_NUMBERS,):
                raise ValueError(f"{numbers.dtype} {list(numbers.shape)}")
        except Exception as error:  # hostile headers raise nearly anything
            raise UserError(
                f"{path}: holds no fingerprints of images: {one_line(error)}"
            ) from error
        return cls(numbers)

    def write(self, path: str | Path) -> None:
        """Writes them as one file: 514 bytes an image."""
        content = io.BytesIO()
        np.save(content, self.numbers, allow_pickle=False)
        write_atomically(path, content.getvalue())

    def twins_of(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """Finds which other images are near-duplicates of these.

        Args:
            batches: The others, decoded, uint8 [b, 150, 150, 3] each.

        Returns:
            int64 [n]: for each of the others the position of the image here that is most like it,
            or -1 where it is no near-duplicate.
        """
        found = [np.empty(0, dtype=np.int64)]
        for part in _parts(batches):
            thumbnails, heads = _thumbnails(part), [_heads(part, bright) for bright in BRIGHTNESSES]
            best = np.zeros(len(part), dtype=np.float32)
            twin = np.full(len(part), -1)
            for start in range(0, len(self), _AT_ONCE):
                known = np.split(
                    self.numbers[start : start + _AT_ONCE], [_OF_THUMBNAIL + 1], axis=1
                )
                closeness = _unit(thumbnails) @ _unit(known[0]).T - _THUMBNAIL_LIMIT
                for of_heads in heads:
                    product = _unit(of_heads) @ _unit(known[1]).T
                    np.maximum(closeness, product - _HEAD_LIMIT, out=closeness)
                nearest = closeness.argmax(axis=1)
                value = closeness[np.arange(len(nearest)), nearest]
                better = value > best
                best[better], twin[better] = value[better], start + nearest[better]
            found.append(twin)
        return np.concatenate(found)


def _parts(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for pixels in batches:
        for start in range(0, len(pixels), _AT_ONCE):
            yield pixels[start : start + _AT_ONCE]


def _thumbnails(pixels: np.ndarray) -> np.ndarray:
    """Returns the part of the fingerprints that is of thumbnails, int8 [n, 193]."""
    return _numbers(np.array([thumbnail(image) for image in pixels]), _OF_THUMBNAIL)


def _heads(pixels: np.ndarray, bright: float = BRIGHT) -> np.ndarray:
    """Returns the part of the fingerprints that is of heads, int8 [n, 321]."""
    return _numbers(np.array([head(image, bright) for image in pixels]), _OF_HEAD)


def _numbers(pictures: np.ndarray, frequencies: int) -> np.ndarray:
    """Returns the part of the fingerprint that is of one kind of picture, int8 [n, f + 1].

    All 0 where there is no picture. Each row is scaled to fill 127, and has unit length again
    when it is read.
    """
    unit = unit_rows(pictures)
    low = orientation_free_features(unit)[:, :frequencies]
    there = np.einsum("ij,ij->i", unit, unit) > 0
    rest = np.sqrt(np.maximum(0, there - np.einsum("ij,ij->i", low, low)))
    row = np.concatenate([low, rest[:, np.newaxis]], axis=1)
    row /= np.maximum(np.abs(row).max(axis=1, keepdims=True), 1e-6)
    numbers: np.ndarray = np.rint(127 * row).astype(np.int8)
    return numbers


def _unit(numbers: np.ndarray) -> np.ndarray:
    """Returns one part of fingerprints, float32 [n, f + 1] of unit length; 0 where it is 0."""
    rows = numbers.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
