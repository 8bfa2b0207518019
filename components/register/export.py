"""Keras model -> SavedModel that answers uint8 images and needs neither Keras nor this project."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.export import ExportArchive

from components.errors import UserError
from components.gradcam import gradcam
from components.images import SHAPE
from components.register.in_distribution import InDistributionCheck

INPUT = "images"
OUTPUT = "probability_healthy"
HEATMAP = "heatmap"
SCORE = "in_distribution_score"
SERVING, EXPLAIN = "serving_default", "explain"
TOLERANCE = {OUTPUT: 1e-6, SCORE: 1e-5}


def export(model: keras.Model, check: InDistributionCheck, folder: str | Path) -> None:
    """Writes a SavedModel with two signatures, both from `images`, uint8 [n, 150, 150, 3].

    `serving_default` gives `probability_healthy` and `in_distribution_score`, float32 [n] each;
    `explain` gives these and `heatmap`, float32 [n, h, w] within 0..1, see `components.gradcam`.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1]; calibrated.
        check: Gives the score.
        folder: Where to write.
    """
    explained = gradcam(model)

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: model(images, training=False)[:, 0], SCORE: check.score(images)}

    def explain(images: tf.Tensor) -> dict[str, tf.Tensor]:
        probability, heatmap = explained(images)
        return {OUTPUT: probability, SCORE: check.score(images), HEATMAP: heatmap}

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
        loaded = tf.saved_model.load(str(folder))
        expected = {
            OUTPUT: np.asarray(model(images, training=False))[:, 0],
            SCORE: check.score(images).numpy(),
        }
        for name in (SERVING, EXPLAIN):
            found = loaded.signatures[name](images=tf.constant(images))
            for output, allowed in TOLERANCE.items():
                gap = float(np.max(np.abs(found[output].numpy() - expected[output])))
                if not gap <= allowed:
                    raise RuntimeError(
                        f"the exported model's signature {name} is off by {gap:.2g} in {output}, "
                        f"at most {allowed:g} is allowed"
                    )


def load_signature(folder: str | Path) -> Any:
    """Loads the `serving_default` signature of a registered model.

    Args:
        folder: The SavedModel's folder, verified.

    Returns:
        A function from `images=` uint8 [n, 150, 150, 3] to a dict with `probability_healthy`.

    Raises:
        UserError: The model cannot be loaded or has no such signature.
    """
    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures[SERVING]
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        line = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{folder}: cannot load the SavedModel: {line}") from error
    signature.owner = loaded  # its variables live as long as what they were loaded with
    return signature
