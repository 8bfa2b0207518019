"""Heat maps as numbers and as a picture."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from components.shared.images.overlay import overlay
from serving.classifier import Prediction

_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer with its evidence.

    Attributes:
        prediction: The answer.
        heatmap: float32 [h, w] within 0..1, for the more probable class.
        image: PNG of what the model saw, 150x150.
        overlay: The same with the heat map laid over it.
        slice: Number of the slice that both are of; None where the file is no volume.
    """

    prediction: Prediction
    heatmap: np.ndarray
    image: bytes
    overlay: bytes
    slice: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns what v1 answers."""
        shown = {} if self.slice is None else {"explained_slice": self.slice}
        return self.prediction.as_json() | {
            **shown,
            "heatmap": self.heatmap.round(_DIGITS).tolist(),
            "image_png": _written(self.image),
            "overlay_png": _written(self.overlay),
        }


def explanation(
    image: np.ndarray, prediction: Prediction, heatmap: np.ndarray, slice: int | None = None
) -> Explanation:
    """Draws a heat map over its image.

    Args:
        image: uint8 [150, 150, 3].
        prediction: The answer.
        heatmap: float32 [h, w] within 0..1.
        slice: Its number in the volume that the answer is of.

    Returns:
        All of it together.
    """
    return Explanation(prediction, heatmap, _png(image), _png(overlay(image, heatmap)), slice)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _written(png: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(png).decode("ascii")}
