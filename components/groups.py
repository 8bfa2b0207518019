"""What an image counts for beside its near-duplicates."""

import numpy as np


def group_weights(groups: np.ndarray, power: float = 0.5) -> np.ndarray:
    """Returns what images count for, so that many near-duplicates do not outweigh the rest.

    Args:
        groups: Duplicate group of each image, int [n].
        power: An image counts 1 / (size of its group) to this power; 0 all alike, 1 all groups
            alike. Between them a group counts more than one image and less than so many.

    Returns:
        float64 [n], at most 1.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return 1 / sizes[group_of] ** power
