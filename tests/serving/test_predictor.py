"""The predictor's real process, over real sockets, through the clients that people use."""

import asyncio
import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import deserialize_bytes_tensor
from PIL import Image

PREDICT = "/v1/models/brain-tumor:predict"
EXPLAIN = "/v1/models/brain-tumor:explain"
INFER = "/v2/models/brain-tumor/infer"


def picture(brightness: Any, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    mode = "L" if isinstance(brightness, int) else "RGB"
    Image.new(mode, (60, 40), brightness).save(file, kind)
    return file.getvalue()


DARK, LIGHT, GREEN = picture(51), picture(204), picture((0, 200, 0))
DOUBTFUL = picture(153)  # P(Brain Tumor) 0.4: the answer, and yet unsure
PIXELS = np.stack([np.full((150, 150, 3), value, np.uint8) for value in (51, 204)])


def text(file: bytes) -> str:
    return base64.b64encode(file).decode()


def predict(server: Any, *instances: Any) -> list[dict[str, Any]]:
    response = httpx.post(server.url + PREDICT, json={"instances": list(instances)})
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def refused(response: httpx.Response, status: int, says: str) -> None:
    """Checks that an error is one clear line with the right status, and nothing else."""
    assert response.status_code == status, response.text
    body = response.json()
    assert list(body) == ["error"]
    assert says in body["error"]
    assert "\n" not in body["error"]


# --- what it answers -----------------------------------------------------------------------------


def test_v1_answers_each_instance_in_order(predictor: Any) -> None:
    numbers = PIXELS[1].tolist()
    answers = predict(
        predictor, {"image_bytes": {"b64": text(DARK)}}, numbers, {"image": {"b64": text(GREEN)}}
    )
    assert [a["label"] for a in answers] == ["Brain Tumor", "Healthy", "Brain Tumor"]
    assert answers[0]["probability"] == pytest.approx(0.8, abs=1e-5)
    assert answers[0]["probabilities"] == pytest.approx(
        {"Brain Tumor": 0.8, "Healthy": 0.2}, abs=1e-5
    )
    assert answers[0]["threshold"] == 0.25
    assert answers[0]["model_version"] == 7
    assert [a["in_distribution"] for a in answers] == [True, True, False]
    assert answers[2]["in_distribution_score"] == pytest.approx(200 / 255, abs=1e-4)


def test_an_answer_in_doubt_is_unsure_on_every_protocol(predictor: Any) -> None:
    files = [DARK, DOUBTFUL, LIGHT]
    expected = ["Brain Tumor", "unsure", "Healthy"]

    answers = predict(predictor, *({"b64": text(file)} for file in files))
    assert [answer["outcome"] for answer in answers] == expected
    assert [answer["label"] for answer in answers] == ["Brain Tumor", "Brain Tumor", "Healthy"]

    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [3]}
    body = {"inputs": [tensor | {"data": [text(file) for file in files]}]}
    outputs = httpx.post(predictor.url + INFER, json=body).json()["outputs"]
    assert {o["name"]: o["data"] for o in outputs}["outcome"] == expected

    request = pb.ModelInferRequest(model_name="brain-tumor")
    request.inputs.add(**tensor).contents.bytes_contents.extend(files)
    request.outputs.add(name="outcome")
    with grpc.insecure_channel(predictor.grpc) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert [output.name for output in answer.outputs] == ["outcome"]
    found = deserialize_bytes_tensor(answer.raw_output_contents[0])
    assert [word.decode() for word in found] == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_v1_takes_a_raw_body(predictor: Any, kind: str) -> None:
    response = httpx.post(
        predictor.url + PREDICT,
        content=picture(204, kind),
        headers={"content-type": f"image/{kind.lower()}"},
    )
    (answer,) = response.json()["predictions"]
    assert answer["label"] == "Healthy"
    assert answer["probability"] == pytest.approx(0.8, abs=0.005)


def test_curl_says_form_and_means_json(predictor: Any) -> None:
    body = json.dumps({"instances": [{"b64": text(LIGHT)}]})
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = httpx.post(predictor.url + PREDICT, content=body, headers=headers)
    assert response.json()["predictions"][0]["label"] == "Healthy"


