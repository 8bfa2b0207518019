"""CloudEvents, answered as KServe's own server answered them when it was asked the same."""

import base64
import json
import re
from typing import Any

import httpx
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http

from tests.serving.test_predictor import DARK, EXPLAIN, INFER, LIGHT, PREDICT, refused, text

PAYLOAD = {"instances": [{"b64": text(LIGHT)}]}
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/scanner", "ce-type": "scan"}
ATTRIBUTES = {"type": "scan", "source": "/scanner", "datacontenttype": "application/json"}


def _check(event: Any) -> Any:
    """Checks attributes and returns data; the values are those of KServe 0.21."""
    assert event["specversion"] == "1.0"
    assert event["source"] == "io.kserve.inference.brain-tumor"
    assert event["type"] == "io.kserve.inference.response"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event["id"])
    assert re.match(r"20\d\d-\d\d-\d\dT", event["time"])
    return event.data


@pytest.mark.parametrize("write", [to_binary, to_structured])
@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
def test_an_event_of_the_sdk_is_answered_with_one(predictor: Any, write: Any, path: str) -> None:
    headers, body = write(CloudEvent(ATTRIBUTES, PAYLOAD))
    response = httpx.post(predictor.url + path, content=body, headers=headers)
    kind = "application/json" if write is to_binary else "application/cloudevents+json"
    assert response.headers["content-type"] == kind
    answer = _check(from_http(response.headers, response.content))
    assert answer["predictions"][0]["label"] == "Healthy"


def test_an_image_is_data_too(predictor: Any) -> None:
    raw = httpx.post(
        predictor.url + PREDICT, content=DARK, headers={**BINARY, "content-type": "image/png"}
    )
    data = _check(from_http(raw.headers, raw.content))
    assert data["predictions"][0]["label"] == "Brain Tumor"
    for data in (
        {"data_base64": base64.b64encode(DARK).decode(), "datacontenttype": "image/png"},
        {"data": json.dumps({"instances": [{"b64": text(DARK)}]})},
    ):
        document = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", **data}
        headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
        answer = httpx.post(predictor.url + PREDICT, json=document, headers=headers).json()
        assert answer["data"]["predictions"][0]["label"] == "Brain Tumor"


def test_a_document_under_another_type_is_answered_plainly(predictor: Any) -> None:
    document = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": PAYLOAD}
    response = httpx.post(predictor.url + PREDICT, json=document)
    assert list(response.json()) == ["predictions"]


def test_headers_that_are_not_all_are_no_event(predictor: Any) -> None:
    headers = {name: value for name, value in BINARY.items() if name != "ce-type"}
    response = httpx.post(predictor.url + PREDICT, json=PAYLOAD, headers=headers)
    assert response.status_code == 200
    assert not any(name.startswith("ce-") for name in response.headers)


@pytest.mark.parametrize("binary", [True, False])
def test_v2_answers_binary_events(predictor: Any, binary: bool) -> None:
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [text(LIGHT)]}
    payload = {"inputs": [tensor], "parameters": {"binary_data_output": binary}}
    response = httpx.post(predictor.url + INFER, json=payload, headers=BINARY)
    assert response.headers["ce-source"] == "io.kserve.inference.brain-tumor"
    assert b"Healthy" in response.content
    assert ("inference-header-content-length" in response.headers) is binary


EVENT = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "specversion, id, source, type"),
        ([], "specversion, id, source, type"),
        ({"data": PAYLOAD, "specversion": "1.0"}, "specversion, id, source, type"),
        (EVENT, "data and data_base64"),
        ({**EVENT, "data": PAYLOAD, "data_base64": ""}, "data and data_base64"),
        ({**EVENT, "data": {}, "specversion": "7"}, "specversion has to be"),
        ({**EVENT, "data": {}, "specversion": ["1.0"]}, "specversion has to be"),
        ({**EVENT, "data_base64": 3}, "has to be a text"),
        ({**EVENT, "data_base64": "!"}, "base64"),
        ({**EVENT, "data_base64": ""}, "empty"),
        ({**EVENT, "data": {}, "datacontenttype": 3}, "one of data"),
        ({**EVENT, "data": "-", "datacontenttype": "multipart/a; boundary=\u20ac"}, "no boundary"),
        ({**EVENT, "data": "hello"}, "neither JSON nor an image"),
        ({**EVENT, "data": json.dumps({**EVENT, "data": PAYLOAD})}, '"instances" has to be'),
        ({**EVENT, "data": 7}, '"instances" has to be'),
    ],
)
def test_a_malformed_event_gets_one_line(predictor: Any, document: Any, says: str) -> None:
    headers = {"content-type": "application/cloudevents+json"}
    response = httpx.post(predictor.url + PREDICT, json=document, headers=headers)
    refused(response, 400, says)


def test_an_unknown_version_is_refused(predictor: Any) -> None:
    headers = {**BINARY, "ce-specversion": "7"}
    response = httpx.post(predictor.url + PREDICT, json=PAYLOAD, headers=headers)
    refused(response, 400, "specversion has to be")
