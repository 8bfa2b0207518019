"""NIfTI volumes (.nii, .nii.gz) -> slices as radiologists see them."""

import gzip
import io
import logging
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.shared.images import deep

GZIP = b"\x1f\x8b"
MAX_SIDE = 65_535
# By the length that a header begins with: its magic, and where that stands.
_MAGICS = {348: (b"n+1\0", 344), 540: (b"n+2\0", 4)}
_PAIRS = {348: (b"ni1\0", 344), 540: (b"ni2\0", 4)}
_HEADER_BYTES = 348  # bytes that tell a NIfTI from others: the shorter header
_PACKED_HEAD = 4096  # of a gzip file, which hold more than a header
_MAX_MEMBERS = 65_536  # of a gzip file; each costs time, however little it holds
_READ = "send real numbers of 8 to 64 bits"

_quiet = logging.getLogger("brain_tumor.nifti")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # nibabel tells there what it mends


class NiftiError(ValueError):
    """A NIfTI that is not read. Its message is one line, and holds no text of the file."""


@dataclass(frozen=True)
class Volume:
    """The first volume of a file.

    Attributes:
        planes: As stored, [slices, height, width], from the feet up; the front of the head is the
            first row, and the patient's right the first column.
        slope: What a stored number is multiplied by; None where the numbers stand for themselves.
        intercept: What is added then.
    """

    planes: np.ndarray
    slope: float | None = None
    intercept: float = 0.0

    def samples(self, index: np.ndarray) -> np.ndarray:
        """Returns some slices.

        Args:
            index: Their positions, integers [n].

        Returns:
            [n, height, width], as stored, or float64 where they are scaled.
        """
        chosen = self.planes[index]
        if self.slope is None:
            return chosen
        with np.errstate(all="ignore"):  # a scale may lead beyond all numbers
            return chosen.astype(np.float64) * self.slope + self.intercept


def is_nifti(data: bytes) -> bool:
    """Tells whether a file is a NIfTI, gzipped or not.

    Args:
        data: The file's bytes; the first ones tell.
    """
    return _order(_beginning(data, _HEADER_BYTES)) is not None


def volume(data: bytes, allowed: int) -> Volume:
    """Reads the first volume of a NIfTI-1 or NIfTI-2 file.

    No more is unpacked than the volume takes, and nothing before the header has told how much that
    is.

    Args:
        data: The file's bytes, gzipped or not.
        allowed: Bytes that the volume may take, with what stands before it.

    Returns:
        The volume, upright.

    Raises:
        NiftiError: The file is broken, cut off or of another kind of numbers.
        WorkError: It takes more bytes.
    """
    header = _header(data)
    shape, dtype, offset = _layout(header)
    size = offset + math.prod(shape) * dtype.itemsize
    deep.check(size, allowed)
    if data.startswith(GZIP):
        data = _unpacked(data, size)
    if len(data) < size:
        raise NiftiError("the NIfTI is cut off")
    voxels: np.ndarray = np.ndarray(shape, dtype, data, offset, order="F")
    slope, intercept = _scale(header)
    return Volume(_planes(voxels, _affine(header)), slope, intercept)


def _beginning(data: bytes, size: int) -> bytes:
    """Returns the first bytes of a file, unpacked."""
    if not data.startswith(GZIP):
        return data[:size]
    try:
        return zlib.decompressobj(wbits=31).decompress(data[:_PACKED_HEAD], size)
    except zlib.error:
        return b""


def _order(head: bytes) -> str | None:
    """Returns the byte order that a header has, `<` or `>`; None if it is no NIfTI's."""
    if len(head) < 4:
        return None
    for order in "<>":
        (length,) = struct.unpack_from(order + "i", head)
        for magic, place in (kind[length] for kind in (_MAGICS, _PAIRS) if length in kind):
            if head.startswith(magic, place):
                return order
    return None