def test_columns_are_answered_in_columns(predictor: Any) -> None:
    images = [{"b64": text(LIGHT)}, {"b64": text(DARK)}]
    rows = predict(predictor, *images)
    for path, name in ((PREDICT, "probability"), (EXPLAIN, "heatmap")):
        response = httpx.post(predictor.url + path, json={"inputs": {"image_bytes": images}})
        assert list(response.json()) == ["outputs"]
        outputs = response.json()["outputs"]
        assert outputs["label"] == [row["label"] for row in rows] == ["Healthy", "Brain Tumor"]
        assert len(outputs[name]) == 2


def test_explain_gives_numbers_and_a_picture(predictor: Any) -> None:
    image = np.zeros((150, 150, 3), np.uint8)
    image[:34, :34] = 255
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    instances = [{"b64": text(file.getvalue())}, {"b64": text(LIGHT)}]
    response = httpx.post(predictor.url + EXPLAIN, json={"instances": instances})
    corner, even = response.json()["predictions"]
    heat = np.array(corner["heatmap"])
    assert heat.shape == (9, 9)
    assert (heat[:2, :2] > 0.99).all()
    assert heat[3:, 3:].max() < 0.01
    assert even["label"] == "Healthy"
    overlay = Image.open(io.BytesIO(base64.b64decode(corner["overlay_png"]["b64"])))
    assert overlay.format == "PNG"
    assert overlay.size == (150, 150)
    red, _, blue = overlay.getpixel((5, 5))
    assert red > blue + 50


def test_no_header_comes_back_but_the_ids_of_the_request(predictor: Any) -> None:
    secret = {
        "authorization": "Bearer secret",
        "ce-id": "1",
        "ce-source": "x",
        "ce-type": "y",
        "ce-specversion": "1.0",
        "x-forwarded-user": "secret-id",
    }
    for path in (PREDICT, EXPLAIN):
        response = httpx.post(
            predictor.url + path, json={"instances": [{"b64": text(LIGHT)}]}, headers=secret
        )
        assert response.status_code == 200
        assert "secret" not in str(response.headers) + response.text
        assert response.headers["ce-id"] != "1"
        assert not {"x", "y"} & set(response.headers.values())


@pytest.fixture(scope="module")
def unchecked(start: Callable[..., Any], model_folder: Any) -> Iterator[Any]:
    """A model without the check, and a server that waits only a second for a body."""
    with start(model_folder, body_seconds=1) as server:
        yield server


def test_a_model_without_the_checks_says_nothing_of_them(unchecked: Any) -> None:
    (answer,) = predict(unchecked, {"b64": text(GREEN)})
    assert answer.keys() == {
        "label",
        "probability",
        "probabilities",
        "threshold",
        "model_version",
    }
    outputs = httpx.get(unchecked.url + "/v2/models/brain-tumor").json()["outputs"]
    assert [output["name"] for output in outputs] == [
        "label",
        "probability",
        "probabilities",
        "threshold",
    ]


def test_v2_metadata_names_everything(predictor: Any) -> None:
    metadata = httpx.get(predictor.url + "/v2/models/brain-tumor").json()
    assert metadata["versions"] == ["7"]
    assert metadata["inputs"][0] == {
        "name": "images",
        "datatype": "UINT8",
        "shape": [-1, 150, 150, 3],
    }
    assert {o["name"]: o["datatype"] for o in metadata["outputs"]} == {
        "label": "BYTES",
        "probability": "FP32",
        "probabilities": "FP32",
        "threshold": "FP32",
        "in_distribution": "BOOL",
        "in_distribution_score": "FP32",
        "outcome": "BYTES",
    }


def test_v2_json_answers_with_a_version(predictor: Any) -> None:
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [text(LIGHT)]}
    for path in (INFER, "/v2/models/brain-tumor/versions/7/infer"):
        body = httpx.post(predictor.url + path, json={"id": "mine", "inputs": [tensor]}).json()
        assert body["model_name"] == "brain-tumor"
        assert body["model_version"] == "7"
        assert body["id"] == "mine"
        outputs = {output["name"]: output["data"] for output in body["outputs"]}
        assert outputs["label"] == ["Healthy"]
        assert outputs["probability"] == pytest.approx([0.8], abs=1e-5)


