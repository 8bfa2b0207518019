"""The served model, asked over HTTP: which version answers, and whether as it should."""

import base64
import itertools
import os
import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from components.shared.errors import UserError, first_fault
from components.shared.model_folder.smoke import SmokeImage

TOKEN_VARIABLE = "BRAIN_TUMOR_TOKEN"
TOLERANCE = 1e-3
_MAX_BYTES = 2**20
_TIMEOUT = 10.0


class _Output(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str
    data: list[str | float | bool]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model_version: str
    outputs: list[_Output]


@dataclass(frozen=True)
class Probe:
    """What came of asking once.

    Attributes:
        version: That answered; 0 where none did.
        seconds: Until the answer was there.
        fault: Why nothing answered, in one line; empty where something did.
        mismatch: How the answer differs from that which the image is kept with; empty where not.
    """

    version: int
    seconds: float
    fault: str = ""
    mismatch: str = ""


class ServedModel:
    """A model behind an address; each question is a new connection, to the host's IPs in turn.

    So each pod is asked: behind a headless Service each has an address of its own, and a Service
    with one address picks a pod for each connection.
    """

    def __init__(self, address: str, name: str, host: str = "") -> None:
        """Takes the address.

        Args:
            address: http:// or https://, without a path.
            name: Under which the model is served.
            host: What to say in the Host header; empty for what the address says.

        Raises:
            UserError: BRAIN_TUMOR_TOKEN is set, and no bearer token.
        """
        self.address = address.rstrip("/")
        self._path = f"/v2/models/{name}/infer"
        self._headers = {"Host": host or urlsplit(self.address).netloc} | _authorization()
        self._turns = itertools.count()
        self._client = httpx.Client(
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=self.address.startswith("https:"),  # a pod is not behind a proxy
        )

    def ask(self, image: SmokeImage) -> Probe:
        """Asks for one image's answer."""
        started = time.perf_counter()
        try:
            content = self._post(image.png)
            seconds = time.perf_counter() - started
            answer = _Answer.model_validate_json(content)
            probe = Probe(int(answer.model_version), seconds, mismatch=_mismatch(answer, image))
        except httpx.HTTPStatusError as error:
            fault = f"HTTP {error.response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            fault = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        except ValidationError as error:
            fault = f"an answer that is not of Open Inference: {first_fault(error)}"
        except (ValueError, OSError) as error:
            fault = str(error)
        else:
            return probe
        return Probe(0, time.perf_counter() - started, fault=f"{self.address}: {fault}")

    def _post(self, png: bytes) -> bytes:
        """Returns the answer to an image.

        Raises:
            httpx.HTTPError: There was none, or it is an error.
            OSError: The host has no address.
            ValueError: The answer is too large for one, or comes too slowly.
        """
        data = base64.b64encode(png).decode()
        inputs = [{"name": "image_bytes", "shape": [1], "datatype": "BYTES", "data": [data]}]
        url, end = self._next_address() + self._path, time.perf_counter() + _TIMEOUT
        with self._client.stream(
            "POST", url, json={"inputs": inputs}, headers=self._headers
        ) as response:
            response.raise_for_status()
            content = b""
            for part in response.iter_bytes():
                content += part
                if len(content) > _MAX_BYTES:
                    raise ValueError(f"an answer of more than {_MAX_BYTES:,} bytes")
                if time.perf_counter() > end:
                    raise ValueError(f"an answer that is not whole within {_TIMEOUT:g} s")
        return content

    def _next_address(self) -> str:
        parts = urlsplit(self.address)
        if parts.scheme == "https":  # a certificate is for the name
            return self.address
        port = parts.port or 80
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        hosts = sorted({str(entry[4][0]) for entry in found})
        host = hosts[next(self._turns) % len(hosts)]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def in_cluster_address(name: str, namespace: str, told: str) -> str:
    """Returns where a pod reaches the model.

    Args:
        name: Of the InferenceService.
        namespace: Of the InferenceService.
        told: `status.address.url`; empty in versions of KServe that leave it out.
    """
    parts = urlsplit(told)
    if parts.scheme in ("http", "https") and parts.netloc:
        return f"{parts.scheme}://{parts.netloc}"  # some versions append a path
    return f"http://{name}-predictor.{namespace}.svc.cluster.local"


def canary_address(stable: str, name: str, canary: str) -> str:
    """Returns where a pod reaches a canary of Standard mode: it has a Service of its own."""
    parts = urlsplit(stable)
    _, *domain = parts.netloc.split(".")
    return f"{parts.scheme}://{'.'.join([f'{name}-{canary}-predictor', *domain])}"


def _authorization() -> dict[str, str]:
    """Returns the header for a predictor that wants a token, if the environment has one."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        return {}
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):  # httpx would quote it in its error
        raise UserError(f"{TOKEN_VARIABLE} is not a token: use letters, digits and -._~+/, then =")
    return {"Authorization": f"Bearer {token}"}


def _mismatch(answer: _Answer, image: SmokeImage) -> str:
    """Returns how an answer differs from the one that an image is kept with."""
    found = {output.name: output.data for output in answer.outputs}
    label, probabilities = found.get("label", []), found.get("probabilities", [])
    if len(label) != 1 or len(probabilities) != 2:
        return "the answer has no label or no probabilities"
    if label[0] != image.label:
        return f"it answers {str(label[0])[:50]!r} for an image that it called {image.label!r}"
    gap = abs(float(probabilities[1]) - image.probability_healthy)
    if not gap <= TOLERANCE:
        return (
            f"its P(Healthy) is off by {gap:.3g} from {image.probability_healthy:.4f}, "
            f"at most {TOLERANCE:g} is allowed"
        )
    return ""
