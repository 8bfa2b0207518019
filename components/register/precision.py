"""What a version is worth in a lower precision, by the runtime that will serve it."""

from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError
from components.shared.evaluation.metrics import (
    Predictor,
    bootstrap,
    point_estimate,
    with_intervals,
)
from components.shared.model_folder.contract import PROBABILITY
from components.shared.model_folder.metadata import LowerPrecisionRecord
from components.shared.model_folder.runtimes import computes, load
from components.shared.model_folder.runtimes.runtime import Runtime
from components.shared.model_folder.served import Precision

_BATCH = 64


class Resamples(NamedTuple):
    """Those behind each interval."""

    samples: int
    seed: int


def precision_named(name: str) -> Precision:
    """Returns a precision by its name, or raises `UserError`."""
    for precision in get_args(Precision):
        if name == precision:
            return precision
    raise UserError(f"serving_precision is {name!r}; give {' or '.join(get_args(Precision))}")


def require_precision(precision: Precision) -> None:
    """Raises `UserError` where this machine cannot measure a precision."""
    if not computes(precision):
        raise UserError(
            f"serving_precision is {precision}, which the CPU of this machine does not multiply: "
            "register on one that does, or leave it at float32"
        )


def measure_lower_precision(
    folder: str | Path,
    precision: Precision,
    dataset: ImageDataset,
    rows: np.ndarray,
    threshold: float,
    resamples: Resamples,
) -> LowerPrecisionRecord | None:
    """Measures an exported model in the precision that it will be served in.

    Args:
        folder: The model's folder, with its SavedModel.
        precision: That this machine computes in.
        dataset: The images.
        rows: Positions of the held-out ones, int64 [n].
        threshold: Brain Tumor is answered where its probability reaches this.
        resamples: Those behind the intervals.

    Returns:
        What it is worth there; None for float32, which the evaluation has measured.
    """
    if precision == "float32":
        return None
    runtime = load(folder, precision=precision)
    found, exact = (_scores(each, dataset, rows) for each in (runtime, load(folder)))
    labels, groups = dataset.labels[rows], dataset.groups[rows]
    served = Predictor(found, threshold)
    samples = bootstrap(labels, groups, [served], *resamples)[0]
    return LowerPrecisionRecord(
        name=precision,
        runtime=runtime.name,
        images=len(rows),
        held_out=with_intervals(point_estimate(labels, served), samples, labels, groups),
        largest_change=float(np.abs(found - exact).max()),
        flipped=int(np.sum((found >= threshold) != (exact >= threshold))),
    )


def _scores(runtime: Runtime, dataset: ImageDataset, rows: np.ndarray) -> np.ndarray:
    """Returns P(Brain Tumor) of some images, float64 [n]."""
    batches = (images for _, images in dataset.batches(rows, _BATCH))
    healthy = np.concatenate([runtime.classify(images)[PROBABILITY] for images in batches])
    return 1 - healthy.astype(np.float64)
