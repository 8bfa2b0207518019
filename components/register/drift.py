"""What the predictor's counts will be compared with: the answers for images kept from training."""

import math
from pathlib import Path

import numpy as np

from components.shared.data.classes import CLASSES, HEALTHY, TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.binning import drift_reference
from components.shared.evaluation.results import Unsure
from components.shared.evaluation.unsure import Range
from components.shared.model_folder.contract import DRIFT, FEATURES, PROBABILITY, SCORE, UNSURE
from components.shared.model_folder.drift_reference import (
    FEATURE,
    IN_DISTRIBUTION_SCORE,
    TUMOR_PROBABILITY,
)
from components.shared.model_folder.runtimes import load
from components.shared.model_folder.runtimes.runtime import Runtime
from components.shared.storage.files import write_atomically

_BATCH = 64


def write_drift_reference(
    folder: str | Path,
    dataset: ImageDataset,
    setting: np.ndarray,
    counted: np.ndarray,
    *,
    threshold: float,
    unsure: Range | Unsure | None,
    score_limit: float,
) -> None:
    """Writes `drift.json`: the answers for images that the model has not seen, counted in bins.

    Args:
        folder: The model's folder, with its SavedModel.
        dataset: The images.
        setting: Positions of those whose deciles are the edges of the bins, int64 [m].
        counted: Positions of those that are counted, int64 [n]; of other groups.
        threshold: Brain Tumor is answered where its probability reaches this.
        unsure: Between which probabilities the answer is unsure; None where never.
        score_limit: An image is flagged where its in-distribution score is greater.
    """
    runtime = load(folder)
    reference = drift_reference(
        _values(runtime, dataset, setting),
        _values(runtime, dataset, counted),
        dataset.groups[counted],
        {
            "outcome": (TUMOR_PROBABILITY, *_outcomes(threshold, unsure)),
            "flagged": (
                IN_DISTRIBUTION_SCORE,
                (math.nextafter(score_limit, math.inf),),  # the limit itself is not flagged
                ("no", "yes"),
            ),
        },
    )
    write_atomically(Path(folder, DRIFT), reference.model_dump_json() + "\n")


def _outcomes(
    threshold: float, unsure: Range | Unsure | None
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Returns the edges between the outcomes, and their names."""
    if unsure is None or unsure.low == unsure.high:
        return (threshold,), (CLASSES[HEALTHY], CLASSES[TUMOR])
    return (unsure.low, unsure.high), (CLASSES[HEALTHY], UNSURE, CLASSES[TUMOR])


def _values(runtime: Runtime, dataset: ImageDataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what the predictor knows of each image, by name, float64 [n] each."""
    found = [runtime.classify(images) for _, images in dataset.batches(rows, _BATCH)]
    outputs = {
        name: np.concatenate([of_batch[name] for of_batch in found]).astype(np.float64)
        for name in (PROBABILITY, SCORE, FEATURES)
    }
    features = enumerate(outputs[FEATURES].T, start=1)
    return {
        TUMOR_PROBABILITY: 1 - outputs[PROBABILITY],
        IN_DISTRIBUTION_SCORE: outputs[SCORE],
        **{f"{FEATURE}{number}": values for number, values in features},
    }
