"""Wire formats -> images, still encoded or already pixels; knows nothing of HTTP or gRPC."""

import binascii
import string
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pybase64
from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.shared.errors import first_fault
from components.shared.images.decode import SHAPE
from serving.errors import PredictorError
from serving.headers import number

PIXELS, ENCODED = "images", "image_bytes"
_KEYS = ("image_bytes", "image", "images", "b64", "data", "image_url")
FORMS = (
    '{"image_bytes": {"b64": "..."}}, {"image": ...}, {"b64": "..."}, {"data": ...}, '
    '{"image_url": "..."} or nested 150x150x3 numbers'
)
_MAX_ID = 256  # it is sent back
_CONTAINER = 3  # measured against a number
# What JSON may hold beside numbers and lists; 32 images with a key each are 128 quotes.
_MAX_COUNTS = {b'"': 4000, b"{": 1000}
_MAX_TENSORS, _MAX_OUTPUTS, _MAX_AXES = 8, 64, 8
_BASE64_ALPHABET = frozenset(string.ascii_letters.encode() + string.digits.encode() + b"+/-_=\r\n")
_HEAD = 32  # bytes that tell base64 from files
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # which editors and PowerShell put before UTF-8
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class Url:
    """An image that lies elsewhere."""

    address: str


Loaded = bytes | np.ndarray  # an image file, or pixels as uint8 [150, 150, 3]
Item = Loaded | Url


