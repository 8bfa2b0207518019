"""Bytes of a file -> its slices: one of an image file, several of a volume."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from components.shared.images import deep, kinds, nifti
from components.shared.images.decode import (
    MAX_BYTES,
    MAX_PIXELS,
    MAX_SAMPLES,
    Decoded,
    ImageError,
    check_size,
    decode,
    squeezed,
)

MAX_SLICES = 16
_NEEDS = ", which needs the extra clinic; `make install` installs it"


@dataclass(frozen=True)
class Slices:
    """What is read of a file.

    Attributes:
        images: At least one; one of an image file.
        numbers: Which slices of the file these are, counted from 1.
        of: Slices that the file holds.
        subject: Identifiers of the patient and of the study, as far as the file has them. Files
            that share one show one patient. They are never written and never shown.
    """

    images: tuple[Decoded, ...]
    numbers: tuple[int, ...] = (1,)
    of: int = 1
    subject: tuple[str, ...] = field(default=(), repr=False)


def read(
    data: bytes,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    max_slices: int = MAX_SLICES,
) -> Slices:
    """Reads an image file, or some slices of a volume.

    Args:
        data: The file's bytes. Its name plays no part.
        max_bytes: Refuse longer files.
        max_pixels: Refuse what has more, all slices that are read together, before decoding them.
        max_slices: Of a volume; `choose` says which.

    Returns:
        The slices, each as `components.shared.images.decode.decode` returns an image.

    Raises:
        ImageError: As `components.shared.images.decode.decode` says. No message holds anything of
            what the file says of its patient.
    """
    if kinds.is_dicom(data):
        check_size(data, max_bytes)
        return _of_dicom(data, max_bytes, max_pixels, max_slices)
    if not nifti.is_nifti(data):
        return Slices((decode(data, max_bytes, max_pixels),))
    check_size(data, max_bytes)
    try:
        return _of_nifti(data, max_pixels, max_slices)
    except ImageError:
        raise
    except deep.WorkError as error:
        raise ImageError("too-much-work", str(error)) from error
    except nifti.NiftiError as error:
        raise ImageError("unreadable", str(error)) from error
    except ModuleNotFoundError as error:
        raise ImageError("format", f"a NIfTI{_NEEDS}") from error
    except Exception as error:  # hostile headers raise nearly anything
        raise ImageError("unreadable", "the NIfTI is broken") from error


def choose(of: int, max_slices: int) -> tuple[int, ...]:
    """Returns which slices of a volume are read.

    All, if there are no more than may be read. Otherwise so many, evenly spread over the middle
    half, because a scan begins and ends outside of the brain; over as many in the middle as may be
    read, if these are more than half.

    Args:
        of: Slices that the volume holds.
        max_slices: That may be read.

    Returns:
        Their numbers, counted from 1, in ascending order.
    """
    count = min(of, max_slices)
    part = max(count, of // 2)
    first = (of - part) // 2
    return tuple(1 + first + (2 * i + 1) * part // (2 * count) for i in range(count))


def _of_dicom(data: bytes, max_bytes: int, max_pixels: int, max_slices: int) -> Slices:
    try:
        from components.shared.images import dicom  # needs [clinic], and time to import
    except ModuleNotFoundError as error:
        raise ImageError("format", f"a DICOM{_NEEDS}") from error
    frames = dicom.read(data, max_bytes, max_pixels, lambda of: choose(of, max_slices))
    images = tuple(
        Decoded(squeezed(image), *frames.size, frames.mode, "DICOM") for image in frames.images
    )
    return Slices(images, tuple(frames.numbers), frames.of, frames.subject)


def _of_nifti(data: bytes, max_pixels: int, max_slices: int) -> Slices:
    volume = nifti.volume(data, MAX_SAMPLES * max_pixels)
    of, height, width = volume.planes.shape
    numbers = choose(of, max_slices)
    if len(numbers) * height * width > max_pixels:
        raise ImageError(
            "too-many-pixels",
            f"{len(numbers)} slices of {width}x{height}, at most {max_pixels:,} pixels are allowed",
        )
    samples = volume.samples(np.array(numbers) - 1)
    grey = np.asarray(deep.image(deep.Samples(samples.reshape(-1, width, 1))))
    images = tuple(
        Decoded(squeezed(Image.fromarray(plane)), width, height, str(samples.dtype), "NIfTI")
        for plane in grey.reshape(samples.shape)
    )
    return Slices(images, numbers, of)