def test_triton_clients(predictor: Any) -> None:
    """In a process of their own: their gRPC messages and KServe's cannot live in one."""
    script = Path(__file__).with_name("triton_clients.py")
    done = subprocess.run(
        [sys.executable, script, f"127.0.0.1:{predictor.port}", predictor.grpc],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_kserve_rest_client(predictor: Any) -> None:
    async def ask() -> None:
        v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
        v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
        assert await v2.is_server_ready(predictor.url)
        assert await v2.is_model_ready(predictor.url, "brain-tumor")
        answer = await v1.infer(
            predictor.url, {"instances": [{"b64": text(LIGHT)}]}, model_name="brain-tumor"
        )
        assert answer["predictions"][0]["label"] == "Healthy"
        for binary in (True, False):
            tensor = InferInput("images", list(PIXELS.shape), "UINT8")
            tensor.set_data_from_numpy(PIXELS, binary_data=binary)
            response = await v2.infer(
                predictor.url, InferRequest("brain-tumor", [tensor]), model_name="brain-tumor"
            )
            found = {output.name: output.as_numpy() for output in response.outputs}
            np.testing.assert_allclose(found["probability"], [0.8, 0.8], atol=1e-5)
        await v1.close()
        await v2.close()

    asyncio.run(ask())


def test_kserve_grpc_client(predictor: Any) -> None:
    async def ask() -> None:
        client = InferenceGRPCClient(predictor.grpc)
        assert await client.is_server_ready()
        assert await client.is_model_ready("brain-tumor")
        for binary in (True, False):
            tensor = InferInput("images", list(PIXELS.shape), "UINT8")
            tensor.set_data_from_numpy(PIXELS, binary_data=binary)
            if not binary:
                tensor.data = PIXELS.ravel().tolist()
            response = await client.infer(InferRequest("brain-tumor", [tensor]))
            found = {output.name: output.as_numpy() for output in response.outputs}
            np.testing.assert_allclose(found["probability"], [0.8, 0.8], atol=1e-5)
        await client.close()

    asyncio.run(ask())


def test_metrics_say_what_happened(predictor: Any) -> None:
    predict(predictor, *({"b64": text(file)} for file in (LIGHT, GREEN, DOUBTFUL)))
    httpx.post(predictor.url + PREDICT, json={"instances": [{"b64": "AAAA"}]})
    found = httpx.get(predictor.url + "/metrics").text
    for line in (
        'brain_tumor_model_info{digest="',
        'version="7"',
        'brain_tumor_stage_seconds_bucket{le="0.0005",stage="decode"}',
        'brain_tumor_stage_seconds_count{stage="inference"}',
        "brain_tumor_batch_size_bucket",
        "brain_tumor_queue_length 0.0",
        'brain_tumor_responses_total{code="200",operation="predict",protocol="rest"}',
        'brain_tumor_responses_total{code="400",operation="predict",protocol="rest"}',
        'brain_tumor_predictions_total{label="Healthy"}',
        "brain_tumor_score_bucket",
        'brain_tumor_rejected_total{reason="image"}',
        "brain_tumor_out_of_distribution_total",
        "brain_tumor_unsure_total",
        "request_predict_seconds_count",  # KServe's own
    ):
        assert line in found, line


def test_the_card_is_told(predictor: Any) -> None:
    card = httpx.get(predictor.url + "/card").json()
    assert card["name"] == "brain-tumor"
    assert card["version"] == 7
    assert card["card"].startswith("# brain-tumor")
    assert len(card["digest"]) == 64
    assert card["unsure"] == {"low": 0.22, "high": 0.6}


# --- what it refuses -----------------------------------------------------------------------------


def test_one_bad_instance_fails_the_call_and_is_named(predictor: Any) -> None:
    instances = [{"b64": text(LIGHT)}, {"b64": text(b"no image")}, {"b64": text(LIGHT)}]
    response = httpx.post(predictor.url + PREDICT, json={"instances": instances})
    refused(response, 400, "instance 1: format: not a JPEG, PNG, TIFF, DICOM or NIfTI")


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (PREDICT, b"{", 400, "not JSON"),
        (PREDICT, b"", 400, "empty"),
        (PREDICT, b'{"instances": 3}', 400, '"instances" has to be a list'),
        (EXPLAIN, b'{"instances": [{"b64": "AAAA"}]}', 400, "not a JPEG, PNG, TIFF"),
        ("/v1/models/other:predict", b'{"instances": []}', 404, "no model of that name"),
        ("/v2/models/other/infer", b"{}", 404, "no model of that name"),
        ("/v2/models/brain-tumor/versions/9/infer", b"{}", 404, "no such version"),
        (INFER, b"{}", 400, "inputs"),
        (INFER, b"[]", 400, "dictionary|object"),
        (INFER, b"\xef\xbb\xbf{}", 400, "inputs"),
        (INFER, b'{"inputs": []}', 400, "inputs"),
        ("/predict", b"{}", 400, "image_url has to be a string"),
        ("/predict", b'{"image_url": "https://example.org/x.png"}', 403, "turned off"),
        ("/predict", b'\xef\xbb\xbf{"image_url": "https://example.org/"}', 403, "turned off"),
    ],
)
def test_a_bad_request_gets_one_line(
    predictor: Any, path: str, body: bytes, status: int, says: str
) -> None:
    response = httpx.post(
        predictor.url + path, content=body, headers={"content-type": "application/json"}
    )
    refused(
        response,
        status,
        says.split("|")[0] if says.split("|")[0] in response.text else says.split("|")[-1],
    )


