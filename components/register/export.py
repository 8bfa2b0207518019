"""Keras model -> SavedModel that answers uint8 images and needs neither Keras nor this project."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras.export import ExportArchive

from components.register.in_distribution import InDistributionCheck
from components.register.projection import Projection
from components.shared.images.decode import SHAPE
from components.shared.model_folder.contract import (
    EXPLAIN,
    FEATURES,
    HEATMAP,
    INPUT,
    PROBABILITY,
    SCORE,
    SERVING,
)
from components.shared.model_folder.runtimes import every_runtime
from components.shared.model_folder.runtimes.runtime import Outputs
from components.shared.networks.features import with_features
from components.shared.networks.gradcam import gradcam

TOLERANCE = {PROBABILITY: 1e-5, SCORE: 1e-5, FEATURES: 1e-3}


def export(
    model: keras.Model, check: InDistributionCheck, projection: Projection, folder: str | Path
) -> None:
    """Writes a SavedModel with two signatures, both from `images`, uint8 [n, 150, 150, 3].

    `serving_default` gives `probability_healthy` and `in_distribution_score`, float32 [n] each, and
    `features`, float32 [n, 8]; `explain` gives these and `heatmap`, float32 [n, h, w] within 0..1,
    see `components.shared.networks.gradcam`.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1]; calibrated.
        check: Gives the score.
        projection: Gives the features.
        folder: Where to write.
    """
    answered, explained = with_features(model), gradcam(model)

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        probability, late, early = answered(images, training=False)
        return {
            PROBABILITY: probability[:, 0],
            SCORE: check.score(images, early),
            FEATURES: projection.project(late),
        }

    def explain(images: tf.Tensor) -> dict[str, tf.Tensor]:
        found = explained(images)
        return {
            PROBABILITY: found.probability,
            SCORE: check.score(images, found.early),
            FEATURES: projection.project(found.late),
            HEATMAP: found.heatmap,
        }

    images = tf.TensorSpec((None, *SHAPE), tf.uint8, name=INPUT)
    archive = ExportArchive()
    archive.add_endpoint(SERVING, answer, input_signature=[images])
    archive.add_endpoint(EXPLAIN, explain, input_signature=[images])
    archive.write_out(str(folder), verbose=False)


def check_export(
    model: keras.Model,
    check: InDistributionCheck,
    projection: Projection,
    folder: str | Path,
    images: np.ndarray,
) -> None:
    """Checks that an export answers as what was exported does, whatever runs it.

    Args:
        model: What was exported.
        check: What was exported with it.
        projection: What was exported with both.
        folder: Where it was written.
        images: A few images, uint8 [n, 150, 150, 3].

    Raises:
        RuntimeError: A probability or a score differs by more than 1e-5, or a feature by more
            than 1e-3.
    """
    with tf.device("CPU"):  # a GPU rounds to fewer digits than this compares
        probability, late, early = with_features(model)(images, training=False)
        expected = {
            PROBABILITY: np.asarray(probability)[:, 0],
            SCORE: check.score(images, early).numpy(),
            FEATURES: projection.project(late).numpy(),
        }
        for runtime in every_runtime(folder):
            for run in (runtime.classify, runtime.explain):
                check_answers(run(images), expected, f"{runtime.name}'s {run.__name__}")


def check_answers(found: Outputs, expected: Outputs, whose: str) -> None:
    """Checks that two give the same answers.

    Args:
        found: Of the one, by name.
        expected: Of the other; what it lacks is not compared.
        whose: The one, for the error.

    Raises:
        RuntimeError: They differ by more than `TOLERANCE`.
    """
    for output, allowed in TOLERANCE.items():
        if output not in expected:
            continue
        gap = float(np.max(np.abs(found[output] - expected[output])))
        if not gap <= allowed:
            raise RuntimeError(
                f"the exported model is off by {gap:.2g} in {output} of {whose}, "
                f"at most {allowed:g} is allowed"
            )
