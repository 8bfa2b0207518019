"""DICOMs have the pixels that were written, as PS3.3 says that they are shown."""

import base64
import io
import math
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file

from components.shared.images import kinds, slices
from components.shared.images.decode import MAX_BYTES, MAX_PIXELS, ImageError, squeezed
from components.shared.images.dicom import read
from tests.shared.images.dicoms import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG_LOSSLESS,
    RLE,
    dicom,
    item,
)

JPEG_LS = "1.2.840.10008.1.2.4.80"
Y, X = np.mgrid[:12, :16]
WINDOW = {"WindowCenter": 600, "WindowWidth": 1600}


def shown(data: bytes, most: int = 16) -> list[np.ndarray]:
    """Returns the frames that are read, before they are made small."""
    frames = read(data, MAX_BYTES, MAX_PIXELS, lambda of: slices.choose(of, most))
    return [np.asarray(image) for image in frames.images]


def ramp(dtype: str, bits: int) -> np.ndarray:
    """Returns values from the least to the greatest of so many bits."""
    least = -(2 ** (bits - 1)) if dtype.startswith("i") else 0
    steps = np.linspace(0, 2.0**bits - 1, X.size).reshape(X.shape)
    return (np.rint(steps) + least).astype(dtype)


def in_grey(values: np.ndarray) -> np.ndarray:
    """Returns the least value as 0 and the greatest as 255."""
    wide = values.astype(np.float64)
    return np.rint((wide - wide.min()) * (255 / (wide.max() - wide.min())))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, RLE])
@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        *(("u1", 8), ("u1", 6), ("i1", 8), ("i1", 7), ("u2", 16), ("u2", 12), ("u2", 9)),
        *(("i2", 16), ("i2", 12), ("u4", 32), ("u4", 20), ("i4", 32), ("i4", 24)),
    ],
)
def test_every_depth_and_sign_has_the_values_that_were_written(
    dtype: str, bits: int, syntax: str, photometric: str
) -> None:
    values = ramp(dtype, bits)
    # Bits that are not used hold anything, such as an overlay.
    unused = (2 ** (values.itemsize * 8) - 2**bits) & 0x5555_5555_5555_5555
    stored = (values.astype("i8") & (2**bits - 1) | unused).astype(values.dtype)

    (found,) = shown(dicom(stored, syntax, bits=bits, PhotometricInterpretation=photometric))

    expected = in_grey(values) if photometric == "MONOCHROME2" else 255 - in_grey(values)
    assert np.abs(found - expected).max() <= 1  # halves may go either way
    assert found.min() == 0
    assert found.max() == 255


@pytest.mark.parametrize("high", [11, 13, 15])
@pytest.mark.parametrize("dtype", ["u2", "i2"])
def test_the_highest_bit_says_where_values_lie(dtype: str, high: int) -> None:
    values = ramp(dtype, 12)
    stored = (values.astype("i4") << (high - 11)).astype(dtype)

    (found,) = shown(dicom(stored, bits=12, HighBit=high))

    assert np.abs(found - in_grey(values)).max() <= 1


def test_one_bit_and_floats() -> None:
    mask = (X + Y) % 3 == 0
    packed = np.packbits(mask, bitorder="little")
    one_bit = dicom(packed[None], Rows=12, Columns=16, BitsAllocated=1, BitsStored=1, HighBit=0)
    floats = (X * 0.25 - Y).astype("<f4")
    elements = {"BitsAllocated": 32, "BitsStored": None, "HighBit": None, "PixelData": None}
    of_floats = dicom(floats, **elements, PixelRepresentation=None)  # type: ignore[arg-type]
    dataset = pydicom.dcmread(io.BytesIO(of_floats))
    dataset.FloatPixelData = floats.tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer)

    assert np.array_equal(shown(one_bit)[0], mask * 255)
    assert np.abs(shown(buffer.getvalue())[0] - in_grey(floats)).max() <= 1


def as_the_standard_has_it(x: float, c: float, w: float, function: str) -> float:
    """Returns PS3.3 C.11.2.1.2 and C.11.2.1.3 for one value, ymin 0 and ymax 255."""
    if function == "SIGMOID":
        return 255 / (1 + math.exp(min(-4 * (x - c) / w, 700)))
    if function == "LINEAR_EXACT":
        if x <= c - w / 2:
            return 0
        return 255 if x > c + w / 2 else ((x - c) / w + 0.5) * 255
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    if x > c - 0.5 + (w - 1) / 2:
        return 255
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * 255


