"""TIFFs of grey or RGB with 8 bits a sample or more: their samples, whatever the tags say of them.

Pillow hands over other pixels than a file holds, and says nothing, where 16-bit samples are signed,
inverted or in planes. So libtiff, which Pillow brings, only unpacks here: it is shown one channel
of bytes, and what the bytes mean is read from the tags.
"""

import io
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImagePalette, TiffImagePlugin
from PIL.ImageFile import ImageFile

from components.shared.images import deep

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _ORIENTATION, SAMPLES, _ROWS, PLANAR = 266, 274, 277, 278, 284
PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA, FORMAT = 317, 322, 323, 338, 339
OFFSETS, LENGTHS = (273, 324), (279, 325)  # of strips, or tiles
_ASKED = {
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, FORMAT, *OFFSETS, *LENGTHS),
    *(_FILL_ORDER, _ORIENTATION, _ROWS, PLANAR, PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA),
}
# None, LZW, Deflate (two numbers), LZMA, PackBits, Zstandard.
_COMPRESSIONS = (1, 5, 8, 32946, 34925, 32773, 50000)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # by the tag of the format; 4 is undefined
_TYPES = {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"}
_PREMULTIPLIED, _ALPHAS = 1, (2, 999)
_DIFFERENCES, _OF_FLOATS = 2, 3  # predictors
_PALETTE = 320
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, kw_only=True)
class Tiff:
    """A TIFF that is read here.

    Attributes:
        data: The file's bytes.
        tags: Those of the first image.
        colours: 1 for grey, 3 for RGB.
        samples: Of a pixel, with those that are no colours.
        bits: Of a sample.
        kind: `u`, `i` or `f`: unsigned, signed or float.
        alpha: Which sample is an alpha channel, if one is.
    """

    data: bytes
    tags: dict[int, Any]
    colours: int
    samples: int
    bits: int
    kind: str
    alpha: int | None

    format = "TIFF"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        width, height = self.tags[WIDTH], self.tags[HEIGHT]
        return (
            (height, width) if self.tags.get(_ORIENTATION, 1) in (5, 6, 7, 8) else (width, height)
        )

    @property
    def mode(self) -> str:
        """The mode that Pillow has for such an image."""
        if self.colours == 3:
            return "RGB" if self.alpha is None else "RGBA"
        if self.bits == 8:
            return "L" if self.alpha is None else "LA"
        if self.kind == "f":
            return "F"
        return "I;16" if self.kind == "u" and self.bits <= 16 else "I"

    def image(self, max_bytes: int) -> Image.Image:
        """Reads the image.

        Args:
            max_bytes: Of its samples.

        Returns:
            It, upright, with 8 bits a sample.

        Raises:
            deep.WorkError: There are more bytes.
            Exception: The file is broken.
        """
        try:
            upright = deep.image(self._samples(max_bytes))
        except (TypeError, struct.error) as error:
            raise ValueError("the TIFF is broken: a tag has an invalid value") from error
        turn = UPRIGHT.get(self.tags.get(_ORIENTATION, 1))
        return upright if turn is None else upright.transpose(turn)

    def _samples(self, max_bytes: int) -> deep.Samples:
        blocks = _Blocks.of(self)
        wanted = [*range(self.colours), *([] if self.alpha is None else [self.alpha])]
        planes = wanted if self._is_planar else range(1)
        deep.check(blocks.size * len(planes), max_bytes)
        read = [self._numbers(blocks, plane) for plane in planes]
        colours = read[0] if len(read) == 1 else np.concatenate(read, axis=-1)
        alpha = None
        if self.alpha is not None:
            alpha = colours[..., -1 if self._is_planar else self.alpha]
            if self.bits not in (8, 16, 32, 64):  # the greatest value is opaque
                alpha = alpha << (16 - self.bits)
        white_is_zero = self.tags.get(PHOTOMETRIC, _WHITE_IS_ZERO) == _WHITE_IS_ZERO
        return deep.Samples(colours[..., : self.colours], alpha, white_is_zero)

    @property
    def _is_planar(self) -> bool:
        return self.samples > 1 and self.tags.get(PLANAR, 1) == 2

    def _numbers(self, blocks: "_Blocks", plane: int) -> np.ndarray:
        """Returns the samples of a plane, or of all channels: [height, width, samples]."""
        unpacked = np.asarray(blocks.unpacked(self.data, self.tags, plane))
        unpacked = unpacked.reshape(len(unpacked), blocks.across, -1)
        order = "<" if self.data.startswith(b"II") else ">"
        samples = 1 if self._is_planar else self.samples
        predictor = self.tags.get(PREDICTOR, 1)
        if self.bits not in (8, 16, 32, 64):
            numbers = _from_bits(unpacked, self.bits, blocks.width * samples)
        elif predictor == _OF_FLOATS:
            numbers = _floats(unpacked, self.bits // 8, samples)
        else:
            size = self.bits // 8
            numbers = unpacked.view(f"{order}{self.kind}{size}")
            if predictor == _DIFFERENCES:
                bare = numbers.view(f"{order}u{size}")
                pixels = bare.reshape(*bare.shape[:2], -1, samples)
                numbers = pixels.cumsum(axis=2, dtype=f"u{size}").view(f"{self.kind}{size}")
        return numbers.reshape(len(unpacked), -1, samples)[:, : self.tags[WIDTH]]


def opened(data: bytes) -> Tiff | None:
    """Looks whether a file is a TIFF that is read here.

    Args:
        data: The file's bytes; its tags have been checked.

    Returns:
        It, or None.
    """
    found = tags(data)
    if found.get(COMPRESSION, 1) not in _COMPRESSIONS:
        return None
    width, height, samples = found.get(WIDTH), found.get(HEIGHT), found.get(SAMPLES, 1)
    if not all(isinstance(value, int) and value > 0 for value in (width, height, samples)):
        return None
    bits, formats = set(found.get(BITS, (1,))), set(found.get(FORMAT, (1,)))
    extra = found.get(_EXTRA, ())
    colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}.get(
        found.get(PHOTOMETRIC, _WHITE_IS_ZERO), 0
    )
    if not colours or len(bits) != 1 or len(formats) != 1:
        return None
    (depth,), kind = bits, _KINDS.get(min(formats), "")
    packed = 8 < depth < 16 and kind == "u" and found.get(PREDICTOR, 1) == 1
    if not packed and f"{kind}{depth / 8:g}" not in _TYPES:
        return None
    if found.get(PREDICTOR, 1) not in ((1, 2, 3) if kind == "f" else (1, 2)):
        return None
    if not colours <= samples <= colours + max(1, len(extra) if colours == 3 else 1):
        return None
    if colours == 3 and samples == 4 and not extra:  # as Pillow takes it
        extra = _ALPHAS[:1]
    alphas = [colours + place for place, meaning in enumerate(extra) if meaning in _ALPHAS]
    alpha = alphas[0] if alphas and alphas[0] < samples else None
    return Tiff(
        data=data,
        tags=found,
        colours=colours,
        samples=samples,
        bits=depth,
        kind=kind,
        alpha=alpha,
    )


