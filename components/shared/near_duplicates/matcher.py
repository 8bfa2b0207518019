"""Small grey pictures that show the same, in any of the eight flips and quarter turns.

Two pictures are twins when they correlate above a limit in one of the eight orientations.

Which pairs to look at, a descriptor tells that is the same for all eight orientations and whose
product with another is never less than the correlation. A flip only changes signs of
cosine-transform coefficients and a quarter turn only transposes them, so sums, differences and
absolute values of transposed pairs stay, and never lie further apart than the pictures. The
descriptor is a projection of them on a few directions that tell pictures apart, and the length
of the rest.
"""

import hashlib
import math
from collections.abc import Iterator

import numpy as np
from scipy.fft import dctn
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from components.shared.near_duplicates.linkage import single_linkage
from components.shared.run.progress import Meter

_FLAT = 1.0  # standard deviation in grey levels below which there is no picture to compare
_DESCRIPTOR = 128  # numbers; more leave fewer pairs to look at, and take memory
_SAMPLE = 4096  # pictures that the directions are taken from
_AT_ONCE = 4096
_DENSE = 8  # a pair by itself takes as long as so many in one matrix product
_ROUNDING = 1e-4  # more than float32 errs in a correlation


class Matcher:
    """Compares pictures with each other.

    Beside the pictures, which may be mapped from disk, this takes 1.2 KB of memory a picture.

    Attributes:
        first: The first picture that equals each, int64 [n].
        flat: Whether each has no contrast, so that there is nothing to compare, bool [n].
    """

    def __init__(self, pictures: np.ndarray, limit: float) -> None:
        """Reads all pictures once.

        Args:
            pictures: uint8 [n, side, side].
            limit: Twins correlate above it.
        """
        self._pictures, self._limit = pictures, limit
        digests = np.empty(len(pictures), dtype="V32")
        self._mean, self._length = np.empty((2, len(pictures)), dtype=np.float32)
        for part in _parts(len(pictures)):
            rows = pictures[part].reshape(part.stop - part.start, -1)
            digests[part] = [hashlib.sha256(row.tobytes()).digest() for row in rows]
            self._mean[part] = rows.mean(axis=1)
            self._length[part] = rows.std(axis=1) * np.sqrt(rows.shape[1])
        _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
        self.first: np.ndarray = first[inverse]
        self.flat: np.ndarray = self._length < _FLAT * pictures.shape[1]

    def links(self, what: str) -> np.ndarray:
        """Finds links that join all twins, directly or through others; flat ones have none.

        The same pictures give the same groups, whatever the number of threads.

        Args:
            what: The pictures, in the plural, for the log.

        Returns:
            Pairs of pictures, int64 [p, 2].
        """
        images = np.arange(len(self._pictures))
        there = images[~self.flat]
        distinct = there[self.first[there] == there]
        links = single_linkage(
            self._descriptors(distinct, what),
            self._limit,
            lambda left, right: self.are_twins(distinct[left], distinct[right]),
            what,
        )
        return np.concatenate([np.stack([self.first[there], there], axis=1), distinct[links]])

    def are_twins(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tells which pairs of pictures are twins; none of them may be flat.

        Args:
            left: int64 [p].
            right: int64 [p].

        Returns:
            bool [p].
        """
        if len(left) == 0:
            return np.zeros(0, dtype=bool)
        best = self._best_correlations(left, right)
        twins = best > self._limit
        for i in np.flatnonzero(np.abs(best - self._limit) < _ROUNDING):
            twins[i] = correlation(*self._pictures[[left[i], right[i]]]) > self._limit
        return twins

    def _descriptors(self, which: np.ndarray, what: str) -> np.ndarray:
        """Returns the descriptor of some pictures, float32 [p, 128]."""
        if len(which) == 0:
            return np.empty((0, _DESCRIPTOR), dtype=np.float32)
        sample = which[:: math.ceil(len(which) / _SAMPLE)]
        features = orientation_free_features(self._unit(sample))
        with threadpool_limits(1, "blas"):  # on small matrices threads only wait for each other
            _, _, directions = randomized_svd(features, _DESCRIPTOR - 1, random_state=0)
        descriptors = np.empty((len(which), len(directions) + 1), dtype=np.float32)
        meter = Meter(len(which), f"{what} described")
        for part in _parts(len(which)):
            projected = orientation_free_features(self._unit(which[part])) @ directions.T
            # Of two rests the product is at most that of their lengths. Never too short for
            # rounding.
            rest = 1 + 1e-6 - np.einsum("ij,ij->i", projected, projected)
            descriptors[part, :-1] = projected
            descriptors[part, -1] = np.sqrt(np.maximum(rest, 1e-6))
            meter.add(len(projected))
        return descriptors

    def _best_correlations(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Returns the greatest correlation of each pair, float32 [p], but for rounding."""
        ones, row = np.unique(left, return_inverse=True)
        others, column = np.unique(right, return_inverse=True)
        turned = orientations(self._unit(ones))
        best = np.empty(len(left), dtype=np.float32)
        if len(left) * _DENSE > len(ones) * len(others):
            # Every pair of a left and a right one, of which few are not asked for.
            table = np.empty((len(ones), len(others)), dtype=np.float32)
            rows = turned.reshape(-1, turned.shape[2])
            for part in _parts(len(others), 1024):
                products = rows @ self._centred(others[part]).T
                products.reshape(*turned.shape[:2], -1).max(axis=1, out=table[:, part])
            best = table[row, column]
        else:
            by_row = np.argsort(row, kind="stable")
            for part in _parts(len(left)):
                pairs = by_row[part]
                values = self._centred(right[pairs])
                few, starts = np.unique(row[pairs], return_index=True)
                products = np.empty((len(pairs), turned.shape[1]), dtype=np.float32)
                for one, start, end in zip(few, starts, [*starts[1:], len(pairs)], strict=True):
                    np.matmul(values[start:end], turned[one].T, out=products[start:end])
                best[pairs] = products.max(axis=1)
        return best / self._length[right]

    def _centred(self, which: np.ndarray) -> np.ndarray:
        """Returns rows of zero mean, float32 [., side * side]."""
        rows = self._pictures[which].reshape(len(which), -1)
        return np.subtract(rows, self._mean[which, np.newaxis], dtype=np.float32)

    def _unit(self, which: np.ndarray) -> np.ndarray:
        """Returns rows of zero mean and unit length, float32 [., side * side]."""
        rows = self._centred(which)
        rows /= self._length[which, np.newaxis]
        return rows


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the greatest correlation of two pictures over the eight orientations.

    Args:
        one: uint8 [side, side].
        other: uint8 [side, side].
    """
    # Sums of whole numbers are exact in float64, so the result has no order of summation.
    values = one.ravel().astype(np.float64)
    others = orientations(other.reshape(1, -1).astype(np.float64))[0]
    products = len(values) * (others @ values) - values.sum() * others[0].sum()
    spread, other_spread = (len(v) * (v @ v) - v.sum() ** 2 for v in (values, others[0]))
    return float(products.max() / max(1.0, np.sqrt(spread) * np.sqrt(other_spread)))


def unit_rows(pictures: np.ndarray) -> np.ndarray:
    """Returns pictures as rows of zero mean and unit length; all 0 where they are flat.

    Args:
        pictures: uint8 [n, side, side].

    Returns:
        float32 [n, side * side].
    """
    rows = pictures.reshape(len(pictures), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    flat = length < _FLAT * pictures.shape[1]
    return np.where(flat, 0, rows / np.where(flat, 1, length))


def orientation_free_features(unit: np.ndarray) -> np.ndarray:
    """Returns unit vectors that are equal for all eight orientations of a picture.

    Args:
        unit: Pictures of zero mean and unit length, float32 [n, side * side].

    Returns:
        float32 [n, side * side], low frequencies first.
    """
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
    features = [
        diagonal[:, ::2],
        np.abs(diagonal[:, 1::2]),
        total[:, even],
        np.abs(total[:, both & ~even]),
        difference,
        np.maximum(one, other),
        np.minimum(one, other),
    ]
    square = np.arange(side) ** 2
    of_diagonal, of_pair = 2 * square, square[rows] + square[columns]
    frequency = [
        of_diagonal[::2],
        of_diagonal[1::2],
        of_pair[even],
        of_pair[both & ~even],
        of_pair[both],
        of_pair[~both],
        of_pair[~both],
    ]
    order = np.argsort(np.concatenate(frequency), kind="stable")
    return np.concatenate(features, axis=1)[:, order]


def _parts(count: int, size: int = _AT_ONCE) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def orientations(images: np.ndarray) -> np.ndarray:
    """Returns the eight flips and quarter turns of pictures.

    Args:
        images: [n, side * side].

    Returns:
        [n, 8, side * side].
    """
    side = int(np.sqrt(images.shape[1]))
    stack = images.reshape(-1, side, side)
    turned = [np.rot90(stack, turns, axes=(1, 2)) for turns in range(4)]
    oriented = np.empty((len(stack), 8, side, side), dtype=images.dtype)
    for i, one in enumerate(turned):
        oriented[:, 2 * i], oriented[:, 2 * i + 1] = one, one[:, :, ::-1]
    return oriented.reshape(len(stack), 8, -1)