AS_THE_STANDARD = np.vectorize(as_the_standard_has_it, otypes=[float])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", ["", "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("window", [(600, 1600), (40, 80), (-100, 1), (0.5, 300.5)])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (0.5, -1024), (-2, 100)])
def test_the_window_is_that_of_the_standard(
    window: tuple[float, float], function: str, slope: float, intercept: float, photometric: str
) -> None:
    stored = ramp("i2", 12)
    centre, width = window
    elements = {"VOILUTFunction": function} if function else {}
    data = dicom(
        stored,
        bits=12,
        PhotometricInterpretation=photometric,
        WindowCenter=[centre, 7],  # of several, the first
        WindowWidth=[width, 9],
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        **elements,
    )

    (found,) = shown(data)

    values = stored.astype(np.float64) * slope + intercept
    expected = AS_THE_STANDARD(values, centre, width, function or "LINEAR")
    if photometric == "MONOCHROME1":
        expected = 255 - expected
    assert np.abs(found - expected).max() <= 0.5 + 1e-9


def test_windows_are_those_of_pydicom() -> None:
    data = Path(str(get_testdata_file("MR_small.dcm"))).read_bytes()
    dataset = pydicom.dcmread(io.BytesIO(data))
    windowed = pydicom.pixels.apply_windowing(dataset.pixel_array, dataset)

    # Its black and white are the least and the greatest of what may be stored.
    expected = (windowed + 2**15) * (255 / (2**16 - 1))

    assert np.abs(shown(data)[0] - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    "window",
    [{"WindowCenter": 0, "WindowWidth": 0}, {"WindowCenter": 50}, {"WindowWidth": 50}],
)
def test_a_window_that_cannot_be_counts_as_missing(window: dict[str, float]) -> None:
    stored = ramp("u2", 12)

    assert np.array_equal(shown(dicom(stored, **window))[0], shown(dicom(stored))[0])


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("first", [0, 100, -300])
@pytest.mark.parametrize("says", ["SS", "US"])  # which DCMTK says of every table
def test_tables_of_the_modality_and_for_display(says: str, first: int, syntax: str) -> None:
    stored = ramp("i2", 10)
    to_values = [(entry * 37) % 1000 for entry in range(700)]
    to_greys = [(entry * 251) % 4096 for entry in range(900)]
    begin = first if says == "SS" else first % 2**16
    modality = item(LUTDescriptor=[700, begin, 16], LUTData=to_values, ModalityLUTType="US")
    voi = item(LUTDescriptor=[900, 50, 12], LUTData=to_greys)
    for table in (modality, voi):
        table["LUTDescriptor"].VR = says
        table["LUTData"].VR = "US"
    tables = {"ModalityLUTSequence": [modality], "VOILUTSequence": [voi]}

    (found,) = shown(dicom(stored, syntax, bits=10, **tables, **WINDOW))

    for value, grey in zip(stored.flat, found.flat, strict=True):
        looked_up = to_values[min(max(value - first, 0), 699)]
        expected = to_greys[min(max(looked_up - 50, 0), 899)] * 255 / 4095
        assert abs(grey - expected) <= 0.5 + 1e-9


COLOURS = np.stack([X * 16, Y * 20, (X * Y) % 256], axis=-1).astype("u1")


def in_ybr(rgb: np.ndarray) -> np.ndarray:
    """Returns PS3.3 C.7.6.3.1.2: YBR_FULL of RGB."""
    matrix = [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
    return np.clip(np.rint(rgb @ np.transpose(matrix) + [0, 128, 128]), 0, 255).astype("u1")


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN, RLE])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colours_side_by_side_and_in_planes(photometric: str, planar: int, syntax: str) -> None:
    stored = COLOURS if photometric == "RGB" else in_ybr(COLOURS)
    pixels = stored.transpose(2, 0, 1) if planar else stored
    data = dicom(
        stored,
        syntax,
        SamplesPerPixel=3,
        PhotometricInterpretation=photometric,
        PlanarConfiguration=planar,
        **({} if syntax == RLE else {"PixelData": pixels.tobytes()}),
    )

    (found,) = shown(data)

    assert np.abs(found.astype(int) - COLOURS).max() <= (0 if photometric == "RGB" else 2)


