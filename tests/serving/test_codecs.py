"""Wire formats, as clients send them and as nobody should."""

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve import InferInput, InferRequest

from serving import codecs
from serving.codecs import Url, pixels_of, v1_items, v2_items
from serving.errors import PredictorError

FILE = b"\xff\xd8\xff the bytes of a file"
TEXT = base64.b64encode(FILE).decode()
PIXELS = np.arange(150 * 150 * 3, dtype=np.uint32).reshape(150, 150, 3) % 256


def v2_request(body: bytes, json_length: str | None, name: str) -> InferRequest:
    return codecs.v2_request(body, json_length, name, 10**6)


def _items(*instances: Any) -> list[Any]:
    return list(v1_items({"instances": list(instances)}, 8))


@pytest.mark.parametrize(
    "instance",
    [
        {"image_bytes": {"b64": TEXT}},
        {"image": {"b64": TEXT}},
        {"image": TEXT},
        {"b64": TEXT},
        {"data": TEXT},
        {"data": {"b64": TEXT}},
        {"key": "mine", "image_bytes": {"b64": TEXT}},
        {"data": f"data:image/jpeg;base64,{TEXT}"},
        TEXT,
    ],
)
def test_every_convention_gives_the_file(instance: Any) -> None:
    assert _items(instance) == [FILE]


LONG = bytes(range(256)) * 3 + b"\xfb\xff"


@pytest.mark.parametrize(
    "written",
    [
        base64.encodebytes(LONG).decode(),  # 76 columns
        base64.encodebytes(LONG).decode().replace("\n", "\r\n"),
        base64.urlsafe_b64encode(LONG).decode(),
        base64.urlsafe_b64encode(LONG).decode().rstrip("="),
        "data:image/jpeg;base64," + base64.encodebytes(LONG).decode(),
    ],
)
def test_base64_as_other_tools_write_it(written: str) -> None:
    assert _items({"image_bytes": {"b64": written}}, written) == [LONG, LONG]


@pytest.mark.parametrize(
    "inputs",
    [
        {"image_bytes": [{"b64": TEXT}, {"b64": TEXT}]},
        {"image_bytes": [TEXT, TEXT]},
        {"image": [{"b64": TEXT}, TEXT]},
        {"b64": [TEXT, TEXT]},
        [{"b64": TEXT}, TEXT],
        [{"image_bytes": {"b64": TEXT}}, {"data": TEXT}],
    ],
)
def test_the_column_form_of_tensorflow_serving(inputs: Any) -> None:
    assert list(v1_items({"inputs": inputs}, 8)) == [FILE, FILE]


def test_columns_of_numbers_and_of_one_value() -> None:
    columns = {"inputs": {"images": [PIXELS.tolist()] * 2}}
    np.testing.assert_array_equal(list(v1_items(columns, 8)), [PIXELS, PIXELS])
    assert list(v1_items({"inputs": {"image_bytes": {"b64": TEXT}}}, 8)) == [FILE]
    assert list(v1_items({"inputs": {"b64": TEXT}}, 8)) == [FILE]


def test_numbers_urls_and_files_can_be_mixed() -> None:
    numbers, url, file = _items(PIXELS.tolist(), {"image_url": "https://x/y.jpg"}, {"b64": TEXT})
    assert numbers.dtype == np.uint8
    np.testing.assert_array_equal(numbers, PIXELS)
    assert url == Url("https://x/y.jpg")
    assert file == FILE


