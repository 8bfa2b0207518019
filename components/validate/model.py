"""The model that is judged: as a version's folder holds it, or as the train step wrote it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.shared.evaluation.metrics import Scores
from components.shared.evaluation.unsure import Range
from components.shared.model_folder.contract import HEATMAP, PROBABILITY, SCORE


class Answers(NamedTuple):
    """What a model says of some images.

    Attributes:
        tumor: P(Brain Tumor), float64 [n].
        stranger: P(no brain MRI slice), float64 [n]; None where the model has no such check.
    """

    tumor: np.ndarray
    stranger: np.ndarray | None


@dataclass(frozen=True)
class JudgedModel:
    """A model and what it brings.

    Attributes:
        answer: From images, uint8 [n, 150, 150, 3], to what it says of them.
        explain: From images to heat maps of the more probable class, float32 [n, h, w], 0..1.
        threshold: Brain Tumor where P(Brain Tumor) reaches it.
        score_limit: An image is flagged where P(no brain MRI slice) is greater; None: no check.
        unsure: Between which scores its answer is unsure; None: it always answers.
        held_out: What it reached on the held-out part of its own dataset.
        title: For people, such as `version 3`.
    """

    answer: Callable[[np.ndarray], Answers]
    explain: Callable[[np.ndarray], np.ndarray]
    threshold: float
    score_limit: float | None
    unsure: Range | None
    held_out: Scores
    title: str


def registered_model(folder: str | Path) -> JudgedModel:
    """Opens a registered version.

    Args:
        folder: The version's folder, verified.

    Raises:
        UserError: It is malformed.
    """
    from components.shared.model_folder.metadata import read_metadata
    from components.shared.model_folder.runtimes import load

    metadata = read_metadata(folder)
    runtime = load(folder, precision=metadata.precision)
    check = metadata.in_distribution if SCORE in runtime.outputs else None

    def answer(images: np.ndarray) -> Answers:
        found = runtime.classify(images)
        stranger = found[SCORE].astype(np.float64) if check else None
        return Answers(1 - found[PROBABILITY].astype(np.float64), stranger)

    return JudgedModel(
        answer=answer,
        explain=lambda images: runtime.explain(images)[HEATMAP],
        threshold=metadata.threshold,
        score_limit=check.score_limit if check else None,
        unsure=Range(metadata.unsure.low, metadata.unsure.high) if metadata.unsure else None,
        held_out=metadata.metrics.held_out.model,
        title=f"version {metadata.version}",
    )


def trained_model(model_folder: str | Path, evaluation_folder: str | Path) -> JudgedModel:
    """Opens a model before it is registered; the check for strangers is made when it is.

    Args:
        model_folder: What the train step wrote.
        evaluation_folder: What the evaluate step wrote of this model.

    Raises:
        UserError: One of them is missing or malformed.
    """
    from components.shared.evaluation.predictor import apply_temperature, open_model
    from components.shared.evaluation.results import Evaluation
    from components.shared.networks.gradcam import gradcam

    evaluation = Evaluation.open(evaluation_folder)
    model = open_model(model_folder)
    apply_temperature(model, evaluation.temperature)
    explain = gradcam(model)

    def answer(images: np.ndarray) -> Answers:
        healthy = np.asarray(model.predict_on_batch(images))[:, 0]
        return Answers(1 - healthy.astype(np.float64), None)

    return JudgedModel(
        answer=answer,
        explain=lambda images: np.asarray(explain(images).heatmap),
        threshold=evaluation.threshold,
        score_limit=None,
        unsure=Range(evaluation.unsure.low, evaluation.unsure.high) if evaluation.unsure else None,
        held_out=evaluation.held_out.model,
        title="this run's model",
    )