def test_half_of_the_colours_and_deep_ones() -> None:
    ybr = in_ybr(np.repeat(COLOURS[:, ::2], 2, axis=1))
    pairs = np.stack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], axis=-1)
    data = dicom(
        ybr,
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
        PlanarConfiguration=0,
        PixelData=pairs.tobytes(),
    )
    deep = dicom(
        COLOURS.astype("<u2") * 16,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
    )

    assert np.abs(shown(data)[0].astype(int) - np.repeat(COLOURS[:, ::2], 2, axis=1)).max() <= 2
    assert np.abs(shown(deep)[0] - in_grey(COLOURS)).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN])
def test_a_palette_gives_its_colours(bits: int, syntax: str) -> None:
    stored = (X * 13 % 200).astype("u1")
    scale = 257 if bits == 16 else 1
    colours = {
        name: np.arange(100) * step % 256 for name, step in zip("RGB", (3, 5, 7), strict=True)
    }
    elements: dict[str, Any] = {}
    for name, prefix in zip("RGB", ("Red", "Green", "Blue"), strict=True):
        entries = (colours[name] * scale).astype(">u2" if syntax == BIG_ENDIAN else "<u2")
        elements[f"{prefix}PaletteColorLookupTableDescriptor"] = [100, 20, bits]
        elements[f"{prefix}PaletteColorLookupTableData"] = entries.tobytes()

    (found,) = shown(dicom(stored, syntax, PhotometricInterpretation="PALETTE COLOR", **elements))

    place = np.clip(stored.astype(int) - 20, 0, 99)
    assert np.array_equal(found, np.stack([colours[name][place] for name in "RGB"], axis=-1))


def test_each_frame_of_an_enhanced_file_has_its_own_window() -> None:
    stored = np.stack([ramp("u2", 12)] * 3)
    shared = item(
        PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=-100)],
        FrameVOILUTSequence=[item(WindowCenter=1000, WindowWidth=500)],
    )
    windows = [(700, 1400), None, (3000, 100)]
    each = [
        item(FrameVOILUTSequence=[item(WindowCenter=w[0], WindowWidth=w[1])]) if w else item()
        for w in windows
    ]
    data = dicom(
        stored,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=each,
        **WINDOW,  # in whose place those of the frames come
    )

    found = shown(data)

    values = stored[0].astype(np.float64) * 2 - 100
    for frame, window in zip(found, windows, strict=True):
        centre, width = window or (1000, 500)
        expected = AS_THE_STANDARD(values, centre, width, "LINEAR")
        assert np.abs(frame - expected).max() <= 0.5 + 1e-9


