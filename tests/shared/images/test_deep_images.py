"""Images of more than 8 bits, TIFFs of all kinds. The truth is an array; others wrote the file."""

import io
import itertools
import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from components.shared.images.decode import ImageError, decode

HEIGHT, WIDTH = 48, 64
UPRIGHT = [
    lambda pixels: pixels,
    np.fliplr,
    lambda pixels: np.rot90(pixels, 2),
    np.flipud,
    lambda pixels: np.swapaxes(pixels, 0, 1),
    lambda pixels: np.rot90(pixels, -1),
    lambda pixels: np.rot90(np.swapaxes(pixels, 0, 1), 2),
    lambda pixels: np.rot90(pixels, 1),
]


def shares(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Five channels of 0..1, each from its least to its greatest, without any symmetry."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = np.sin(5 * x + 3 * y * y)
    waves = (waves - waves.min()) / np.ptp(waves)
    return np.stack([(x + y * y) / 2, waves, 1 - x * y, 0.3 + 0.7 * x, y * x * x], axis=-1)


def expected(colours: np.ndarray) -> np.ndarray:
    """What is to come of colours of 0..1: [height, width, 1 or 3]."""
    grey = np.rint(np.squeeze(colours * 255)).astype(np.uint8)
    resized = Image.fromarray(grey).resize((150, 150), Image.Resampling.BILINEAR)
    return np.asarray(resized.convert("RGB"), dtype=int)


def scaled(values: np.ndarray, kind: str) -> np.ndarray:
    """Spreads 0..1 over all that numbers of a kind can be, or -1000..3000 for floats."""
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return (values * 4000 - 1000).astype(dtype)
    info = np.iinfo(dtype)
    whole = np.rint(values * (2.0**53 - 1)).astype(np.uint64)  # all that float64 tells apart
    bits = 8 * dtype.itemsize
    spread = whole >> np.uint64(53 - bits) if bits < 53 else whole << np.uint64(bits - 53)
    return (
        (spread.astype(np.int64) + np.int64(info.min)).astype(dtype)
        if info.min
        else (spread.astype(dtype))
    )


def opaque(values: np.ndarray, kind: str) -> np.ndarray:
    """Scales 0..1 to alpha: 0 is transparent."""
    top = 1 if np.dtype(kind).kind == "f" else float(np.iinfo(kind).max)
    return (values * top * (1 - 2**-53)).astype(kind)


# Channels behind the colours: their letters, and what a TIFF says of each.
EXTRAS = {"": [], "x": [0], "a": [2], "p": [1], "ax": [2, 0]}
# Compression, and whether differences are what is packed.
PACKINGS = [(None, False), ("lzw", False), ("zlib", True), ("packbits", False)]
MORE = {"u2": [("lzw", True), ("zstd", True), ("lzma", False)], "f4": [("zstd", True)]}


def layouts() -> Iterator[tuple[str, str, int]]:
    for photometric, extra, planar in itertools.product(
        ("minisblack", "miniswhite", "rgb"), EXTRAS, (1, 2)
    ):
        if photometric == "rgb" or (extra != "ax" and (planar == 1 or extra)):
            yield photometric, extra, planar


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
def test_a_tiff_has_the_pixels_of_the_array_that_was_written(kind: str) -> None:
    """Each kind of number, inverted or not, with each other channel, packed in each way."""
    channels = shares(24, 40)  # four tiles of which three are cut, three strips
    for photometric, extra, planar in layouts():
        count = 3 if photometric == "rgb" else 1
        colours, alpha = channels[..., :count], channels[..., 3:4]
        stored = colours * alpha if extra == "p" else colours
        behind = channels[..., 3 : 3 + len(extra)]
        values = np.dstack([scaled(stored, kind), opaque(behind, kind)])
        seen = 1 - stored if photometric == "miniswhite" else stored
        if kind not in ("u1", "i1"):
            seen = (seen - seen.min()) / np.ptp(seen)  # of premultiplied ones
        truth = expected(seen * alpha if "a" in extra else seen)
        for (packing, differences), order, tile in itertools.product(
            PACKINGS + MORE.get(kind, []), "<>", (None, (16, 32))
        ):
            predictor = (3 if kind[0] == "f" else 2) if differences else None
            file = io.BytesIO()
            tifffile.imwrite(
                file,
                np.moveaxis(values, -1, 0) if planar == 2 else np.squeeze(values),
                photometric=photometric,
                planarconfig=planar if values.shape[-1] > 1 else None,
                extrasamples=EXTRAS[extra] or None,
                compression=packing,
                predictor=predictor,
                byteorder=order,
                tile=tile,
                rowsperstrip=None if tile else 10,
                bigtiff=packing is None,
                metadata=None,
            )
            pixels = decode(file.getvalue()).pixels
            assert np.abs(pixels - truth).max() <= 3, (
                photometric, extra, planar, packing, predictor, order, tile,
            )  # fmt: skip


@pytest.mark.parametrize("packing", [None, "lzw", "zlib", "packbits"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_a_tiff_that_is_cut_off_is_refused(
    packing: str | None, tile: tuple[int, int] | None
) -> None:
    """tifffile writes the pixels last."""
    values = np.random.default_rng(0).integers(0, 2**16, (64, 64), np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(
        file, values, compression=packing, tile=tile, rowsperstrip=None if tile else 20
    )
    data = file.getvalue().rstrip(b"\0")
    for cut in (1, 10, 100, 1000):
        with pytest.raises(ImageError, match="unreadable: the TIFF is "):
            decode(data[:-cut])


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize(
    ("photometric", "planar"), [("minisblack", 1), ("miniswhite", 1), ("rgb", 1), ("rgb", 2)]
)
def test_a_tiff_of_packed_bits(bits: int, photometric: str, planar: int) -> None:
    colours = shares(40, 51)[..., : 3 if photometric == "rgb" else 1]
    values = np.rint(colours * (2**bits - 1)).astype(np.uint16)
    file = io.BytesIO()
    # In the other order tifffile packs swapped bytes, and does not read its own file.
    tifffile.imwrite(
        file,
        np.moveaxis(values, -1, 0) if planar == 2 else np.squeeze(values),
        photometric=photometric,
        planarconfig=planar if photometric == "rgb" else None,
        bitspersample=bits,
        byteorder="<",
    )
    truth = expected(1 - colours if photometric == "miniswhite" else colours)
    assert np.abs(decode(file.getvalue()).pixels - truth).max() <= 2


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_a_tiff_of_few_bits(bits: int, photometric: str) -> None:
    values = np.rint(shares()[..., :1] * (2**bits - 1)).astype(np.uint8)
    shown = values / (2**bits - 1)
    truth = expected(1 - shown if photometric == "miniswhite" else shown)
    for order, tile in itertools.product("<>", (None, (16, 32))):
        file = io.BytesIO()
        tifffile.imwrite(
            file,
            values[..., 0] > 0 if bits == 1 else values[..., 0],
            photometric=photometric,
            bitspersample=bits,
            byteorder=order,
            tile=tile,
        )
        assert np.abs(decode(file.getvalue()).pixels - truth).max() <= 1


@pytest.mark.parametrize("packing", [None, "lzw", "zlib"])
@pytest.mark.parametrize("planar", [1, 2])
def test_a_tiff_of_palette_or_inks(packing: str | None, planar: int) -> None:
    inks = scaled(shares()[..., :4], "u1")
    entries = np.random.default_rng(0).integers(0, 256, (3, 256), np.uint16)
    inked = (1 - shares()[..., :3]) * (1 - shares()[..., 3:4])
    coloured = np.moveaxis(entries[:, inks[..., 0]], 0, -1) / 255
    for order, tile in itertools.product("<>", (None, (16, 32))):
        options = {"byteorder": order, "tile": tile, "compression": packing}
        file = io.BytesIO()
        stored = np.moveaxis(inks, -1, 0) if planar == 2 else inks
        options_of_inks = {"photometric": "separated", "planarconfig": planar}
        tifffile.imwrite(file, stored, **options, **options_of_inks)
        assert np.abs(decode(file.getvalue()).pixels - expected(inked)).max() <= 4
        for scale in (257, 1):  # old programs write bytes
            file = io.BytesIO()
            tifffile.imwrite(
                file, inks[..., 0], photometric="palette", colormap=entries * scale, **options
            )
            assert np.abs(decode(file.getvalue()).pixels - expected(coloured)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_deep_tiff_is_turned_upright(orientation: int) -> None:
    file = io.BytesIO()
    values = scaled(shares()[..., 0], "u2")
    tifffile.imwrite(file, values, extratags=[(274, 3, 1, orientation, True)])
    decoded = decode(file.getvalue())
    upright = UPRIGHT[orientation - 1](shares()[..., 0])
    assert np.abs(decoded.pixels - expected(upright)).max() <= 2
    assert (decoded.height, decoded.width) == upright.shape


def png(
    values: np.ndarray,
    *others: tuple[bytes, bytes],
    interlaced: bool = False,
    share: float = 1.0,
) -> bytes:
    """Writes numbers of 8 or 16 bits, [height, width, channels], with other chunks before them.

    Only a share of the rows may be packed.
    """
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
        passes += [(0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [values[top::down, left::right] for top, left, down, right in passes]
    big_endian = [part.astype(f">u{values.itemsize}") for part in parts]
    rows = b"".join(b"\0" + row.tobytes() for part in big_endian for row in part)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2]]
    size = values.shape[1], values.shape[0]
    head = struct.pack(">IIBBBBB", *size, 8 * values.itemsize, colour, 0, 0, interlaced)
    packed = zlib.compress(rows[: int(share * len(rows))])
    chunks = [(b"IHDR", head), *others, (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def chunk(kind: bytes, content: bytes) -> bytes:
    whole = kind + content
    return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))


@pytest.mark.parametrize("greatest", [65535, 4095, 300])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_16_bits_is_stretched_whatever_its_channels(channels: int, greatest: int) -> None:
    count = 1 if channels < 3 else 3
    colours, alpha = shares()[..., :count], shares()[..., 3:4]
    values = np.rint(colours * greatest).astype(np.uint16)
    truth = expected(colours)
    if channels in (2, 4):
        values = np.dstack([values, np.rint(alpha * 65535).astype(np.uint16)])
        truth = expected(colours * alpha)
    filtered = imagecodecs.png_encode(values if channels > 1 else values[..., 0])
    for data in (filtered, png(values), png(values, interlaced=True)):
        assert np.abs(decode(data).pixels - truth).max() <= 2


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_that_lacks_rows_is_refused(channels: int, kind: str, interlaced: bool) -> None:
    """All chunks are there, and their sums are right."""
    values = scaled(shares()[..., :channels], kind)
    for share in (0.9999, 0.5, 0.01):
        with pytest.raises(ImageError, match=r"unreadable: the PNG is (broken or )?cut off"):
            decode(png(values, interlaced=interlaced, share=share))
    same = np.full_like(values, 0xA5A5 if kind == "u2" else 0xA5)
    decode(png(same, interlaced=interlaced))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_colour_of_16_bits_that_is_transparent_shows_black(channels: int) -> None:
    values = np.full((40, 40, channels), 3000, np.uint16)
    values[:, 20:] = 1000
    values[20:] = 3001  # which differs in its last bit
    pixels = decode(png(values, (b"tRNS", values[0, 0].astype(">u2").tobytes()))).pixels
    assert not pixels[:70, :70].any()
    assert (pixels[80:] == 255).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_grey_of_few_bits_that_is_transparent_shows_black(bits: int) -> None:
    top = 2**bits - 1
    head = struct.pack(">IIBBBBB", 8, 2, bits, 0, 0, 0, 0)
    rows = (b"\0" + bytes([255] * bits)) + (b"\0" + bytes(bits))  # white above black
    data = [chunk(b"IHDR", head), chunk(b"tRNS", struct.pack(">H", top))]
    data += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    assert not decode(b"\x89PNG\r\n\x1a\n" + b"".join(data)).pixels.any()


def marked(values: np.ndarray, share: float, mark: float) -> np.ndarray:
    """Burns a mark into the lower corner, as large as a share of the image."""
    side = int(np.sqrt(share * values.size))
    values[-side:, -side:] = mark
    return values


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.028])
@pytest.mark.parametrize(
    ("kind", "mark", "shown"),
    [
        ("u2", 65535, 255),
        ("i2", 32767, 255),
        ("f4", 1e9, 255),
        ("f4", -1e9, 0),
        ("u4", 2**32 - 1, 255),
    ],
)
def test_a_burnt_in_mark_changes_nothing_else(
    share: float, kind: str, mark: float, shown: int
) -> None:
    colours = shares(320, 320)[..., 1]
    scan = (colours * 4000).astype(kind)
    file = io.BytesIO()
    tifffile.imwrite(file, marked(scan, share, mark))
    truth = expected(marked(colours.copy(), share, shown / 255))
    assert np.abs(decode(file.getvalue()).pixels - truth).max() <= 2


def test_a_burnt_in_mark_in_a_png() -> None:
    colours = shares(320, 320)[..., :3]
    values = np.rint(colours * 4000).astype(np.uint16)
    values[-10:, -10:] = 65535
    colours[-10:, -10:] = 1
    assert np.abs(decode(png(values)).pixels - expected(colours)).max() <= 2


def test_few_bright_pixels_on_black_are_seen() -> None:
    values = np.zeros((150, 150), np.uint16)
    values[70:75, 70:75] = 900
    file = io.BytesIO()
    tifffile.imwrite(file, values)
    assert np.array_equal(decode(file.getvalue()).pixels[..., 0], (values > 0) * 255)


def test_what_is_no_number_is_black_and_changes_nothing_else() -> None:
    colours = shares(150, 150)[..., 1]
    values = (colours * 500 + 1000).astype(np.float32)
    values[0, :3] = (np.nan, np.inf, -np.inf)
    colours[0, :3] = (0, 1, 0)
    file = io.BytesIO()
    tifffile.imwrite(file, values)
    assert np.abs(decode(file.getvalue()).pixels - expected(colours)).max() <= 1


def _texts(size: int) -> dict[str, tuple[bytes, bytes]]:
    packed = zlib.compress(bytes(size))
    exif = b"\nexif\n%8d\n" % size + b"00" * size + b"\n"
    return {
        "zTXt": (b"zTXt", b"Comment\0\0" + packed),
        "iTXt": (b"iTXt", b"Comment\0\1\0\0\0" + packed),
        "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed),
        "iCCP": (b"iCCP", b"icc\0\0" + packed),
        "profile": (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(exif)),
    }


OTHERS = {
    **{f"{name} of 3 MiB": other for name, other in _texts(3 * 2**20).items()},
    **{f"{name} of 9 bytes": other for name, other in _texts(9).items()},
    "broken eXIf": (b"eXIf", b"\0\x08\0\2\1\x12\0\3"),
    "empty eXIf": (b"eXIf", b""),
    "eXIf that ends early": (b"eXIf", b"MM\0*\0\0\0\x08\0\2\1\x12"),
    "profile of another method": (b"iCCP", b"icc\0\7abc"),
    "text of another method": (b"zTXt", b"Raw profile type exif\0\7abc"),
    "short gamma": (b"gAMA", b"\0"),
    "short transparency": (b"tEXt", b""),
    "animation": (b"acTL", b""),
    "frame": (b"fcTL", bytes(26)),
    "own": (b"abCd", bytes(10)),
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_a_png_is_read_whatever_its_metadata(name: str, kind: str) -> None:
    values = scaled(shares()[..., :3], kind)
    pixels = decode(png(values, OTHERS[name])).pixels
    assert np.abs(pixels - expected(shares()[..., :3])).max() <= 2
    wrong_sum = chunk(*OTHERS[name])
    whole = png(values)
    assert np.array_equal(decode(whole[:33] + wrong_sum[:-1] + b"?" + whole[33:]).pixels, pixels)


@pytest.mark.parametrize("kind", [b"eXIf", b"tEXt", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_metadata_that_says_which_side_is_up_counts(kind: bytes, dtype: str) -> None:
    exif = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 274, 3, 1, 6, 0) + bytes(4)
    text = b"\nexif\n%8d\n" % len(exif) + exif.hex().encode() + b"\n"
    content = {
        b"eXIf": exif,
        b"tEXt": b"Raw profile type exif\0" + text,
        b"zTXt": b"Raw profile type exif\0\0" + zlib.compress(text),
        b"iTXt": b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>',
    }[kind]
    pixels = decode(png(scaled(shares()[..., :1], dtype), (kind, content))).pixels
    assert np.abs(pixels - expected(np.rot90(shares()[..., 0], -1))).max() <= 2


def test_exif_in_a_text_is_bounded() -> None:
    tags = b"".join(struct.pack(">HHII", 1000 + tag, 1, 2**19, 8) for tag in range(10))
    exif = b"MM\0*\0\0\0\x08\0\x0a" + tags + bytes(2**19)
    text = b"Raw profile type exif\0\nexif\n1\n" + exif.hex().encode()
    with pytest.raises(ImageError, match="too-much-work: its tags"):
        decode(png(scaled(shares()[..., :1], "u1"), (b"tEXt", text)))


def test_a_jpeg_is_read_though_its_exif_is_broken() -> None:
    file = io.BytesIO()
    Image.fromarray(scaled(shares()[..., :3], "u1")).save(file, "JPEG", exif=b"Exif\0\0broken")
    assert np.abs(decode(file.getvalue()).pixels - expected(shares()[..., :3])).mean() < 6


def tiff(*tags: tuple[int, int]) -> bytes:
    """A TIFF of 100 x 100 numbers of 16 bits, with other tags."""
    all_tags = {256: 100, 257: 100, 258: 16, 259: 1, 262: 1, 273: 8, 278: 100, 279: 20000}
    all_tags |= dict(tags)
    if 324 in all_tags:
        all_tags = {tag: value for tag, value in all_tags.items() if tag not in (273, 278, 279)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, all_tags[tag]) for tag in sorted(all_tags))
    directory = struct.pack("<H", len(all_tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 20008) + bytes(20000) + directory


TILE = [(324, 8), (325, 20000)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (tiff(), ""),
        (tiff((256, 65535), (257, 760), (258, 64)), "too-much-work: its samples take 398,"),
        (
            tiff((256, 7000), (257, 7000), (262, 2), (277, 4)),
            "too-much-work: its samples take 392,",
        ),
        (tiff(*TILE, (322, 2**31), (323, 2**31)), "too-much-work: its samples take"),
        (tiff(*TILE, (322, 16), (323, 2**30)), "too-much-work: its samples take"),
        (tiff(*TILE, (322, 0), (323, 16)), "unreadable: the TIFF is broken: its strips or tiles"),
        (tiff(*TILE, (322, 16), (323, 16)), "unreadable: the TIFF is broken: some of its strips"),
        (tiff((278, 10)), "unreadable: the TIFF is broken: some of its strips or tiles"),
        (tiff((262, 2), (277, 3), (284, 2)), "unreadable: the TIFF is broken: some of its strips"),
        (tiff((273, 2**32 - 1)), "unreadable: the TIFF is cut off"),
        (tiff((257, 200), (278, 200)), "unreadable: the TIFF is cut off"),
        (tiff((259, 8), (279, 2**20)), "unreadable: the TIFF is cut off"),
        (tiff((277, 2**32 - 1)), "format: a TIFF with 4294967295 x 16 bits a pixel, which is not"),
        (tiff((258, 24)), "format: a TIFF with 1 x 24 bits a pixel, which is not read; save it as"),
        (tiff((258, 64), (339, 6)), "format: a TIFF with 1 x 64 bits (complex) a pixel, which"),
        (tiff((262, 3)), "format: a palette TIFF with 1 x 16 bits a pixel, which is not read"),
        (tiff((262, 5), (277, 4)), "format: a CMYK TIFF with 4 x 16 bits a pixel, which is not"),
        (tiff((277, 5)), "format: a TIFF with 5 x 16 bits a pixel, which is not read"),
        (tiff((317, 9)), "format: a TIFF with predictor 9, which is not read"),
        (tiff((258, 8), (262, 6), (277, 3), (284, 2)), "unreadable: a YCbCr TIFF in planes with 3"),
    ],
)
def test_hostile_and_other_tiffs(data: bytes, says: str) -> None:
    if not says:
        assert not decode(data).pixels.any()
        return
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert str(caught.value).startswith(says)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_what_a_big_endian_bigtiff_is_that_is_not_read() -> None:
    file = io.BytesIO()
    palette = np.zeros((3, 256), np.uint16)
    values = scaled(shares()[..., 0], "u1")
    tifffile.imwrite(
        file, values, photometric="palette", colormap=palette, byteorder=">", bigtiff=True
    )
    with pytest.raises(ImageError, match="format: a big-endian BigTIFF that is neither grey nor"):
        decode(file.getvalue())


def test_samples_of_a_png_are_bounded() -> None:
    values = np.zeros((100, 100, 4), np.uint16)
    decode(png(values), max_pixels=14_000)
    with pytest.raises(ImageError, match="too-much-work: its samples take 80,000 bytes"):
        decode(png(values), max_pixels=10_000)
