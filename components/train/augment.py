"""The reference implementation's augmentation, computed with the batch on the device."""

import keras
from keras import layers

from components.images import SHAPE


def with_augmentation(model: keras.Model, seed: int) -> keras.Model:
    """Puts augmentation before a model; it acts in training only.

    Rotation by up to 20 degrees, shifts and zoom by up to 20%, shear, horizontal flip; what comes
    into view is filled with the nearest pixel.

    Args:
        model: From uint8 [n, 150, 150, 3]; the result shares its weights.
        seed: Of the augmentation.

    Returns:
        A model of the same inputs and outputs.
    """
    return keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8"),
            layers.RandomFlip("horizontal", seed=seed),
            layers.RandomRotation(20 / 360, fill_mode="nearest", seed=seed + 1),
            layers.RandomTranslation(0.2, 0.2, fill_mode="nearest", seed=seed + 2),
            layers.RandomZoom(0.2, fill_mode="nearest", seed=seed + 3),
            layers.RandomShear(0.2, 0.2, fill_mode="nearest", seed=seed + 4),
            model,
        ],
        name=f"augmented_{model.name}",
    )
