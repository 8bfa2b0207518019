"""Bytes of an image file -> pixels. The only decoder: ingest, evaluation and serving share it."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from components.shared.images import deep, jpeg, kinds, png, tiff

SIZE = 150
SHAPE = (SIZE, SIZE, 3)
THUMBNAIL = 32
FORMATS = ("JPEG", "PNG", "TIFF")
MAX_BYTES = 32 * 2**20
MAX_PIXELS = 50_000_000
MAX_SIDE = 65_535  # JPEG's own; resizing takes memory by the side as well as by the area

_MAX_SCANS = 12  # of a progressive JPEG as large as is allowed; of a smaller one, more
_MAX_PARTS = 65_536  # chunks of a PNG, strips or tiles of a TIFF
_MAX_SEGMENTS = 1000  # of a JPEG before its first scan
_MAX_FILLING = 65_536  # bytes between them
_MAX_NUMBERS = 4 * _MAX_PARTS  # in tags
MAX_SAMPLES = 6  # bytes of a pixel, in an image as large as is allowed: RGB of 16 bits
_JPEG_TABLES, _ORIENTATION = 347, 274  # tags
# Bytes of an element of a tag, by its type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}

# Pillow's own guard only warns below twice its limit; ours refuses, from the header alone.
Image.MAX_IMAGE_PIXELS = None

_PROFILE = "Raw profile type exif"  # ImageMagick's Exif of a PNG, as text
_FOR_PROGRAMMERS = ("decoder error", "image file is truncated", "unknown raw mode")
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")


class ImageError(ValueError):
    """An image that cannot be used.

    Attributes:
        reason: One of `empty`, `too-large`, `format`, `too-many-pixels`, `too-much-work`,
            `unreadable`.
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
        format: `JPEG`, `PNG`, `TIFF` or `DICOM`.
    """

    pixels: np.ndarray
    width: int
    height: int
    mode: str
    format: str


def decode(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decodes an image file and resizes it to what the model takes.

    The EXIF orientation is applied; images of more than 8 bits a sample are stretched, as
    `components.shared.images.deep` says; transparency shows black; of several frames the first
    counts. Aspect is not kept (150x150 always), as in the reference implementation. The result is
    the same, bit for bit, wherever it runs.

    Args:
        data: The file's bytes. Its name plays no part.
        max_bytes: Refuse longer files.
        max_pixels: Refuse images of more pixels, before decoding them.

    Returns:
        The pixels with the file's width, height, mode and format.

    Raises:
        ImageError: The file is empty, too large, of another format, damaged or truncated, or would
            take far longer than one of its size should.
    """
    check_size(data, max_bytes)
    _check_parts(data)
    if data.startswith(png.MAGIC):
        data = png.without_metadata(data)
    try:
        image = tiff.opened(data) or _opened(data)
    except Exception as error:  # hostile headers raise nearly anything
        raise ImageError("format", kinds.described(data)) from error
    width, height = image.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise ImageError(
            "too-many-pixels",
            f"{width}x{height}, at most {max_pixels:,} pixels and {MAX_SIDE:,} a side are allowed",
        )
    mode = image.mode
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    try:
        if isinstance(image, tiff.Tiff):
            loaded = image.image(MAX_SAMPLES * max_pixels)
        else:
            loaded = _loaded(image, kind, data, max_pixels)
        pixels = squeezed(loaded)
    except ImageError:
        raise
    except deep.WorkError as error:
        raise ImageError("too-much-work", str(error)) from error
    except Exception as error:  # so do hostile bodies
        raise ImageError("unreadable", _reason(error, data, kind)) from error
    return Decoded(pixels, width, height, mode, kind)


def check_size(data: bytes, max_bytes: int) -> None:
    """Refuses a file that is empty or too large.

    Args:
        data: The file's bytes.
        max_bytes: That it may have.

    Raises:
        ImageError: See there.
    """
    if not data:
        raise ImageError("empty", "the file holds no bytes")
    if len(data) > max_bytes:
        raise ImageError("too-large", f"{len(data):,} bytes, at most {max_bytes:,} are allowed")