def test_numbers_can_stand_under_a_key_and_be_floats() -> None:
    (pixels,) = _items({"data": (PIXELS + 0.4).clip(0, 255).tolist()})
    np.testing.assert_array_equal(pixels, PIXELS)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({}, '"instances" has to be a list'),
        ([], '"instances" has to be a list'),
        ("text", '"instances" has to be a list'),
        ({"instances": []}, "at least one"),
        ({"instances": {"b64": TEXT}}, '"instances" has to be a list'),
        ({"instances": [{"b64": TEXT}, 3]}, "instance 1: no image"),
        ({"instances": [{"b64": TEXT}, {"b65": TEXT}]}, "instance 1: no image"),
        ({"instances": [{"b64": TEXT, "data": TEXT}]}, "instance 0: both b64 and data"),
        ({"instances": [{"b64": "%%%"}]}, "instance 0: the base64 text is broken"),
        ({"instances": [{"b64": "é"}]}, "instance 0: the base64 text is broken"),
        ({"instances": [{"image_url": 3}]}, "image_url has to be a string"),
        ({"instances": [{"data": None}]}, "data holds no image"),
        ({"instances": [[[0]]]}, "nested 150x150x3"),
        ({"instances": [PIXELS[..., 0].tolist()]}, "nested 150x150x3|shape"),
        ({"instances": [(PIXELS / 255).tolist()]}, "scaled to 0..1"),
        ({"instances": [(PIXELS + 1).tolist()]}, "within 0..255"),
        ({"instances": [(PIXELS.astype(int) - 1).tolist()]}, "within 0..255"),
        ({"instances": [PIXELS.astype(str).tolist()]}, "have to be numbers"),
        ({"instances": [(PIXELS > 3).tolist()]}, "have to be numbers"),
        ({"instances": [TEXT] * 9}, "9 images, at most 8"),
        ({"instances": [{"b64": TEXT[:-3]}]}, "instance 0: the base64 text is broken"),
        ({"inputs": {"b64": [TEXT] * 9}}, "9 images, at most 8"),
        ({"inputs": {"b64": [TEXT, "%"]}}, "instance 1: the base64 text is broken"),
        ({"inputs": {"b64": [TEXT], "data": [TEXT]}}, '"inputs" has to be a list, or'),
        ({"inputs": {}}, '"inputs" has to be a list, or'),
        ({"inputs": TEXT}, '"inputs" has to be a list, or'),
        ({"inputs": [TEXT], "instances": [TEXT]}, 'either "instances" or "inputs"'),
    ],
)
def test_what_is_wrong_is_said(payload: Any, says: str) -> None:
    with pytest.raises(PredictorError, match=says):
        list(v1_items(payload, 8))


def test_ragged_numbers_are_refused() -> None:
    numbers = PIXELS.tolist()
    numbers[7][9] = [1, 2]
    with pytest.raises(PredictorError, match="nested 150x150x3"):
        _items(numbers)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
