"""The head alone, and what is brighter than what in it: the same for a crop or another tone.

The head is the largest bright region with what it encloses. Its box is cut out, so that margins do
not count, and each grey level becomes its rank, so that brightness, contrast and gamma do not.
A tone or a margin also moves what counts as bright, and with it the box. So near-duplicates are
looked for among heads of three brightnesses.
"""

import numpy as np
from PIL import Image
from scipy.ndimage import label

HEAD = 40  # pixels a side
# Of the way from the darkest to the lightest, but for 2% of the pixels each.
BRIGHT = 0.15
BRIGHTNESSES = (BRIGHT, 0.06, 0.3)
_LEAST_AREA = 0.02  # share of the image; a smaller region is no head
# The box's edges: so much of the head's area lies beyond them, and so much of its width is added.
# Single pixels, such as those of letters beside the head, do not move such an edge.
_BEYOND, _ADDED = 0.01, 0.02


def heads(pixels: np.ndarray) -> np.ndarray:
    """Cuts the head out at each of three brightnesses; any two of twins may be alike.

    Args:
        pixels: uint8 [150, 150, 3].

    Returns:
        uint8 [3, 40, 40], each as `head` returns it.
    """
    return np.stack([head(pixels, bright) for bright in BRIGHTNESSES])


def head(pixels: np.ndarray, bright: float = BRIGHT) -> np.ndarray:
    """Cuts the head out of a decoded image, as ranks of its grey levels.

    Args:
        pixels: uint8 [150, 150, 3].
        bright: How bright a region has to be, 0..1.

    Returns:
        uint8 [40, 40], 0 the darkest and 255 the brightest; all 0 where nothing stands out.
    """
    grey = Image.fromarray(pixels).convert("L")
    region = head_region(np.asarray(grey), bright)
    if region.sum() < _LEAST_AREA * region.size:
        return np.zeros((HEAD, HEAD), dtype=np.uint8)
    left, right = _edges(region.sum(axis=0))
    top, bottom = _edges(region.sum(axis=1))
    box = (left, top, right, bottom)
    return _ranks(np.asarray(grey.resize((HEAD, HEAD), Image.Resampling.BOX, box=box)))


def head_region(grey: np.ndarray, bright: float = BRIGHT) -> np.ndarray:
    """Finds the largest bright region of an image, with what it encloses.

    Args:
        grey: uint8 [h, w].
        bright: How bright it has to be, 0..1.

    Returns:
        bool [h, w].
    """
    below = np.cumsum(np.bincount(grey.ravel(), minlength=256)) / grey.size
    dark, light = np.searchsorted(below, [0.02, 0.98])
    regions, count = label(grey > dark + bright * (light - dark))
    if count == 0:
        return regions.astype(bool)
    largest = regions == 1 + np.argmax(np.bincount(regions.ravel())[1:])
    around, count = label(~largest)  # what does not reach the border is a hole
    outside = np.zeros(count + 1, dtype=bool)
    for border in (around[0], around[-1], around[:, 0], around[:, -1]):
        outside[border] = True
    outside[0] = False
    region: np.ndarray = ~outside[around]
    return region


def _edges(profile: np.ndarray) -> tuple[float, float]:
    """Returns where a region begins and ends along one axis, in pixels and parts of them."""
    beyond = np.concatenate([[0], np.cumsum(profile) / profile.sum()])
    start, stop = np.interp([_BEYOND, 1 - _BEYOND], beyond, np.arange(len(beyond)))
    added = _ADDED * (stop - start)
    return max(0.0, start - added), min(float(len(profile)), stop + added)


def _ranks(grey: np.ndarray) -> np.ndarray:
    """Returns the mean rank of each grey level, as uint8."""
    counts = np.bincount(grey.ravel(), minlength=256)
    middle = np.cumsum(counts) - counts / 2
    levels = np.rint(middle / grey.size * 255).astype(np.uint8)
    ranks: np.ndarray = levels[grey]
    return ranks