def mend_palette(opened: ImageFile) -> None:
    """Takes the palette of a TIFF as bytes if it is so dark that it must hold these.

    Old programs write them in place of numbers of 16 bits, and libtiff's viewers know it.

    Args:
        opened: The file, as Pillow opens it; changed.
    """
    entries = opened.tag_v2.get(_PALETTE, ())  # type: ignore[attr-defined]
    if opened.mode in ("P", "PA") and max(entries, default=256) < 256:
        opened.palette = ImagePalette.raw("RGB;L", bytes(entries))


def is_deep(data: bytes) -> bool:
    """Tells whether a file is a TIFF with more than 8 bits a sample, or with other than unsigned.

    Args:
        data: The file's bytes; its tags have been checked.
    """
    found = tags(data)
    return max(found.get(BITS, (1,))) > 8 or set(found.get(FORMAT, (1,))) != {1}


def tags(data: bytes) -> dict[int, Any]:
    """Returns what a TIFF says of its first image; nothing of another file.

    Args:
        data: The file's bytes; its tags have been checked.
    """
    if not data.startswith(MAGIC):
        return {}
    try:
        read = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data[2:3] == b"+" else 8])
        if data.startswith(b"MM\0+"):  # which Pillow takes for a small one
            read._bigtiff = True
            (read.next,) = struct.unpack(">Q", data[8:16])
        file = io.BytesIO(data)
        file.seek(read.next)
        read.load(file)
        return {tag: read[tag] for tag in _ASKED if tag in read}
    except Exception:  # hostile ones raise nearly anything
        return {}


