"""Triton's clients against a running predictor: `python triton_clients.py HTTP GRPC`."""

import base64
import io
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from PIL import Image

NAME = "brain-tumor"
PIXELS = np.stack([np.full((150, 150, 3), value, np.uint8) for value in (51, 204)])


def main(http: str, grpc: str) -> None:
    """Asks everything that both clients can ask; raises where an answer is wrong."""
    for library, address in ((over_http, http), (over_grpc, grpc)):
        client = library.InferenceServerClient(address)
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(NAME)
        metadata = client.get_model_metadata(NAME)
        inputs = metadata["inputs"] if isinstance(metadata, dict) else metadata.inputs
        outputs = metadata["outputs"] if isinstance(metadata, dict) else metadata.outputs
        assert (len(inputs), len(outputs)) == (2, 7)
    client = over_http.InferenceServerClient(http)
    for binary in (True, False):
        for binary_output in (True, False):
            ask_for_two(client, binary, binary_output)
        files = [_file(51), _file(204)]
        if not binary:
            files = [base64.b64encode(file) for file in files]
        check(client.infer(NAME, [_files(over_http, files, binary_data=binary)]))
        for coding in ("gzip", "deflate"):
            options = {f"{way}_compression_algorithm": coding for way in ("request", "response")}
            check(client.infer(NAME, [_pixels(over_http, binary_data=binary)], **options))
    client = over_grpc.InferenceServerClient(grpc)
    result = client.infer(NAME, [_pixels(over_grpc)])
    check(result)
    assert result.get_response().model_version == "7"
    check(client.infer(NAME, [_files(over_grpc, [_file(51), _file(204)])]))


def ask_for_two(client: Any, binary: bool, binary_output: bool) -> None:
    """Asks for two outputs and gets no other."""
    asked = [
        over_http.InferRequestedOutput(name, binary_data=binary_output)
        for name in ("probabilities", "label")
    ]
    result = client.infer(NAME, [_pixels(over_http, binary_data=binary)], outputs=asked)
    check(result)
    assert result.as_numpy("threshold") is None


def check(result: Any) -> None:
    """Checks the answer for a dark and a light image."""
    np.testing.assert_allclose(
        result.as_numpy("probabilities"), [[0.8, 0.2], [0.2, 0.8]], atol=1e-5
    )
    labels = [v.decode() if isinstance(v, bytes) else v for v in result.as_numpy("label")]
    assert labels == ["Brain Tumor", "Healthy"]


def _pixels(library: Any, **options: bool) -> Any:
    inputs = library.InferInput("images", list(PIXELS.shape), "UINT8")
    inputs.set_data_from_numpy(PIXELS, **options)
    return inputs


def _files(library: Any, files: list[bytes], **options: bool) -> Any:
    inputs = library.InferInput("image_bytes", [len(files)], "BYTES")
    inputs.set_data_from_numpy(np.array(files, dtype=np.object_), **options)
    return inputs


def _file(brightness: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (60, 40), brightness).save(file, "PNG")
    return file.getvalue()


main(sys.argv[1], sys.argv[2])
