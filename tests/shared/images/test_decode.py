"""The one decoder: every mode and format, and nothing but `ImageError` for what is none."""

import base64
import gzip
import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress

import imagecodecs
import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.shared.images.decode import (
    MAX_SIDE,
    SHAPE,
    Decoded,
    ImageError,
    decode,
    squeezed,
    thumbnail,
)

ORIENTATION = 0x0112


def picture(width: int = 200, height: int = 160) -> Image.Image:
    """A smooth RGB picture, dark at the top left, without any symmetry."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    channels = [255 * x, 255 * y, 120 + 100 * np.sin(5 * x + 3 * y * y)]
    return Image.fromarray(np.uint8(np.stack(channels, axis=-1)))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def deep(dtype: type, scale: float) -> Image.Image:
    return Image.fromarray(
        np.asarray(np.asarray(picture().convert("L"), dtype=float) * scale, dtype=dtype)
    )


def see_through(mode: str) -> Image.Image:
    image = picture().convert(mode)
    image.putalpha(Image.new("L", image.size, 128))
    return image


def palette_with_transparency() -> bytes:
    return encoded(picture().quantize(32), "PNG", transparency=3)


def check(decoded: Decoded) -> None:
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == SHAPE


FILES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "rgb jpeg": (lambda: encoded(picture(), "JPEG"), "RGB", "JPEG"),
    "progressive jpeg": (lambda: encoded(picture(), "JPEG", progressive=True), "RGB", "JPEG"),
    "grey jpeg": (lambda: encoded(picture().convert("L"), "JPEG"), "L", "JPEG"),
    "cmyk jpeg": (lambda: encoded(picture().convert("CMYK"), "JPEG"), "CMYK", "JPEG"),
    "mpo": (
        lambda: encoded(picture(), "MPO", save_all=True, append_images=[picture(64, 64)]),
        "RGB",
        "JPEG",
    ),
    "rgb png": (lambda: encoded(picture(), "PNG"), "RGB", "PNG"),
    "grey png": (lambda: encoded(picture().convert("L"), "PNG"), "L", "PNG"),
    "bilevel png": (lambda: encoded(picture().convert("1"), "PNG"), "1", "PNG"),
    "palette png": (lambda: encoded(picture().quantize(64), "PNG"), "P", "PNG"),
    "palette png with transparency": (palette_with_transparency, "P", "PNG"),
    "rgba png": (lambda: encoded(see_through("RGBA"), "PNG"), "RGBA", "PNG"),
    "grey png with alpha": (lambda: encoded(see_through("LA"), "PNG"), "LA", "PNG"),
    "grey png with a transparent grey": (
        lambda: encoded(picture().convert("L"), "PNG", transparency=9),
        "L",
        "PNG",
    ),
    "16-bit png": (lambda: encoded(deep(np.uint16, 200), "PNG"), "I;16", "PNG"),
    "animated png": (
        lambda: encoded(picture(), "PNG", save_all=True, append_images=[picture(200, 160)]),
        "RGB",
        "PNG",
    ),
    "rgb tiff": (lambda: encoded(picture(), "TIFF"), "RGB", "TIFF"),
    "lzw tiff": (lambda: encoded(picture(), "TIFF", compression="tiff_lzw"), "RGB", "TIFF"),
    "bilevel tiff": (
        lambda: encoded(picture().convert("1"), "TIFF", compression="group4"),
        "1",
        "TIFF",
    ),
    "cmyk tiff": (lambda: encoded(picture().convert("CMYK"), "TIFF"), "CMYK", "TIFF"),
    "lab tiff": (lambda: encoded(Image.new("LAB", (40, 30)), "TIFF"), "LAB", "TIFF"),
    "ycbcr tiff": (lambda: encoded(picture().convert("YCbCr"), "TIFF"), "YCbCr", "TIFF"),
    "rgba tiff": (lambda: encoded(see_through("RGBA"), "TIFF"), "RGBA", "TIFF"),
    "palette tiff": (lambda: encoded(picture().quantize(64), "TIFF"), "P", "TIFF"),
    "16-bit tiff": (lambda: encoded(deep(np.uint16, 200), "TIFF"), "I;16", "TIFF"),
    "32-bit tiff": (lambda: encoded(deep(np.int32, 70_000), "TIFF"), "I", "TIFF"),
    "float tiff": (lambda: encoded(deep(np.float32, 1 / 255), "TIFF"), "F", "TIFF"),
    "several frames": (
        lambda: encoded(picture(), "TIFF", save_all=True, append_images=[picture(64, 64)]),
        "RGB",
        "TIFF",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_mode_and_format(name: str) -> None:
    make, mode, kind = FILES[name]
    decoded = decode(make())
    check(decoded)
    assert (decoded.mode, decoded.format) == (mode, kind)
    size = (40, 30) if mode == "LAB" else (200, 160)
    assert (decoded.width, decoded.height) == size


@pytest.mark.parametrize(
    "name", ["rgb jpeg", "cmyk jpeg", "mpo", "rgb png", "rgb tiff", "ycbcr tiff"]
)
def test_color_survives(name: str) -> None:
    expected = np.asarray(picture().resize(SHAPE[:2], Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(decode(FILES[name][0]()).pixels - expected).mean() < 6


@pytest.mark.parametrize("name", ["16-bit png", "16-bit tiff", "32-bit tiff", "float tiff"])
def test_deep_grey_is_stretched_to_its_own_extremes(name: str) -> None:
    pixels = decode(FILES[name][0]()).pixels
    grey = np.asarray(picture().convert("L"), dtype=float)
    grey = Image.fromarray(np.uint8(np.rint((grey - grey.min()) * 255 / np.ptp(grey))))
    expected = np.asarray(grey.resize(SHAPE[:2], Image.Resampling.BILINEAR), dtype=int)
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert np.abs(pixels[..., 0] - expected).max() <= 2


def test_deep_images_without_contrast_or_with_no_numbers() -> None:
    assert not decode(encoded(deep(np.uint16, 0), "PNG")).pixels.any()
    values = np.full((40, 40), np.nan, dtype=np.float32)
    values[:20] = np.inf
    check(decode(encoded(Image.fromarray(values), "TIFF")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_shows_black(mode: str) -> None:
    image = Image.new(mode, (60, 60), "white")
    image.putalpha(0)
    assert not decode(encoded(image, "PNG")).pixels.any()
    image.putalpha(128)
    assert np.abs(decode(encoded(image, "PNG")).pixels.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, kind: str) -> None:
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    upright = picture(150, 120)
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"quality": 95} if kind == "JPEG" else {}
    decoded = decode(encoded(stored, kind, exif=exif, **options))
    expected = decode(encoded(upright, kind, **options)).pixels.astype(int)
    assert np.abs(decoded.pixels - expected).mean() < 2
    assert (decoded.width, decoded.height) == (upright if kind == "TIFF" else stored).size


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3000, 20), (20, 3000), (2, 2)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_odd_sizes(size: tuple[int, int], kind: str) -> None:
    check(decode(encoded(picture(*size), kind)))


def test_a_file_decodes_to_the_same_pixels_everywhere() -> None:
    digest = hashlib.sha256(decode(encoded(picture(401, 333), "PNG")).pixels).hexdigest()
    assert digest == "6f6797379c8db7221a68d785fc5a9424c9dd7e0116864c3a5c386211495e3bf1"
    digest = hashlib.sha256(thumbnail(decode(encoded(picture(401, 333), "PNG")).pixels)).hexdigest()
    assert digest == "9460ff49b2b7bd6e44757c4f8afb7d11d08b56ff97bb2f83f62161096a91f258"


def test_thumbnail() -> None:
    small = thumbnail(decode(encoded(picture(), "PNG")).pixels)
    assert small.dtype == np.uint8
    assert small.shape == (32, 32)
    assert small[0, 0] < small[-1, -1]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no image at all", "format"),
        (encoded(picture(), "GIF"), "format"),
        (encoded(picture(), "BMP"), "format"),
        (encoded(picture(), "WEBP"), "format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "format"),
        (encoded(picture(), "PNG")[:-1000], "unreadable"),
        (encoded(picture(), "JPEG")[:2000], "unreadable"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{reason}: ")
    assert "\n" not in str(caught.value)


JPEGS = {
    "grey": (lambda: picture().convert("L"), {}),
    "grey in three channels": (lambda: picture().convert("L").convert("RGB"), {}),
    "colour": (picture, {"subsampling": 2}),
    "colour 4:4:4": (picture, {"subsampling": 0}),
    "colour 4:2:2": (picture, {"subsampling": 1}),
    "large": (lambda: picture(1400, 1900), {}),
    "a third larger than twice the target": (lambda: picture(400, 401), {}),
    "wide": (lambda: picture(2500, 350), {}),
    "cmyk": (lambda: picture().convert("CMYK"), {}),
    "large cmyk": (lambda: picture(1200, 1300).convert("CMYK"), {}),
    "progressive": (picture, {"progressive": True}),
    "progressive grey": (lambda: picture().convert("L"), {"progressive": True}),
    "progressive cmyk": (lambda: picture().convert("CMYK"), {"progressive": True}),
    "restarts": (picture, {"restart_marker_blocks": 3}),
    "one pixel": (lambda: picture(1, 1), {}),
}


def _jpeg(name: str) -> bytes:
    make, options = JPEGS[name]
    return encoded(make(), "JPEG", **options)


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_has_the_pixels_that_pillow_gives(name: str) -> None:
    """Pillow decodes with the same library; models were trained on what it gave."""
    data = _jpeg(name)
    image = Image.open(io.BytesIO(data))
    image.draft(None, (300, 300))
    expected = image.convert("RGB").resize(SHAPE[:2], Image.Resampling.BILINEAR)
    assert np.array_equal(decode(data).pixels, np.asarray(expected))


@pytest.mark.parametrize("channel", [None, 0, 1, 2])
def test_three_channels_are_one_only_where_every_pixel_is_grey(channel: int | None) -> None:
    pixels = np.array(picture().convert("L").convert("RGB"))
    if channel is not None:
        pixels[-1, -1, channel] ^= 128
    expected = Image.fromarray(pixels).resize(SHAPE[:2], Image.Resampling.BILINEAR)
    assert np.array_equal(
        decode(encoded(Image.fromarray(pixels), "PNG")).pixels, np.asarray(expected)
    )


@pytest.mark.parametrize("shape", [(60, 90), (900, 1200), (900, 1200, 3)])
def test_a_lossless_jpeg_has_its_pixels_at_any_size(shape: tuple[int, ...]) -> None:
    """libjpeg does not make it smaller: who asks for that gets more than there is room for."""
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    options = {"colorspace": "RGB", "outcolorspace": "RGB"} if len(shape) == 3 else {}
    data = imagecodecs.jpeg8_encode(pixels, lossless=True, **options)

    assert np.array_equal(decode(data).pixels, squeezed(Image.fromarray(pixels)))
    with pytest.raises(ImageError, match="cut off"):
        decode(data[: len(data) // 2] + b"\xff\xd9")


def test_the_marker_of_lossless_jpegs_may_stand_in_a_comment() -> None:
    data = _jpeg("progressive")
    comment = b"\xff\xfe\0\x06\xff\xc3\xff\xc3"

    assert np.array_equal(decode(data[:2] + comment + data[2:]).pixels, decode(data).pixels)


@pytest.mark.parametrize("name", sorted(set(JPEGS) - {"one pixel"}))
@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_a_jpeg_that_lacks_data_and_ends_as_it_should_is_refused(name: str, share: float) -> None:
    data = _jpeg(name)
    first = data.index(b"\xff\xda")
    cut = data[: first + int((len(data) - first) * share)].removesuffix(b"\xff")
    with pytest.raises(ImageError, match="unreadable: the JPEG is cut off"):
        decode(cut + b"\xff\xd9")


def test_a_progressive_jpeg_without_its_last_scans_is_refused() -> None:
    data = _jpeg("progressive")
    scans = [place for place in range(len(data)) if data.startswith(b"\xff\xda", place)]
    for scan in scans[1:]:
        tables = data.rfind(b"\xff\xc4", 0, scan)  # of Huffman, before each scan
        with pytest.raises(ImageError, match="some of its scans are missing"):
            decode(data[:tables] + b"\xff\xd9")


def test_a_jpeg_with_a_hole_is_refused() -> None:
    data = _jpeg("restarts")
    holes = data.index(b"\xff\xd3"), data.index(b"\xff\xd5")
    with pytest.raises(ImageError, match="a part of its image is missing"):
        decode(data[: holes[0]] + data[holes[1] :])


def in_scans(across: int, down: int) -> bytes:
    """A JPEG of three colours, a scan each; the first has so many samples for one of the others."""
    planes = [picture(120, 96), *[picture(120 // across, 96 // down)] * 2]
    greys = [encoded(plane.convert("L"), "JPEG", quality=90) for plane in planes]
    frame, scan = greys[0].index(b"\xff\xc0"), greys[0].index(b"\xff\xda")
    tables = greys[0].index(b"\xff\xc4")
    colours = bytes([1, across << 4 | down, 0, 2, 0x11, 0, 3, 0x11, 0])
    size = greys[0][frame + 4 : frame + 9]
    parts = [greys[0][:frame], b"\xff\xc0\0\x11", size, b"\3", colours, greys[0][tables:scan]]
    for number, grey in enumerate(greys, 1):
        start = grey.index(b"\xff\xda") + 10
        parts += [b"\xff\xda\0\x08\1", bytes([number]), b"\0\0\x3f\0", grey[start:-2]]
    return b"".join([*parts, b"\xff\xd9"])


@pytest.mark.parametrize("sampling", [(1, 1), (2, 2), (3, 1), (4, 2), (1, 3)])
def test_a_jpeg_that_lacks_a_scan_or_half_of_one_is_refused(sampling: tuple[int, int]) -> None:
    data = in_scans(*sampling)
    truth = Image.open(io.BytesIO(data)).resize(SHAPE[:2], Image.Resampling.BILINEAR)
    assert np.abs(decode(data).pixels.astype(int) - np.asarray(truth)).max() < 3

    scan = data.rindex(b"\xff\xda")
    for end in (scan, (scan + len(data)) // 2):
        with pytest.raises(ImageError, match="unreadable: the JPEG is cut off"):
            decode(data[:end].removesuffix(b"\xff") + b"\xff\xd9")


@pytest.mark.parametrize("name", sorted(set(JPEGS) - {"one pixel"}))
def test_no_harmless_fault_hides_that_a_part_is_missing(name: str) -> None:
    """libjpeg tells no more than the first of what it does not like."""
    data = _jpeg(name)
    first = data.index(b"\xff\xda")
    harmless = data[:first] + bytes(3) + data[first:]
    assert np.abs(decode(harmless).pixels.astype(int) - decode(data).pixels).max() < 3
    half = harmless[: (first + len(data)) // 2].removesuffix(b"\xff")
    with pytest.raises(ImageError, match="unreadable: the JPEG is cut off"):
        decode(half + b"\xff\xd9")


def test_no_harmless_fault_hides_that_parts_between_restarts_are_missing() -> None:
    """Each eighth restart has the same number, so that the others seem to follow one another."""
    data = _jpeg("restarts")
    first, hole = data.index(b"\xff\xda"), data.index(b"\xff\xd3")
    without = data[:hole] + data[data.index(b"\xff\xd3", hole + 2) :]
    with pytest.raises(ImageError, match="a part of its image is missing"):
        decode(without[:first] + bytes(3) + without[first:])


def test_arithmetic_coding_is_refused_since_it_hides_what_is_missing() -> None:
    """Made by `cjpeg -arithmetic`: 16x16 pixels of the value 64."""
    whole = base64.b64decode(
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZG"
        "NywtQFdBRkxOUlNSMj5aYVpQYEpRUk//yQALCAAQABABAREA/8wABgAQEAX/2gAIAQEAAD8A/wBpkP/Z"
    )
    for data in (whole, whole[:-3] + b"\xff\xd9"):
        with pytest.raises(ImageError, match="unreadable: a JPEG with arithmetic coding, which is"):
            decode(data)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_tiff_of_jpegs_that_lack_data_is_refused(mode: str) -> None:
    data = bytearray(encoded(picture(300, 300).convert(mode), "TIFF", compression="jpeg"))
    check(decode(bytes(data)))
    tags = Image.open(io.BytesIO(data)).tag_v2  # type: ignore[attr-defined]
    start, size = tags[273][-1], tags[279][-1]
    half = start + size // 2
    data[half : start + size] = b"\xff\xd9".ljust(size - size // 2, b"\0")
    with pytest.raises(ImageError, match="unreadable: the JPEG is cut off"):
        decode(bytes(data))


@pytest.mark.parametrize("name", ["grey", "progressive"])
def test_a_jpeg_with_more_than_it_needs_is_read(name: str) -> None:
    data = _jpeg(name)
    pixels = decode(data).pixels
    for other in (
        data + bytes(1000),
        data[:-2] + bytes(3) + data[-2:],
        data[:2] + b"\xff\xff\xff" + data[2:],
        data.replace(b"JFIF\0\1\1", b"JFIF\0\7\1"),
    ):
        assert other != data
        assert np.array_equal(decode(other).pixels, pixels)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe1\0\x12Exif\0\0II*\0\x08\0\0\0" * 1001 + bytes(2**16),
        b"\xff\xd8\xff\xe0\0\2" + b"\xff\xd0" * 2**16,
        b"\xff\xd8\xff\xe0\0\2" + bytes(2**17),
    ],
    ids=["Exif", "restarts", "zeros"],
)
def test_segments_of_a_jpeg_are_bounded(data: bytes) -> None:
    with pytest.raises(ImageError, match="too-much-work: its first scan") as caught:
        decode(data + _jpeg("grey")[2:])
    assert caught.value.reason == "too-much-work"


def test_exif_of_a_jpeg_is_bounded_before_pillow_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = _tiff("<", (282, 5, 300_000, 26)) + bytes(30_000)
    data = _jpeg("grey")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ImageError, match="numbers in its tags"):
        decode(data[:2] + segment + data[2:])


def png_that_declares(width: int, height: int) -> bytes:
    """A PNG whose header promises more than its few bytes hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check_sum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check_sum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (100_000, 100_000),
        (2**31 - 1, 2**31 - 1),
        (7072, 7072),
        (MAX_SIDE + 1, 1),
        (1, MAX_SIDE + 1),
    ],
)
def test_bombs_are_refused_by_what_they_declare(width: int, height: int) -> None:
    with pytest.raises(ImageError) as caught:
        decode(png_that_declares(width, height))
    assert caught.value.reason == "too-many-pixels"


