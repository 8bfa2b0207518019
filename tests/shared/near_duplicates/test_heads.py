"""The head's picture stays the same under what makes no other picture of it."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from components.shared.images.decode import decode
from components.shared.near_duplicates.heads import head
from components.shared.near_duplicates.matcher import correlation


def pixels(image: Image.Image) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return decode(buffer.getvalue()).pixels


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "margins cropped": lambda image: image.crop((20, 10, 220, 232)),
    "margins added": lambda image: ImageOps.expand(image, (30, 0, 80, 40)),
    "another gamma": lambda image: image.point(lambda v: 255 * (v / 255) ** 0.7),
    "less contrast": lambda image: image.point(lambda v: 30 + v / 2),
    "turned and mirrored": lambda image: ImageOps.mirror(image.rotate(90)),
    "squeezed": lambda image: image.resize((300, 130)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_head(drawn_head: Callable, change: str) -> None:
    for seed in range(4):
        image = drawn_head(seed)
        pair = head(pixels(image)), head(pixels(CHANGES[change](image)))
        assert correlation(*pair) > 0.97


def test_letters_beside_the_head_do_not_count(drawn_head: Callable) -> None:
    image = drawn_head(1, fill=0.7)
    marked = image.copy()
    ImageDraw.Draw(marked).text((3, 3), "L 12.5 cm", fill=255)
    ImageDraw.Draw(marked).rectangle((236, 90, 239, 130), fill=255)
    assert correlation(head(pixels(image)), head(pixels(marked))) > 0.99


def test_other_heads_differ(drawn_head: Callable) -> None:
    heads = [head(pixels(drawn_head(seed))) for seed in range(12)]
    likeness = [correlation(a, b) for i, a in enumerate(heads) for b in heads[:i]]
    assert max(likeness) < 0.9


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_without_a_head_there_is_no_picture(grey: int) -> None:
    image = Image.new("L", (150, 150), grey)
    assert not head(pixels(image)).any()
    ImageDraw.Draw(image).text((5, 5), "no head", fill=255 - grey)
    assert not head(pixels(image)).any()
