"""Near-duplicates: the same picture re-encoded, resized, brightened, flipped or turned.

Two images are twins when their grey 32x32 thumbnails correlate above 0.98 in one of the eight
flips and quarter turns. Groups are the connected components of twins.

Which pairs to look at, a descriptor tells that is the same for all eight orientations and whose
product with another is never less than the correlation. A flip only changes signs of
cosine-transform coefficients and a quarter turn only transposes them, so sums, differences and
absolute values of transposed pairs stay, and never lie further apart than the thumbnails. The
descriptor is a projection of them on a few directions that tell thumbnails apart, and the length
of the rest.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from components.ingest.linkage import single_linkage
from components.shared.data.groups import join_links
from components.shared.run.progress import Meter

CORRELATION = 0.98
_FLAT = 1.0  # standard deviation in grey levels below which there is no picture to compare
_DESCRIPTOR = 128  # numbers; more leave fewer pairs to look at, and take memory
_SAMPLE = 4096  # thumbnails that the directions are taken from
_AT_ONCE = 4096
_DENSE = 8  # a pair by itself takes as long as so many in one matrix product
_ROUNDING = 1e-4  # more than float32 errs in a correlation


def group_duplicates(thumbnails: np.ndarray) -> np.ndarray:
    """Groups near-duplicates.

    The same thumbnails give the same groups, whatever the number of threads. Beside
    `thumbnails`, which may be mapped from disk, this takes 1.2 KB of memory a thumbnail.

    Args:
        thumbnails: uint8 [n, 32, 32], grey.

    Returns:
        int64 [n]: the group of each image, numbered by first appearance. All images without
        any contrast form one group.
    """
    images = np.arange(len(thumbnails))
    first, mean, length = _distinct(thumbnails)
    flat = length < _FLAT * thumbnails.shape[1]
    flats, distinct = images[(first == images) & flat], images[(first == images) & ~flat]
    pictures = _Pictures(thumbnails, distinct, mean[distinct], length[distinct])
    twins = single_linkage(
        _descriptors(pictures), CORRELATION, pictures.are_twins, "different thumbnails"
    )
    copies = np.stack([first, images], axis=1)
    chain = np.stack([flats[:-1], flats[1:]], axis=1)
    return join_links(len(images), np.concatenate([copies, chain, distinct[twins]]))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the greatest correlation of two thumbnails over the eight orientations.

    Args:
        one: uint8 [32, 32].
        other: uint8 [32, 32].
    """
    # Sums of whole numbers are exact in float64, so the result has no order of summation.
    values = one.ravel().astype(np.float64)
    others = _orientations(other.reshape(1, -1).astype(np.float64))[0]
    products = len(values) * (others @ values) - values.sum() * others[0].sum()
    spread, other_spread = (len(v) * (v @ v) - v.sum() ** 2 for v in (values, others[0]))
    return float(products.max() / max(1.0, np.sqrt(spread) * np.sqrt(other_spread)))


