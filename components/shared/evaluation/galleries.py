"""Pictures of single images in a report, each with the heat map of the model's answer."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from components.shared.data.dataset import ImageDataset
from components.shared.images.overlay import overlay
from components.shared.reports.html import picture

SHOWN = 12  # of each gallery, unless it says otherwise
_SIDE = 150
_BORDER = 0.1  # so far from the threshold at most is borderline
_MOST_BYTES = 12_000  # of a picture, so that all galleries stay below what the KFP UI shows


class Picture(NamedTuple):
    """An image in a gallery; the pictures are data URIs."""

    path: str
    caption: str
    original: str
    heat: str


class Gallery(NamedTuple):
    """Images with something in common.

    Attributes:
        title: Over them.
        kind: `tumor` or `healthy`, the true class, which colours them; empty for both.
        meaning: Of the title, and the order.
        total: Images, of which the first few are shown.
        pictures: Those shown, one a patient and near-duplicate group.
    """

    title: str
    kind: str
    meaning: str
    total: int
    pictures: list[Picture]


BORDERLINE = f"within {_BORDER} of the threshold, right or wrong, the nearest first"


def borderline(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Returns which scores are nearly as well on the other side of the threshold.

    Args:
        scores: P(Brain Tumor), float [n].
        threshold: Where the answer changes.

    Returns:
        Positions in `scores`, the nearest to the threshold first.
    """
    distance = np.abs(scores - threshold)
    order = np.argsort(distance, kind="stable")
    return order[distance[order] <= _BORDER]


def show(
    dataset: ImageDataset,
    ranked: np.ndarray,
    caption: Callable[[int], str],
    explain: Callable[[np.ndarray], np.ndarray],
    most: int = SHOWN,
) -> list[Picture]:
    """Returns pictures of the first of some images, one a patient and near-duplicate group.

    Args:
        dataset: The images.
        ranked: Positions, those to show first before the others.
        caption: From a position to what stands below the picture.
        explain: From images, uint8 [n, 150, 150, 3], to heat maps, float32 [n, h, w], 0..1.
        most: How many to show.
    """
    _, first = np.unique(dataset.groups[ranked], return_index=True)
    shown: Sequence[int] = ranked[np.sort(first)[:most]].tolist()
    if not shown:
        return []
    pixels = dataset.read(shown)
    return [
        Picture(
            dataset.manifest.images[position].path,
            caption(position),
            picture(image, _SIDE, _MOST_BYTES),
            picture(overlay(image, warmth), _SIDE, _MOST_BYTES),
        )
        for position, image, warmth in zip(shown, pixels, explain(pixels), strict=True)
    ]
