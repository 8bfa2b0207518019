"""What each training image counts for in the loss."""

import numpy as np

from components.shared.data.dataset import ImageDataset
from components.shared.data.groups import group_weights


def image_weights(dataset: ImageDataset, rows: np.ndarray, group_power: float) -> np.ndarray:
    """Weighs images by their groups and by their sources.

    An image of a source of weight 2 counts as if it were there twice, without becoming a
    near-duplicate of itself.

    Args:
        dataset: The images.
        rows: Positions of the training images, int64 [n].
        group_power: As `group_weights` takes it.

    Returns:
        float32 [n], 1 in the mean.
    """
    weights = group_weights(dataset.groups[rows], group_power) * dataset.source_weights[rows]
    mean_one: np.ndarray = (weights / weights.mean()).astype(np.float32)
    return mean_one
