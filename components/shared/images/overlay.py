"""A heat map over its image, as pixels; needs no TensorFlow, so that serving can share it."""

import numpy as np
from PIL import Image


def overlay(pixels: np.ndarray, heat: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """Lays a heat map over its image.

    Args:
        pixels: uint8 [h, w, 3].
        heat: float32 [a, b] within 0..1, of any resolution.
        strength: Opacity where the heat is greatest, 0..1.

    Returns:
        uint8 [h, w, 3].
    """
    height, width = pixels.shape[:2]
    grown = Image.fromarray(np.uint8(np.clip(heat, 0, 1) * 255)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    warmth = np.asarray(grown, dtype=np.float32)[..., None] / 255
    # Red through yellow, as radiologists know it from perfusion maps.
    color = warmth * (0, 220, 0) + (255, 0, 0)
    mixed = pixels * (1 - warmth * strength) + color * warmth * strength
    return np.rint(mixed).astype(np.uint8)
