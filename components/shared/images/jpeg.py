"""JPEGs: what their segments say, and their pixels, from a decoder that tells of what is missing.

Pillow fills with grey what a JPEG lacks and says nothing. simplejpeg is the same libjpeg-turbo, its
pixels are the same, and it passes libjpeg's warnings on.
"""

import re
from collections.abc import Iterator

import numpy as np
import simplejpeg

# What libjpeg says where pixels are lost; its other warnings are harmless.
_LOST = re.compile("premature end|bad Huffman code|bad arithmetic code|instead of RST", re.I)
# Neither an escaped byte of a scan, nor a restart inside of one, nor filling.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
START, SCAN, APP1 = 0xD8, 0xDA, 0xE1
_END, _TEMPORARY = 0xD9, 0x01
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xCA)
_LOSSLESS = 0xC3
_COLOURS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


class LostError(ValueError):
    """A JPEG that lacks a part of its image, or has a broken one."""


def pixels(data: bytes, mode: str, size: tuple[int, int]) -> np.ndarray | None:
    """Decodes a JPEG.

    Args:
        data: The file's bytes.
        mode: Pillow's: `L`, `RGB` or `CMYK`.
        size: Width and height to decode at: the image's, or a half, quarter or eighth, rounded up.

    Returns:
        uint8 [height, width] for `L`, else [height, width, channels], as Pillow has them. None
        where the decoder does not like something else about it, such as bytes too many.

    Raises:
        LostError: See the class.
    """
    found = _decoded(data, _COLOURS[mode], size)
    if found is None or found.shape[1::-1] != size:
        return None
    if mode == "CMYK":  # stored inverted, as Adobe does
        return 255 - found
    return found[..., 0] if mode == "L" else found


def is_lossless(data: bytes) -> bool:
    """Tells whether a JPEG is lossless, so that it cannot be decoded smaller than it is.

    Args:
        data: The file's bytes.
    """
    frames = (marker for marker, _, _ in segments(data) if marker in FRAMES)
    return next(frames, None) == _LOSSLESS


def check(data: bytes) -> None:
    """Decodes a JPEG in little time, for nothing but what the decoder says of it.

    Args:
        data: The file's bytes.

    Raises:
        LostError: See the class.
    """
    _decoded(data, "GRAY", (1, 1))


def _decoded(data: bytes, colours: str, min_size: tuple[int, int]) -> np.ndarray | None:
    # Asked for less of a lossless JPEG, libjpeg writes all of it, beyond the end of the array.
    width, height = (0, 0) if is_lossless(data) else min_size
    try:
        found = simplejpeg.decode_jpeg(data, colours, min_width=width, min_height=height)
    except ValueError as error:
        if not _LOST.search(str(error)):
            return None
        raise LostError("the JPEG is cut off or damaged: a part of its image is missing") from error
    if not _is_complete(data):
        raise LostError("the JPEG is cut off: some of its scans are missing")
    return found


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, start and end of the content of each segment, up to the end of the image.

    Args:
        data: The file's bytes.
    """
    place = 2
    while found := _MARKER.search(data, place):
        marker, place = data[found.start() + 1], found.end()
        if marker == _END:
            return
        if marker not in (START, _TEMPORARY):  # which have no content
            length = max(2, int.from_bytes(data[place : place + 2], "big"))
            yield marker, place + 2, place + length
            place += length


def _is_complete(data: bytes) -> bool:
    """Tells whether scans have brought all bits of all coefficients, if the JPEG is progressive."""
    lowest: dict[int, list[int]] = {}  # bit that has come, for each coefficient of a component
    for marker, start, _ in segments(data):
        if marker in FRAMES:
            if marker not in _PROGRESSIVE:
                return True
            lowest = {data[start + 6 + 3 * index]: [-1] * 64 for index in range(data[start + 5])}
        elif marker == SCAN:
            count = data[start]
            first, last, bits = data[start + 1 + 2 * count : start + 4 + 2 * count]
            for component in data[start + 1 : start + 1 + 2 * count : 2]:
                lowest[component][first : last + 1] = [bits & 15] * (last + 1 - first)
    return not any(any(bits) for bits in lowest.values())
