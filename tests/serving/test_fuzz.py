"""Ten thousand malformed requests over real sockets: none is a 500, none ends the connection."""

import base64
import gzip
import http.client
import io
import json
import random
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image

from tests.serving.test_volumes import levels, nifti
from tests.shared.images.dicoms import dicom

REST, GRPC = 10_000, 1_500
PATHS = (
    "/v1/models/brain-tumor:predict",
    "/v1/models/brain-tumor:explain",
    "/v2/models/brain-tumor/infer",
    "/v2/models/brain-tumor/versions/7/infer",
    "/predict",
    "/v1/models/%00:predict",
    "/v1/models/..%2f:predict",
    "/v2/models/other/infer",
    "/v2/repository/models/brain-tumor/unload",
    "/v2/models/brain-tumor/versions/-1/infer",
)
TYPES = (
    "application/json",
    "application/json; charset=utf-8",
    "application/json; charset=klingon",
    "application/cloudevents+json",
    "application/octet-stream",
    "image/jpeg",
    "multipart/form-data; boundary=x",
    "text/plain",
    "",
    ";;;",
    "\xff\xfe",
)
ODD = (
    None, True, False, 0, -1, 255, 256, 1e308, -0.5, 2**63, 2**64, "", "x", "\x00", "é", "=", "AA",
    "%" * 40, [], {}, [[]], [None], [[[0, 0, 0]]], {"b64": None}, {"b64": 3}, {"b64": "AAAA"},
    {"instances": []}, "https://127.0.0.1/", "file:///etc/passwd", "\ud83d\ude00",
)  # fmt: skip


class Attempt(NamedTuple):
    """A request."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


def _files() -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    files = []
    for kind, mode in (("JPEG", "RGB"), ("PNG", "RGBA"), ("TIFF", "RGB"), ("PNG", "P"),
                       ("JPEG", "L"), ("GIF", "P"), ("BMP", "RGB")):  # fmt: skip
        file = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(file, kind)
        files.append(file.getvalue())
    packed = nifti(3)
    return [*files, packed, gzip.decompress(packed), dicom(levels(3).transpose(2, 0, 1))]


FILES = _files()
DOCUMENTS: tuple[Any, ...] = (
    {"instances": [{"image_bytes": {"b64": base64.b64encode(FILES[0]).decode()}}]},
    {"instances": [{"data": "AAAA"}, {"image_url": "https://example.org/x.png"}, [[[0, 1, 2]]]]},
    {"image_url": "https://example.org/x.png"},
    {
        "id": "1",
        "parameters": {"binary_data_output": True},
        "inputs": [
            {"name": "images", "datatype": "UINT8", "shape": [1, 150, 150, 3], "data": [0, 1, 2]}
        ],
        "outputs": [{"name": "label", "parameters": {"binary_data": True}}],
    },
    {
        "inputs": [
            {
                "name": "image_bytes",
                "datatype": "BYTES",
                "shape": [1],
                "data": [base64.b64encode(FILES[1]).decode()],
            }
        ]
    },
)


def _mutated(value: Any, rng: random.Random) -> Any:
    """Returns a JSON value with one thing in it changed, at any depth."""
    if rng.random() < 0.25 or not isinstance(value, dict | list) or not value:
        return rng.choice(ODD)
    if isinstance(value, list):
        changed = list(value)
        place = rng.randrange(len(changed))
        if rng.random() < 0.2:
            return changed * rng.choice((0, 2, 40))
        changed[place] = _mutated(changed[place], rng)
        return changed
    key = rng.choice(sorted(value))
    rest = {k: v for k, v in value.items() if k != key}
    what = rng.random()
    if what < 0.15:
        return rest
    if what < 0.3:
        return rest | {rng.choice(("", "x", key.upper(), key + " ")): value[key]}
    return rest | {key: _mutated(value[key], rng)}


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes that are cut, flipped, doubled or filled with others."""
    what, changed = rng.randrange(5), bytearray(data)
    if what == 0:
        return bytes(changed[: rng.randrange(len(changed) + 1)])
    if what == 1:
        for _ in range(rng.randrange(1, 20)):
            if changed:
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if what == 2:
        return bytes(changed) + rng.randbytes(rng.randrange(50))
    if what == 3:
        place = rng.randrange(len(changed) + 1)
        return bytes(changed[:place] + rng.randbytes(rng.randrange(8)) + changed[place:])
    return rng.randbytes(rng.randrange(300))


