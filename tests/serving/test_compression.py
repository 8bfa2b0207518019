"""Compressed bodies: decoded as the standard library made them, within the limits of others."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.compression import PIECE, Inflater, coding_of
from serving.errors import PredictorError
from tests.serving.test_predictor import DARK, INFER, LIGHT, PIXELS, PREDICT, refused, text


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]  # without header and checksum


ENCODERS = [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress),
            ("deflate", raw_deflate), ("GZip", gzip.compress)]  # fmt: skip
each_coding = pytest.mark.parametrize(("name", "encode"), ENCODERS)
Encode = Callable[[bytes], bytes]


def inflate(coding: str, *parts: bytes) -> bytes:
    inflater = Inflater(coding)
    pieces = [piece for part in parts for piece in inflater.pieces(part)]
    inflater.finish()
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize(("name", "encode"), [ENCODERS[0], *ENCODERS[2:4]])
@given(
    data=st.binary(max_size=300) | st.sampled_from([bytes(10**6), b"ab" * 99_999, bytes(PIECE)]),
    step=st.sampled_from([1, 2, 7, 1000, 10**6]),
)
@settings(max_examples=60, deadline=None)
def test_what_was_encoded_comes_out(name: str, encode: Encode, data: bytes, step: int) -> None:
    body = encode(data)
    parts = [body[start : start + step] for start in range(0, len(body), step)]
    assert inflate(name, *parts) == data
    with pytest.raises(PredictorError, match=f"{name} body is cut off"):
        inflate(name, *parts[:-1], parts[-1][:-1])
    for more in ([b"x"], [b"", b"x"], [bytes(9)]):
        with pytest.raises(PredictorError, match="goes on after its end"):
            inflate(name, *parts, *more)


@pytest.mark.parametrize("header", ["", "identity", " identity , "])
def test_no_coding(header: str) -> None:
    assert coding_of(header) is None


@pytest.mark.parametrize("header", ["br", "gzip, gzip", "gzip,deflate", "zstd", "deflate;q=1"])
def test_other_codings_are_refused(predictor: Any, header: str) -> None:
    body = gzip.compress(gzip.compress(LIGHT))
    response = httpx.post(predictor.url + PREDICT, content=body, headers=_coded(header))
    refused(response, 415, "gzip or deflate")
    assert response.headers["accept-encoding"] == "gzip, deflate"


def test_two_lines_are_two_codings(predictor: Any) -> None:
    headers = [("content-encoding", "gzip"), ("content-encoding", "gzip")]
    refused(httpx.post(predictor.url + PREDICT, content=b"x", headers=headers), 415, "alone")


def _coded(name: str) -> dict[str, str]:
    return {"content-encoding": name}


@each_coding
def test_every_protocol_takes_it(predictor: Any, name: str, encode: Encode) -> None:
    tensor = {"name": "images", "datatype": "UINT8", "shape": [2, 150, 150, 3]}
    binary = {**tensor, "parameters": {"binary_data_size": PIXELS.nbytes}}
    head = json.dumps({"inputs": [binary]}).encode()
    with httpx.Client(base_url=predictor.url, headers=_coded(name)) as client:
        instances = json.dumps({"instances": [{"b64": text(file)} for file in (DARK, LIGHT)]})
        response = client.post(PREDICT, content=encode(instances.encode()))
        assert [p["label"] for p in response.json()["predictions"]] == ["Brain Tumor", "Healthy"]
        one = client.post(PREDICT, content=encode(LIGHT), headers={"content-type": "image/png"})
        assert one.json()["predictions"][0]["label"] == "Healthy"
        tensors = client.post(
            INFER,
            content=encode(head + PIXELS.tobytes()),
            headers={"inference-header-content-length": str(len(head))},
        )
        assert tensors.json()["outputs"][0]["data"] == ["Brain Tumor", "Healthy"]
        url = encode(b'{"image_url": "https://example.org/x.png"}')
        refused(client.post("/predict", content=url), 403, "turned off")
        refused(client.post(PREDICT, content=b""), 400, "empty")
        refused(client.post(PREDICT, content=b"{}"), 400, str(coding_of(name)))


@pytest.mark.parametrize(("name", "encode"), ENCODERS[2:4])
def test_a_bomb_is_refused_before_it_is_large(predictor: Any, name: str, encode: Encode) -> None:
    bomb = encode(bytes(128 * 2**20))
    before = predictor.resident_bytes()
    for _ in range(2):
        response = httpx.post(predictor.url + PREDICT, content=bomb, headers=_coded(name))
        refused(response, 413, "body has more than 16,777,216 bytes")
    assert predictor.resident_bytes() - before < 64 * 2**20
    assert httpx.get(predictor.url + "/v2/health/ready").status_code == 200
