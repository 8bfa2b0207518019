"""What a gRPC request holds, counted before it is parsed.

Protobuf makes an object of each part of a message, so a few megabytes of empty parts, or of small
numbers, would keep the event loop for seconds. This walks the encoded message and stops early.
"""

from collections.abc import Iterator

import numpy as np

from serving.errors import PredictorError

MAX_PARTS = 1000
_MAX_AXES = 8  # of a tensor
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5

# Field numbers of Open Inference's messages: of the request, of a tensor, of its contents.
_INPUTS, _OUTPUTS = 5, 6
_SHAPE, _CONTENTS = 3, 5
_VARINTS, _FLOATS, _DOUBLES = range(1, 6), 6, 7


def check_request(message: bytes, max_values: int) -> None:
    """Refuses a ModelInferRequest that would take long to parse.

    Args:
        message: The request, encoded.
        max_values: How many typed numbers it may hold. Beside them it may have 1,000 parts:
            tensors, files, parameters, names; and a tensor 8 axes.

    Raises:
        PredictorError: It holds more, or is broken.
    """
    values = 0
    for part, numbers in enumerate(_parts(message), start=1):
        values += numbers
        if part > MAX_PARTS:
            raise PredictorError("malformed", f"the message has more than {MAX_PARTS:,} parts")
        if values > max_values:
            raise PredictorError(
                "body-size", f"more than {max_values:,} values; send them as raw_input_contents"
            )


def _parts(message: bytes) -> Iterator[int]:
    """Yields, for each part of a request, how many numbers are packed in it."""
    for field, start, end in _fields(message, 0, len(message)):
        yield 0
        if field in (_INPUTS, _OUTPUTS):
            yield from _tensor(message, start, end)


def _tensor(message: bytes, start: int, end: int) -> Iterator[int]:
    for field, first, last in _fields(message, start, end):
        yield 0
        if field == _SHAPE and _varints(message, first, last) > _MAX_AXES:
            raise PredictorError("malformed", f"a tensor has more than {_MAX_AXES} axes")
        if field == _CONTENTS:
            for kind, low, high in _fields(message, first, last):
                yield _numbers(message, kind, low, high)


def _numbers(message: bytes, kind: int, start: int, end: int) -> int:
    """Returns how many numbers are packed in a field of the typed contents; none in a file."""
    if kind in _VARINTS:
        return _varints(message, start, end)
    if kind in (_FLOATS, _DOUBLES):
        return (end - start) // (4 if kind == _FLOATS else 8)
    return 0


def _varints(message: bytes, start: int, end: int) -> int:
    """Counts packed varints: each ends with the one byte of it that is less than 128."""
    return int(np.count_nonzero(np.frombuffer(message, np.uint8, end - start, start) < 128))


def _fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields number, start and end of the value of each field in a stretch of a message."""
    while start < end:
        key, start = _varint(message, start)
        kind = key & 7
        if kind == _BYTES:
            length, start = _varint(message, start)
            after = start + length
        elif kind == _VARINT:
            after = _varint(message, start)[1]
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            after = start + (4 if kind == _FOUR_BYTES else 8)
        else:
            raise _broken()
        if after > end:
            raise _broken()
        yield key >> 3, start, after
        start = after


def _varint(message: bytes, start: int) -> tuple[int, int]:
    """Returns the number that is encoded at a place, and the place after it."""
    number = 0
    for place, byte in enumerate(message[start : start + 10]):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, start + place + 1
    raise _broken()


def _broken() -> PredictorError:
    return PredictorError("malformed", "the message is not a ModelInferRequest")
