"""Pictures of heads: an ellipse on black, with a rim and a texture of its own."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from tests.ingest.conftest import drawn

__all__ = ["drawn"]


@cache
def draw_head(seed: int, side: int = 240, fill: float = 0.8) -> Image.Image:
    """A head that fills so much of the width and a little more of the height."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(side, side)), side / 40)
    texture = Image.fromarray(np.uint8(np.clip(120 + 35 * smooth / smooth.std(), 50, 230)))
    margins = side * (1 - fill) / 2, side * (1 - 1.1 * fill) / 2
    box = (*margins, side - margins[0], side - margins[1])
    mask = Image.new("L", texture.size)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    image = Image.composite(texture, Image.new("L", texture.size), mask)
    ImageDraw.Draw(image).ellipse(box, outline=240, width=side // 40)
    return image


@pytest.fixture(scope="session")
def drawn_head() -> Callable[..., Image.Image]:
    return draw_head
