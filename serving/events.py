"""CloudEvents over HTTP: read and answered as KServe's own server does it.

A binary event has its attributes in headers `ce-...` and its data as the body; a structured one is
a JSON document that holds both.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from urllib.parse import quote

from serving.codecs import from_base64
from serving.errors import PredictorError

STRUCTURED = "application/cloudevents+json"
_NEEDED = ("specversion", "id", "source", "type")
_VERSIONS = ("1.0", "0.3")
_ANSWER_TYPE = "io.kserve.inference.response"


class Mode(Enum):
    """How an event is sent, and so how it is answered."""

    NONE, BINARY, STRUCTURED = range(3)


def mode_of(headers: Mapping[str, str]) -> Mode:
    """Tells whether a request is an event.

    Args:
        headers: Its headers, in lower case.

    Returns:
        How it is sent; what lacks a required header is none.

    Raises:
        PredictorError: It is of a version that is not known.
    """
    if all(f"ce-{name}" in headers for name in _NEEDED):
        _check_version(headers["ce-specversion"])
        return Mode.BINARY
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return Mode.STRUCTURED if media_type == STRUCTURED else Mode.NONE


def is_event(document: Any) -> bool:
    """Tells whether a JSON value is a structured event, whatever its content type says."""
    return isinstance(document, dict) and all(name in document for name in _NEEDED)


def data_of(document: Any) -> tuple[Any, str]:
    """Takes the data out of a structured event.

    Args:
        document: The JSON value.

    Returns:
        A JSON value, or bytes, and the content type that they are said to have.

    Raises:
        PredictorError: It lacks an attribute or the data, or these are malformed.
    """
    if not is_event(document):
        raise PredictorError("malformed", f"an event has to have {', '.join(_NEEDED)}")
    _check_version(document["specversion"])
    content_type = document.get("datacontenttype", "")
    data, encoded = document.get("data"), document.get("data_base64")
    if not isinstance(content_type, str) or (data is None) == (encoded is None):
        raise PredictorError("malformed", "an event has to have one of data and data_base64")
    if isinstance(data, str):
        return data.encode("utf-8", "replace"), content_type
    if encoded is None:
        return data, content_type
    if not isinstance(encoded, str):
        raise PredictorError("malformed", "data_base64 has to be a text")
    return from_base64(encoded), content_type


def headers_of(name: str) -> dict[str, str]:
    """Returns the headers that make an answer a binary event.

    Args:
        name: Of the model.
    """
    return {f"ce-{key}": value for key, value in _attributes(name).items()}


def document_of(name: str, answer: Any) -> dict[str, Any]:
    """Returns the structured event that holds an answer.

    Args:
        name: Of the model.
        answer: A JSON value.
    """
    return {**_attributes(name), "data": answer}


def _attributes(name: str) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"io.kserve.inference.{quote(name)}",
        "type": _ANSWER_TYPE,
        "time": datetime.now(UTC).isoformat(),
    }


def _check_version(version: Any) -> None:
    if version not in _VERSIONS:
        raise PredictorError("malformed", f"specversion has to be one of {', '.join(_VERSIONS)}")