def parse_json(body: bytes, max_values: int) -> Any:
    """Parses JSON strictly: no NaN, no trailing text.

    Args:
        body: UTF-8.
        max_values: Refuse more, because nothing else runs while they are made.

    Raises:
        PredictorError: It is not JSON, or too much of it.
    """
    if any(_has_more(body, sign, limit) for sign, limit in _MAX_COUNTS.items()):
        raise PredictorError("body-size", "too many keys or texts in the JSON")
    # A comma stands before nearly every value; a list or an object costs as much as some numbers.
    # Counting takes a tenth of the time of parsing.
    if len(body) > max_values:
        containers = body.count(b"[") + body.count(b"{")
        if body.count(b",") + _CONTAINER * containers > max_values:
            raise PredictorError(
                "body-size", "too many values in the JSON; send images as files, not as numbers"
            )
    try:
        return orjson.loads(body.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        raise PredictorError("malformed", f"the body is not JSON: {error}") from error


def _has_more(body: bytes, sign: bytes, limit: int) -> bool:
    """Tells whether a sign stands more often in a body; as fast as the body has few of them."""
    place = -1
    for _ in range(limit + 1):
        place = body.find(sign, place + 1)
        if place < 0:
            return False
    return True


def is_columnar(payload: Any) -> bool:
    """Tells whether a v1 request is of TensorFlow Serving's column form: `inputs`, not `instances`.

    Args:
        payload: A JSON value.
    """
    return isinstance(payload, dict) and "inputs" in payload


def v1_items(payload: Any, max_instances: int) -> Iterator[Item]:
    """Finds the images of a v1 request.

    Args:
        payload: A JSON value, or a tuple of image files.
        max_instances: Refuse more.

    Returns:
        One item an instance, in order; each is read when it is asked for.

    Raises:
        PredictorError: Names the first instance that is malformed.
    """
    if isinstance(payload, tuple):
        return iter(payload)
    instances = payload.get("instances") if isinstance(payload, dict) else None
    if is_columnar(payload):
        if "instances" in payload:
            raise PredictorError("malformed", 'send either "instances" or "inputs"')
        instances = _rows(payload["inputs"])
    if not isinstance(instances, list) or not instances:
        raise PredictorError(
            "malformed", f'"instances" has to be a list of at least one of {FORMS}'
        )
    check_count(len(instances), max_instances)
    return _each(instances)


def _rows(inputs: Any) -> list[Any]:
    """Returns the instances of the column form: a list, or values under the one key."""
    if isinstance(inputs, list):
        return inputs
    if not isinstance(inputs, dict) or len(inputs) != 1:
        raise PredictorError(
            "malformed", '"inputs" has to be a list, or a list under one key, such as "image_bytes"'
        )
    ((key, values),) = inputs.items()
    return [{key: value} for value in (values if isinstance(values, list) else [values])]


def _each(instances: list[Any]) -> Iterator[Item]:
    for index, instance in enumerate(instances):
        try:
            yield _v1_item(instance)
        except PredictorError as error:
            raise error.of_instance(index) from error


def _v1_item(instance: Any) -> Item:
    if isinstance(instance, str):
        return from_base64(instance)
    if isinstance(instance, list):
        return _from_numbers(instance)
    if not isinstance(instance, dict):
        raise PredictorError("malformed", f"no image in it; send {FORMS}")
    present = [key for key in _KEYS if key in instance]
    if len(present) != 1:
        found = f"both {' and '.join(present)}" if present else "no image"
        raise PredictorError("malformed", f"{found} in it; send one of {FORMS}")
    value = instance[present[0]]
    if present[0] == "image_url":
        if not isinstance(value, str):
            raise PredictorError("malformed", "image_url has to be a string")
        return Url(value)
    if isinstance(value, dict):
        value = value.get("b64")
    if isinstance(value, str):
        return from_base64(value)
    if isinstance(value, list):
        return _from_numbers(value)
    raise PredictorError("malformed", f"{present[0]} holds no image; send {FORMS}")


def from_base64(text: str) -> bytes:
    """Decodes base64, also behind the `data:...,` that browsers put before it.

    Args:
        text: In the standard alphabet.

    Returns:
        The bytes.

    Raises:
        PredictorError: It is broken.
    """
    if text.startswith("data:"):  # as browsers make them
        text = text.partition(",")[2]
    try:
        try:
            return pybase64.b64decode(text, validate=True)
        except binascii.Error:  # with line breaks, as in MIME, or of the alphabet for URLs
            plain = text.encode().translate(_FROM_URL_SAFE, b" \t\r\n")
            return pybase64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PredictorError("malformed", f"the base64 text is broken: {error}") from error


def _from_numbers(numbers: list[Any]) -> np.ndarray:
    values = [numbers]
    for length in SHAPE:
        if any(type(part) is not list or len(part) != length for part in values):
            raise PredictorError("malformed", "numbers have to be nested 150x150x3")
        values = list(chain.from_iterable(values))
    types = set(map(type, values))
    try:
        if types <= {int, float}:  # one long text would make 67,500 of NumPy's as long
            return pixels_of(
                np.array(values, float if float in types else int).reshape(SHAPE), SHAPE
            )
    except OverflowError:
        pass
    raise PredictorError("malformed", "pixels have to be numbers within 0..255")


def pixels_of(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Checks numbers that are said to be pixels.

    Args:
        values: Any array.
        shape: What its shape has to be.

    Returns:
        uint8, the same numbers, rounded.

    Raises:
        PredictorError: Another shape, no numbers, or numbers beyond 0..255.
    """
    if values.shape != shape:
        raise PredictorError(
            "malformed", f"pixels of shape {list(values.shape)}, not {list(shape)}"
        )
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "iuf":
        raise PredictorError("malformed", "pixels have to be numbers within 0..255")
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):  # NaN is refused too
        raise PredictorError("malformed", "pixels have to lie within 0..255")
    if values.dtype.kind == "f" and 0 < high <= 1:
        raise PredictorError("malformed", "pixels look scaled to 0..1; send 0..255")
    return np.rint(values).astype(np.uint8)


class _V2Tensor(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str
    shape: list[int] = Field(min_length=1, max_length=_MAX_AXES)
    datatype: str
    parameters: dict[str, Any] | None = None
    data: Any = None


class _V2Output(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str
    parameters: dict[str, Any] | None = None


class _V2Request(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[_V2Tensor] = Field(min_length=1, max_length=_MAX_TENSORS)
    outputs: list[_V2Output] | None = Field(None, max_length=_MAX_OUTPUTS)


def v2_request(
    body: bytes, json_length: str | None, model_name: str, max_values: int
) -> InferRequest:
    """Reads a v2 REST body, with or without binary tensors behind its JSON.

    Args:
        body: As received.
        json_length: The header `Inference-Header-Content-Length`, or None.
        model_name: From the path.
        max_values: See `parse_json`.

    Returns:
        The request; binary tensors are left as they came.

    Raises:
        PredictorError: The body is not what the protocol says.
    """
    header = len(body)
    if json_length is not None:
        header = number("Inference-Header-Content-Length", json_length)
        if header > len(body):
            raise PredictorError(
                "malformed", "Inference-Header-Content-Length has to lie within the body"
            )
    try:
        document = _V2Request.model_validate(parse_json(body[:header], max_values))
    except ValidationError as error:
        raise PredictorError("malformed", first_fault(error)) from error
    inputs, rest = [], memoryview(body)[header:]
    for tensor in document.inputs:
        read = InferInput(
            tensor.name, tensor.shape, tensor.datatype, tensor.data, tensor.parameters
        )
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(rest):
                raise PredictorError(
                    "malformed", f"{tensor.name}: binary_data_size has to lie within the body"
                )
            read._raw_data = bytes(rest[:size])
            rest = rest[size:]
        inputs.append(read)
    if rest:
        raise PredictorError("malformed", f"{len(rest)} bytes after the last binary tensor")
    return InferRequest(
        model_name,
        inputs,
        request_id=document.id,
        parameters=document.parameters,
        request_outputs=[RequestedOutput(o.name, o.parameters) for o in document.outputs]
        if document.outputs
        else None,
    )


def v2_items(request: InferRequest, max_instances: int) -> list[Item]:
    """Finds the images of a v2 request, REST or gRPC.

    One input is taken: `images`, UINT8 [n, 150, 150, 3], or `image_bytes`, BYTES [n] of encoded
    files (over JSON as base64), or UINT8 [length], one encoded file.

    Args:
        request: KServe's own form of it.
        max_instances: Refuse more images.

    Returns:
        One item an image, in order.

    Raises:
        PredictorError: Another input, datatype or shape, or data that do not fit them.
    """
    if len(request.id or "") > _MAX_ID:
        raise PredictorError("malformed", f"id has more than {_MAX_ID} characters")
    if len(request.inputs) != 1:
        raise PredictorError(
            "malformed", f"one input is needed, {PIXELS} or {ENCODED}, not {len(request.inputs)}"
        )
    tensor = request.inputs[0]
    shape, datatype = list(tensor.shape), tensor.datatype
    if tensor.name == PIXELS:
        if datatype != "UINT8" or len(shape) != 4 or tuple(shape[1:]) != SHAPE or shape[0] < 1:
            raise PredictorError(
                "malformed",
                f"{PIXELS} has to be UINT8 [n, 150, 150, 3], not {datatype} {shape}",
            )
        check_count(shape[0], max_instances)
        return list(_uint8(tensor, shape[0] * int(np.prod(SHAPE))).reshape(shape))
    if tensor.name != ENCODED:
        raise PredictorError("malformed", f"no such input; send {PIXELS} or {ENCODED}")
    if datatype == "UINT8" and len(shape) == 1:
        return [_uint8(tensor, shape[0]).tobytes()]
    count = shape[0] if shape else 0
    if datatype != "BYTES" or shape not in ([count], [count, 1]) or count < 1:
        raise PredictorError(
            "malformed",
            f"{ENCODED} has to be BYTES [n], or UINT8 [length] for one file, not "
            f"{datatype} {shape}",
        )
    check_count(count, max_instances)
    return _encoded(tensor, count)


def _uint8(tensor: InferInput, size: int) -> np.ndarray:
    """Returns the numbers of a UINT8 tensor, uint8 [size]."""
    values = tensor._raw_data
    if values is None:
        values = tensor.data if isinstance(tensor.data, list) else []
        if values and isinstance(values[0], list):
            values = _flattened(tensor)
    if len(values) != size:
        raise PredictorError(
            "malformed", f"{tensor.name}: {len(values)} values where its shape has {size}"
        )
    try:
        return np.frombuffer(bytes(values), np.uint8)  # far faster than asarray of a list
    except (TypeError, ValueError) as error:
        raise PredictorError(
            "malformed", f"{tensor.name}: data have to be whole numbers within 0..255"
        ) from error


def _flattened(tensor: InferInput) -> list[Any]:
    """Returns the numbers of nested lists in one list."""
    values = tensor.data
    try:
        while isinstance(values[0], list):
            if len(set(map(len, values))) > 1:
                raise PredictorError("malformed", f"{tensor.name}: data are ragged")
            values = list(chain.from_iterable(values))
    except (TypeError, IndexError) as error:
        raise PredictorError("malformed", f"{tensor.name}: data are ragged") from error
    return values


def _encoded(tensor: InferInput, count: int) -> list[Item]:
    """Returns the elements of a BYTES tensor; text is base64."""
    if tensor._raw_data is not None:
        elements: list[Any] = list(_length_prefixed(tensor, count))
    else:
        data = tensor.data if isinstance(tensor.data, list) else []
        elements = [part for row in data for part in (row if isinstance(row, list) else [row])]
    if len(elements) != count:
        raise PredictorError(
            "malformed", f"{tensor.name}: {len(elements)} elements where its shape has {count}"
        )
    items: list[Item] = []
    for index, element in enumerate(elements):
        try:
            items.append(_encoded_item(element))
        except PredictorError as error:
            raise error.of_instance(index) from error
    return items


def _encoded_item(element: Any) -> bytes:
    if isinstance(element, str):
        return from_base64(element)
    if not isinstance(element, bytes):
        raise PredictorError("malformed", "the element is neither bytes nor base64 text")
    # The first bytes of a JPEG, PNG or TIFF are never of base64's alphabet.
    is_text = len(element) >= 4 and _BASE64_ALPHABET.issuperset(element[:_HEAD])
    if is_text or element.startswith(b"data:"):
        return from_base64(element.decode("ascii", "replace"))
    return element


def _length_prefixed(tensor: InferInput, count: int) -> Iterator[bytes]:
    """Yields that many elements; more are not looked for, since zeros would be millions of them."""
    raw, position = tensor._raw_data, 0
    for _ in range(count):
        if position + 4 > len(raw):
            raise PredictorError("malformed", f"{tensor.name}: a length is cut off")
        (length,) = struct.unpack_from("<I", raw, position)
        position += 4
        if length > len(raw) - position:
            raise PredictorError("malformed", f"{tensor.name}: an element is cut off")
        yield raw[position : position + length]
        position += length
    if position < len(raw):
        raise PredictorError(
            "malformed", f"{tensor.name}: {len(raw) - position} bytes more than its shape has"
        )


def check_count(count: int, limit: int) -> None:
    """Refuses a request of too many images.

    Args:
        count: Of images.
        limit: That are allowed.

    Raises:
        PredictorError: There are more.
    """
    if count > limit:
        raise PredictorError("instances", f"{count} images, at most {limit} are allowed in a call")
