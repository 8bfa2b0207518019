"""Samples as files hold them -> images of 8 bits: one rule for every deep image.

Deep is what has more than 8 bits a sample, integer or float, grey or RGB. Scanners fill 12 of 16
bits, or any part of them, so the values themselves say what black and white are.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

_FENCE = (3, 97)  # percentiles
_WIDTHS = 3  # between these, that a value may lie beyond them
_SAMPLES = 2**20  # that the percentiles are taken of, spread evenly over the image
_ROWS = 256  # that are stretched at once, because float64 takes eight times as much memory


class WorkError(ValueError):
    """An image whose samples take more memory than is allowed."""


@dataclass(frozen=True)
class Samples:
    """What a file holds of each pixel.

    Attributes:
        colours: Integers or floats of any size, [height, width, 1 for grey or 3 for RGB].
        alpha: Of the same kind, [height, width], if there is an alpha channel; the colours are not
            multiplied by it.
        white_is_zero: The least value is the brightest.
    """

    colours: np.ndarray
    alpha: np.ndarray | None = None
    white_is_zero: bool = False


def check(size: int, allowed: int) -> None:
    """Refuses an image before it is read.

    Args:
        size: Bytes that its samples take.
        allowed: Bytes that they may take.

    Raises:
        WorkError: See the class.
    """
    if size > allowed:
        raise WorkError(f"its samples take {size:,} bytes, at most {allowed:,} are allowed")


def image(samples: Samples) -> Image.Image:
    """Makes an image of 8 bits.

    Bytes stay as they are; -128 of signed ones is black. Deep colours are stretched: the least
    value becomes 0 and the greatest 255, of all channels together and of those pixels that are not
    wholly transparent. Outliers, such as a burnt-in mark, do not count and become 0 or 255. They
    lie further from the 3rd or 97th percentile than three times the distance between these. What
    is no number is black.

    Args:
        samples: See there.

    Returns:
        An image of mode `L`, `RGB`, `LA` or `RGBA`.
    """
    colours = _colours(samples)
    if samples.alpha is not None:
        colours = np.dstack([colours, _opacity(samples.alpha)])
    return Image.fromarray(colours[..., 0] if colours.shape[-1] == 1 else colours)


def _colours(samples: Samples) -> np.ndarray:
    stored = samples.colours
    if stored.dtype.itemsize == 1:
        shifted = stored.view(np.uint8) ^ (0x80 if stored.dtype.kind == "i" else 0)
        return 255 - shifted if samples.white_is_zero else shifted
    low, high = _range(samples)
    if high <= low:
        return np.zeros(stored.shape, np.uint8)
    black, white = (255, 0) if samples.white_is_zero else (0, 255)
    stretched = np.empty(stored.shape, np.uint8)
    for part in parts(len(stored)):
        values = black + (stored[part].astype(np.float64) - low) * ((white - black) / (high - low))
        values[np.isnan(values)] = 0
        stretched[part] = np.rint(np.clip(values, 0, 255))
    return stretched


def _range(samples: Samples) -> tuple[float, float]:
    """Returns the least and the greatest value that are no outliers."""
    step = slice(None, None, 1 + math.isqrt(samples.colours.size // _SAMPLES))
    some = _visible(samples, step, step)
    if not some.size:
        return 0.0, 0.0
    first, last = np.percentile(some, _FENCE)
    beyond = _WIDTHS * (last - first) if last > first else np.inf
    low, high = np.inf, -np.inf
    for part in parts(len(samples.colours)):
        values = _visible(samples, part, slice(None))
        values = values[(values >= first - beyond) & (values <= last + beyond)]
        if values.size:
            low, high = min(low, values.min()), max(high, values.max())
    return float(low), float(high)


def _visible(samples: Samples, rows: slice, columns: slice) -> np.ndarray:
    """Returns the finite values of pixels that are not wholly transparent."""
    colours = samples.colours[rows, columns]
    if samples.alpha is not None:
        colours = colours[samples.alpha[rows, columns] > 0]
    values = colours.astype(np.float64).ravel()
    return values[np.isfinite(values)]


def _opacity(alpha: np.ndarray) -> np.ndarray:
    """Returns alpha of 8 bits: its greatest value, or 1.0 of floats, is opaque."""
    if alpha.dtype == np.uint8:
        return alpha
    opaque = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    opacity = np.empty(alpha.shape, np.uint8)
    for part in parts(len(alpha)):
        values = np.nan_to_num(alpha[part].astype(np.float64) * (255 / opaque))
        opacity[part] = np.rint(np.clip(values, 0, 255))
    return opacity


def parts(rows: int) -> Iterator[slice]:
    """Yields slices of so many rows, few enough for a copy of them in float64."""
    for start in range(0, rows, _ROWS):
        yield slice(start, min(start + _ROWS, rows))
