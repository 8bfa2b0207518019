"""Bytes of a file -> its slices: one of an image file, several of a volume."""

from dataclasses import dataclass, field

from components.images import MAX_BYTES, MAX_PIXELS, Decoded, decode

MOST_SLICES = 16


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
    most_slices: int = MOST_SLICES,
) -> Slices:
    """Reads an image file, or some slices of a volume.

    Args:
        data: The file's bytes. Its name plays no part.
        max_bytes: Refuse longer files.
        max_pixels: Refuse what has more, all slices that are read together, before decoding them.
        most_slices: Of a volume; `choose` says which.

    Returns:
        The slices, each as `components.images.decode` returns an image.

    Raises:
        ImageError: As `components.images.decode` says. No message holds anything of what the file
            says of its patient.
    """
    return Slices((decode(data, max_bytes, max_pixels),))


def choose(of: int, most: int) -> tuple[int, ...]:
    """Returns which slices of a volume are read.

    All, if there are no more than may be read. Otherwise so many, evenly spread over the middle
    half, because a scan begins and ends outside of the brain; over as many in the middle as may be
    read, if these are more than half.

    Args:
        of: Slices that the volume holds.
        most: That may be read.

    Returns:
        Their numbers, counted from 1, in ascending order.
    """
    count = min(of, most)
    part = max(count, of // 2)
    first = (of - part) // 2
    return tuple(1 + first + (2 * i + 1) * part // (2 * count) for i in range(count))