def test_frames_without_a_window_are_stretched_alike() -> None:
    stored = np.stack([ramp("u2", 12) // 4, ramp("u2", 12)])

    found = np.stack(shown(dicom(stored)))

    assert np.abs(found - in_grey(stored)).max() <= 1


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_fills_an_image_up_is_black_and_does_not_count(photometric: str, syntax: str) -> None:
    values = ramp("i2", 12)
    filled = (X < 4) | (Y < 3)
    stored = np.where(filled, -32000 + X % 2, values).astype("i2")
    elements = {"PixelPaddingValue": -32000, "PixelPaddingRangeLimit": -31999}
    data = dicom(stored, syntax, PhotometricInterpretation=photometric, **elements)

    (image,) = slices.read(data).images
    (plain,) = shown(dicom(values[3:, 4:], syntax, PhotometricInterpretation=photometric))

    expected = np.zeros(stored.shape, np.uint8)
    expected[3:, 4:] = plain
    assert np.abs(image.pixels.astype(int) - squeezed(Image.fromarray(expected))).max() <= 2


def test_slices_of_many_frames_are_chosen_by_the_rule() -> None:
    stored = (np.arange(40)[:, None, None] + np.zeros((40, 12, 16))).astype("u1")
    data = dicom(stored)

    some, all_of_them = slices.read(data, max_slices=4), slices.read(data, max_slices=40)

    assert (some.of, some.numbers) == (40, slices.choose(40, 4))
    assert [int(image.pixels.max()) + 1 for image in some.images] == list(some.numbers)
    assert all_of_them.numbers == tuple(range(1, 41))
    assert {(image.format, image.width, image.height) for image in some.images} == {
        ("DICOM", 16, 12)
    }


def test_pixels_are_made_small_as_those_of_other_files() -> None:
    values = ramp("u1", 8)

    (image,) = slices.read(dicom(values)).images

    assert np.array_equal(image.pixels, squeezed(Image.fromarray(values)))
    assert (image.mode, image.format) == ("L", "DICOM")


# 12 bits and 16 signed ones, by `gdcmconv --jpeg` of GDCM 3.2.6.
OF_GDCM = {
    ("u2", 12, 53, 97, 4096, 0): (
        "|JeV-01FTR3;+-T0TBTI!~hlm0RaI30000000000000001_u!T+5iXv0RRC20L@ypYSpV&ty;Be)vH?zR;^mKYSpV&ty;"
        "Be*22}RR;^mKYSpV&ty;CPwQAL?R;^mKYSpV&t!yn?wQAL?R;^mKYSpV-3s$XKwQAL?R;^mKYSzNlt5&UAwQAL?R;^mKu"
        "(fK{t5&UAwQAL?R;_F;TD5A`t5&UAwQAL?TMJgLTD5A`t5&UAwQAPF)vH#mTD5A`t5&UAwXn5n)vH#mTD5A`t5&Ul|Je"
    ),
    ("i2", 16, 4001, 977, 65536, -32768): (
        "|JeV-01FTR3;+-T0TBTI!~hlm0RaI30000000000000003<?1M+5iXv0RRC20MDU)3+P`$`WMi?h4e3>eGBMcLi!ibzJ~N)"
        "Li!ibzJ>HJp?wSJUqbp9(7uKAFQI)6=)Q&YFQI)4=wCwm7tp?i^e>@(3+P`$`Ww-G3+P`$`WMi?h4e3>eGBMcLi!ibzJ>HRq"
        "WTxmzJ>HJp?wSJUqbp9(7uKAFQI)4=x;^zFQI)4=wCwm7tp?i^e>@(3+P`$`WMjNi|AiM`WMi?h4e3>eGBMcLi!ibzJ>HJp}"
        "iN-zJ>HJp?wSJUqbp9(7uKAFQI)4=wCy6FQI)4=wCwm7tp?i^e>@(3+P`$`WMi?hV)-T`WMi?h4e3>eGBMcLi!ibzJ>HJp?w"
        "YLzJ>HJp?wSJUqbp9(7uKAFQI)4=wCwm8_|6W=wCwm7tp?i^e>@(3+P`$`WMi?h4erF*#H"
    ),
}


@pytest.mark.parametrize("made", OF_GDCM)
def test_lossless_jpeg_of_12_and_16_bits(made: tuple[str, int, int, int, int, int]) -> None:
    dtype, bits, step, down, size, least = made
    stored = ((X * step + Y * down) % size + least).astype(dtype)
    frame = base64.b85decode(OF_GDCM[made])

    (found,) = shown(dicom(stored, JPEG_LOSSLESS, [frame], bits))

    assert np.array_equal(found, shown(dicom(stored, bits=bits))[0])


@pytest.mark.parametrize(
    ("compressed", "plain", "off"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm", 0),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm", 0),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm", 0),
        ("MR_small_bigendian.dcm", "MR_small.dcm", 0),
        ("MR_small_implicit.dcm", "MR_small.dcm", 0),
        ("SC_rgb_jpeg.dcm", "SC_rgb_jpeg_dcmd.dcm", 2),  # unpacked by DCMTK
        ("SC_rgb_small_odd_big_endian.dcm", "SC_rgb_small_odd.dcm", 0),
        ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm", 0),
        ("SC_rgb_gdcm_KY.dcm", "SC_rgb_rle.dcm", 2),
    ],
)
def test_other_programs_files_have_the_pixels_of_their_plain_twins(
    compressed: str, plain: str, off: int
) -> None:
    found, expected = (
        shown(Path(str(get_testdata_file(name))).read_bytes())[0].astype(int)
        for name in (compressed, plain)
    )

    assert np.abs(found - expected).max() <= off


COMPRESSIONS = [
    ("1.2.840.10008.1.2.4.51", "jpeg8", {"bitspersample": 12, "level": 100}),
    (
        "1.2.840.10008.1.2.4.57",
        "jpeg8",
        {"bitspersample": 12, "lossless": True, "predictor": 4},
    ),
    (JPEG_LS, "jpegls", {}),
    ("1.2.840.10008.1.2.4.90", "jpeg2k", {"codecformat": "j2k", "level": 0}),
    ("1.2.840.10008.1.2.4.201", "htj2k", {}),
]
of_every_compression = pytest.mark.parametrize(("syntax", "method", "options"), COMPRESSIONS)


@of_every_compression
def test_every_compression_of_12_bits(syntax: str, method: str, options: dict[str, Any]) -> None:
    stored = (X * 200 + Y * 60).astype("u2")
    frame = getattr(imagecodecs, f"{method}_encode")(stored, **options)

    (found,) = shown(dicom(stored, syntax, [frame], 12, **WINDOW))

    assert np.abs(found.astype(int) - shown(dicom(stored, **WINDOW))[0]).max() <= 1


LOSSLESS = [
    ("1.2.840.10008.1.2.4.57", "jpeg8", {"lossless": True}),
    (JPEG_LS, "jpegls", {}),
    ("1.2.840.10008.1.2.4.90", "jpeg2k", {"codecformat": "j2k", "level": 0}),
]


@pytest.mark.parametrize(("syntax", "method", "options"), LOSSLESS)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
def test_what_lies_above_the_stored_bits_of_a_compressed_frame_is_no_value(
    dtype: str, syntax: str, method: str, options: dict[str, Any]
) -> None:
    """Old files keep overlays there, and DCMTK and GDCM compress these too."""
    bits = 5 if dtype[1] == "1" else 12
    stored = ramp(dtype, bits)
    unsigned = f"u{dtype[1]}"
    garbage = (X + Y).astype(unsigned) << bits
    packed = stored.view(unsigned) & (2**bits - 1) | garbage
    frame = getattr(imagecodecs, f"{method}_encode")(packed, **options)

    (found,) = shown(dicom(stored, syntax, [frame], bits))

    assert np.array_equal(found, shown(dicom(stored, bits=bits))[0])


@pytest.mark.parametrize("filling", [b"", b"\xff"])  # DCMTK writes it up to an even length
@pytest.mark.parametrize("predictor", range(1, 8))
def test_lossless_jpeg_of_8_bits(predictor: int, filling: bytes) -> None:
    stored = (X * 16 + Y).astype("u1").repeat(40, 0).repeat(40, 1)
    whole = imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor)
    frame = whole[:-2] + filling + whole[-2:]

    (found,) = shown(dicom(stored, JPEG_LOSSLESS, [frame]))

    assert np.array_equal(found, stored)


