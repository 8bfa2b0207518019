"""Volumes through the predictor's real process: a slice's brightness is P(Healthy) for it."""

import asyncio
import base64
import gzip
import json
from pathlib import Path
from typing import Any

import grpc
import httpx
import nibabel as nib
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from typer.testing import CliRunner

from components.shared.images.slices import choose
from pipelines.cli import app
from serving.classifier import Classifier
from serving.decoding import Decoders, Slices
from serving.settings import Settings
from tests.shared.images.dicoms import dicom

V1, INFER = "/v1/models/brain-tumor", "/v2/models/brain-tumor/infer"
NAME = "Roe^Jane"
SLICES = 40
NUMBERS = choose(SLICES, 16)
BRIGHTNESS = {number: 250 - 4 * number for number in NUMBERS}  # number 1 is at the feet
DARKEST = sorted(BRIGHTNESS.values())[:3]
HEALTHY = sum(DARKEST) / 3 / 255


def levels(slices: int) -> np.ndarray:
    """Returns a volume that grows darker slice by slice, uint8 [8, 9, slices]."""
    each = 250 - 4 * np.arange(1, slices + 1)
    return np.broadcast_to(each.astype(np.uint8), (8, 9, slices)).copy()


def nifti(slices: int = SLICES) -> bytes:
    """Returns such a volume that names its patient."""
    image = nib.Nifti1Image(levels(slices), np.eye(4))
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = NAME.encode()
    return gzip.compress(image.to_bytes())


VOLUME = nifti()
FRAMES = dicom(levels(SLICES).transpose(2, 0, 1), PatientName=NAME, PatientID=NAME)
FILES = {"nii.gz": VOLUME, "nii": gzip.decompress(VOLUME), "dicom": FRAMES}


def text(file: bytes) -> str:
    return base64.b64encode(file).decode()


def post(server: Any, path: str, **content: Any) -> Any:
    response = httpx.post(server.url + path, **content)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_volume_is_one_answer_with_its_slices(predictor: Any) -> None:
    (answer,) = post(predictor, f"{V1}:predict", content=VOLUME)["predictions"]

    assert answer["probabilities"]["Healthy"] == pytest.approx(HEALTHY)
    assert answer["probability"] == answer["probabilities"][answer["label"]]
    assert answer["in_distribution"] is True
    assert {
        slice["number"]: round(slice["probabilities"]["Healthy"] * 255)
        for slice in answer["slices"]
    } == BRIGHTNESS
    first = answer["slices"][0]
    assert first["probability"] == first["probabilities"][first["label"]]
    assert first["in_distribution"] is True


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_every_way_to_send_a_file_takes_a_volume(predictor: Any, file: bytes) -> None:
    path = f"{V1}:predict"
    (answer,) = post(predictor, path, content=file)["predictions"]
    event = {"specversion": "1.0", "id": "1", "source": "/scanner", "type": "scan"}
    answers = [
        post(predictor, path, json={"instances": [{"image_bytes": {"b64": text(file)}}]}),
        post(predictor, path, json={"instances": [{"b64": text(file)}]}),
        post(predictor, path, json={"instances": [f"data:application/dicom;base64,{text(file)}"]}),
        post(predictor, path, files={"file": ("scan.nii", file, "application/dicom")}),
        post(predictor, path, content=file, headers={"Content-Type": "application/dicom"}),
        post(
            predictor,
            path,
            content=json.dumps(event | {"data_base64": text(file)}),
            headers={"Content-Type": "application/cloudevents+json"},
        )["data"],
    ]
    assert [found["predictions"] for found in answers] == [[answer]] * len(answers)


def test_a_dicom_of_one_image_is_an_image(predictor: Any) -> None:
    one = dicom(levels(1)[..., 0], PatientName=NAME)
    (answer,) = post(predictor, f"{V1}:explain", content=one)["predictions"]
    assert answer["probabilities"]["Healthy"] == pytest.approx(246 / 255)
    assert not {"slices", "explained_slice"} & answer.keys()


def test_an_image_beside_a_volume_has_no_slices(predictor: Any) -> None:
    numbers = np.full((150, 150, 3), 51).tolist()
    instances = [numbers, {"b64": text(VOLUME)}]

    image, volume = post(predictor, f"{V1}:predict", json={"instances": instances})["predictions"]
    assert "slices" not in image
    assert image["probabilities"]["Healthy"] == pytest.approx(0.2, abs=1e-5)

    columns = post(predictor, f"{V1}:predict", json={"inputs": instances})["outputs"]
    assert columns["slices"] == [None, volume["slices"]]
    assert columns["label"] == [image["label"], volume["label"]]


