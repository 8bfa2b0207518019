"""PNGs: only what bears on their pixels, and their samples of 16 bits.

A PNG's pixels are whole though its texts, profiles or Exif are broken or very large. Pillow refuses
the whole file for these, and of most samples of 16 bits it hands over 8. Rows that are missing it
makes black, and says nothing.
"""

import io
import math
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from components.shared.images import deep

MAGIC = b"\x89PNG\r\n\x1a\n"
_DEPTH, _COLOUR, _INTERLACE = 24, 25, 28  # places in a file
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the type of colour
# First column and row, and steps, of the images that an interlaced one consists of (Adam7).
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)),
    *((1, 0, 2, 2), (0, 1, 1, 2)),
)
_UNREAD = 0xA5  # any colour
_UNPACKED = 2**16  # bytes at once
# The texts in which ImageMagick and Adobe say which side is up.
_PROFILE, _XMP = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0\0"
_MAX_TEXT = 2**20  # bytes, unpacked; Pillow refuses more


def chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields where each chunk begins and where it ends, which may lie behind the file.

    Args:
        data: The file's bytes.
    """
    place = len(MAGIC)
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        yield place, end
        place = end


def without_metadata(data: bytes) -> bytes:
    """Drops the chunks of a PNG that say nothing of its pixels, and broken ones that need not be.

    Args:
        data: The file's bytes; its chunks have been counted.

    Returns:
        A PNG of the same pixels, the same side up.
    """
    kept = [data[: len(MAGIC)]]
    for start, end in chunks(data):
        if end > len(data) or _matters(data[start + 4 : start + 8], data[start + 8 : end]):
            kept.append(data[start:end])
    return b"".join(kept)


def _matters(kind: bytes, rest: bytes) -> bool:
    if not kind[0] & 0x20:  # a capital: no decoder may leave it out
        return True
    content = rest[:-4]
    if kind == b"tEXt":
        matters = content.startswith(_PROFILE)
    elif kind == b"zTXt":
        matters = content.startswith(_PROFILE) and _is_short(content[len(_PROFILE) + 1 :])
    elif kind == b"iTXt":  # not compressed
        matters = content.startswith(_XMP)
    else:
        matters = kind in (b"tRNS", b"eXIf")
    return matters and zlib.crc32(kind + content) == int.from_bytes(rest[-4:], "big")


def _is_short(packed: bytes) -> bool:
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, _MAX_TEXT)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail


def is_deep(data: bytes) -> bool:
    """Tells whether a PNG has 16 bits a sample.

    Args:
        data: The file's bytes.
    """
    return data[_DEPTH] == 16


class LostError(ValueError):
    """A PNG whose data end before its image does."""


def load(opened: ImageFile, data: bytes) -> None:
    """Loads a PNG that has all of its rows.

    Args:
        opened: The file, as Pillow opens it; not loaded.
        data: The file's bytes.

    Raises:
        LostError: See the class.
        Exception: The file is broken in another way.
    """
    opened.im = Image.new(opened.mode, opened.size, _UNREAD).im
    opened.load()
    # The last row is read last, but for interlaced ones. It may have this colour all the same.
    last = opened.crop((0, opened.height - 1, opened.width, opened.height))
    unread = Image.new(opened.mode, last.size, _UNREAD)
    if (data[_INTERLACE] or last.tobytes() == unread.tobytes()) and not _is_whole(opened, data):
        raise LostError("the PNG is cut off: its data end before its image")


def _is_whole(opened: ImageFile, data: bytes) -> bool:
    bits = _CHANNELS[data[_COLOUR]] * data[_DEPTH]
    passes = _PASSES if data[_INTERLACE] else ((0, 0, 1, 1),)
    sizes = [
        (math.ceil((opened.width - x) / across), math.ceil((opened.height - y) / down))
        for x, y, across, down in passes
    ]
    missing = sum(
        max(0, height) * (1 + math.ceil(width * bits / 8)) for width, height in sizes if width > 0
    )
    unpacker = zlib.decompressobj()
    for start, end in chunks(data):
        if data[start + 4 : start + 8] == b"IDAT":
            packed = data[start + 8 : end - 4]
            while missing > 0 and (unpacked := unpacker.decompress(packed, _UNPACKED)):
                missing -= len(unpacked)
                packed = unpacker.unconsumed_tail
    return missing <= 0


def scale_transparency(opened: ImageFile, data: bytes) -> None:
    """Scales the grey that is transparent to 8 bits, as Pillow scales pixels of 2 and 4 bits.

    Args:
        opened: The file, as Pillow opens it; changed.
        data: The file's bytes.
    """
    if opened.mode == "L" and "transparency" in opened.info:
        opened.info["transparency"] *= 255 // (2 ** data[_DEPTH] - 1)


def image(opened: ImageFile, data: bytes, max_bytes: int) -> Image.Image:
    """Reads a PNG of 16 bits a sample.

    Args:
        opened: The file, as Pillow opens it; not loaded.
        data: The file's bytes.
        max_bytes: Of its samples.

    Returns:
        It, with 8 bits a sample, and with the file's Exif.

    Raises:
        deep.WorkError: There are more bytes.
        Exception: The file is broken.
    """
    channels = _CHANNELS[data[_COLOUR]]
    deep.check(2 * channels * opened.width * opened.height, max_bytes)
    colours = _samples(opened, data, channels)
    alpha = None
    if channels in (2, 4):
        colours, alpha = colours[..., :-1], colours[..., -1]
    elif (transparent := opened.info.pop("transparency", None)) is not None:
        alpha = (colours != transparent).any(axis=-1) * np.uint16(65535)
    read = deep.image(deep.Samples(colours, alpha))
    read.info = opened.info
    return read


def _samples(opened: ImageFile, data: bytes, channels: int) -> np.ndarray:
    """Returns uint16 [height, width, channels]."""
    if channels == 1:
        return _unpacked(opened, data, "I;16", "I;16B")[..., None]
    if channels == 2:  # four bytes of which Pillow knows nothing
        return _unpacked(opened, data, "RGBA", "RGBA").view(">u2")
    # Pillow keeps but one byte of two: the first of big-endian numbers, the last of little-endian.
    mode = "RGB" if channels == 3 else "RGBA"
    samples = _unpacked(opened, data, mode, f"{mode};16B").astype(np.uint16) << 8
    again = Image.open(io.BytesIO(data), formats=["PNG"])
    samples |= _unpacked(again, data, mode, f"{mode};16L")
    return samples


def _unpacked(opened: ImageFile, data: bytes, mode: str, layout: str) -> np.ndarray:
    opened._mode = mode
    opened.tile = [tile._replace(args=layout) for tile in opened.tile]
    load(opened, data)
    return np.asarray(opened)