@pytest.mark.parametrize("is_extended", [True, False])  # by GDCM, and by DCMTK
def test_negative_values_in_a_jpeg_ls(is_extended: bool) -> None:
    stored = ramp("i2", 12)
    packed = (stored if is_extended else stored & 0xFFF).astype("u2")
    frame = imagecodecs.jpegls_encode(packed) + b"\x2f"  # as DCMTK fills up to an even length

    (found,) = shown(dicom(stored, JPEG_LS, [frame], 12))

    assert np.array_equal(found, shown(dicom(stored, bits=12))[0])


@of_every_compression
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_frame_that_lacks_a_part_is_refused_though_it_ends_as_it_should(
    share: float, syntax: str, method: str, options: dict[str, Any]
) -> None:
    stored = (X * 200 + Y * 60).astype("u2").repeat(4, 0).repeat(4, 1)
    frame = getattr(imagecodecs, f"{method}_encode")(stored, **options)
    cut = frame[: int(len(frame) * share)] + b"\xff\xd9"

    with pytest.raises(ImageError, match="broken or cut off"):
        slices.read(dicom(stored, syntax, [cut], 12))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("has_meta", [True, False])
def test_files_that_lack_their_beginning(syntax: str, has_meta: bool) -> None:
    stored = ramp("u2", 12)
    data = dicom(stored, syntax)
    (length,) = struct.unpack_from("<I", data, 140)

    cut = data[132 if has_meta else 144 + length :]

    assert kinds.is_dicom(cut)
    assert np.array_equal(shown(cut)[0], shown(data)[0])


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_private_elements_do_not_matter(syntax: str) -> None:
    stored = ramp("u2", 12)
    dataset = pydicom.dcmread(io.BytesIO(dicom(stored, syntax)))
    for group in (0x0009, 0x0029, 0x7FE1):
        block = dataset.private_block(group, "A MAKER", create=True)
        block.add_new(0x10, "LO", "Mustermann")
        block.add_new(0x11, "SQ", [item(PatientName="Mustermann", Rows=7)])
        block.add_new(0x12, "UN", bytes(range(256)))
        dataset[group, 0x1011].is_undefined_length = True
    buffer = io.BytesIO()
    dataset.save_as(buffer)

    assert np.array_equal(shown(buffer.getvalue())[0], shown(dicom(stored))[0])