def test_limits_are_settable() -> None:
    data = encoded(picture(), "PNG")
    decode(data, max_bytes=len(data), max_pixels=200 * 160)
    with pytest.raises(ImageError, match="too-large"):
        decode(data, max_bytes=len(data) - 1)
    with pytest.raises(ImageError, match="too-many-pixels"):
        decode(data, max_pixels=200 * 160 - 1)


def _many_scans(scans: int, side: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    data = encoded(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * scans + data[-2:]


def _many_chunks(count: int) -> bytes:
    data = encoded(picture(), "PNG")
    empty = struct.pack(">I4sI", 0, b"tEXt", zlib.crc32(b"tEXt"))
    return data[:33] + empty * count + data[33:]


def _tiff(order: str, *tags: tuple[int, int, int, int]) -> bytes:
    """A TIFF's head and tags: number, type, count, value."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + b"".join(struct.pack(order + "HHII", *tag) for tag in tags) + bytes(4)


def _big_tiff(*tags: tuple[int, int, int, int]) -> bytes:
    head = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(tags))
    return head + b"".join(struct.pack("<HHQQ", *tag) for tag in tags) + bytes(8)


def _of_nibabel(kind: type[nibabel.AnalyzeImage | nibabel.MGHImage]) -> bytes:
    """Returns a volume's bytes: of ANALYZE, those of its header, a file of its own."""
    image = kind(np.zeros((5, 4, 3), np.int16), np.eye(4))
    files = image.make_file_map({part: io.BytesIO() for part in image.make_file_map()})
    image.to_file_map(files)
    part = "header" if "header" in files else "image"
    return bytes(files[part].fileobj.getvalue())


def _frame(marker: int, bits: int, channels: int) -> bytes:
    """A JPEG that says it is of another kind."""
    data = bytearray(encoded(picture(), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 1], data[start + 4], data[start + 9] = marker, bits, channels
    return bytes(data)


def _tiff_of(**values: int) -> bytes:
    """A TIFF of 10 x 10 pixels whose tags say that it is of another kind."""
    tags = {"256": 10, "257": 10, "258": 8, "259": 1, "262": 1, "273": 8, "278": 10, "279": 100}
    tags |= {name.lstrip("_"): value for name, value in values.items()}
    return _tiff("<", *((int(name), 4, 1, tags[name]) for name in sorted(tags, key=int)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"no image at all", "not a JPEG, PNG, TIFF, DICOM or NIfTI"),
        (encoded(picture(), "GIF"), "a GIF; send a JPEG, PNG, TIFF, DICOM or NIfTI"),
        (encoded(picture(), "BMP"), "a BMP; send"),
        (encoded(picture(), "WEBP"), "a WebP; send"),
        (encoded(picture(), "AVIF"), "an AVIF; send"),
        (encoded(picture(), "PPM"), "a PNM; send"),
        (encoded(picture(), "PDF"), "a PDF; send"),
        (encoded(picture(), "EPS"), "a PostScript file; send"),
        (encoded(picture(), "JPEG2000"), "a JPEG 2000; send"),
        (encoded(picture(), "JPEG2000", no_jp2=True), "a JPEG 2000; send"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "a HEIC; send"),
        (b"\xff\x0a" + bytes(50), "a JPEG XL; send"),
        (gzip.compress(b"n+1"), "a gzip file; send"),
        (_of_nibabel(nibabel.AnalyzeImage), "an ANALYZE image's header; send"),
        (_of_nibabel(nibabel.MGHImage), "an MGH volume; send"),
        (gzip.compress(_of_nibabel(nibabel.MGHImage)), "an MGH volume in a gzip file; send"),
        (b"\r\n<!DOCTYPE html>\n<html>", "an HTML page; send"),
        (b"<HTML><head>", "an HTML page; send"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG; send"),
        (b"<?xml version='1.0'?><Error>", "an XML file; send"),
        (b'{"error": "no such image"}', "JSON; send"),
        (base64.b64encode(encoded(picture(), "JPEG")), "base64 text, not decoded; send"),
        (b"a field of a form\n", "not a JPEG, PNG, TIFF, DICOM or NIfTI, but text"),
        (_frame(0xC1, 12, 3), "a JPEG of 12 bits, which is not read; save it as"),
        (_frame(0xC3, 16, 3), "a lossless JPEG of 16 bits, which"),
        (_frame(0xF7, 8, 3), "a JPEG-LS; send"),
        (_frame(0xC5, 8, 3), "a hierarchical JPEG, which"),
        (_frame(0xC0, 8, 2), "a JPEG of 2 channels, which"),
        (encoded(picture(), "JPEG")[:100], "a JPEG that is broken or cut off"),
        (encoded(picture(), "PNG")[:20], "a PNG that is broken or cut off"),
        (encoded(picture(), "TIFF")[:100], "a TIFF that is broken or cut off"),
        (_tiff_of(_259=34887), "a TIFF compressed with LERC, which is not read; save it"),
        (_tiff_of(_259=34676, _258=16), "a TIFF compressed with SGI Log, which"),
        (_tiff_of(_259=50002), "a TIFF compressed with JPEG XL, which"),
        (_tiff_of(_259=34712), "a TIFF compressed with JPEG 2000, which"),
        (_tiff_of(_259=12345), "a TIFF compressed with method 12345, which"),
        (_tiff_of(_259=50001), "a TIFF compressed with WebP, which"),
        (_tiff_of(_259=6, _277=3, _262=6), "a TIFF compressed with old-style JPEG, which"),
        (_tiff_of(_259=7, _258=12), "a TIFF of JPEGs of 12 bits, which"),
        (_frame(0xC9, 8, 3), "a JPEG with arithmetic coding, which is not read; save it as"),
        (_tiff_of(_258=24, _339=3), "a TIFF with 1 x 24 bits (float) a pixel, which is not"),
        (_tiff_of(_277=5), "a TIFF with 5 x 8 bits a pixel, which"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_file_is_instead_is_said(data: bytes, says: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert str(caught.value).partition(": ")[2].startswith(says)


SAME_MEGABYTE = [(1000 + number, 1, 2**20, 0) for number in range(10)]
STRIPS = (273, 4, 100_000, 0)


@pytest.mark.parametrize(
    "data",
    [
        _many_scans(1600, 1000),
        _many_chunks(70_000),
        _tiff("<", *SAME_MEGABYTE) + bytes(2**20),
        _tiff(">", *SAME_MEGABYTE) + bytes(2**20),
        _big_tiff(*SAME_MEGABYTE) + bytes(2**20),
        _tiff("<", STRIPS) + bytes(2**19),
        _big_tiff((324, 16, 100_000, 0)) + bytes(2**20),
    ],
    ids=["scans", "chunks", "tags", "tags of MM", "tags of BigTIFF", "strips", "tiles"],
)
def test_what_makes_its_decoder_work_for_long_is_refused_before(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason == "too-much-work"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [_many_scans(100, 100), _many_chunks(100)])
def test_some_more_work_is_done(data: bytes) -> None:
    check(decode(data))


@pytest.mark.parametrize("height", [1, 255, 256, 257, 600])
def test_rows_are_stretched_together(height: int) -> None:
    values = np.random.default_rng(height).normal(size=(height, 150)).astype(np.float32) * 1e6
    # The same, over the whole image at once.
    whole = values.astype(np.float64)
    scale = 255 / (whole.max() - whole.min())
    grey = Image.fromarray(np.rint((whole - whole.min()) * scale).astype(np.uint8))
    expected = grey.resize((150, 150), Image.Resampling.BILINEAR).convert("RGB")
    decoded = decode(encoded(Image.fromarray(values), "TIFF"))
    assert np.array_equal(decoded.pixels, np.asarray(expected))


WHOLE = {
    name: FILES[name][0]()
    for name in ("rgb jpeg", "progressive jpeg", "rgba png", "16-bit png", "lzw tiff", "float tiff")
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(deadline=None, derandomize=True, max_examples=60)
@given(name=st.sampled_from(sorted(WHOLE)), share=st.floats(0, 1, exclude_max=True))
def test_truncated_anywhere(name: str, share: float) -> None:
    whole = WHOLE[name]
    try:
        pixels = decode(whole[: int(share * len(whole))]).pixels
    except ImageError:
        return
    # Only marks of the end are missing then.
    assert (pixels == decode(whole).pixels).all()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    start=st.sampled_from(
        [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0"]
    ),
    rest=st.binary(max_size=300),
)
def test_random_bytes(start: bytes, rest: bytes) -> None:
    with suppress(ImageError):
        check(decode(start + rest))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    name=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.floats(0, 0.2), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_flipped_bytes(name: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(WHOLE[name])
    for where, value in changes:
        data[int(where**2 * len(data))] = value
    with suppress(ImageError):
        check(decode(bytes(data)))