def _binary_tensors(rng: random.Random) -> tuple[bytes, dict[str, str]]:
    file = _damaged(rng.choice(FILES), rng)
    raw = struct.pack("<I", rng.choice((len(file), 0, 2**32 - 1, len(file) + 1))) + file
    size = rng.choice((len(raw), 0, -1, 10**9, None, "8", len(raw) - 1))
    tensor = {
        "name": rng.choice(("images", "image_bytes")),
        "shape": rng.choice(([1], [0], [-1], [2**62], [1, 150, 150, 3], [])),
        "datatype": rng.choice(("BYTES", "UINT8", "FP32", "")),
        "parameters": {"binary_data_size": size},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    length = rng.choice((len(header), 0, -1, 10**12, len(header) - 1, "x", ""))
    return header + raw, {"Inference-Header-Content-Length": str(length)}


def _wrapped(body: bytes, rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """Puts some bodies into a compressed one, a form or an event, often a broken one."""
    kind = rng.randrange(12)
    if kind == 0:
        coding = rng.choice(("gzip", "gzip", "deflate", "deflate", "identity", "gzip, br", "\xff"))
        body = zlib.compress(body, wbits=31 if coding == "gzip" else 15)
        return _damaged(body, rng), {"Content-Encoding": coding}
    if kind == 1:
        part = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + body + b"\r\n"
        form = part * rng.choice((1, 1, 2, 40)) + b"--x--\r\n"
        return _damaged(form, rng), {"Content-Type": "multipart/form-data; boundary=x"}
    if kind == 2:
        event: Any = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
        event |= rng.choice(({"data": body.decode("latin-1")}, {"data": DOCUMENTS[0]},
                             {"data_base64": base64.b64encode(body).decode()}))  # fmt: skip
        event[rng.choice(tuple(event))] = rng.choice(ODD)
        return json.dumps(event).encode(), {"Content-Type": "application/cloudevents+json"}
    return body, {}


def attempts(count: int, seed: int = 0) -> Iterator[Attempt]:
    """Yields malformed requests of every kind, the same for the same seed."""
    rng = random.Random(seed)
    for number in range(count):
        headers = {"Content-Type": rng.choice(TYPES)} if rng.random() < 0.4 else {}
        path = PATHS[number % 5] if rng.random() < 0.8 else rng.choice(PATHS)
        kind = number % 6
        if kind == 0:
            body = json.dumps(_mutated(rng.choice(DOCUMENTS), rng)).encode()
        elif kind == 1:
            body = _damaged(json.dumps(rng.choice(DOCUMENTS)).encode(), rng)
        elif kind == 2:
            file = base64.b64encode(_damaged(rng.choice(FILES), rng)).decode()
            body = json.dumps(
                {"instances": [{rng.choice(("b64", "data", "image")): file}]}
            ).encode()
        elif kind == 3:
            body = _damaged(rng.choice(FILES), rng)
            headers = {"Content-Type": rng.choice(("image/jpeg", "image/png", "image/x"))}
        elif kind == 4:
            body, more = _binary_tensors(rng)
            headers |= more
        else:
            body = json.dumps(_mutated(rng.choice(DOCUMENTS), rng)).encode()
            headers |= {rng.choice(("ce-id", "ce-specversion", "Authorization", "X-Request-Id",
                                    "Accept", "Range", "If-None-Match")): rng.choice(
                                        ("", "1.0", "\xff", "a" * 2000))}  # fmt: skip
        body, more = _wrapped(body, rng)
        headers |= more
        method = "POST" if rng.random() < 0.95 else rng.choice(("GET", "PUT", "DELETE", "OPTIONS"))
        yield Attempt(method, path, body, headers)


def test_ten_thousand_malformed_requests(predictor: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", predictor.port, timeout=30)
    codes: Counter[int] = Counter()
    before = 0
    for number, attempt in enumerate(attempts(REST)):
        if number == REST // 5:  # pools and caches have filled by now
            before = predictor.resident_bytes()
        headers = {name: value.encode("latin-1") for name, value in attempt.headers.items()}
        connection.request(attempt.method, attempt.path, attempt.body, headers)
        response = connection.getresponse()
        answer = response.read()
        codes[response.status] += 1
        assert response.status < 500, (attempt, answer)
        assert not response.will_close, (attempt, answer)
        if response.status >= 400 and attempt.method == "POST":
            said = json.loads(answer)
            assert list(said) == ["error"], (attempt, answer)
            line = said["error"]
            assert "\n" not in line, attempt
            assert "Traceback" not in line, attempt
    grown = predictor.resident_bytes() - before
    assert grown < 64 * 2**20, f"{grown / 2**20:.0f} MiB more after {codes}"
    assert codes[400] > REST / 2, codes
    assert {400, 403, 404, 413} <= set(codes), codes
    _still_right(predictor)
    log = predictor.log.read_text()
    assert "Traceback" not in log, log[-3000:]


def test_malformed_grpc_requests(predictor: Any) -> None:
    rng = random.Random(1)
    expected = {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
    codes: Counter[Any] = Counter()
    with grpc.insecure_channel(predictor.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for _ in range(GRPC):
            try:
                stub.ModelInfer(_grpc_request(rng))
            except grpc.RpcError as error:
                codes[error.code()] += 1
    assert set(codes) <= expected, codes
    assert codes[grpc.StatusCode.INVALID_ARGUMENT] > GRPC / 2, codes
    _still_right(predictor)


def _grpc_request(rng: random.Random) -> pb.ModelInferRequest:
    file = _damaged(rng.choice(FILES), rng)
    raw = struct.pack("<I", rng.choice((len(file), len(file), 2**32 - 1))) + file
    contents = rng.choice(({}, {"bytes_contents": [file]}, {"uint_contents": [1, 2, 2**31]},
                           {"fp32_contents": [0.5]}, {"int_contents": [-1]}))  # fmt: skip
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=rng.choice(("images", "image_bytes", "image_bytes", "", "é")),
        shape=rng.choice(([1], [1], [0], [-1], [2**62], [1, 150, 150, 3], [])),
        datatype=rng.choice(("BYTES", "BYTES", "UINT8", "FP32", "FP16", "", "NONE")),
        contents=pb.InferTensorContents(**contents) if contents else None,
    )
    request = pb.ModelInferRequest(
        model_name=rng.choice(("brain-tumor",) * 9 + ("",)),
        inputs=[tensor] * rng.choice((1, 1, 1, 0, 2)),
    )
    if not contents or rng.random() < 0.2:
        request.raw_input_contents.extend([raw] * rng.choice((1, 1, 1, 0, 2)))
    if rng.random() < 0.1:
        request.outputs.add(name=rng.choice(("", "logits", "label")))
    return request


def _still_right(server: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    file = io.BytesIO()
    Image.new("L", (30, 30), 204).save(file, "PNG")
    body = json.dumps({"instances": [{"b64": base64.b64encode(file.getvalue()).decode()}]})
    connection.request("POST", PATHS[0], body)
    (answer,) = json.loads(connection.getresponse().read())["predictions"]
    assert answer["probabilities"]["Healthy"] == pytest.approx(0.8, abs=1e-5)