NAME, NUMBER, BORN = "Mustermann^Erika", "PID-4711-XYZ", "19640812"
PATIENT = {
    "PatientName": NAME,
    "PatientID": NUMBER,
    "PatientBirthDate": BORN,
    "StudyInstanceUID": "1.2.3.4711",
}


def subject(**elements: Any) -> set[str]:
    return set(slices.read(dicom(ramp("u1", 8), **elements)).subject)


def test_files_of_one_patient_or_study_share_an_identifier() -> None:
    one = subject(**PATIENT)

    assert one & subject(**{**PATIENT, "StudyInstanceUID": "1.2.5"})
    assert one & subject(**{**PATIENT, "PatientID": "other"})  # of the same study
    assert subject(PatientName=NAME, PatientBirthDate=BORN) & subject(
        PatientName=NAME.upper(), PatientBirthDate=BORN
    )
    assert not one & subject(PatientID="PID-4712", StudyInstanceUID="1.2.5")
    assert not subject(PatientID="ANONYMOUS", PatientName="Anon^")
    assert not subject(PatientID="0") | subject(PatientID="N/A")
    assert not subject(PatientName=NAME)  # of which there are several


def test_nothing_shows_the_patient() -> None:
    read_slices = slices.read(dicom(ramp("u1", 8), **PATIENT))

    assert not re.search("mustermann|4711|1964", repr(read_slices), re.IGNORECASE)


def hostile(**elements: Any) -> bytes:
    return dicom(ramp("u2", 12), **PATIENT, **elements)


def inflating(size: int) -> bytes:
    data = dicom(ramp("u1", 8))
    (length,) = struct.unpack_from("<I", data, 140)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(size)) + packer.flush()
    return (
        data[: 144 + length].replace(
            b"\x14\0" + EXPLICIT.encode() + b"\0", b"\x16\0" + DEFLATED.encode()
        )
        + packed
    )


def of_segment(segment: bytes) -> bytes:
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + segment
    return dicom(ramp("u1", 8), RLE, [frame])


def nested(depth: int) -> bytes:
    data = dicom(ramp("u1", 8))
    sequence = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    place = data.index(b"\x28\0\x02\0US")
    return data[:place] + sequence * depth + data[place:]


def many_elements(count: int) -> bytes:
    data = dicom(ramp("u1", 8))
    place = data.index(b"\x28\0\x02\0US")
    return data[:place] + b"\x09\0\x01\0LO\0\0" * count + data[place:]