INSTANCE = st.dictionaries(
    st.sampled_from(["image_bytes", "image", "b64", "data", "image_url", "x"]), JSON, max_size=3
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(JSON | st.fixed_dictionaries({"instances": JSON | st.lists(INSTANCE | JSON, max_size=4)}))
def test_any_json_gives_images_or_one_line(payload: Any) -> None:
    said = ""
    items: list[Any] = []
    try:
        items = list(v1_items(payload, 8))
    except PredictorError as error:
        said = str(error)
    assert bool(said) != bool(items)
    assert "\n" not in said
    assert all(isinstance(item, bytes | np.ndarray | Url) for item in items)


def _binary(*tensors: tuple[dict[str, Any], bytes]) -> tuple[bytes, str]:
    inputs = [tensor | {"parameters": {"binary_data_size": len(raw)}} for tensor, raw in tensors]
    header = json.dumps({"inputs": inputs}).encode()
    return header + b"".join(raw for _, raw in tensors), str(len(header))


def _bytes_tensor(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def test_v2_pixels_as_json_and_as_binary() -> None:
    shape = {"name": "images", "datatype": "UINT8", "shape": [1, 150, 150, 3]}
    as_json = json.dumps({"inputs": [shape | {"data": PIXELS.ravel().tolist()}]}).encode()
    nested = json.dumps({"inputs": [shape | {"data": PIXELS[None].tolist()}]}).encode()
    body, length = _binary((shape, PIXELS.astype(np.uint8).tobytes()))
    for request in (
        v2_request(as_json, None, "m"),
        v2_request(nested, None, "m"),
        v2_request(body, length, "m"),
    ):
        (pixels,) = v2_items(request, 8)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, PIXELS)


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_v2_files_as_base64_and_as_binary(shape: list[int]) -> None:
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": shape}
    as_json = json.dumps({"inputs": [tensor | {"data": [TEXT, TEXT]}]}).encode()
    files, length = _binary((tensor, _bytes_tensor(FILE, FILE)))
    texts, text_length = _binary((tensor, _bytes_tensor(TEXT.encode(), TEXT.encode())))
    for request in (
        v2_request(as_json, None, "m"),
        v2_request(files, length, "m"),
        v2_request(texts, text_length, "m"),
    ):
        assert v2_items(request, 8) == [FILE, FILE]


def test_v2_one_file_as_uint8() -> None:
    tensor = {"name": "image_bytes", "datatype": "UINT8", "shape": [len(FILE)]}
    body, length = _binary((tensor, FILE))
    assert v2_items(v2_request(body, length, "m"), 8) == [FILE]


@pytest.mark.parametrize("file", [FILE, b"GIF89a\x20\0" + bytes(40), b"RIFF\xaa\0\0\0WEBPVP8 "])
def test_v2_elements_are_files_or_base64(file: bytes) -> None:
    data_url = b"data:image/jpeg;base64," + base64.b64encode(file)
    elements = [file, base64.b64encode(file), base64.encodebytes(file * 9), data_url]
    tensor = InferInput("image_bytes", [4], "BYTES")
    tensor._raw_data = b"".join(struct.pack("<I", len(e)) + e for e in elements)
    found = v2_items(InferRequest("m", [tensor]), 8)
    assert found == [file, file, file * 9, file]


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        ({"name": "other"}, "no such input"),
        ({"datatype": "FP32"}, "has to be UINT8"),
        ({"shape": [1, 150, 150]}, "has to be UINT8"),
        ({"shape": [-1, 150, 150, 3]}, "has to be UINT8"),
        ({"shape": [0, 150, 150, 3]}, "has to be UINT8"),
        ({"shape": [2, 150, 150, 3]}, "3 values where"),
        ({"shape": [10**12, 150, 150, 3]}, "at most 8"),
        ({"data": [[1], [2, 3]]}, "ragged"),
        ({"data": [[1], 2]}, "ragged"),
        ({"data": [[]]}, "ragged"),
        ({"data": ["a"]}, "1 values where"),
        ({"data": None}, "0 values where"),
        ({"data": ["a"] + [1] * 67_499}, "whole numbers"),
        ({"data": [0.5] * 67_500}, "whole numbers"),
        ({"data": [256] * 67_500}, "whole numbers"),
        ({"data": [[-1] * 67_500]}, "whole numbers"),
        ({"name": "image_bytes"}, "has to be BYTES"),
        ({"name": "image_bytes", "datatype": "BYTES", "shape": [3]}, "neither bytes nor"),
        ({"name": "image_bytes", "datatype": "BYTES", "shape": [2]}, "3 elements where"),
        ({"name": "image_bytes", "datatype": "BYTES", "shape": [0]}, "has to be BYTES"),
        ({"parameters": {"binary_data_size": -1}}, "within the body"),
        ({"parameters": {"binary_data_size": 10**9}}, "within the body"),
        ({"parameters": {"binary_data_size": True}}, "within the body"),
        ({"parameters": {"binary_data_size": "8"}}, "within the body"),
    ],
)
def test_v2_what_is_wrong_is_said(tensor: dict[str, Any], says: str) -> None:
    sound = {"name": "images", "datatype": "UINT8", "shape": [1, 150, 150, 3], "data": [1, 2, 3]}
    body = json.dumps({"inputs": [sound | tensor]}).encode()
    with pytest.raises(PredictorError, match=says):
        v2_items(v2_request(body, None, "m"), 8)


