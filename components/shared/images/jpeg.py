"""JPEGs: what their segments say, and their pixels, from a decoder that tells of what is missing.

Pillow fills with grey what a JPEG lacks and says nothing. simplejpeg is the same libjpeg-turbo, its
pixels are the same, and it passes libjpeg's first warning on.
"""

import hashlib
import io
import math
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

# What libjpeg says where pixels are lost. Behind a harmless warning it says no more.
_LOST = re.compile("premature end|bad Huffman code|instead of RST", re.I)
# Neither an escaped byte of a scan, nor a restart inside of one, nor filling.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
START, SCAN, APP1 = 0xD8, 0xDA, 0xE1
_END, _TEMPORARY = 0xD9, 0x01
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ARITHMETIC = FRAMES & frozenset(range(0xC8, 0xD0))
_PROGRESSIVE, _LOSSLESS = 0xC2, 0xC3
_INTERVAL, _RESTARTS = 0xDD, range(0xD0, 0xD8)
_RESTART = re.compile(rb"(?<!\xff)\xff++[\xd0-\xd7]")  # with what fills up before it
_MAX_SEGMENTS = 65_536
_OTHER_BITS = b"\xaa\x55" * 16
_ARITHMETIC = "a JPEG with arithmetic coding, which is not read"
_LACKS_A_PART = "the JPEG is cut off or damaged: a part of its image is missing"
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
    return _frame(data) == _LOSSLESS


def _frame(data: bytes) -> int | None:
    """Returns the marker that tells how a JPEG is coded."""
    return next((marker for marker, _, _ in segments(data) if marker in FRAMES), None)


def check(data: bytes) -> None:
    """Decodes a JPEG in little time, for nothing but what the decoder says of it.

    Args:
        data: The file's bytes.

    Raises:
        LostError: See the class.
    """
    _decoded(data, "GRAY", (1, 1))


def _decoded(data: bytes, colours: str, min_size: tuple[int, int]) -> np.ndarray | None:
    frame = _frame(data)
    if frame in ARITHMETIC:  # what a decoder makes of missing bits, a coder may have left out
        raise LostError(_ARITHMETIC)
    # Asked for less of a lossless JPEG, libjpeg writes all of it, beyond the end of the array.
    width, height = (0, 0) if frame == _LOSSLESS else min_size
    found = None
    try:
        found = simplejpeg.decode_jpeg(data, colours, min_width=width, min_height=height)
    except ValueError as error:
        if _LOST.search(str(error)):
            raise LostError(_LACKS_A_PART) from error
        if _digest(data) != _digest(_with_other_bits(data)):
            raise LostError(_LACKS_A_PART) from error
    _check_scans(data)
    return found


def _digest(data: bytes) -> bytes:
    """Returns what tells the pixels of a JPEG from others."""
    return hashlib.sha256(np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]))).digest()


def _with_other_bits(data: bytes) -> bytes:
    """Returns a JPEG with other bits in the place of those that are missing.

    They lie behind the bits that are there, where nobody reads them of a whole JPEG.
    """
    parts, before = [], 0
    for scan in _scans(data):
        end = _end(data, scan)
        bits = data[scan.start : end].rstrip(b"\xff")
        bits = _RESTART.sub(_OTHER_BITS + rb"\g<0>", bits, count=_MAX_SEGMENTS) + _OTHER_BITS
        parts += [data[before : scan.start], bits]
        before = end
    return b"".join([*parts, data[before:]])


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


class _Scan(NamedTuple):
    """A scan, and what stands before it of it.

    Attributes:
        header: Which components, and which bits of which coefficients it brings.
        start: Where its bits begin.
        frame: The content of the segment that tells size and components; empty if there is none.
        marker: Of the frame.
        interval: Units from one restart to the next; 0 without any.
    """

    header: bytes
    start: int
    frame: bytes
    marker: int
    interval: int

    @property
    def components(self) -> bytes:
        """Which components it is of."""
        return self.header[1 : 1 + 2 * self.header[0] : 2]

    @property
    def brings(self) -> tuple[int, int, int]:
        """The first and the last coefficient, and the lowest bit of them."""
        if self.marker != _PROGRESSIVE:
            return 0, 63, 0
        first, last, bits = self.header[-3:]
        return first, last, bits & 15

    @property
    def restarts(self) -> int:
        """How often the coder starts again."""
        if not self.interval:
            return 0
        height, width = struct.unpack_from(">HH", self.frame, 1)
        factors = {self.frame[at]: self.frame[at + 1] for at in range(6, len(self.frame) - 2, 3)}
        across, down = (
            max(f >> 4 for f in factors.values()),
            max(f & 15 for f in factors.values()),
        )
        block = 1 if self.marker == _LOSSLESS else 8
        if len(self.components) == 1:  # which comes without what fills up a unit of several
            own = factors[self.components[0]]
            width, height = (
                math.ceil(width * (own >> 4) / across),
                math.ceil(height * (own & 15) / down),
            )
            across = down = 1
        units = math.ceil(width / (block * across)) * math.ceil(height / (block * down))
        return math.ceil(units / self.interval) - 1


def _scans(data: bytes) -> Iterator[_Scan]:
    frame, kind, interval = b"", 0, 0
    for number, (marker, start, end) in enumerate(segments(data)):
        if number == _MAX_SEGMENTS:
            raise LostError(f"the JPEG has more than {_MAX_SEGMENTS:,} segments")
        if marker in FRAMES:
            frame, kind = data[start:end], marker
        elif marker == _INTERVAL:
            interval = int.from_bytes(data[start : start + 2], "big")
        elif marker == SCAN:
            yield _Scan(data[start:end], end, frame, kind, interval)


def _end(data: bytes, scan: _Scan) -> int:
    """Returns where the bits of a scan end."""
    found = _MARKER.search(data, scan.start)
    return found.start() if found else len(data)


def _check_scans(data: bytes) -> None:
    """Refuses a JPEG that lacks whole scans, or whole parts of one between two restarts."""
    lowest: dict[int, list[int]] = {}  # bit that has come, for each coefficient of a component
    for scan in _scans(data):
        lowest = lowest or {scan.frame[at]: [-1] * 64 for at in range(6, len(scan.frame) - 2, 3)}
        first, last, bit = scan.brings
        for component in scan.components:
            lowest[component][first : last + 1] = [bit] * (last + 1 - first)
        if scan.restarts and _restarts(data, scan) < scan.restarts:
            raise LostError(_LACKS_A_PART)
        if not any(any(bits) for bits in lowest.values()):
            return
    raise LostError("the JPEG is cut off: some of its scans are missing")


def _restarts(data: bytes, scan: _Scan) -> int:
    end = _end(data, scan)
    return sum(data.count(b"\xff%c" % code, scan.start, end) for code in _RESTARTS)