def many_parts(count: int) -> bytes:
    frame = base64.b85decode(next(iter(OF_GDCM.values())))
    data = dicom(ramp("u2", 12), JPEG_LOSSLESS, [frame], 12)
    place = data.index(b"\xfe\xff\0\xe0", data.index(b"\xe0\x7f\x10\0") + 20)
    return data[:place] + b"\xfe\xff\0\xe0\0\0\0\0" * count + data[place:]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (hostile(PixelData=None), "unreadable: the DICOM is cut off, or lacks its pixels"),
        (hostile(Rows=None, PixelData=None), "format: a DICOM without an image"),
        (hostile(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"), "format: a DICOM of a segmentation"),
        (hostile(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.7"), "format: a DICOM of a segmentation"),
        (hostile(PhotometricInterpretation="CMYK"), "format: a DICOM of other colours"),
        (hostile(PhotometricInterpretation=None), "unreadable: the DICOM does not say its Photo"),
        (hostile(PhotometricInterpretation="PALETTE COLOR"), "format: a DICOM with a segmented"),
        (hostile(BitsAllocated=12), "format: a DICOM of 12 bits a sample"),
        (hostile(Columns=17), "unreadable: the DICOM is broken or cut off"),
        (hostile(NumberOfFrames=2**31 - 1), "unreadable: the DICOM is broken or cut off"),
        (hostile(NumberOfFrames=0), "unreadable: the DICOM says that it has no frames"),
        (hostile(Rows=65535, Columns=65535), "too-many-pixels: 65535x65535, at most 50,000,000"),
        (
            hostile(Rows=4000, Columns=4000, NumberOfFrames=9),
            "too-many-pixels: 9 slices of 4000x4000, at most",
        ),
        (
            dicom(ramp("u1", 8), "1.2.840.10008.1.2.4.102", [bytes(8)]),
            "format: a DICOM stored as MPEG-4",
        ),
        (dicom(ramp("u1", 8), "1.2.3.4711", [bytes(8)]), "format: a DICOM stored in a way that"),
        (dicom(ramp("u1", 8))[:-20], "unreadable: the DICOM is broken or cut off"),
        (
            dicom(ramp("u2", 12), JPEG_LOSSLESS, [b"\xff\xd8" + bytes(9)]),
            "unreadable: the DICOM is",
        ),
        (inflating(MAX_BYTES + 1), "too-large: the DICOM unpacks to more than"),
        (of_segment(b"\x81\x05" * 200_000), "unreadable: the DICOM is broken or cut off"),
        (of_segment(b"\x0a" + bytes(11)), "unreadable: the DICOM is broken or cut off"),
        (nested(5000), "unreadable: the DICOM is broken or cut off"),
        (many_elements(600_000), "too-much-work: the DICOM has very many elements"),
        (many_parts(70_000), "too-much-work: more than 65,536 parts of pixels"),
        (bytes(128) + b"DICM" + bytes(48), "format: a DICOM without an image"),
        (hostile().partition(b"ermann")[0], "unreadable: the DICOM is cut off before"),
        (hostile(Manufacturer="Ulm").partition(b"Ulm")[0], "unreadable: the DICOM is cut off"),
    ],
)
def test_what_is_not_read_is_told_in_few_words(data: bytes, words: str) -> None:
    with pytest.raises(ImageError) as raised:
        slices.read(data)

    error = raised.value
    assert str(error).startswith(words)
    assert not re.search("mustermann|4711|1964", str(error), re.IGNORECASE)
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "MR_small_jp2klossless.dcm",
            "ff4f ff51 0029 0000 00000040",
            "ff4f ff51 0029 0000 0000ffff",
        ),
        ("MR_small_jpeg_ls_lossless.dcm", "fff7 000b 10 0040", "fff7 000b 10 ff40"),
        ("JPEG-lossy.dcm", "ffc1 000b 0c 0400", "ffc1 000b 0c ff00"),
    ],
)
def test_a_frame_of_another_size_than_its_file_is_not_unpacked(
    name: str, old: str, new: str
) -> None:
    data = Path(str(get_testdata_file(name))).read_bytes()
    changed = data.replace(bytes.fromhex(old), bytes.fromhex(new))
    assert changed != data

    with pytest.raises(ImageError, match="broken or cut off"):
        slices.read(changed)


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG-lossy.dcm"]
)
def test_a_frame_that_is_cut_off_is_refused(name: str) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file(name)))
    frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2]])
    buffer = io.BytesIO()
    dataset.save_as(buffer)

    with pytest.raises(ImageError, match="broken or cut off"):
        slices.read(buffer.getvalue())


SEEDS = [
    dicom(ramp("u2", 12), **PATIENT, **WINDOW),
    dicom(ramp("u1", 8), IMPLICIT, **PATIENT),
    *(
        Path(str(get_testdata_file(name))).read_bytes()
        for name in (
            *("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"),
            *("JPEG-lossy.dcm", "SC_rgb_jpeg_gdcm.dcm", "liver_1frame.dcm"),
        )
    ),
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4))),
    st.floats(0, 1),
)
def test_broken_files_raise_nothing_else_and_tell_nothing(
    data: bytes, flips: list[tuple[float, bytes]], kept: float
) -> None:
    broken = bytearray(data)
    for place, put in flips:
        start = 132 + int(place * (len(broken) - 132))
        broken[start : start + len(put)] = put
    if kept < 0.1:
        del broken[132 + int(kept * 10 * (len(broken) - 132)) :]
    try:
        slices.read(bytes(broken))
        said = ""
    except ImageError as error:
        said = str(error)

    assert not re.search("mustermann|4711|1964", said, re.IGNORECASE)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import components.shared.images

    monkeypatch.delattr(components.shared.images, "dicom")
    for name in [name for name in sys.modules if name.startswith("components.shared.images.dicom")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydicom", None)

    with pytest.raises(ImageError, match=r"^format: a DICOM, which needs the extra clinic"):
        slices.read(dicom(ramp("u1", 8)))
