"""Bytes of an image file -> pixels. The only decoder: ingest, evaluation and serving share it."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

SIZE = 150
SHAPE = (SIZE, SIZE, 3)
THUMBNAIL = 32
FORMATS = ("JPEG", "PNG", "TIFF")
MAX_BYTES = 32 * 2**20
MAX_PIXELS = 50_000_000
MAX_SIDE = 65_535  # JPEG's own; resizing takes memory by the side as well as by the area

# Pillow's own guard only warns below twice its limit; ours refuses, from the header alone.
Image.MAX_IMAGE_PIXELS = None

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")


class ImageError(ValueError):
    """An image that cannot be used.

    Attributes:
        reason: One of `empty`, `too-large`, `format`, `too-many-pixels`, `unreadable`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Args: reason: see the class; detail: one line for people."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """A decoded image and what its file said of itself.

    Attributes:
        pixels: uint8 [150, 150, 3], RGB, 0..255.
        width: Pixels, as stored, before any EXIF rotation; of a TIFF, after it.
        height: Likewise.
        mode: Pillow's mode as stored, such as `RGB`, `L`, `P`, `I;16`.
        format: `JPEG`, `PNG` or `TIFF`.
    """

    pixels: np.ndarray
    width: int
    height: int
    mode: str
    format: str


def decode(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decodes an image file and resizes it to what the model takes.

    The EXIF orientation is applied; 16-bit, 32-bit and float images are stretched from their own
    least to their own greatest value; transparency shows black; of several frames the first
    counts. Aspect is not kept (150x150 always), as in the reference implementation. The result
    is the same, bit for bit, wherever it runs.

    Args:
        data: The file's bytes. Its name plays no part.
        max_bytes: Refuse longer files.
        max_pixels: Refuse images of more pixels, before decoding them.

    Returns:
        The pixels with the file's width, height, mode and format.

    Raises:
        ImageError: The file is empty, too large, of another format, damaged or truncated.
    """
    if not data:
        raise ImageError("empty", "the file holds no bytes")
    if len(data) > max_bytes:
        raise ImageError("too-large", f"{len(data):,} bytes, at most {max_bytes:,} are allowed")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # hostile headers raise nearly anything
        raise ImageError("format", f"not a {', '.join(FORMATS)} image") from error
    width, height = image.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise ImageError(
            "too-many-pixels",
            f"{width}x{height}, at most {max_pixels:,} pixels and {MAX_SIDE:,} a side are allowed",
        )
    mode = image.mode
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    try:
        # libjpeg scales by 1/2, 1/4, 1/8 while it decodes; twice the target keeps full quality.
        image.draft(None, (2 * SIZE, 2 * SIZE))
        image.load()
        pixels = np.asarray(_resized(image))
    except Exception as error:  # so do hostile bodies
        text = str(error).split("\n", 1)[0] or type(error).__name__
        raise ImageError("unreadable", text) from error
    return Decoded(pixels, width, height, mode, kind)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Shrinks a decoded image to what duplicates and the 1-NN floor are measured on.

    Args:
        pixels: uint8 [150, 150, 3].

    Returns:
        uint8 [32, 32], grey.
    """
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def _resized(image: Image.Image) -> Image.Image:
    """Returns the image upright, as 8-bit RGB, 150x150."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _DEEP_MODES:
        upright = _to_8_bit(upright)
    elif upright.mode in _ALPHA_MODES or "transparency" in upright.info:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")
    elif upright.mode == "1":
        upright = upright.convert("L")
    elif upright.mode not in ("RGB", "L"):
        upright = upright.convert("RGB")
    return upright.resize((SIZE, SIZE), Image.Resampling.BILINEAR).convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Stretches a deep grey image from its own extremes to 0..255."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    scale = 255.0 / (high - low) if high > low else 0.0
    return Image.fromarray(np.rint((values - low) * scale).astype(np.uint8))