def test_v2_gives_the_volumes_answer_alone(predictor: Any) -> None:
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [text(VOLUME)]}
    found = post(predictor, INFER, json={"inputs": [tensor]})
    outputs = {output["name"]: output for output in found["outputs"]}
    assert outputs["probabilities"]["shape"] == [1, 2]
    assert outputs["probabilities"]["data"][1] == pytest.approx(HEALTHY, abs=1e-5)

    request = pb.ModelInferRequest(model_name="brain-tumor")
    sent = request.inputs.add(name="image_bytes", datatype="BYTES", shape=[1])
    sent.contents.bytes_contents.append(VOLUME)
    with grpc.insecure_channel(predictor.grpc) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request)
    place = [output.name for output in answer.outputs].index("probabilities")
    probabilities = np.frombuffer(answer.raw_output_contents[place], np.float32)
    assert probabilities[1] == pytest.approx(HEALTHY, abs=1e-5)


def test_the_most_suspect_slice_is_explained(predictor: Any) -> None:
    (answer,) = post(predictor, f"{V1}:explain", content=VOLUME)["predictions"]

    assert answer["explained_slice"] == NUMBERS[-1]
    assert np.ravel(answer["heatmap"]) == pytest.approx(DARKEST[0] / 255, abs=1e-3)
    assert answer["probabilities"]["Healthy"] == pytest.approx(HEALTHY)
    assert len(answer["slices"]) == 16


def test_slices_count_as_images(predictor: Any) -> None:
    whole, two = text(VOLUME), text(nifti(2))
    for instances, status in ([whole, whole], 200), ([whole, whole, two], 413):
        response = httpx.post(f"{predictor.url}{V1}:predict", json={"instances": instances})
        assert response.status_code == status
    assert response.json() == {"error": "34 images, at most 32 are allowed in a call"}


def test_the_number_of_slices_is_a_setting() -> None:
    async def ask() -> Slices:
        decoders = Decoders(Settings(max_slices=2))
        try:
            return await decoders.decode(VOLUME)
        finally:
            decoders.stop()

    slices = asyncio.run(ask())
    assert slices.numbers == (16, 26)
    assert slices.pixels[:, 75, 75, 0].tolist() == [250 - 4 * 16, 250 - 4 * 26]


def test_no_name_of_a_patient_is_written(predictor: Any) -> None:
    said = []
    broken = [VOLUME[:-9], gzip.compress(FILES["nii"][:-1]), FRAMES[:-1], FRAMES[:600]]
    for file in (*FILES.values(), *broken):
        for verb in ("predict", "explain"):
            said.append(httpx.post(f"{predictor.url}{V1}:{verb}", content=file).text)
        tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [text(file)]}
        said.append(httpx.post(f"{predictor.url}{INFER}", json={"inputs": [tensor]}).text)
    said += [httpx.get(f"{predictor.url}/metrics").text, predictor.log.read_text()]
    assert len(said) == 23
    assert "Roe" not in "\n".join(said)


def test_predict_has_a_row_for_the_volume_and_one_for_each_slice(
    checked_model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(VOLUME)
    arguments = ["predict", str(checked_model_folder), str(scan), "--slices", "2"]

    table = CliRunner().invoke(app, arguments)
    rows = [line.split() for line in table.output.splitlines()]
    # Its path may go on below.
    assert rows[1][-4:] == ["Brain", "Tumor", "34.9%", "unsure"]
    assert [row[1:] for row in rows if row[0] == "slice"] == [
        ["16", "Brain", "Tumor", "27.1%", "unsure"],
        ["26", "Brain", "Tumor", "42.7%", "unsure"],
    ]

    (row,) = json.loads(CliRunner().invoke(app, [*arguments, "--format", "json"]).output)
    assert [slice["number"] for slice in row["slices"]] == [16, 26]
    assert {answer["outcome"] for answer in (row, *row["slices"])} == {"unsure"}
    assert row["probabilities"]["Healthy"] == pytest.approx(1 - (69 + 109) / 510, abs=1e-5)
    assert "Roe" not in table.output + json.dumps(row) + "".join(capfd.readouterr())


def test_a_tumour_is_told_by_three_slices(checked_model_folder: Path) -> None:
    classifier = Classifier(checked_model_folder)
    images = np.zeros((5, 150, 150, 3), np.uint8)
    images[:] = np.array([250, 0, 51, 250, 250], np.uint8).reshape(5, 1, 1, 1)
    images[4, ..., 1] = 200  # coloured, and so unlike what was trained on
    alone = classifier.classify(images)

    def answer(*positions: int) -> Any:
        return classifier.of_file([alone[place] for place in positions], positions)

    assert answer(0, 1, 2, 3).probabilities["Healthy"] == pytest.approx(
        (0 + 51 + 250) / 765, abs=1e-5
    )
    assert answer(0, 1).probabilities["Healthy"] == pytest.approx(250 / 510, abs=1e-5)
    assert answer(0, 1).outcome == "unsure"  # by its own probability: its slices are sure
    assert [slice.outcome for _, slice in answer(0, 1).slices] == ["Healthy", "Brain Tumor"]
    assert answer(0, 4).in_distribution_score == pytest.approx(25 / 255, abs=1e-3)
    assert classifier.of_file([alone[1]], None) is alone[1]
