"""What tests of the page share: files, and how a browser gets them and shows them."""

import base64
import io
import re
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page

from components.ingest.sample import draw_slice

ANSWERS = re.compile(r":(explain|predict)$")
EXPLAIN = re.compile(r":explain$")
CARD = re.compile(r"/card$")


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def drawn(kind: str = "PNG", seed: int = 1) -> bytes:
    """Returns a slice with a tumour."""
    return encoded(draw_slice(True, np.random.default_rng(seed)), kind)


def grey(brightness: int) -> bytes:
    """Returns an image for which the model says P(Healthy) = brightness / 255."""
    return encoded(Image.new("L", (60, 40), brightness))


def file(name: str, content: bytes, media_type: str = "image/png") -> Any:
    return {"name": name, "mimeType": media_type, "buffer": content}


def percent(share: float) -> str:
    """Writes a share as the page does."""
    if 0 < share < 0.0005:
        return "< 0.1%"
    return "> 99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def choose(page: Page, *files: Any) -> None:
    page.get_by_label("Choose images").set_input_files(list(files))


def picture(page: Page, pane: str = "heated") -> np.ndarray:
    """Returns what a pane shows without its look: the heat laid over the base, uint8 [h, w, 3]."""
    base, heat = (_canvas(page, f"#{pane} .{layer}") for layer in ("base", "heat"))
    strength = float(page.locator(f"#{pane} .heat").evaluate("(e) => getComputedStyle(e).opacity"))
    opacity = heat[..., 3:] / 255 * strength
    return np.uint8(np.rint(base[..., :3] * (1 - opacity) + heat[..., :3] * opacity))


def _canvas(page: Page, selector: str) -> np.ndarray:
    address = page.locator(selector).evaluate("(canvas) => canvas.toDataURL()")
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"), dtype=float)