@pytest.mark.parametrize("length", ["", "-1", "1e3", "999999999", "٣"])
def test_v2_a_lying_json_length_is_refused(length: str) -> None:
    with pytest.raises(PredictorError, match="Inference-Header-Content-Length has to"):
        v2_request(b'{"inputs": []}', length, "m")


@pytest.mark.parametrize("raw", [b"\x01", b"\x05\x00\x00\x00abc", b"\xff\xff\xff\xff"])
def test_v2_cut_off_bytes_are_refused(raw: bytes) -> None:
    request = InferRequest("m", [InferInput("image_bytes", [1], "BYTES")])
    request.inputs[0]._raw_data = raw
    with pytest.raises(PredictorError, match="cut off"):
        v2_items(request, 8)


def test_v2_millions_of_empty_elements_are_not_made() -> None:
    request = InferRequest("m", [InferInput("image_bytes", [2], "BYTES")])
    request.inputs[0]._raw_data = bytes(16 * 2**20)
    with pytest.raises(PredictorError, match="16777208 bytes more than its shape has"):
        v2_items(request, 8)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.none() | st.text(max_size=3))
def test_v2_any_bytes_give_a_request_or_one_line(body: bytes, length: str | None) -> None:
    with pytest.raises(PredictorError):
        v2_items(v2_request(body, length, "m"), 8)


def test_v2_an_empty_shape_is_refused() -> None:
    request = InferRequest("m", [InferInput("image_bytes", [], "BYTES", ["AAAA"])])
    with pytest.raises(PredictorError, match="has to be BYTES"):
        v2_items(request, 8)


def test_nan_is_no_pixel() -> None:
    with pytest.raises(PredictorError, match=r"within 0\.\.255"):
        pixels_of(np.array([np.nan, 3.0]), (2,))


@pytest.mark.parametrize("body", [b"[" + b"0," * 60 + b"0]", b"[" * 61, b'{"a":[' + b"{}," * 30])
def test_more_values_than_allowed_are_not_parsed(body: bytes) -> None:
    with pytest.raises(PredictorError, match="too many values") as raised:
        codecs.parse_json(body, 50)
    assert raised.value.http == 413


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b'"",' * 2001 + b"0]",
        b'{"parameters": {' + b",".join(b'"%d": 1' % n for n in range(2001)) + b"}}",
        b'{"a": 1' + b', "a": 1' * 2000 + b"}",
        b"[" + b"{}," * 1001 + b"0]",
        b'{"a":' * 1001,
    ],
)
def test_more_keys_or_texts_than_any_client_sends_are_not_parsed(body: bytes) -> None:
    with pytest.raises(PredictorError, match="too many keys or texts") as raised:
        codecs.parse_json(body, 10**6)
    assert raised.value.http == 413


@pytest.mark.parametrize("wrong", ["9", "9" * 10**5, None, {}, True, [9], 2**63])
def test_one_pixel_that_is_no_number_is_refused(wrong: Any) -> None:
    numbers = PIXELS.tolist()
    numbers[149][3][2] = wrong
    with pytest.raises(PredictorError, match="have to be numbers"):
        _items(numbers)


def test_outputs_are_counted() -> None:
    request = {
        "inputs": [{"name": "image_bytes", "shape": [1], "datatype": "BYTES", "data": [TEXT]}],
        "outputs": [{"name": "label"}] * 65,
    }
    with pytest.raises(PredictorError, match="outputs: List should have at most 64 items"):
        v2_request(json.dumps(request).encode(), None, "m")


def test_a_long_text_is_no_many_values() -> None:
    assert codecs.parse_json(b'"' + b"A" * 1000 + b'"', 50) == "A" * 1000