def _header(data: bytes) -> Any:
    """Returns nibabel's header, checked as nibabel does when it loads a file."""
    import nibabel as nib
    from nibabel.spatialimages import HeaderDataError

    head = _beginning(data, _HEADER_BYTES)
    order = _order(head)
    (length,) = struct.unpack_from(f"{order}i", head)
    magic, place = _PAIRS[length]
    if head.startswith(magic, place):
        raise NiftiError(
            "the header of a NIfTI whose voxels lie in another file; save both as one .nii"
        )
    head = _beginning(data, length)
    if len(head) < length:
        raise NiftiError("the NIfTI is cut off")
    kind = nib.Nifti1Header if length == 348 else nib.Nifti2Header
    header = kind(head, order, check=False)
    _check_numbers(header)
    try:
        header.check_fix(_quiet, error_level=40)
    except (HeaderDataError, ValueError, OverflowError) as error:
        raise NiftiError("the header of the NIfTI is broken") from error
    return header


def _check_numbers(header: Any) -> None:
    """Refuses numbers that are no grey levels."""
    from nibabel.nifti1 import data_type_codes

    code = int(header["datatype"])
    try:
        dtype = header.get_data_dtype()
    except KeyError:
        raise NiftiError(f"a NIfTI with data type {code}, which is not read; {_READ}") from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        name = data_type_codes.label[code]
        raise NiftiError(f"a NIfTI of {name} voxels, which is not read; {_READ}")


def _layout(header: Any) -> tuple[tuple[int, int, int], np.dtype, int]:
    """Returns the shape of the first volume, its type, and where it begins."""
    axes = [int(number) for number in header["dim"]]
    count, sides = axes[0], axes[1:]
    if not 2 <= count <= 7:
        raise NiftiError(f"a NIfTI with {count} axes, not 2 to 7")
    if not all(side >= 1 for side in sides[:count]):
        raise NiftiError("a NIfTI with an axis that has no voxel")
    x, y, z = (sides[axis] if axis < count else 1 for axis in range(3))
    if max(x, y, z) > MAX_SIDE:
        raise deep.WorkError(f"{x}x{y}x{z} voxels, at most {MAX_SIDE:,} a side are allowed")
    begin = float(header["vox_offset"])
    if not math.isfinite(begin) or begin < header.single_vox_offset:
        raise NiftiError("a NIfTI whose voxels begin within its header")
    return (x, y, z), header.get_data_dtype(), int(begin)


def _unpacked(data: bytes, size: int) -> bytes:
    """Returns the first bytes of a gzip file."""
    if data.count(GZIP + b"\x08") > _MAX_MEMBERS:
        raise deep.WorkError(f"more than {_MAX_MEMBERS:,} members of a gzip file")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(size)
            file.read(1)  # at the end of the file its checksum is compared
    except (OSError, EOFError, zlib.error) as error:
        raise NiftiError("the gzip file is broken or cut off") from error
    return unpacked


def _scale(header: Any) -> tuple[float | None, float]:
    """Returns slope and intercept; no slope where they change nothing."""
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise NiftiError("a NIfTI whose scl_inter is not a number") from error
    if slope is None or (slope, intercept) == (1, 0):
        return None, 0.0
    return slope, intercept


def _affine(header: Any) -> np.ndarray:
    """Returns where the voxels lie in the scanner, float64 [4, 4]."""
    from nibabel.spatialimages import HeaderDataError

    try:
        with np.errstate(all="ignore"):
            return header.get_best_affine()
    except (HeaderDataError, ValueError, ArithmeticError) as error:
        raise NiftiError("a NIfTI that does not say which side is up") from error


def _planes(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turns a volume, without a copy: [slices, height, width], see `Volume`.

    What is one voxel thick is one slice, whichever plane it lies in: sagittal and coronal ones have
    the top of the head in the first row, and sagittal ones the face in the first column.
    """
    from nibabel import orientations

    try:
        axes = orientations.io_orientation(affine)
        # From the patient's right to the left, from the front to the back, from the top down.
        turn = orientations.ornt_transform(axes, orientations.axcodes2ornt("LPI"))
        left_back_down = orientations.apply_orientation(voxels, turn)
    except (np.linalg.LinAlgError, orientations.OrientationError, ValueError) as error:
        raise NiftiError("a NIfTI that does not say which side is up") from error
    x, y, z = left_back_down.shape
    through = 2 if z == 1 or 1 not in (x, y) else (0 if x == 1 else 1)
    planes = np.moveaxis(left_back_down, through, 0)
    return planes[::-1].swapaxes(1, 2)
