"""Patients: who they are is never written, only which images are of the same one.

An identifier, from a column of labels or a tag of a DICOM file, becomes a key at once: its
HMAC-SHA256 under the run's salt. Keys lie beside unfinished work, which is removed when the dataset
is whole. The dataset holds numbers by order of appearance, which are the same in every run.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from components.groups import components

_SALT = "salt"
_SALT_BYTES = 32


def run_salt(work: Path) -> bytes:
    """Returns the salt of the run whose unfinished work is kept in a folder.

    Args:
        work: The folder. A run that is killed and goes on finds its salt there; only its owner can
            read it.
    """
    path = work / _SALT
    try:
        salt = path.read_bytes()
    except FileNotFoundError:
        salt = b""
    if len(salt) != _SALT_BYTES:  # none yet, or a run was killed while it wrote
        salt = secrets.token_bytes(_SALT_BYTES)
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(salt)
    return salt


def patient_keys(identifiers: Iterable[str], salt: bytes) -> tuple[str, ...]:
    """Returns what stands for a patient's identifiers from here on.

    Args:
        identifiers: What is known of one image's patient: a name in a column of labels, the
            patient's and the study's identifiers in a DICOM file, the path of a file that holds
            several slices. Spaces around them do not count.
        salt: Of the run; without it nobody can try identifiers until one fits.

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


def number_patients(keys: Sequence[Sequence[str]]) -> list[int | None]:
    """Numbers the patients.

    Args:
        keys: Those of each image; none where the patient is unknown. Images that share a key,
            directly or over others, are of one patient.

    Returns:
        The patient of each image, numbered by first appearance; None where unknown.
    """
    known = [image for image, of_image in enumerate(keys) if of_image]
    number_of: dict[str, int] = {}
    pairs = [
        (position, number_of.setdefault(key, len(number_of)))
        for position, image in enumerate(known)
        for key in keys[image]
    ]
    images, groups = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    numbers: list[int | None] = [None] * len(keys)
    for image, number in zip(known, components(images, groups, len(known)), strict=True):
        numbers[image] = int(number)
    return numbers
