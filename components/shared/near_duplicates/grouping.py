"""Groups of near-duplicates: the same picture re-encoded, resized, brightened, flipped or turned.

Two images are twins when their grey 32x32 thumbnails correlate above 0.98. Groups are the connected
components of twins.
"""

import numpy as np

from components.shared.data.groups import join_links
from components.shared.near_duplicates.matcher import Matcher

CORRELATION = 0.98


def group_near_duplicates(thumbnails: np.ndarray) -> np.ndarray:
    """Groups near-duplicates.

    The same thumbnails give the same groups, whatever the number of threads. Beside
    `thumbnails`, which may be mapped from disk, this takes 1.2 KB of memory a thumbnail.

    Args:
        thumbnails: uint8 [n, 32, 32], grey.

    Returns:
        int64 [n]: the group of each image, numbered by first appearance. All images without
        any contrast form one group.
    """
    matcher = Matcher(thumbnails, CORRELATION)
    flat = np.flatnonzero(matcher.flat)
    chain = np.stack([flat[:-1], flat[1:]], axis=1)
    links = matcher.links("different thumbnails")
    return join_links(len(thumbnails), np.concatenate([chain, links]))
