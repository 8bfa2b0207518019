"""The predictor's real process counts what it answers in the bins of the model's reference."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.conftest import DRIFT
from tests.serving.test_volumes import BRIGHTNESS, VOLUME

V1 = "/v1/models/brain-tumor"
Counts = dict[tuple[str, str], float]


def _png(red: int, green: int | None = None) -> bytes:
    pixels = np.full((150, 150, 3), red, np.uint8)
    pixels[..., 1] = red if green is None else green
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


DARK, BRIGHT, COLOURED = _png(30), _png(250), _png(200, 60)


def _shown(server: Any, name: str) -> dict[str, Any]:
    text = httpx.get(f"{server.url}/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families[name].samples
    return {(sample.labels["quantity"], sample.labels["bin"]): sample for sample in samples}


@contextmanager
def counted(server: Any) -> Iterator[Counts]:
    """Yields what is counted until the context ends, without what is 0."""
    before, found = _shown(server, "brain_tumor_drift_images"), {}
    yield found
    after = _shown(server, "brain_tumor_drift_images")
    differences = {key: after[key].value - before[key].value for key in after}
    found.update({key: value for key, value in differences.items() if value})


def _post(server: Any, verb: str, *images: bytes) -> int:
    instances = [{"image_bytes": {"b64": base64.b64encode(image).decode()}} for image in images]
    return httpx.post(f"{server.url}{V1}:{verb}", json={"instances": instances}).status_code


def test_each_image_is_counted_once_for_each_quantity(predictor: Any) -> None:
    with counted(predictor) as found:
        assert _post(predictor, "predict", DARK, BRIGHT, COLOURED) == 200
    # P(tumour) 0.88, 0.02 and about 0.4; red 30, 250 and 200 of 255.
    tumor = 1 - (200 + 60 + 200) / 3 / 255
    assert found == {
        ("outcome", "Healthy"): 1,
        ("outcome", "Brain Tumor"): 2,
        ("tumor_probability", "1"): 1 + (tumor < 0.4),
        ("tumor_probability", "3"): 1,
        ("flagged", "no"): 2,
        ("flagged", "yes"): 1,
        ("feature_8", "1"): 1,
        ("feature_8", "2"): 2,
    }


def test_a_volume_counts_by_its_slices(predictor: Any) -> None:
    with counted(predictor) as found:
        assert httpx.post(f"{predictor.url}{V1}:predict", content=VOLUME).status_code == 200
    called = sum(1 - brightness / 255 >= 0.25 for brightness in BRIGHTNESS.values())
    assert found["outcome", "Brain Tumor"] == called
    assert found["flagged", "no"] == len(BRIGHTNESS)


def test_grpc_counts_too(predictor: Any) -> None:
    request = pb.ModelInferRequest(model_name="brain-tumor")
    tensor = request.inputs.add(name="image_bytes", datatype="BYTES", shape=[2])
    tensor.contents.bytes_contents.extend([DARK, DARK])
    with counted(predictor) as found, grpc.insecure_channel(predictor.grpc) as channel:
        GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert found["outcome", "Brain Tumor"] == 2


@pytest.mark.parametrize(
    ("verb", "images", "status"),
    [("predict", (DARK, b"no image"), 400), ("explain", (DARK,), 200)],
    ids=["refused", "explained"],
)
def test_what_is_no_prediction_is_not_counted(
    predictor: Any, verb: str, images: tuple[bytes, ...], status: int
) -> None:
    with counted(predictor) as found:
        assert _post(predictor, verb, *images) == status
    assert found == {}


def test_the_reference_and_the_version_stand_beside_the_counts(predictor: Any) -> None:
    shown = _shown(predictor, "brain_tumor_drift_reference_images")
    served = _shown(predictor, "brain_tumor_drift_images")
    assert shown.keys() == served.keys()
    for quantity in DRIFT["quantities"]:
        for index, name in enumerate(quantity["bins"]):
            expected = sum(block[index] for block in quantity["blocks"])
            assert shown[quantity["name"], name].value == expected
    labels = [{**s.labels, "quantity": "", "bin": ""} for s in (*shown.values(), *served.values())]
    assert all(label == labels[0] for label in labels)
    assert labels[0]["version"] == "7"
    text = httpx.get(f"{predictor.url}/metrics").text
    assert f'digest="{labels[0]["digest"]}",name="brain-tumor",version="7"' in text
