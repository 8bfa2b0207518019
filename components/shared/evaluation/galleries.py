"""Pictures of single images in a report, each with the heat map of the model's answer."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from components.shared.data.dataset import ImageDataset
from components.shared.images.overlay import overlay
from components.shared.reports.html import picture

SHOWN = 12  # of each gallery
_SIDE = 150


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
        kind: `tumor` or `healthy`, which colours them; empty for neither.
        meaning: Of the title, and the order.
        total: Images, of which the first few are shown.
        pictures: Those shown, one a patient and near-duplicate group.
    """

    title: str
    kind: str
    meaning: str
    total: int
    pictures: list[Picture]


def show(
    dataset: ImageDataset,
    ranked: np.ndarray,
    caption: Callable[[int], str],
    explain: Callable[[np.ndarray], np.ndarray],
) -> list[Picture]:
    """Returns pictures of the first of some images, one a patient and near-duplicate group.

    Args:
        dataset: The images.
        ranked: Positions, those to show first before the others.
        caption: From a position to what stands below the picture.
        explain: From images, uint8 [n, 150, 150, 3], to heat maps, float32 [n, h, w], 0..1.
    """
    _, first = np.unique(dataset.groups[ranked], return_index=True)
    shown: Sequence[int] = ranked[np.sort(first)[:SHOWN]].tolist()
    if not shown:
        return []
    pixels = dataset.read(shown)
    return [
        Picture(
            dataset.manifest.images[position].path,
            caption(position),
            picture(image, size=_SIDE),
            picture(overlay(image, warmth), size=_SIDE),
        )
        for position, image, warmth in zip(shown, pixels, explain(pixels), strict=True)
    ]
