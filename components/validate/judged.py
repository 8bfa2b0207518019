"""A model's answers for the images of another source, without those that it may have seen."""

import math
from typing import NamedTuple

import numpy as np

from components.shared.data.classes import STRANGER
from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError
from components.shared.evaluation.external import Overlap
from components.shared.evaluation.metrics import Predictor
from components.shared.model_folder.known_images import KnownImages
from components.shared.run.progress import track
from components.validate.model import JudgedModel

SURE = 0.9  # the probability of the answer from which on it is sure
BATCH = 64


class Judged(NamedTuple):
    """A model's answers on another source.

    Attributes:
        rows: Positions of the images of both classes that are measured, int64 [n].
        strangers: Positions of those that are no brain MRI.
        model: P(Brain Tumor) of every image, and the threshold; NaN where it was not asked.
        flagged: Whether every image was flagged, bool; None where the model has no such check.
        unsure: Whether every answer is unsure, bool; None where the model always answers.
        overlap: Images that were left out.
    """

    rows: np.ndarray
    strangers: np.ndarray
    model: Predictor
    flagged: np.ndarray | None
    unsure: np.ndarray | None
    overlap: Overlap


def find_overlap(dataset: ImageDataset, *known: KnownImages | None) -> tuple[np.ndarray, Overlap]:
    """Finds the images of a source that a model's own dataset holds too.

    Where one image of a patient is known, all images of that patient are left out.

    Args:
        dataset: The source.
        *known: The images of a model's own dataset, or of several models'; None where nothing is
            kept of one's.

    Returns:
        Positions of the other images, int64 [n], and how many were left out.
    """
    identical = np.zeros(len(dataset), dtype=bool)
    near = np.zeros(len(dataset), dtype=bool)
    for images in known:
        if images is not None:
            found = images.find(dataset)
            identical |= found[0]
            near |= found[1]
    out = np.isin(dataset.groups, dataset.groups[identical | near])
    overlap = Overlap(
        checked=all(images is not None for images in known),
        identical=int(identical.sum()),
        near_duplicates=int((near & ~identical).sum()),
        same_group=int((out & ~near & ~identical).sum()),
    )
    return np.flatnonzero(~out), overlap


def judge(
    dataset: ImageDataset, model: JudgedModel, positions: np.ndarray, overlap: Overlap
) -> Judged:
    """Asks a model about some images of a source.

    Args:
        dataset: The source.
        model: The model.
        positions: Of the images that its own dataset does not hold, int64 [n].
        overlap: How many it does.

    Returns:
        Its answers.

    Raises:
        UserError: None of the images is of a class, or an answer is no number.
    """
    is_stranger = dataset.labels[positions] == STRANGER
    rows, strangers = positions[~is_stranger], positions[is_stranger]
    if not len(rows):
        raise UserError(
            f"source {dataset.manifest.source}: the model's own dataset holds all of its "
            f"{overlap.images:,} images; give a source of other images"
        )
    tumor, stranger = np.full(len(dataset), np.nan), np.full(len(dataset), np.nan)
    batches = dataset.batches(positions, BATCH)
    for batch, pixels in track(
        batches, math.ceil(len(positions) / BATCH), f"batches of {BATCH} images"
    ):
        answers = model.answer(pixels)
        tumor[batch] = answers.tumor
        if answers.stranger is not None:
            stranger[batch] = answers.stranger
    if not np.isfinite(tumor[positions]).all():
        raise UserError(f"{model.title} gives no probability for some images; train it again")
    limit = model.score_limit
    return Judged(
        rows=rows,
        strangers=strangers,
        model=Predictor(np.clip(tumor, 0, 1), model.threshold),
        flagged=None if limit is None else stranger > limit,
        unsure=None if model.unsure is None else ~model.unsure.answers(tumor),
        overlap=overlap,
    )