@dataclass(frozen=True, kw_only=True)
class _Blocks:
    """The strips or tiles of a plane, or of all channels together.

    Attributes:
        width: Of one, in pixels.
        height: Likewise.
        across: How many lie side by side.
        count: Of them all.
        row: Bytes of a row of one.
        rows: Of pixels in the image.
        are_tiles: Or strips.
    """

    width: int
    height: int
    across: int
    count: int
    row: int
    rows: int
    are_tiles: bool

    @classmethod
    def of(cls, tiff: Tiff) -> "_Blocks":
        """Reads them from the tags."""
        tags = tiff.tags
        width, height = tags[WIDTH], tags[HEIGHT]
        are_tiles = OFFSETS[1] in tags
        if are_tiles:
            wide, high = tags.get(_TILE_WIDTH), tags.get(_TILE_HEIGHT)
        else:
            wide, high = width, min(tags.get(_ROWS, height), height)
        if not wide or not high:
            raise ValueError("the TIFF is broken: its strips or tiles have no size")
        across, down = math.ceil(width / wide), math.ceil(height / high)
        together = 1 if tiff._is_planar else tiff.samples
        row = math.ceil(wide * together * tiff.bits / 8)
        return cls(
            width=wide,
            height=high,
            across=across,
            count=across * down,
            row=row,
            rows=height,
            are_tiles=are_tiles,
        )

    @property
    def size(self) -> int:
        """Bytes of a plane, with all that its tiles hold."""
        return self.row * (self.count * self.height if self.are_tiles else self.rows)

    def unpacked(self, data: bytes, tags: dict[int, Any], plane: int) -> Image.Image:
        """Returns the bytes of a plane as grey values, each row of tiles side by side."""
        part = slice(plane * self.count, (plane + 1) * self.count)
        offsets = tags.get(OFFSETS[self.are_tiles], ())[part]
        if len(offsets) < self.count:
            raise ValueError("the TIFF is broken: some of its strips or tiles are missing")
        if tags.get(COMPRESSION, 1) == 1:
            high = [min(self.height, self.rows - row) for row in range(0, self.rows, self.height)]
            lengths = [self.row * (self.height if self.are_tiles else rows) for rows in high]
            lengths = [length for length in lengths for _ in range(self.across)]
        else:
            to_the_end = [max(0, len(data) - offset) for offset in offsets]
            lengths = tags.get(LENGTHS[self.are_tiles], ())[part] or to_the_end
        # What is read must not reach into the tags that come behind.
        if any(sum(both) > len(data) for both in zip(offsets, lengths, strict=True)):
            raise ValueError("the TIFF is cut off")
        head = {
            WIDTH: [self.across * self.row],
            HEIGHT: [self.rows],
            BITS: [8],
            COMPRESSION: [tags.get(COMPRESSION, 1)],
            PHOTOMETRIC: [_BLACK_IS_ZERO],
            _FILL_ORDER: [tags.get(_FILL_ORDER, 1)],
            SAMPLES: [1],
            OFFSETS[self.are_tiles]: offsets,
            LENGTHS[self.are_tiles]: lengths,
        } | (
            {_TILE_WIDTH: [self.row], _TILE_HEIGHT: [self.height]}
            if self.are_tiles
            else {_ROWS: [self.height]}
        )
        return Image.open(io.BytesIO(_with_tags(data, head)), formats=["TIFF"])


def _with_tags(data: bytes, tags: dict[int, Any]) -> bytes:
    """Returns a TIFF with other tags, behind everything else."""
    order = "<" if data.startswith(b"II") else ">"
    place = len(data) + len(data) % 2
    entries, behind = b"", b""
    after = place + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            behind, content = behind + content, struct.pack(order + "I", after + len(behind))
        entries += struct.pack(order + "HHI", tag, 4, len(values)) + content.ljust(4, b"\0")
    head = struct.pack(order + "2sHI", data[:2], 42, place)
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4) + behind
    return head + data[8:] + bytes(place - len(data)) + directory


def _from_bits(unpacked: np.ndarray, bits: int, numbers: int) -> np.ndarray:
    """Returns the numbers of so many bits that lie one behind the other in each row."""
    found = np.empty((*unpacked.shape[:2], numbers), np.uint16)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    for row in range(len(unpacked)):  # because each bit becomes a byte
        single = np.unpackbits(unpacked[row], axis=-1)[:, : numbers * bits]
        found[row] = single.reshape(-1, numbers, bits) @ weights
    return found


def _floats(unpacked: np.ndarray, size: int, samples: int) -> np.ndarray:
    """Undoes the predictor of floats: differences of bytes, the first bytes of all first."""
    bytes_ = unpacked.reshape(*unpacked.shape[:2], -1, samples).cumsum(axis=2, dtype=np.uint8)
    ordered = bytes_.reshape(*unpacked.shape[:2], size, -1).swapaxes(2, 3)
    return np.ascontiguousarray(ordered).view(f">f{size}")
