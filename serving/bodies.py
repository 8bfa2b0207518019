"""What a v1 request's body is: JSON, an image, or a form with several; told by its first bytes.

Clients say little of use: `curl --data-binary` calls everything a form, and others say text or
octet-stream of JSON and of images.
"""

import re
from typing import Any

from components.shared.images.kinds import is_dicom
from serving.codecs import FORMS, check_count, parse_json
from serving.errors import PredictorError
from serving.events import STRUCTURED, data_of, is_event

_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*")
_SPACE = b" \t\r\n"
_JSON = re.compile(rb"(\xef\xbb\xbf)?[ \t\r\n]*[{\[]")
_MAX_SPACE = 1024  # before JSON that is not called so
_HEAD = 32  # bytes that tell text from other files
_TEXT = frozenset(range(32, 127)) | frozenset(_SPACE)
_BOUNDARY = re.compile(
    r'boundary=(?:"([ !#-\[\]-~]{1,70})"|([!#-:<-~]{1,70}))(?=[\s;]|$)', re.IGNORECASE
)
_MAX_PART_HEAD = 8 * 2**10
_ENCODED_PART = re.compile(
    rb"^content-transfer-encoding:[ \t]*(?!binary|[78]bit)", re.IGNORECASE | re.MULTILINE
)


def v1_payload(body: bytes, content_type: str, max_values: int, max_instances: int) -> Any:
    """Reads a v1 body.

    Args:
        body: As received.
        content_type: The header; empty where there was none.
        max_values: See `parse_json`.
        max_instances: Refuse a form of more parts.

    Returns:
        The JSON value, or a tuple of the image files that were sent; of a structured CloudEvent
        what its data are.

    Raises:
        PredictorError: It is empty, no JSON where it should be, or a malformed form.
    """
    value = _payload(body, content_type, max_values, max_instances)
    is_structured = _media_type(content_type) == STRUCTURED and not isinstance(value, tuple)
    if is_structured or is_event(value):
        value, content_type = data_of(value)
        if isinstance(value, bytes):  # in which no event is looked for
            return _payload(value, content_type, max_values, max_instances)
    return value


def _payload(body: bytes, content_type: str, max_values: int, max_instances: int) -> Any:
    if not body:
        raise PredictorError("malformed", f'the body is empty; send {{"instances": [{FORMS}]}}')
    if body.startswith(_IMAGES) or is_dicom(body):
        return (body,)
    media_type = _media_type(content_type)
    if media_type.startswith("multipart/"):
        return _parts(body, _boundary(content_type), max_instances)
    if media_type.startswith("image/") or media_type == "application/dicom":
        return (body,)
    says_json = media_type.endswith(("/json", "+json"))
    if says_json or _JSON.match(body[:_MAX_SPACE]):
        return parse_json(body, max_values)
    if _TEXT.issuperset(body[:_HEAD]):
        raise PredictorError("malformed", "the body is neither JSON nor an image file")
    return (body,)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _boundary(content_type: str) -> bytes:
    found = _BOUNDARY.search(content_type)
    if not found:
        raise PredictorError("malformed", "the form's Content-Type has no boundary")
    return (found[1] or found[2]).encode("ascii")


def _parts(body: bytes, boundary: bytes, max_parts: int) -> tuple[bytes, ...]:
    """Returns the contents of a form's parts (RFC 7578), whatever their fields are called."""
    delimiter = b"\r\n--" + boundary
    body = b"\r\n" + body  # so that each delimiter looks the same
    count = body.count(delimiter) - 1
    if count < 1:
        raise PredictorError("malformed", "the form has no part, or does not end as it should")
    check_count(count, max_parts)
    _, *parts, rest = body.split(delimiter)
    if not rest.startswith(b"--"):
        raise PredictorError("malformed", "the form does not end as it should")
    return tuple(_content(index, part) for index, part in enumerate(parts))


def _content(index: int, part: bytes) -> bytes:
    """Returns what a part holds behind its headers."""
    end = part.find(b"\r\n\r\n", 0, _MAX_PART_HEAD)
    if end < 0 or part[: part.find(b"\r\n")].strip(b" \t"):
        error = "the part has no end of its headers, or too many of them"
    elif _ENCODED_PART.search(part, 0, end):
        error = "the part has a Content-Transfer-Encoding; send the file as it is"
    elif len(part) == end + 4:
        error = "the part is empty; send a file"
    else:
        return part[end + 4 :]
    raise PredictorError("malformed", error).of_instance(index)
