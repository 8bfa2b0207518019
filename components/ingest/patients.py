"""Patients: who they are is never written, only which images are of the same one.

An identifier, from a column of labels or a tag of a DICOM file, becomes a key at once: its
HMAC-SHA256 under a salt that is made of the source's listing and written nowhere: all workers have
the same, and only who can list the source has it. Keys lie beside decoded files, before they are a
dataset. The dataset holds numbers by order of appearance, which are the same in every run.
"""

import hashlib
import hmac
from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from components.shared.data.groups import components


def patient_keys(identifiers: Iterable[str], salt: bytes) -> tuple[str, ...]:
    """Returns what stands for a patient's identifiers from here on.

    Args:
        identifiers: What is known of one image's patient: a name in a column of labels, the
            patient's and the study's identifiers in a DICOM file, the path of a file that holds
            several slices. Spaces around them do not count.
        salt: Of the source; without it nobody can try identifiers until one fits.

    Returns:
        A key, 32 hexadecimal digits, for each identifier that is not empty.
    """
    return tuple(
        hmac.new(
            salt, identifier.strip().encode(errors="surrogatepass"), hashlib.sha256
        ).hexdigest()[:32]
        for identifier in identifiers
        if identifier.strip()
    )


def number_patients(keys: Iterable[Sequence[str]]) -> np.ndarray:
    """Numbers the patients.

    Args:
        keys: Those of each image; none where the patient is unknown. Images that share a key,
            directly or over others, are of one patient.

    Returns:
        The patient of each image, numbered by first appearance, int64 [n]; -1 where unknown.
    """
    number_of: dict[bytes, int] = {}
    known = array("b")  # of each image, whether it has a key
    images, groups = array("q"), array("q")  # of each key of an image
    position = -1  # among the images with a key
    for of_image in keys:
        known.append(bool(of_image))
        position += bool(of_image)
        for key in of_image:
            images.append(position)
            groups.append(number_of.setdefault(bytes.fromhex(key), len(number_of)))
    numbers = np.full(len(known), -1, dtype=np.int64)
    numbers[np.array(known, dtype=bool)] = components(
        np.array(images), np.array(groups), position + 1
    )
    return numbers