def test_an_output_that_there_is_not(predictor: Any) -> None:
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [text(LIGHT)]}
    response = httpx.post(
        predictor.url + INFER, json={"inputs": [tensor], "outputs": [{"name": "logits"}]}
    )
    refused(response, 400, "no such output: logits")


def test_too_much_is_refused(predictor: Any) -> None:
    many = {"instances": [{"b64": text(LIGHT)}] * 33}
    refused(httpx.post(predictor.url + PREDICT, json=many), 413, "33 images, at most 32")
    large = {"instances": [{"b64": text(bytes(9 * 2**20))}]}
    refused(httpx.post(predictor.url + PREDICT, json=large), 413, "too-large")
    wide = Image.new("1", (30_000, 1_000))
    file = io.BytesIO()
    wide.save(file, "PNG")
    bomb = {"instances": [{"b64": text(file.getvalue())}]}
    refused(httpx.post(predictor.url + PREDICT, json=bomb), 413, "too-many-pixels")


@pytest.mark.parametrize("key", ["outputs", "parameters"])
def test_a_v2_request_of_very_many_parts_is_refused(predictor: Any, key: str) -> None:
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [text(LIGHT)]}
    many: Any = [{"name": "label"}] * 10**5
    if key == "parameters":
        many = {str(number): 1 for number in range(10**5)}
    response = httpx.post(predictor.url + INFER, json={"inputs": [tensor], key: many})
    refused(response, 413, "too many keys or texts")


def test_a_body_beyond_the_limit_is_refused_declared_or_streamed(predictor: Any) -> None:
    refused(
        httpx.post(predictor.url + PREDICT, content=bytes(17 * 2**20)), 413, "body has more than"
    )

    def endless() -> Any:
        for _ in range(20):
            yield bytes(2**20)

    try:
        response = httpx.post(predictor.url + PREDICT, content=endless())
    except httpx.TransportError:
        pass  # it stopped listening while the client still sent
    else:
        refused(response, 413, "body has more than")
    assert predict(predictor, {"b64": text(LIGHT)})[0]["label"] == "Healthy"


def test_a_body_that_drips_is_not_waited_for(unchecked: Any) -> None:
    def drip() -> Any:
        import time

        for _ in range(20):
            time.sleep(0.1)
            yield b" "

    try:
        response = httpx.post(unchecked.url + PREDICT, content=drip())
    except httpx.TransportError:
        pass
    else:
        refused(response, 408, "did not arrive")


