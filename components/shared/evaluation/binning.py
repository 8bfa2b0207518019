"""Answers counted in bins, by blocks of whole groups: the reference that drift is measured from."""

from collections.abc import Mapping

import numpy as np

from components.shared.model_folder.drift_reference import DriftReference, Quantity

_BINS = 10
_IMAGES_PER_BIN = 10  # at least, of the images that set the edges
_BLOCKS = 100


def deciles(values: np.ndarray) -> tuple[float, ...]:
    """Returns the edges between ten bins that hold a tenth of some values each.

    Args:
        values: Float [n].

    Returns:
        Nine edges, rising; fewer where there are fewer than a hundred values, or many are equal.
    """
    bins = min(_BINS, max(2, len(values) // _IMAGES_PER_BIN))
    shares = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(values, shares, method="higher"))
    return tuple(float(edge) for edge in edges if edge > values.min())


def count_quantity(
    name: str,
    of: str,
    values: np.ndarray,
    edges: tuple[float, ...],
    groups: np.ndarray,
    bins: tuple[str, ...] = (),
) -> Quantity:
    """Counts values in bins.

    Args:
        name: Of the quantity.
        of: Name of the value.
        values: Of each image, float [n].
        edges: Between the bins, rising; at least one.
        groups: Of each image, int [n]; at least two of them. Alike images share one.
        bins: Their names; empty for numbers from 1 on.
    """
    _, group = np.unique(groups, return_inverse=True)
    block = group % _BLOCKS  # groups are numbered by appearance, so a block is no part of a folder
    counts = np.zeros((min(_BLOCKS, group.max() + 1), len(edges) + 1), np.int64)
    np.add.at(counts, (block, np.searchsorted(edges, values, side="right")), 1)
    return Quantity(
        name=name,
        of=of,
        bins=bins or tuple(str(number) for number in range(1, len(edges) + 2)),
        edges=edges,
        blocks=tuple(tuple(row) for row in counts.tolist()),
    )


def drift_reference(
    setting: Mapping[str, np.ndarray],
    counted: Mapping[str, np.ndarray],
    groups: np.ndarray,
    answers: Mapping[str, tuple[str, tuple[float, ...], tuple[str, ...]]],
) -> DriftReference:
    """Counts what is known of every answer in bins.

    Args:
        setting: Values that set the edges, by name, float [m]; of other images, so that the counts
            are free.
        counted: The same values of the images that are counted, float [n].
        groups: Of each counted image, int [n].
        answers: Quantities whose edges are known: by name the value, its edges and the bins' names.

    Returns:
        The reference. A value that is the same for all images is left out.
    """
    quantities = [
        count_quantity(name, of, counted[of], edges, groups, bins)
        for name, (of, edges, bins) in answers.items()
    ]
    for name, values in setting.items():
        if edges := deciles(values):
            quantities.append(count_quantity(name, name, counted[name], edges, groups))
    return DriftReference(
        images=len(groups), groups=len(np.unique(groups)), quantities=tuple(quantities)
    )
