"""Labels in doubt: confident learning on predictions by networks that never saw the image.

Nothing is removed and no label is changed, here or anywhere: a radiologist judges.
"""

from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues

from components.shared.data.classes import CLASSES, TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.reports.text import csv_text


class Suspicion(NamedTuple):
    """A picture whose label the folds doubt, with all its near-duplicates of that label."""

    positions: np.ndarray  # in the dataset, int64; the first is shown
    label: int  # as given
    confidence: float  # mean probability of the given label


def suspicious_labels(dataset: ImageDataset, scores: np.ndarray) -> list[Suspicion]:
    """Finds labels that are probably wrong, the most doubtful first.

    Confident learning counts how often an image is predicted to be of the other class with at
    least that class's usual confidence, and doubts as many labels of each class as that makes
    likely. Near-duplicates of one label count as one picture with their mean probability: copies
    are one piece of evidence.

    Args:
        dataset: The images.
        scores: Out-of-fold P(Brain Tumor), calibrated, float64 [n].

    Returns:
        The pictures in doubt.
    """
    pairs = np.stack([dataset.duplicate_groups, dataset.labels], axis=1)
    _, picture_of, images = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    picture_of = picture_of.reshape(-1)
    first = np.unique(picture_of, return_index=True)[1]
    labels = dataset.labels[first].astype(np.int64)
    tumor = np.bincount(picture_of, scores) / images
    probabilities = np.stack([tumor, 1 - tumor], axis=1)
    ranked = find_label_issues(
        labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return [
        Suspicion(
            np.flatnonzero(picture_of == picture),
            int(labels[picture]),
            float(probabilities[picture, labels[picture]]),
        )
        for picture in ranked
    ]


def suspicions_csv(dataset: ImageDataset, scores: np.ndarray, suspicions: list[Suspicion]) -> str:
    """Returns a line for each image in doubt; the near-duplicates of a picture share its rank.

    Args:
        dataset: The images.
        scores: Out-of-fold P(Brain Tumor), float64 [n].
        suspicions: As `suspicious_labels` returns them.
    """
    rows: list[list[object]] = []
    for rank, suspicion in enumerate(suspicions, start=1):
        for position in suspicion.positions.tolist():
            record = dataset.manifest.images[position]
            tumor = float(scores[position])
            given = tumor if suspicion.label == TUMOR else 1 - tumor
            rows.append(
                [rank, position, record.path, record.group, CLASSES[suspicion.label], given, tumor]
            )
    return csv_text(
        ["rank", "index", "path", "group", "given_label", "probability_given", "probability_tumor"],
        rows,
    )