@pytest.mark.parametrize("operation", ["load", "unload"])
def test_the_model_repository_is_closed(predictor: Any, operation: str) -> None:
    path = f"/v2/repository/models/brain-tumor/{operation}"
    refused(httpx.post(predictor.url + path), 403, "not loaded or unloaded")
    with grpc.insecure_channel(predictor.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        act, request = {
            "load": (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest),
            "unload": (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest),
        }[operation]
        with pytest.raises(grpc.RpcError, match="not loaded or unloaded") as raised:
            act(request(model_name="brain-tumor"))
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert stub.ModelReady(pb.ModelReadyRequest(name="brain-tumor")).ready


def _grpc_status(server: Any, request: pb.ModelInferRequest) -> grpc.StatusCode:
    with grpc.insecure_channel(
        server.grpc, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            GRPCInferenceServiceStub(channel).ModelInfer(request)
        assert "Traceback" not in raised.value.details()
        return raised.value.code()


def _request(name: str, shape: list[int], datatype: str, raw: bytes) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, shape=shape, datatype=datatype)
    return pb.ModelInferRequest(model_name="brain-tumor", inputs=[tensor], raw_input_contents=[raw])


def test_grpc_errors_are_the_same_table(predictor: Any) -> None:
    code = grpc.StatusCode
    file = len(LIGHT).to_bytes(4, "little") + LIGHT
    cases = [
        (_request("images", [1, 2], "UINT8", b"ab"), code.INVALID_ARGUMENT),
        (_request("images", [1, 150, 150, 3], "FP32", b"ab"), code.INVALID_ARGUMENT),
        (_request("images", [1, 150, 150, 3], "UINT8", b"ab"), code.INVALID_ARGUMENT),
        (_request("image_bytes", [1], "BYTES", b"\xff\xff\xff\xff"), code.INVALID_ARGUMENT),
        (_request("image_bytes", [3], "UINT8", b"abc"), code.INVALID_ARGUMENT),
        (_request("image_bytes", [33], "BYTES", file * 33), code.RESOURCE_EXHAUSTED),
        (_request("images", [1], "NONSENSE", b"ab"), code.INVALID_ARGUMENT),
        (_request("image_bytes", [1], "BYTES", bytes(17 * 2**20)), code.RESOURCE_EXHAUSTED),
        (pb.ModelInferRequest(model_name="other"), code.NOT_FOUND),
        (pb.ModelInferRequest(model_name="brain-tumor"), code.INVALID_ARGUMENT),
    ]
    for request, expected in cases:
        assert _grpc_status(predictor, request) is expected, request.inputs
    assert "Traceback" not in predictor.log.read_text()


def test_grpc_says_what_rest_says_of_another_model_or_version(predictor: Any) -> None:
    name, code = "brain-tumor", grpc.StatusCode
    odd = pb.ModelInferRequest(model_name=name, raw_input_contents=[b""])
    odd.inputs.add(name="\n" * 10_000).contents.uint_contents.append(1)
    cases = [
        ("ModelInfer", pb.ModelInferRequest(model_name="x" * 100_000), "no model of that name"),
        ("ModelReady", pb.ModelReadyRequest(name="x" * 10_000), "no model of that name"),
        ("ModelMetadata", pb.ModelMetadataRequest(name="\n"), "no model of that name"),
        ("ModelInfer", pb.ModelInferRequest(model_name=name, model_version="9"), "no such version"),
        ("ModelReady", pb.ModelReadyRequest(name=name, version="9"), "no such version"),
        ("ModelMetadata", pb.ModelMetadataRequest(name=name, version="9"), "no such version"),
        ("ModelInfer", odd, "raw_input_contents"),
    ]
    with grpc.insecure_channel(predictor.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for method, request, says in cases:
            with pytest.raises(grpc.RpcError) as raised:
                getattr(stub, method)(request)
            assert says in raised.value.details()
            wanted = code.INVALID_ARGUMENT if request is odd else code.NOT_FOUND
            assert raised.value.code() is wanted
        assert stub.ModelReady(pb.ModelReadyRequest(name=name, version="7")).ready
        assert list(stub.ModelMetadata(pb.ModelMetadataRequest(name=name)).versions) == ["7"]


def test_grpc_requests_that_would_take_long_to_parse_are_refused(predictor: Any) -> None:
    code = grpc.StatusCode
    typed = pb.ModelInferRequest(model_name="brain-tumor")
    tensor = typed.inputs.add(name="images", datatype="UINT8", shape=[1, 150, 150, 3])
    tensor.contents.uint_contents.extend([9] * 1_100_001)
    assert _grpc_status(predictor, typed) is code.RESOURCE_EXHAUSTED
    many = pb.ModelInferRequest(model_name="brain-tumor", raw_input_contents=[b""] * 10**6)
    assert _grpc_status(predictor, many) is code.INVALID_ARGUMENT
    with grpc.insecure_channel(predictor.grpc) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError, match="not a ModelInferRequest") as raised:
            infer(b"\xff" * 99)
        assert raised.value.code() is code.INVALID_ARGUMENT


def test_grpc_typed_numbers_are_answered(predictor: Any) -> None:
    request = pb.ModelInferRequest(model_name="brain-tumor")
    tensor = request.inputs.add(name="images", datatype="UINT8", shape=[8, 150, 150, 3])
    tensor.contents.uint_contents.extend([255] * (8 * 67_500))
    with grpc.insecure_channel(predictor.grpc) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert list(answer.outputs[1].shape) == [8]
