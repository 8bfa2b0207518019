"""Compressed frames of DICOMs: pydicom finds them, imagecodecs unpacks them.

pydicom calls `decode_frame` as one of its plugins and does what follows: colours, sign, unused
bits. The plugins that it knows itself are not used. GDCM, the only one of them that reads JPEG
lossless and may be given away freely, ends the whole process where such a JPEG is damaged.
imagecodecs has libjpeg-turbo, CharLS and OpenJPEG, which raise.
"""

import struct

import numpy as np
from pydicom import uid
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder

from components.shared.images import jpeg

PLUGIN = "imagecodecs"
RLE = (uid.RLELossless,)
JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
JPEG_2000 = (
    *(uid.JPEG2000Lossless, uid.JPEG2000),
    *(uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K),
)
COMPRESSED = (*RLE, *JPEG, *JPEG_LS, *JPEG_2000)
# What pydicom looks for in a module of a plugin.
DECODER_DEPENDENCIES = {syntax: ("numpy", "imagecodecs") for syntax in COMPRESSED}

_END = b"\xff\xd9"
_OTHER_BITS = b"\xaa\x55" * 16
_JPEG_LS_FRAME = 0xF7
_MAX_TILES = 4096  # of a JPEG 2000, for each of which OpenJPEG keeps books


def is_available(_: str) -> bool:
    """Tells pydicom that this plugin can be used."""
    return True


def register() -> None:
    """Makes the plugin known to pydicom; a second time does nothing."""
    for syntax in COMPRESSED:
        decoder = get_decoder(syntax)
        if PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Unpacks a frame.

    Args:
        source: The compressed frame.
        runner: What pydicom knows of it; learns what is different of the unpacked frame.

    Returns:
        Its samples, pixel by pixel, or plane by plane of a run-length encoded frame.

    Raises:
        Exception: The frame is not of the size that the file says, lacks a part or is broken.
    """
    import imagecodecs  # slow to import, and needed by compressed files alone

    syntax = runner.transfer_syntax
    if syntax in RLE:
        size = runner.rows * runner.columns * runner.samples_per_pixel * runner.bits_allocated // 8
        sample = np.dtype(f"<u{runner.bits_allocated // 8}")
        unpacked = imagecodecs.dicomrle_decode(source, sample, out=size)
        if len(unpacked) != size:
            raise ValueError("cut off")
        runner.set_option("planar_configuration", 1)
        return bytes(unpacked)
    # DCMTK fills up to an even length with any byte.
    content, end, _ = source.rpartition(_END)
    if not end:  # CharLS reads on behind the buffer until it finds one
        raise ValueError("cut off")
    source = content + end
    if syntax in JPEG_2000:
        _check_size(_size_of_jpeg_2000(source), runner)
        samples = imagecodecs.jpeg2k_decode(source, numthreads=1)
        if runner.photometric_interpretation in ("YBR_RCT", "YBR_ICT"):  # OpenJPEG undoes these
            runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
    else:
        _check_size(_size_of_jpeg(source), runner)
        if syntax in JPEG_LS:
            samples = imagecodecs.jpegls_decode(source)
        else:
            samples = _unpacked_jpeg(source, runner.samples_per_pixel)
    allocated = runner.bits_allocated // 8
    if samples.itemsize > allocated:
        raise ValueError("deeper samples than the DICOM says")
    runner.set_option("planar_configuration", 0)
    return samples.astype(f"{samples.dtype.kind}{allocated}", copy=False).tobytes()


def _unpacked_jpeg(source: bytes, count: int) -> np.ndarray:
    """Returns the samples of a JPEG, or raises an error if it lacks a part."""
    import imagecodecs

    # As they are stored: pydicom knows which colours these are.
    colours = None if count == 1 else "YCBCR"

    def unpacked(data: bytes) -> np.ndarray:
        found: np.ndarray = imagecodecs.jpeg8_decode(
            data, colorspace=colours, outcolorspace=colours
        )
        return found

    samples = unpacked(source)
    if samples.itemsize == 1:
        jpeg.check(source)  # which knows none of more than 8 bits
    # libjpeg goes on with zeros where a part is missing, and the package does not tell. Then other
    # bits in their place are other samples; behind a whole image nobody reads them. DCMTK fills up
    # to an even length before the end, where they would make another marker.
    whole = source.removesuffix(_END).rstrip(b"\xff")
    if not np.array_equal(samples, unpacked(whole + _OTHER_BITS + _END)):
        raise ValueError("cut off")
    return samples


def _check_size(found: tuple[int, int, int] | None, runner: DecodeRunner) -> None:
    """Refuses a frame that says another size than its file, before there is room made for it."""
    if found != (runner.rows, runner.columns, runner.samples_per_pixel):
        raise ValueError("another size than the DICOM says")


def _size_of_jpeg(source: bytes) -> tuple[int, int, int] | None:
    """Returns rows, columns and samples of a pixel of a JPEG or JPEG-LS."""
    for marker, start, end in jpeg.segments(source):
        if (marker in jpeg.FRAMES or marker == _JPEG_LS_FRAME) and end - start > 5:
            rows, columns, samples = struct.unpack_from(">HHB", source, start + 1)
            return rows, columns, samples
    return None


def _size_of_jpeg_2000(source: bytes) -> tuple[int, int, int] | None:
    """Returns rows, columns and samples of a pixel of a JPEG 2000, in boxes or not."""
    start = source.find(b"\xff\x4f\xff\x51")
    if start < 0:
        return None
    right, bottom, left, top, width, height, *_, samples = struct.unpack_from(
        ">8IH", source, start + 8
    )
    if (right // max(1, width) + 1) * (bottom // max(1, height) + 1) > _MAX_TILES:
        raise ValueError(f"more than {_MAX_TILES:,} tiles")
    return bottom - top, right - left, samples
