"""The trained model: opened, calibrated, and asked about whole datasets."""

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.special import expit

from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError, first_line
from components.shared.images.decode import SHAPE

BATCH = 64  # measured: larger ones are no faster on CPU and take more memory


def open_model(folder: str | Path) -> keras.Model:
    """Opens the model that the train step wrote.

    Args:
        folder: Holds `model.keras`.

    Returns:
        A model from uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1]; its last layer is a
        dense one with a sigmoid.

    Raises:
        UserError: Missing, damaged, or a model of other inputs, outputs or last layer.
    """
    path = Path(folder) / "model.keras"
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # a damaged archive raises nearly anything
        raise UserError(
            f"{path}: cannot open the model: {first_line(error)}; train it again"
        ) from error
    if model.input_shape != (None, *SHAPE) or model.output_shape != (None, 1):
        raise UserError(
            f"{path}: goes from {model.input_shape} to {model.output_shape} where "
            f"{(None, *SHAPE)} to (None, 1) is needed; train it again"
        )
    if getattr(model.layers[-1], "activation", None) is not keras.activations.sigmoid:
        raise UserError(f"{path}: does not end in a dense layer with a sigmoid; train it again")
    return model


def apply_temperature(model: keras.Model, temperature: float) -> None:
    """Calibrates a model in place: its logits are divided by a temperature, at no cost.

    Args:
        model: As `open_model` opens it.
        temperature: As fitted on validation.
    """
    head = model.layers[-1]  # linear up to its sigmoid, so its weights take the division up
    head.set_weights([weights / temperature for weights in head.get_weights()])


def predict_rows(model: keras.Model, dataset: ImageDataset, rows: np.ndarray) -> np.ndarray:
    """Asks the model about some images of a dataset.

    Args:
        model: As `open_model` opens it.
        dataset: The images.
        rows: Their positions, int64 [n].

    Returns:
        P(Brain Tumor), float64 [n], in the order asked for.

    Raises:
        UserError: The model answers with something else than a number.
    """
    starts = range(0, len(rows), BATCH)
    batches = (
        (np.arange(start, start + len(pixels)), pixels)
        for start, (_, pixels) in zip(starts, dataset.batches(rows, BATCH), strict=True)
    )
    return predict_tumor(model, batches, len(rows))


def predict_tumor(
    model: keras.Model, batches: Iterable[tuple[np.ndarray, np.ndarray]], images: int
) -> np.ndarray:
    """Asks the model about many images, a batch at a time.

    Args:
        model: As `open_model` opens it.
        batches: Positions, int64 [b], and pixels, uint8 [b, 150, 150, 3], as
            `ImageDataset.batches` yields them.
        images: How many there are; the positions are 0..images-1.

    Returns:
        P(Brain Tumor), float64 [images]; made from the logits, which tell scores apart where a
        float32 probability is just 1.

    Raises:
        UserError: The model answers with something else than a number.
    """
    head = model.layers[-1]
    features_of = keras.Model(model.inputs[0], head.input)

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.uint8)])
    def logits_of(pixels: tf.Tensor) -> tf.Tensor:
        features = tf.cast(features_of(pixels, training=False), tf.float32)
        return (features @ head.kernel + head.bias)[:, 0]

    scores = np.full(images, np.nan)
    for positions, pixels in batches:
        scores[positions] = expit(-logits_of(pixels).numpy().astype(np.float64))
    unusable = int(np.sum(~np.isfinite(scores)))
    if unusable:
        raise UserError(
            f"the model gives no probability for {unusable:,} of {images:,} images: its training "
            "has diverged; train it again with a smaller learning rate"
        )
    return scores
