"""What ordinary clients send to v1: forms, files without a type, JSON under other names."""

import gzip
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bodies import v1_payload
from serving.codecs import Item, v1_items
from serving.errors import PredictorError
from tests.serving.test_predictor import DARK, EXPLAIN, LIGHT, PREDICT, picture, refused, text

ROOT = Path(__file__).parents[2]
JSON = json.dumps({"instances": [{"b64": text(LIGHT)}]}).encode()
FILES = [picture(204, kind) for kind in ("JPEG", "PNG", "TIFF")]
TYPES = ["", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded",
         "text/plain; charset=utf-8", "binary/octet-stream", "*/*"]  # fmt: skip


def items(body: bytes, content_type: str, most: int = 8) -> list[Item]:
    return list(v1_items(v1_payload(body, content_type, 10**6, most), most))


# --- told by the first bytes ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*TYPES, "application/json", "image/jpeg", "IMAGE/PNG"])
def test_an_image_is_one_whatever_it_is_called(kind: str) -> None:
    for file in FILES:
        assert items(file, kind) == [file]


@pytest.mark.parametrize(
    "kind",
    [*TYPES, "application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "text/json",
     "application/vnd.api+json"],
)  # fmt: skip
@pytest.mark.parametrize("before", [b"", b" \r\n\t" * 50, b"\xef\xbb\xbf"])
def test_json_is_json_whatever_it_is_called(kind: str, before: bytes) -> None:
    assert items(before + JSON, kind) == [LIGHT]


@pytest.mark.parametrize("kind", ["image/jpeg", "image/x-unknown"])
def test_what_is_called_an_image_is_no_request(kind: str) -> None:
    assert items(JSON, kind) == [JSON]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("body", [b"image_url=https%3A%2F%2Fexample.org", b"hello", b"<svg/>"])
def test_text_is_told_to_be_neither(kind: str, body: bytes) -> None:
    with pytest.raises(PredictorError, match="neither JSON nor an image"):
        items(body, kind)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b"[" * 5000])
def test_broken_json_is_refused(body: bytes) -> None:
    with pytest.raises(PredictorError):
        items(body, "application/json")


# --- forms ---------------------------------------------------------------------------------------


