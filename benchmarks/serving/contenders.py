"""Who is compared: how each is started, asked and understood."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.serving.payloads import Payload

OURS, REFERENCE = "ours", "reference"
PORTS = 3  # the first is HTTP; some want more
_SERVERS = "benchmarks.serving.servers"
_PREDICT = "/v1/models/brain-tumor:predict"


@dataclass(frozen=True)
class Form:
    """How an image is sent.

    Attributes:
        name: `JSON`, `raw` or `URL`.
        path: Of the request.
        body: Makes the body from an image.
        content_type: Empty for the image's own.
    """

    name: str
    path: str
    body: Callable[[Payload], bytes]
    content_type: str = "application/json"

    def request(self, payload: Payload) -> bytes:
        """Renders a whole HTTP/1.1 request."""
        body = self.body(payload)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: {self.content_type or payload.content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True)
class Contender:
    """A server to compare.

    Attributes:
        key: Its name on the command line, and that of its requirements.
        title: Its name in tables.
        forms: The ways to send an image, the one for comparisons first.
        probability: Finds P(Brain Tumor) in the JSON of an answer.
        arguments: Of its Python; `{model}` is the model's folder, `{port}` where to listen and
            `{next_port}` another free one.
        environment: Further variables.
        own_environment: Whether it has a virtual environment of its own.
    """

    key: str
    title: str
    forms: tuple[Form, ...]
    probability: Callable[[Any], float]
    arguments: str
    environment: dict[str, str] = field(default_factory=dict)
    own_environment: bool = True

    def command(self, python: Path, model: Path, port: int) -> list[str]:
        """Returns what to run.

        Args:
            python: The interpreter of its environment.
            model: Folder of the registered model.
            port: Where to listen; the next ones are free too.
        """
        values = {"model": model, "port": port, "next_port": port + 1}
        return [str(python), *(part.format(**values) for part in self.arguments.split())]


def _json(make: Callable[[str], Any]) -> Callable[[Payload], bytes]:
    """Returns a function that puts an image's base64 text into JSON."""
    return lambda payload: json.dumps(make(base64.b64encode(payload.data).decode())).encode()


def _raw(payload: Payload) -> bytes:
    return payload.data


def _v1_url(payload: Payload) -> bytes:
    return json.dumps({"instances": [{"image_url": payload.url}]}).encode()


def _reference_url(payload: Payload) -> bytes:
    return json.dumps({"image_url": payload.url}).encode()


_OURS = Contender(
    OURS,
    "this predictor",
    (
        Form(
            "JSON",
            _PREDICT,
            _json(lambda text: {"instances": [{"image_bytes": {"b64": text}}]}),
        ),
        Form("raw", _PREDICT, _raw, content_type=""),
        Form("URL", _PREDICT, _v1_url),
    ),
    lambda answer: answer["predictions"][0]["probabilities"]["Brain Tumor"],
    "-m serving {model} --name brain-tumor --port {port} --grpc-port {next_port}",
    {
        "BRAIN_TUMOR_SERVE_IMAGE_URL_HOSTS": "127.0.0.1",
        "BRAIN_TUMOR_SERVE_IMAGE_URL_HTTP": "true",
        "BRAIN_TUMOR_SERVE_IMAGE_URL_NETWORKS": "127.0.0.0/8",
    },
    own_environment=False,
)

CONTENDERS = {
    contender.key: contender
    for contender in (
        _OURS,
        replace(
            _OURS,
            key="ours-tensorflow",
            title="this predictor on TensorFlow",
            forms=_OURS.forms[:1],
            arguments=_OURS.arguments.replace("serving", f"{_SERVERS}.ours_on_tensorflow", 1),
        ),
        Contender(
            REFERENCE,
            "reference: Flask, gunicorn",
            (Form("URL", "/predict", _reference_url),),
            lambda answer: answer["probability"],
            f"-m gunicorn --workers 1 --bind 127.0.0.1:{{port}} {_SERVERS}.reference:application",
        ),
        Contender(
            "kserve-plain",
            "KServe's sample",
            (
                Form(
                    "JSON",
                    _PREDICT,
                    _json(lambda text: {"instances": [{"image": {"b64": text}}]}),
                ),
            ),
            lambda answer: answer["predictions"][0],
            f"-m {_SERVERS}.kserve_plain",
        ),
        Contender(
            "litserve",
            "LitServe",
            (Form("JSON", "/predict", _json(lambda text: {"image": text})),),
            lambda answer: answer["probability"],
            f"-m {_SERVERS}.litserve",
        ),
        Contender(
            "mlserver",
            "MLServer",
            (
                Form(
                    "JSON",
                    "/v2/models/brain-tumor/infer",
                    _json(
                        lambda text: {
                            "inputs": [
                                {
                                    "name": "images",
                                    "shape": [1, 1],
                                    "datatype": "BYTES",
                                    "parameters": {"content_type": "base64"},
                                    "data": [text],
                                }
                            ]
                        }
                    ),
                ),
            ),
            lambda answer: answer["outputs"][0]["data"][0],
            f"-m {_SERVERS}.mlserver",
        ),
        Contender(
            "bentoml",
            "BentoML",
            (Form("JSON", "/predict", _json(lambda text: {"images": [text]})),),
            lambda answer: answer[0],
            f"-m bentoml serve {_SERVERS}.bentoml:Tumor --host 127.0.0.1 --port {{port}}",
            {"BENTOML_DO_NOT_TRACK": "true"},
        ),
        Contender(
            "rayserve",
            "Ray Serve",
            (Form("raw", "/predict", _raw, content_type=""),),
            lambda answer: answer["probability"],
            f"-m {_SERVERS}.rayserve",
            {
                "RAY_SERVE_ENABLE_HA_PROXY": "1",
                "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
                "RAY_USAGE_STATS_ENABLED": "0",
            },
        ),
    )
}
