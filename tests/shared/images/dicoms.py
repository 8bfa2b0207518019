"""DICOMs of arrays, written by pydicom."""

import io
import struct
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
RLE, JPEG_LOSSLESS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def item(**elements: Any) -> Dataset:
    """Returns elements by their keywords."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def run_length(stored: np.ndarray) -> bytes:
    """Returns PS3.5 annex G of a frame, in runs of nothing that repeats.

    Args:
        stored: [height, width] or [height, width, samples].
    """
    planes = np.atleast_3d(stored).transpose(2, 0, 1)
    big = planes.astype(stored.dtype.newbyteorder(">"))
    segments = []
    for plane in big:
        for byte in np.frombuffer(plane.tobytes(), "u1").reshape(-1, stored.itemsize).T:
            parts = [byte[i : i + 128].tobytes() for i in range(0, len(byte), 128)]
            segment = b"".join(bytes([len(part) - 1]) + part for part in parts)
            segments.append(segment + b"\0" * (len(segment) % 2))
    starts = [64 + sum(map(len, segments[:index])) for index in range(len(segments))]
    head = struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(segments)))
    return head + b"".join(segments)


def dicom(
    stored: np.ndarray,
    syntax: str = EXPLICIT,
    frames: list[bytes] | None = None,
    bits: int | None = None,
    **elements: Any,
) -> bytes:
    """Returns a DICOM.

    Args:
        stored: Grey [height, width] or [frames, height, width], or what `elements` say.
        syntax: Transfer syntax.
        frames: Compressed ones, in place of the array's own bytes.
        bits: Stored; as many as are allocated if not given.
        elements: By keyword; they come in place of others, and None takes one away.
    """
    if syntax == RLE and not frames:
        frames = [run_length(stored)]
    meta = item(TransferSyntaxUID=syntax, MediaStorageSOPClassUID=MR_IMAGE)
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    allocated = stored.itemsize * 8
    height, width = stored.shape[-2:] if "SamplesPerPixel" not in elements else stored.shape[:2]
    order = ">" if syntax == BIG_ENDIAN else "<"
    pixels = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    dataset = item(
        SOPClassUID=MR_IMAGE,
        SOPInstanceUID="1.2.3",
        Rows=height,
        Columns=width,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=allocated,
        BitsStored=bits or allocated,
        HighBit=(bits or allocated) - 1,
        PixelRepresentation=int(stored.dtype.kind == "i"),
    )
    dataset.add_new(
        "PixelData", "OB" if frames else "OW", encapsulate(frames) if frames else pixels
    )
    if stored.ndim == 3 and "SamplesPerPixel" not in elements:
        dataset.NumberOfFrames = len(stored)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if syntax == BIG_ENDIAN and allocated == 8:  # two samples are a word
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    buffer = io.BytesIO()
    file = FileDataset(
        buffer,
        dataset,
        b"\0" * 128,
        FileMetaDataset(meta),
        is_implicit_VR=syntax == IMPLICIT,
        is_little_endian=syntax != BIG_ENDIAN,
    )
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
