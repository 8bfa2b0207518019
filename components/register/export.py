"""Keras model -> SavedModel that answers uint8 images and needs neither Keras nor this project."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras.export import ExportArchive

from components.register.in_distribution import InDistributionCheck
from components.shared.images.decode import SHAPE
from components.shared.model_folder.contract import (
    EXPLAIN,
    HEATMAP,
    INPUT,
    PROBABILITY,
    SCORE,
    SERVING,
)
from components.shared.model_folder.saved_model import load_saved_model
from components.shared.networks.gradcam import gradcam

TOLERANCE = {PROBABILITY: 1e-6, SCORE: 1e-5}


def export(model: keras.Model, check: InDistributionCheck, folder: str | Path) -> None:
    """Writes a SavedModel with two signatures, both from `images`, uint8 [n, 150, 150, 3].

    `serving_default` gives `probability_healthy` and `in_distribution_score`, float32 [n] each;
    `explain` gives these and `heatmap`, float32 [n, h, w] within 0..1, see
    `components.shared.networks.gradcam`.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1]; calibrated.
        check: Gives the score.
        folder: Where to write.
    """
    explained = gradcam(model)

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {PROBABILITY: model(images, training=False)[:, 0], SCORE: check.score(images)}

    def explain(images: tf.Tensor) -> dict[str, tf.Tensor]:
        probability, heatmap = explained(images)
        return {PROBABILITY: probability, SCORE: check.score(images), HEATMAP: heatmap}

    images = tf.TensorSpec((None, *SHAPE), tf.uint8, name=INPUT)
    archive = ExportArchive()
    archive.add_endpoint(SERVING, answer, input_signature=[images])
    archive.add_endpoint(EXPLAIN, explain, input_signature=[images])
    archive.write_out(str(folder), verbose=False)


def check_export(
    model: keras.Model, check: InDistributionCheck, folder: str | Path, images: np.ndarray
) -> None:
    """Checks that both signatures of an export answer as the model and the check do.

    Args:
        model: What was exported.
        check: What was exported with it.
        folder: Where it was written.
        images: A few images, uint8 [n, 150, 150, 3].

    Raises:
        RuntimeError: A probability differs by more than 1e-6, or a score by more than 1e-5.
    """
    with tf.device("CPU"):  # a GPU rounds to fewer digits than this compares
        expected = {
            PROBABILITY: np.asarray(model(images, training=False))[:, 0],
            SCORE: check.score(images).numpy(),
        }
        for name, signature in zip((SERVING, EXPLAIN), load_saved_model(folder), strict=True):
            found = signature(images)
            for output, allowed in TOLERANCE.items():
                gap = float(np.max(np.abs(found[output] - expected[output])))
                if not gap <= allowed:
                    raise RuntimeError(
                        f"the exported model's signature {name} is off by {gap:.2g} in {output}, "
                        f"at most {allowed:g} is allowed"
                    )
