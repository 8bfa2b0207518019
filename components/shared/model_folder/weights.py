"""The weights of a registered version's network, kept so that a training can start from them.

They are one float32 vector in NumPy's format: all arrays of the network end to end, in its own
order. Reading it runs no code and takes no more memory than the network that asks for it.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from components.shared.errors import UserError, first_line, reason
from components.shared.model_folder.contract import WEIGHTS
from components.shared.storage.files import open_regular, write_atomically

_MAX_HEADER = 4096  # bytes; NumPy's own has 128
_RESTORE = "restore the folder from its source"


def write_weights(folder: str | Path, weights: Sequence[np.ndarray]) -> None:
    """Keeps a network's weights in the model's folder.

    Args:
        folder: Of the version.
        weights: All arrays of the network, in its order.
    """
    file = io.BytesIO()
    np.save(file, np.concatenate([np.ravel(array) for array in weights]).astype("<f4"))
    write_atomically(Path(folder, WEIGHTS), file.getvalue())


def read_weights(folder: str | Path, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Reads weights for a network.

    Args:
        folder: Of the version, verified.
        shapes: Those of the network's arrays, in its order.

    Returns:
        An array of each shape, float32.

    Raises:
        UserError: The version is older than these weights; or they are malformed, not finite, or
            of a network of another size.
    """
    path = Path(folder, WEIGHTS)
    sizes = [math.prod(shape) for shape in shapes]
    try:
        with open(path, "rb", opener=open_regular) as file:
            count = _count(file, path)
            if count != sum(sizes):
                raise UserError(
                    f"{path}: has {count:,} weights, and the network to train has {sum(sizes):,}; "
                    "start from a version of the same network and the same value of dense"
                )
            content = file.read(4 * count + 1)  # no more than the network asks for
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: is missing: the version is older than kept weights; register it again to "
            "start a training from it"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot read: {reason(error)}; {_RESTORE}") from error
    if len(content) != 4 * count:
        raise UserError(f"{path}: is cut off, or too long; {_RESTORE}")
    vector = np.frombuffer(content, "<f4")
    if not np.isfinite(vector).all():
        raise UserError(f"{path}: has weights that are not numbers; start from another version")
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _count(file: IO[bytes], path: Path) -> int:
    """Returns how many weights a file says that it has; no more than its header is read."""
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version of NumPy's format")
        shape, _, kind = np.lib.format.read_array_header_1_0(file, max_header_size=_MAX_HEADER)
        if kind != np.dtype("<f4") or len(shape) != 1:
            raise ValueError(f"{kind} {list(shape)}")
    except Exception as error:  # hostile headers raise nearly anything
        raise UserError(
            f"{path}: is not a vector of weights: {first_line(error)}; {_RESTORE}"
        ) from error
    return int(shape[0])
