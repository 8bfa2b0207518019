"""Requests counted before they are parsed: as protobuf itself would count them."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

from serving.errors import PredictorError
from serving.wire import MAX_PARTS, check_request

FIELDS = {
    "bool_contents": st.booleans(),
    "int_contents": st.integers(-(2**31), 2**31 - 1),
    "int64_contents": st.integers(-(2**63), 2**63 - 1),
    "uint_contents": st.integers(0, 2**32 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
}


@st.composite
def contents(draw: st.DrawFn) -> dict[str, list]:
    return {
        name: draw(st.lists(values, max_size=20))
        for name, values in FIELDS.items()
        if draw(st.booleans())
    }


@given(st.lists(contents(), max_size=3), st.lists(st.integers(0, 2**40), max_size=8))
def test_it_counts_the_numbers(tensors: list[dict[str, list]], shape: list[int]) -> None:
    request = ModelInferRequest(model_name="m", id="7", raw_input_contents=[b"\xff" * 300])
    numbers = 0
    for tensor in tensors:
        added = request.inputs.add(name="images", datatype="UINT8", shape=shape)
        for name, values in tensor.items():
            getattr(added.contents, name).extend(values)
            numbers += len(values)
    request.inputs.add(name="files").contents.bytes_contents.extend([b"\1" * 500] * 3)
    message = request.SerializeToString()
    check_request(message, numbers)
    if numbers:
        with pytest.raises(PredictorError, match=f"more than {numbers - 1:,} values"):
            check_request(message, numbers - 1)


@pytest.mark.parametrize("where", ["inputs", "outputs", "raw", "files", "parameters"])
def test_many_parts_are_refused(where: str) -> None:
    request = ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="files")
    for number in range(MAX_PARTS):
        if where == "inputs":
            request.inputs.add()
        elif where == "outputs":
            request.outputs.add()
        elif where == "raw":
            request.raw_input_contents.append(b"")
        elif where == "files":
            tensor.contents.bytes_contents.append(b"")
        else:
            tensor.parameters[str(number)].bool_param = True
    with pytest.raises(PredictorError, match="more than 1,000 parts"):
        check_request(request.SerializeToString(), 10**6)


def test_many_axes_are_refused() -> None:
    request = ModelInferRequest(model_name="m")
    request.inputs.add(name="images", shape=[1] * 9)
    with pytest.raises(PredictorError, match="more than 8 axes"):
        check_request(request.SerializeToString(), 10**6)


@given(st.binary(max_size=200))
def test_what_is_passed_on_has_few_parts(message: bytes) -> None:
    try:
        check_request(message, 100)
        request = ModelInferRequest.FromString(message)
    except (PredictorError, DecodeError):
        return
    assert len(request.inputs) + len(request.raw_input_contents) <= MAX_PARTS


@pytest.mark.parametrize("message", [b"\x3a\x05ab", b"\xff" * 11, b"\x0b", b"\x2a\x02\x2a\x7f"])
def test_broken_messages_are_refused(message: bytes) -> None:
    with pytest.raises(PredictorError, match="not a ModelInferRequest"):
        check_request(message, 100)