def form(*parts: bytes, boundary: str = "x", head: str = "") -> bytes:
    lines = [f"--{boundary}\r\n{head}\r\n".encode() + part + b"\r\n" for part in parts]
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=x", 'Multipart/Form-Data; charset=utf-8; Boundary="x"',
     "multipart/mixed;boundary=x ; a=b"],
)  # fmt: skip
def test_parts_are_instances_in_order(content_type: str) -> None:
    head = 'Content-Disposition: form-data; name="any"; filename="a.jpg"\r\n'
    tricky = b"\r\n--y\r\n\r\n-- x \r\n"
    assert items(form(*FILES, tricky, head=head), content_type) == [*FILES, tricky]
    assert items(b"preamble\r\n" + form(LIGHT) + b"epilogue", content_type) == [LIGHT]


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (form(LIGHT), "multipart/form-data", "no boundary"),
        (form(LIGHT), "multipart/form-data; boundary=", "no boundary"),
        (form(LIGHT), f"multipart/form-data; boundary={'x' * 71}", "no boundary"),
        (form(LIGHT), "multipart/form-data; boundary=other", "no part"),
        (form(), "multipart/form-data; boundary=x", "no part"),
        (form(LIGHT)[:-7], "multipart/form-data; boundary=x", "no part"),
        (form(LIGHT, LIGHT)[:-7], "multipart/form-data; boundary=x", "does not end"),
        (form(LIGHT, b""), "multipart/form-data; boundary=x", "instance 1: the part is empty"),
        (b"--x\r\na: b\r\n--x--\r\n", "multipart/form-data; boundary=x", "instance 0.*headers"),
        (form(LIGHT, head="a: " + "b" * 9000), "multipart/form-data; boundary=x", "headers"),
        (form(LIGHT, head="Content-Transfer-Encoding: BASE64\r\n"),
         "multipart/form-data; boundary=x", "as it is"),
        (form(*[LIGHT] * 9), "multipart/form-data; boundary=x", "9 images, at most 8"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_form_is_said(body: bytes, content_type: str, says: str) -> None:
    with pytest.raises(PredictorError, match=says):
        items(body, content_type)


@given(
    st.lists(st.sampled_from([b"--x", b"\r\n", b"--", b"a: b", b"\xff\xd8\xff", b"{", b" "])),
    st.sampled_from(["", "multipart/form-data; boundary=x", "application/json", "multipart/"]),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_files_or_one_line(pieces: list[bytes], content_type: str) -> None:
    try:
        found = items(b"".join(pieces), content_type)
    except PredictorError:
        return
    assert all(isinstance(file, bytes) and file for file in found)


# --- real clients --------------------------------------------------------------------------------


def _labels(answer: Any) -> list[str]:
    return [prediction["label"] for prediction in answer["predictions"]]


def test_requests_sends_files(predictor: Any) -> None:
    url = predictor.url + PREDICT
    one = requests.post(url, files={"file": DARK}, timeout=30)
    assert _labels(one.json()) == ["Brain Tumor"]
    several = [("scan", ("a.png", io.BytesIO(LIGHT), "image/png")), ("other", DARK)]
    answer = requests.post(url, files=several, timeout=30)
    assert _labels(answer.json()) == ["Healthy", "Brain Tumor"]
    broken = requests.post(url, files=[("a", LIGHT), ("b", b"no image")], timeout=30)
    assert broken.status_code == 400
    assert broken.json()["error"].startswith("instance 1: format: not a JPEG")
    plain = requests.post(url, data=LIGHT, timeout=30)  # without a content type
    assert _labels(plain.json()) == ["Healthy"]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize(
    "arguments",
    [
        ["-F", "file=@scan.jpg"],
        ["-F", "image=@scan.jpg;type=image/jpeg"],
        ["--data-binary", "@scan.jpg"],
        ["-T", "scan.jpg", "-X", "POST"],
        ["-H", "Content-Type: text/plain", "--data-binary", "@scan.jpg"],
        ["-d", "@request.json"],
        ["-H", "Content-Type: text/plain", "-d", "@request.json"],
    ],
)
def test_curl(predictor: Any, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "scan.jpg").write_bytes(picture(204, "JPEG"))
    (tmp_path / "request.json").write_bytes(JSON)
    command = ["curl", "-sS", "--max-time", "30", *arguments, predictor.url + PREDICT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert _labels(json.loads(done.stdout)) == ["Healthy"]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_every_command_of_the_docs(predictor: Any, tmp_path: Path) -> None:
    section = (ROOT / "docs" / "serving.md").read_text().split("### What may be sent")[1]
    section = section.split("\n## ")[0].replace("http://localhost:8080", predictor.url)
    section = section[section.index("    V1=") :]  # the files before it are drawn here
    before = re.findall("^    (.*)", section, re.MULTILINE)
    commands = re.findall(r"\| `(curl .*)` \|", section)
    (tmp_path / "scan.jpg").write_bytes(picture(204, "JPEG"))
    (tmp_path / "other.png").write_bytes(LIGHT)
    light = nib.Nifti1Image(np.full((8, 8, 4), 204, np.uint8), np.eye(4))
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(light.to_bytes()))
    script = "\n".join(["set -e", *before, *(c + " -sS --max-time 30; echo" for c in commands)])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, check=True)
    *answers, address = done.stdout.decode().strip().split("\n")
    assert len(answers) == len(commands) - 1 == section.count("\n| ") - 2
    assert all("Healthy" in answer for answer in answers), answers
    assert "turned off" in address  # unless its host is named


def test_a_form_can_be_explained_and_is_bounded(predictor: Any) -> None:
    explained = httpx.post(predictor.url + EXPLAIN, files={"a": LIGHT})
    assert len(explained.json()["predictions"][0]["heatmap"]) == 9
    many = [("file", LIGHT)] * 33
    refused(httpx.post(predictor.url + PREDICT, files=many), 413, "33 images, at most 32")
    large = {"file": FILES[0] + bytes(9 * 2**20)}
    refused(httpx.post(predictor.url + PREDICT, files=large), 413, "too-large")