def _distinct(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads all thumbnails once.

    Returns:
        The first image that equals each, int64 [n], the mean of its grey levels, float32 [n], and
        their length without the mean, float32 [n].
    """
    digests = np.empty(len(thumbnails), dtype="V32")
    mean, length = np.empty((2, len(thumbnails)), dtype=np.float32)
    for part in _parts(len(thumbnails)):
        rows = thumbnails[part].reshape(part.stop - part.start, -1)
        digests[part] = [hashlib.sha256(row.tobytes()).digest() for row in rows]
        mean[part] = rows.mean(axis=1)
        length[part] = rows.std(axis=1) * np.sqrt(rows.shape[1])
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    return first[inverse], mean, length


def _parts(count: int, size: int = _AT_ONCE) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _descriptors(pictures: "_Pictures") -> np.ndarray:
    """Returns the descriptor of each picture, float32 [p, 128]."""
    if len(pictures) == 0:
        return np.empty((0, _DESCRIPTOR), dtype=np.float32)
    sample = np.arange(0, len(pictures), -(-len(pictures) // _SAMPLE))
    features = _orientation_free_features(pictures.unit(sample))
    with threadpool_limits(1, "blas"):  # on small matrices threads only wait for each other
        _, _, directions = randomized_svd(features, _DESCRIPTOR - 1, random_state=0)
    descriptors = np.empty((len(pictures), len(directions) + 1), dtype=np.float32)
    meter = Meter(len(pictures), "different thumbnails described")
    for part in _parts(len(pictures)):
        projected = _orientation_free_features(pictures.unit(part)) @ directions.T
        # Of two rests the product is at most that of their lengths. Never too short for rounding.
        rest = 1 + 1e-6 - np.einsum("ij,ij->i", projected, projected)
        descriptors[part, :-1] = projected
        descriptors[part, -1] = np.sqrt(np.maximum(rest, 1e-6))
        meter.add(len(projected))
    return descriptors


def _orientation_free_features(unit: np.ndarray) -> np.ndarray:
    """Returns unit vectors, float32 [n, 1024], equal for all eight orientations of a thumbnail."""
    side = int(np.sqrt(unit.shape[1]))
    spectrum = dctn(unit.reshape(-1, side, side), axes=(1, 2), norm="ortho")
    diagonal = spectrum[:, range(side), range(side)]
    rows, columns = np.triu_indices(side, 1)
    upper, lower = spectrum[:, rows, columns], spectrum[:, columns, rows]
    # Flips leave coefficients of even rows and columns as they are, turn the signs of a pair of
    # odd ones together, and of the rest each by itself.
    both = (rows + columns) % 2 == 0
    even = both & (rows % 2 == 0)
    total = (upper + lower) / np.float32(np.sqrt(2))
    difference = np.abs(upper - lower)[:, both] / np.float32(np.sqrt(2))
    one, other = np.abs(upper[:, ~both]), np.abs(lower[:, ~both])
    return np.concatenate(
        [
            diagonal[:, ::2],
            np.abs(diagonal[:, 1::2]),
            total[:, even],
            np.abs(total[:, both & ~even]),
            difference,
            np.maximum(one, other),
            np.minimum(one, other),
        ],
        axis=1,
    )


@dataclass(frozen=True)
class _Pictures:
    """Thumbnails that differ and are not flat."""

    thumbnails: np.ndarray  # uint8 [n, 32, 32], of all images
    images: np.ndarray  # int64 [p]: the image of each picture
    mean: np.ndarray  # float32 [p], of its grey levels
    length: np.ndarray  # float32 [p], of its grey levels less their mean

    def __len__(self) -> int:
        return len(self.images)

    def centred(self, which: np.ndarray | slice) -> np.ndarray:
        """Returns rows of zero mean, float32 [., 1024]."""
        rows = self.thumbnails[self.images[which]].reshape(-1, self.thumbnails[0].size)
        return np.subtract(rows, self.mean[which, np.newaxis], dtype=np.float32)

    def unit(self, which: np.ndarray | slice) -> np.ndarray:
        """Returns rows of zero mean and unit length, float32 [., 1024]."""
        rows = self.centred(which)
        rows /= self.length[which, np.newaxis]
        return rows

    def are_twins(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tells which pairs, int64 [p] and int64 [p], are twins, bool [p]."""
        best = self._best_correlations(left, right)
        twins = best > CORRELATION
        for i in np.flatnonzero(np.abs(best - CORRELATION) < _ROUNDING):
            exact = correlation(*self.thumbnails[self.images[[left[i], right[i]]]])
            twins[i] = exact > CORRELATION
        return twins

    def _best_correlations(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Returns the greatest correlation of each pair, float32 [p], but for rounding."""
        ones, row = np.unique(left, return_inverse=True)
        others, column = np.unique(right, return_inverse=True)
        turned = _orientations(self.unit(ones))
        best = np.empty(len(left), dtype=np.float32)
        if len(left) * _DENSE > len(ones) * len(others):
            # Every pair of a left and a right one, of which few are not asked for.
            table = np.empty((len(ones), len(others)), dtype=np.float32)
            rows = turned.reshape(-1, turned.shape[2])
            for part in _parts(len(others), 1024):
                products = rows @ self.centred(others[part]).T
                products.reshape(*turned.shape[:2], -1).max(axis=1, out=table[:, part])
            best = table[row, column]
        else:
            by_row = np.argsort(row, kind="stable")
            for part in _parts(len(left)):
                pairs = by_row[part]
                values = self.centred(right[pairs])
                few, starts = np.unique(row[pairs], return_index=True)
                products = np.empty((len(pairs), turned.shape[1]), dtype=np.float32)
                for one, start, end in zip(few, starts, [*starts[1:], len(pairs)], strict=True):
                    np.matmul(values[start:end], turned[one].T, out=products[start:end])
                best[pairs] = products.max(axis=1)
        return best / self.length[right]


def _orientations(images: np.ndarray) -> np.ndarray:
    """Returns the eight flips and quarter turns of [n, 1024], as [n, 8, 1024]."""
    side = int(np.sqrt(images.shape[1]))
    stack = images.reshape(-1, side, side)
    turned = [np.rot90(stack, turns, axes=(1, 2)) for turns in range(4)]
    oriented = np.empty((len(stack), 8, side, side), dtype=images.dtype)
    for i, one in enumerate(turned):
        oriented[:, 2 * i], oriented[:, 2 * i + 1] = one, one[:, :, ::-1]
    return oriented.reshape(len(stack), 8, -1)
