"""The floors that a score must beat to mean anything: one without pixels, one without learning.

All are fitted on the training part alone and answer for any images.
"""

from collections.abc import Callable

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from components.shared.data.classes import TUMOR
from components.shared.data.dataset import ImageDataset

_BLOCK = 8192  # thumbnails in memory at once, as float32: 32 MB


def metadata_scores(
    dataset: ImageDataset, train: np.ndarray, wanted: np.ndarray, seed: int
) -> np.ndarray:
    """Guesses the class from width, height, mode and format; sees no pixel.

    Args:
        dataset: The images.
        train: Positions to learn from, int64 [t].
        wanted: Positions to answer for, int64 [n].
        seed: Of the forest.

    Returns:
        P(Brain Tumor), float64 [n].
    """
    records = dataset.manifest.images
    facts = np.array([(r.width, r.height, r.mode, r.format) for r in records], dtype=object)
    guesser = _metadata_guesser(seed).fit(facts[train], dataset.labels[train] == TUMOR)
    # In one thread: several add up the trees in any order, and the last bit would vary.
    guesser.set_params(randomforestclassifier__n_jobs=1)
    probabilities: np.ndarray = guesser.predict_proba(facts[wanted])
    return probabilities @ guesser.classes_.astype(float)


def _metadata_guesser(seed: int) -> Pipeline:
    """A forest splits on exact sizes, which is what gives the sources of the scans away."""
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), [2, 3]),
        remainder="passthrough",
    )
    return make_pipeline(columns, RandomForestClassifier(300, random_state=seed, n_jobs=-1))


def nearest_neighbour_scores(
    dataset: ImageDataset, train: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Answers with the class of the most similar training image: 32x32 grey, Euclidean.

    The scores are 0 or 1. So AUROC is the mean of sensitivity and specificity, and Brier and
    calibration error both come from the share of wrong answers.

    Args:
        dataset: The images.
        train: Positions to learn from, int64 [t].
        wanted: Positions to answer for, int64 [n].

    Returns:
        1.0 for Brain Tumor, 0.0 for Healthy, float64 [n].
    """
    nearest = np.zeros(len(wanted), dtype=np.int64)
    for rows in _blocks(len(wanted)):
        least = np.full(len(nearest[rows]), np.inf)
        queries = _flat(dataset, wanted[rows])
        for known in _blocks(len(train)):
            index, distance = pairwise_distances_argmin_min(queries, _flat(dataset, train[known]))
            closer = distance < least
            least[closer] = distance[closer]
            nearest[rows][closer] = train[known][index[closer]]
    return (dataset.labels[nearest] == TUMOR).astype(np.float64)


# By the predictor's name: how it answers for images that it did not see.
ANSWERS: dict[str, Callable[[ImageDataset, np.ndarray, np.ndarray, int], np.ndarray]] = {
    "metadata_floor": metadata_scores,
    "nearest_neighbour_floor": lambda dataset, train, wanted, _: nearest_neighbour_scores(
        dataset, train, wanted
    ),
}


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, count, _BLOCK)]


def _flat(dataset: ImageDataset, positions: np.ndarray) -> np.ndarray:
    return dataset.thumbnails[positions].reshape(len(positions), -1).astype(np.float32)
