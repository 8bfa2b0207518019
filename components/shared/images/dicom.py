"""DICOMs -> grey or RGB images of 8 bits, as a viewer shows them first.

Nothing that a file says gets out of here but its pixels, and identifiers to group files by.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

from components.shared.images import deep, dicom_frames
from components.shared.images.decode import MAX_SAMPLES, MAX_SIDE, ImageError
from components.shared.images.dicom_elements import Elements, parsed
from components.shared.images.dicom_values import Table, display
from components.shared.placeholders import is_placeholder

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PALETTES = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
_SHARED, _EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_WANTED = [
    *("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "SOPClassUID"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "VOILUTSequence", _SHARED, _EACH, *_PIXELS),
    *(f"{palette}{part}" for palette in _PALETTES for part in ("Descriptor", "Data")),
]
_NATIVE = (
    *(uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian),
    uid.DeflatedExplicitVRLittleEndian,
)
_NO_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a segmentation",  # a map of labels
    "1.2.840.10008.5.1.4.1.1.481.2": "a radiation dose",
}
_ALLOCATED = (1, 8, 16, 32, 64)
_MAX_FRAGMENTS = 65_536  # of compressed pixels
_FRAGMENT = b"\xfe\xff\x00\xe0"
_WHITE_IS_ZERO, _PALETTE = "MONOCHROME1", "PALETTE COLOR"
_GREYS = (_WHITE_IS_ZERO, "MONOCHROME2", _PALETTE)
_RGBS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")


@dataclass(frozen=True)
class Frames:
    """Some frames of a DICOM.

    Attributes:
        images: Of 8 bits a sample, grey or RGB.
        numbers: Which frames these are, counted from 1.
        of: Frames that the file holds.
        mode: Pillow's, of the samples as they are stored.
        subject: See `components.shared.images.slices.Slices`.
    """

    images: list[Image.Image]
    numbers: Sequence[int]
    of: int
    mode: str
    subject: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.images[0].size


def read(
    data: bytes, max_bytes: int, max_pixels: int, choose: Callable[[int], Sequence[int]]
) -> Frames:
    """Reads some frames of a DICOM.

    Args:
        data: The file's bytes, with or without the first 132 that tell a DICOM.
        max_bytes: That a deflated file may unpack to.
        max_pixels: Refuse more, of all frames together that are read, before they are unpacked.
        choose: Given how many frames there are, returns the numbers of those to read, from 1.

    Returns:
        The frames. Greys are as the file says that they are to be shown. Where it does not say,
        deep ones are stretched, all frames alike.

    Raises:
        ImageError: The file is broken, or holds no image, or one that is not read. Neither its
            message nor an error that hangs on it holds anything that the file says.
    """
    try:
        return _read(*parsed(data, _WANTED, max_bytes), max_pixels, choose)
    except ImageError as error:
        fault = error
    except deep.WorkError as error:
        fault = ImageError("too-much-work", str(error))
    except Exception:  # which quotes the file
        fault = ImageError("unreadable", "the DICOM is broken or cut off")
    fault.__context__ = None
    raise fault


def _read(
    elements: Elements, syntax: uid.UID, max_pixels: int, choose: Callable[[int], Sequence[int]]
) -> Frames:
    photometric = _checked_kind(elements, syntax)
    of = elements.number("NumberOfFrames", 1)
    if of < 1:
        raise ImageError("unreadable", "the DICOM says that it has no frames")
    numbers = choose(of)
    _check_size(elements, len(numbers), max_pixels)
    stored = [_frame(elements, syntax, number - 1) for number in numbers]
    if photometric == _PALETTE:
        images = _coloured(elements, stored)
    elif photometric in _RGBS:
        images = _stretched(stored)
    else:
        images = _greys(elements, stored, numbers, photometric == _WHITE_IS_ZERO)
    mode = "P" if photometric == _PALETTE else _mode(stored[0])
    return Frames(images, numbers, of, mode, _subject(elements))


def _checked_kind(elements: Elements, syntax: uid.UID) -> str:
    """Returns the photometric interpretation, if the file holds an image of a kind that is read."""
    kind = _NO_IMAGES.get(elements.text("SOPClassUID"))
    if kind:
        raise ImageError("format", f"a DICOM of {kind}, which is not an image")
    if "Rows" not in elements:
        if elements.is_cut_off:
            raise ImageError("unreadable", "the DICOM is cut off before its image")
        raise ImageError("format", "a DICOM without an image, such as a report or a directory")
    if not any(keyword in elements for keyword in _PIXELS):
        raise ImageError("unreadable", "the DICOM is cut off, or lacks its pixels")
    if syntax not in (*_NATIVE, *dicom_frames.COMPRESSED):
        is_known = syntax.name != syntax  # text of the standard, and not of the file
        way = f"as {syntax.name}" if is_known else "in a way that the standard does not know"
        raise ImageError("format", f"a DICOM stored {way}, which is not read")
    photometric = elements.text("PhotometricInterpretation")
    if not photometric:
        raise ImageError("unreadable", "the DICOM does not say its PhotometricInterpretation")
    samples = elements.number("SamplesPerPixel", 1)
    if (photometric, samples) not in [*((p, 1) for p in _GREYS), *((p, 3) for p in _RGBS)]:
        raise ImageError("format", "a DICOM of other colours than grey, RGB, YBR_FULL or a palette")
    return photometric


def _check_size(elements: Elements, frames: int, max_pixels: int) -> None:
    """Bounds the work of reading so many frames, and mends what files leave out."""
    rows, columns = elements.number("Rows"), elements.number("Columns")
    if rows * columns * frames > max_pixels or max(rows, columns) > MAX_SIDE:
        several = f"{frames} slices of " if frames > 1 else ""
        raise ImageError(
            "too-many-pixels",
            f"{several}{columns}x{rows}, at most {max_pixels:,} pixels and {MAX_SIDE:,} a side "
            "are allowed",
        )
    samples, allocated = elements.number("SamplesPerPixel", 1), elements.number("BitsAllocated")
    if allocated not in _ALLOCATED:
        raise ImageError("format", f"a DICOM of {allocated} bits a sample, which is not read")
    deep.check(rows * columns * frames * samples * allocated // 8, MAX_SAMPLES * max_pixels)
    dataset = elements.dataset
    dataset.SamplesPerPixel = samples
    dataset.PlanarConfiguration = elements.number("PlanarConfiguration", 0)
    dataset.PixelRepresentation = elements.number("PixelRepresentation", 0)
    dataset.BitsStored = elements.number("BitsStored", allocated)
    if "PixelData" in elements and dataset["PixelData"].is_undefined_length:
        _check_fragments(dataset["PixelData"].value)


def _check_fragments(content: bytes) -> None:
    place = found = 0
    while content.startswith(_FRAGMENT, place):
        (length,) = struct.unpack_from("<I", content, place + 4)
        place, found = place + 8 + length, found + 1
        if found > _MAX_FRAGMENTS:
            raise ImageError("too-much-work", f"more than {_MAX_FRAGMENTS:,} parts of pixels")


def _frame(elements: Elements, syntax: uid.UID, index: int) -> np.ndarray:
    """Returns a frame as it is stored: [height, width], or RGB [height, width, 3]."""
    dataset = elements.dataset
    if syntax not in (*_NATIVE, *dicom_frames.RLE):
        frame, _ = get_decoder(syntax).as_array(
            dataset, index=index, decoding_plugin=dicom_frames.PLUGIN
        )
        # DCMTK and GDCM pack what lies above the stored bits too: an overlay, or nothing, which
        # makes negative values positive.
        unused = 8 * frame.itemsize - elements.number("BitsStored")
        return frame << unused >> unused if unused > 0 else frame
    plugin = dicom_frames.PLUGIN if syntax in dicom_frames.RLE else ""
    frame, _ = get_decoder(syntax).as_array(
        dataset,
        index=index,
        decoding_plugin=plugin,
        correct_unused_bits=False,  # type: ignore[arg-type]  # as its documentation has it
    )
    allocated, bits = elements.number("BitsAllocated"), elements.number("BitsStored")
    high = elements.number("HighBit", bits - 1)
    if frame.dtype.kind == "f" or bits >= allocated:
        return frame
    if not bits <= high + 1 <= allocated:
        high = bits - 1
    # What lies above the highest bit goes, and below the lowest; the sign comes down.
    return frame << (allocated - 1 - high) >> (allocated - bits)


def _greys(
    elements: Elements, stored: list[np.ndarray], numbers: Sequence[int], inverted: bool
) -> list[Image.Image]:
    is_signed = elements.number("PixelRepresentation") == 1
    each, shared = elements.items(_EACH), elements.items(_SHARED)[:1]
    displays = []
    for number in numbers:
        groups = [*each[number - 1 : number], *shared]
        closer = [
            item
            for group in groups
            for keyword in ("FrameVOILUTSequence", "PixelValueTransformationSequence")
            for item in group.items(keyword)[:1]
        ]
        displays.append(display([*closer, elements], is_signed))
    if all(each.shown for each in displays):
        greys = [each.greys(frame) for each, frame in zip(displays, stored, strict=True)]
        return [Image.fromarray(255 - grey if inverted else grey) for grey in greys]
    bits = elements.number("BitsStored")
    if bits <= 8 and stored[0].dtype.kind in "ui" and not any(d.modality for d in displays):
        return [
            Image.fromarray(_few_bits(frame, bits, inverted != (each.slope < 0)))
            for each, frame in zip(displays, stored, strict=True)
        ]
    values = [each.values(frame) for each, frame in zip(displays, stored, strict=True)]
    return _stretched(values, inverted, _padding(elements, stored))


def _padding(elements: Elements, stored: list[np.ndarray]) -> list[np.ndarray] | None:
    """Returns what fills each frame around its image, bool [height, width], if the file says it."""
    ends = [
        end
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        for end in elements.numbers(keyword)[:1]
    ]
    return [(frame >= min(ends)) & (frame <= max(ends)) for frame in stored] if ends else None


def _few_bits(frame: np.ndarray, bits: int, inverted: bool) -> np.ndarray:
    """Returns values of at most 8 bits as greys, uint8 of the same shape."""
    least = 2 ** (bits - 1) if frame.dtype.kind == "i" else 0
    greys = _eight_bits(frame.astype(np.int16) + least, 2**bits - 1)
    return 255 - greys if inverted else greys


def _eight_bits(values: np.ndarray, greatest: int) -> np.ndarray:
    """Returns 0 to the greatest value as 0 to 255."""
    return np.rint(np.clip(values, 0, greatest) * (255 / greatest)).astype(np.uint8)


def _stretched(
    frames: list[np.ndarray], inverted: bool = False, padding: list[np.ndarray] | None = None
) -> list[Image.Image]:
    """Returns images of 8 bits, all frames stretched alike if they are deeper; padding is black."""
    height, width = frames[0].shape[:2]
    rows = np.concatenate(frames).reshape(height * len(frames), width, -1)
    alpha = None if padding is None else np.where(np.concatenate(padding), 0, 255).astype(np.uint8)
    image = deep.image(deep.Samples(rows, alpha, inverted))
    return [
        image.crop((0, start, width, start + height)) for start in range(0, image.height, height)
    ]


def _coloured(elements: Elements, stored: list[np.ndarray]) -> list[Image.Image]:
    """Returns the colours of a palette."""
    is_signed = elements.number("PixelRepresentation") == 1
    found = [Table.of(elements, palette, is_signed) for palette in _PALETTES]
    tables = [table for table in found if table]
    if len(tables) < len(_PALETTES):
        raise ImageError("format", "a DICOM with a segmented palette, or none, which is not read")
    # Some have entries of 8 bits and say that they have 16.
    greatest = 65_535 if max(table.entries.max() for table in tables) > 255 else 255
    return [
        Image.fromarray(
            np.dstack([_eight_bits(table.of_values(frame), greatest) for table in tables])
        )
        for frame in stored
    ]


def _mode(frame: np.ndarray) -> str:
    """Returns the mode that Pillow has for such samples."""
    if frame.ndim == 3:
        return "RGB"
    if frame.dtype.kind == "f":
        return "F"
    if frame.itemsize == 1:
        return "L"
    return "I;16" if frame.dtype.kind == "u" and frame.itemsize == 2 else "I"


def _subject(elements: Elements) -> tuple[str, ...]:
    """Returns identifiers of the patient and of the study, as far as there are any."""
    patient = elements.text("PatientID").casefold()
    if patient == "0" or is_placeholder(patient):
        name = elements.text("PatientName").casefold()
        born = elements.text("PatientBirthDate")
        patient = f"{name}\t{born}" if born and not is_placeholder(name) else ""
    study = elements.text("StudyInstanceUID")
    return tuple(
        f"{kind}\t{value}" for kind, value in (("patient", patient), ("study", study)) if value
    )


dicom_frames.register()