def squeezed(image: Image.Image) -> np.ndarray:
    """Makes of an image what the model takes.

    Args:
        image: Of any mode and size, with what Exif says of its sides, if anything.

    Returns:
        uint8 [150, 150, 3]: upright, RGB, its aspect not kept.
    """
    turn = tiff.UPRIGHT.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    image = _without_copies(image)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR).convert("RGB"))


def _without_copies(image: Image.Image) -> Image.Image:
    """Returns one channel of an image whose three are alike: resizing it takes half the time.

    Most scans are saved so. The result is the same, bit for bit, as channels are resized alone.
    """
    if image.mode != "RGB":
        return image
    red, green, blue = image.split()
    pixels = red.tobytes()
    return red if pixels == green.tobytes() and pixels == blue.tobytes() else image


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Shrinks a decoded image to what duplicates and the 1-NN floor are measured on.

    Args:
        pixels: uint8 [150, 150, 3].

    Returns:
        uint8 [32, 32], grey.
    """
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def _reason(error: Exception, data: bytes, kind: str) -> str:
    """Returns in one line why an opened image is not read."""
    if unsupported := kinds.unsupported_kind(data):
        return unsupported
    text = str(error).split("\n", 1)[0]
    if "raw mode" in text and (layout := kinds.layout(data)):
        return layout
    if not text or text.startswith(_FOR_PROGRAMMERS):
        return f"the {kind} is broken or cut off"
    return text


def _opened(data: bytes) -> ImageFile:
    if tiff.is_deep(data):  # in which Pillow sees other numbers than there are
        raise ValueError("not read")
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _loaded(image: ImageFile, kind: str, data: bytes, max_pixels: int) -> Image.Image:
    """Returns an opened image with its pixels, if these do not take too long."""
    jpegs = [data] if kind == "JPEG" else _jpegs(image, data)
    # Also counts those of a thumbnail. Within a scan the two bytes never follow one another.
    scans = max((each.count(b"\xff\xda") for each in jpegs), default=1)
    if scans * image.width * image.height > _MAX_SCANS * max_pixels:
        raise ImageError("too-much-work", f"{scans:,} scans of {image.width}x{image.height} pixels")
    if kind == "JPEG":
        return _jpeg(image, data)
    if kind == "PNG" and png.is_deep(data):
        return png.image(image, data, MAX_SAMPLES * max_pixels)
    if kind == "PNG":
        png.scale_transparency(image, data)
        png.load(image, data)
        return image
    tiff.mend_palette(image)
    image.load()
    for each in jpegs:
        jpeg.check(each)
    return image


def _jpeg(image: ImageFile, data: bytes) -> Image.Image:
    """Returns an opened JPEG with its pixels."""
    # libjpeg scales by 1/2, 1/4, 1/8 while it decodes; twice the target keeps full quality.
    if not jpeg.is_lossless(data):
        image.draft(None, (2 * SIZE, 2 * SIZE))
    pixels = jpeg.pixels(data, image.mode, image.size)
    if pixels is None:
        image.load()
        return image
    loaded = Image.frombuffer(image.mode, image.size, pixels, "raw", image.mode, 0, 1)
    loaded.info = image.info  # Exif, for one
    return loaded


def _jpegs(image: ImageFile, data: bytes) -> list[bytes]:
    """Returns the JPEGs that the strips or tiles of an opened TIFF are; none of other files."""
    if image.info.get("compression") == "tiff_jpeg":  # libtiff does not tell what one lacks
        raise ValueError("a TIFF of old-style JPEG")
    if image.info.get("compression") != "jpeg":
        return []
    tags = image.tag_v2  # type: ignore[attr-defined]
    offsets, sizes = (
        tags.get(first) or tags.get(second) or () for first, second in (tiff.OFFSETS, tiff.LENGTHS)
    )
    tables = tags.get(_JPEG_TABLES, b"")[:-2]  # without the mark of their end
    if sum(sizes) + len(tables) * len(sizes) > 4 * len(data) + 2**20:
        raise ImageError("too-much-work", "its strips hold more than the file")
    skipped = 2 if tables else 0  # the mark of a beginning
    places = zip(offsets, sizes, strict=False)
    found = [tables + data[start + skipped : start + size] for start, size in places]
    if any(map(jpeg.is_lossless, found)):
        raise ImageError(
            "unreadable", "a TIFF of lossless JPEGs, which is not read; save it with LZW"
        )
    return found


def _orientation(image: Image.Image) -> int:
    """Returns which side Exif says is up: 1, the first row, where it says nothing or is broken."""
    try:
        exif = image.info.get("exif", b"")
        if not exif and _PROFILE in image.info:
            exif = bytes.fromhex("".join(image.info[_PROFILE].split("\n")[3:]))
        _check_tags(exif.removeprefix(b"Exif\0\0"))
        return image.getexif().get(_ORIENTATION, 1)
    except ImageError:
        raise
    except Exception:  # the pixels are whole all the same
        return 1


def _check_parts(data: bytes) -> None:
    """Refuses files of very many parts: Pillow makes objects of each, before it decodes any."""
    if data.startswith(png.MAGIC) and next(islice(png.chunks(data), _MAX_PARTS, None), None):
        raise ImageError("too-much-work", f"more than {_MAX_PARTS:,} chunks")
    if data.startswith(b"\xff\xd8"):
        _check_tags(_exif(data))
    if data[:2] in (b"II", b"MM"):
        _check_tags(data)


def _exif(data: bytes) -> bytes:
    """Returns the Exif of a JPEG, or refuses it for what lies before its first scan."""
    parts: list[bytes] = []
    filling = after = 0
    segments = islice(jpeg.segments(data), _MAX_SEGMENTS)
    nothing_more = (jpeg.SCAN, len(data), len(data))
    for marker, start, end in chain(segments, [nothing_more]):
        filling += start - after
        if filling > _MAX_FILLING:
            break
        if marker == jpeg.SCAN:
            return b"".join(parts)
        if marker == jpeg.APP1 and data.startswith(b"Exif\0\0", start):
            parts.append(data[start + 6 : end])
        after = end
    raise ImageError("too-much-work", "its first scan lies behind very many segments")


def _check_tags(data: bytes) -> None:
    """Refuses a TIFF, or Exif, whose tags say that they hold far more than there is.

    Each may lie anywhere, so that thousands can name the same megabytes.
    """
    held = numbers = 0
    for tag, size, count in _tags(data):
        held += size * count
        numbers += count if size > 1 else 0
        if numbers > _MAX_NUMBERS:
            raise ImageError("too-much-work", f"more than {_MAX_NUMBERS:,} numbers in its tags")
        if held > 2 * len(data) + 2**16:
            raise ImageError("too-much-work", "its tags hold more than the file")
        if tag in tiff.OFFSETS and count > _MAX_PARTS:
            raise ImageError("too-much-work", f"more than {_MAX_PARTS:,} strips or tiles")


def _tags(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields number, bytes of an element and count of each tag of the first directory."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")  # BigTIFF has 43 here
    head, start, entry = ("Q", 8, "HHQ8x") if big else ("H", 4, "HHI4x")
    try:
        (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, start)
        (count,) = struct.unpack_from(order + head, data, place)
        place += struct.calcsize(head)
        for index in range(count):
            tag, kind, number = struct.unpack_from(
                order + entry, data, place + index * struct.calcsize("=" + entry)
            )
            yield tag, _SIZES.get(kind, 0), number
    except (struct.error, OverflowError):  # cut off; the decoder will say so
        return
