"""Near-duplicates: the same picture re-encoded, resized, brightened, flipped or turned.

Two images are twins when their grey 32x32 thumbnails correlate above 0.98 in one of the eight
flips and quarter turns. Groups are the connected components of twins.

To compare every image with every other would be quadratic. Instead each thumbnail gets a feature
vector that is the same for all its eight orientations and never moves apart faster than the
thumbnails do: a flip only changes signs of cosine-transform coefficients and a quarter turn only
transposes them, so sums, differences and absolute values of transposed pairs stay. Correlation r
means a distance of sqrt(2 - 2r) between normalised thumbnails, so no twin lies further away than
that in feature space, nor in any projection of it: a k-d tree over the few directions of the
greatest variance finds all candidates without missing one, the other directions sift them, and
only what is left is correlated.
"""

from collections.abc import Iterator

import numpy as np
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

CORRELATION = 0.98
_FREQUENCIES = 12
_FLAT = 1.0  # standard deviation in grey levels below which there is no picture to compare
_TREE_DIMENSIONS = 6  # with more, a k-d tree looks at nearly everything
_IMAGES_AT_ONCE = 512
_PAIRS_AT_ONCE = 8192


def group_duplicates(thumbnails: np.ndarray) -> np.ndarray:
    """Groups near-duplicates.

    Args:
        thumbnails: uint8 [n, 32, 32], grey.

    Returns:
        int64 [n]: the group of each image, numbered by first appearance. All images without
        any contrast form one group.
    """
    count = len(thumbnails)
    if count == 0:
        return np.empty(0, dtype=np.int64)
    distinct: dict[bytes, int] = {}
    copy_of = np.array([distinct.setdefault(t.tobytes(), len(distinct)) for t in thumbnails])
    unit, flat = _normalised(np.frombuffer(b"".join(distinct), np.uint8).reshape(len(distinct), -1))
    pairs = _twins(unit, np.flatnonzero(~flat))
    chain = np.flatnonzero(flat)
    pairs = np.concatenate([pairs, np.stack([chain[:-1], chain[1:]], axis=1)])
    links = coo_array(
        (np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(len(unit), len(unit))
    )
    _, component = connected_components(links, directed=False)
    return _numbered_by_appearance(component[copy_of])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the greatest correlation of two thumbnails over the eight orientations.

    Args:
        one: uint8 [32, 32].
        other: uint8 [32, 32].
    """
    unit, _ = _normalised(np.stack([one.ravel(), other.ravel()]))
    return float(_best_correlations(unit[:1], unit[1:])[0])


def _normalised(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows of zero mean and unit length, float32 [n, 1024], and which were flat."""
    values = rows.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    flat = length[:, 0] < _FLAT * np.sqrt(rows.shape[1])
    values /= np.maximum(length, 1e-6)
    return values, flat


def _twins(unit: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Returns all pairs of rows that are twins, int64 [p, 2]."""
    found = [np.empty((0, 2), dtype=np.int64)]
    if len(candidates) > 1:
        for near in _near_pairs(_by_variance(_orientation_free_features(unit[candidates]))):
            pairs = candidates[near]
            best = _best_correlations(unit[pairs[:, 0]], unit[pairs[:, 1]])
            found.append(pairs[best > CORRELATION])
    return np.concatenate(found)


def _near_pairs(points: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the pairs of points as near as twins must be, int64 [p, 2], a few at a time."""
    radius = np.sqrt(2 - 2 * CORRELATION) + 1e-5  # room for float32 rounding
    # In the tree's own order, points that follow each other lie together.
    order = cKDTree(points[:, :_TREE_DIMENSIONS]).indices
    points = points[order]
    tree = cKDTree(points[:, :_TREE_DIMENSIONS])
    for start in range(0, len(points), _IMAGES_AT_ONCE):
        block = cKDTree(points[start : start + _IMAGES_AT_ONCE, :_TREE_DIMENSIONS])
        near = block.sparse_distance_matrix(tree, radius, output_type="ndarray")
        left, right = near["i"] + start, near["j"]
        once = left < right
        left, right = left[once], right[once]
        for i in range(0, len(left), _PAIRS_AT_ONCE):
            one, other = left[i : i + _PAIRS_AT_ONCE], right[i : i + _PAIRS_AT_ONCE]
            apart = points[one] - points[other]
            close = np.einsum("ij,ij->i", apart, apart) <= radius**2
            if close.any():
                yield np.stack([order[one[close]], order[other[close]]], axis=1)


def _by_variance(features: np.ndarray) -> np.ndarray:
    """Returns features turned so that the first directions hold most of the variance."""
    centred = features - features.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return centred @ directions[:, ::-1]


def _orientation_free_features(unit: np.ndarray) -> np.ndarray:
    """Returns features float32 [n, 144], equal for all eight orientations of a thumbnail."""
    side = int(np.sqrt(unit.shape[1]))
    spectrum = dctn(unit.reshape(-1, side, side), axes=(1, 2), norm="ortho")
    low = spectrum[:, :_FREQUENCIES, :_FREQUENCIES]
    diagonal = low[:, range(_FREQUENCIES), range(_FREQUENCIES)]
    rows, columns = np.triu_indices(_FREQUENCIES, 1)
    upper, lower = low[:, rows, columns], low[:, columns, rows]
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


def _orientations(unit: np.ndarray) -> Iterator[np.ndarray]:
    side = int(np.sqrt(unit.shape[1]))
    images = unit.reshape(-1, side, side)
    for turns in range(4):
        turned = np.rot90(images, turns, axes=(1, 2))
        yield turned.reshape(len(unit), -1)
        yield turned[:, :, ::-1].reshape(len(unit), -1)


def _best_correlations(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns float32 [p]: row by row, the best correlation over the right's orientations."""
    scores = [np.einsum("ij,ij->i", left, turned) for turned in _orientations(right)]
    return np.max(scores, axis=0)


def _numbered_by_appearance(component: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
