"""How long readiness takes while the predictor is flooded, with good requests and with bad ones.

python -m benchmarks.health --model runs/demo/registry/brain-tumor/1
"""

import argparse
import asyncio
import base64
import http.client
import io
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import numpy as np
import orjson
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest
from PIL import Image

from pipelines.ending import ended

PORT = 18470
INFER = "/inference.GRPCInferenceService/ModelInfer"
PREDICT = "/v1/models/brain-tumor:predict"
READY = "/v2/models/brain-tumor/ready"
CLIENTS = 64


def grpc_messages() -> dict[str, bytes]:
    """Returns one gRPC message of each kind that could, all within the limit of 4 MiB."""

    def message(**contents: list[Any]) -> bytes:
        request = ModelInferRequest(model_name="brain-tumor")
        tensor = request.inputs.add(name="images", datatype="UINT8", shape=[8, 150, 150, 3])
        for field, values in contents.items():
            getattr(tensor.contents, field).extend(values)
        return request.SerializeToString()

    file = ModelInferRequest(model_name="brain-tumor", raw_input_contents=[bytes(2**22 - 100)])
    file.inputs.add(name="image_bytes", datatype="BYTES", shape=[1])
    many = ModelInferRequest(model_name="brain-tumor", raw_input_contents=[b""] * (2**21 - 50))
    return {
        "gRPC: 8 images as numbers": message(uint_contents=[200] * (8 * 150 * 150 * 3)),
        "gRPC: 4 MiB of raw bytes": file.SerializeToString(),
        "gRPC: 4 million numbers": message(uint_contents=[1] * (2**22 - 100)),
        "gRPC: 2 million empty files": message(bytes_contents=[b""] * (2**21 - 50)),
        "gRPC: 2 million inputs": many.SerializeToString(),
    }


def bodies() -> dict[str, bytes]:
    """Returns one REST body of each kind that could hold the predictor up."""
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (512, 512), np.uint8)).save(file, "JPEG")
    large = io.BytesIO()
    Image.new("L", (4400, 4400), 80).save(large, "PNG")
    numbers = rng.integers(0, 256, (150, 150, 3)).tolist()

    def encoded(data: bytes) -> dict[str, str]:
        return {"b64": base64.b64encode(data).decode()}

    return {
        "one slice": orjson.dumps({"instances": [encoded(file.getvalue())]}),
        "32 slices": orjson.dumps({"instances": [encoded(file.getvalue())] * 32}),
        "8 images as numbers": orjson.dumps({"instances": [numbers] * 8}),
        "images of 19 million pixels": orjson.dumps({"instances": [encoded(large.getvalue())] * 8}),
        "16 MiB of empty lists": b"[" + b"[]," * (16 * 2**20 // 3 - 2) + b"0]",
        "270,000 empty lists": b"[" + b"[]," * 270_000 + b"0]",
        "16 MiB of base64": orjson.dumps(
            {"instances": [encoded(bytes(3 * 2**18)) for _ in "x" * 15]}
        ),
        "truncated images": orjson.dumps({"instances": [encoded(file.getvalue()[:9000])] * 32}),
    }


@contextmanager
def predictor(model: str) -> Iterator[str]:
    """Starts the predictor and yields its address once it is ready."""
    ports = ["--port", str(PORT), "--grpc-port", str(PORT + 1)]
    process = subprocess.Popen([sys.executable, "-m", "serving", model, *ports])
    url = f"http://127.0.0.1:{PORT}"
    try:
        while True:
            if process.poll() is not None:
                sys.exit("the predictor did not start")
            try:
                httpx.get(url + READY).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


async def flood(url: str, body: bytes, seconds: float) -> Counter[int]:
    """Sends one body from many clients.

    Returns:
        How many answers of each status they got; 0 where the connection was closed on them.
    """
    codes: Counter[int] = Counter()
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        until = time.perf_counter() + seconds

        async def send() -> None:
            while time.perf_counter() < until:
                try:
                    response = await client.post(
                        PREDICT, content=body, headers={"content-type": "application/json"}
                    )
                    codes[response.status_code] += 1
                except httpx.TransportError:  # a body beyond the limit is not read to its end
                    codes[0] += 1

        await asyncio.gather(*(send() for _ in range(CLIENTS)))
    return codes


async def grpc_flood(message: bytes, seconds: float) -> Counter[str]:
    """Sends one gRPC message from many clients.

    Returns:
        How many answers of each status they got.
    """
    codes: Counter[str] = Counter()
    until = time.perf_counter() + seconds

    async def send() -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
        async with grpc.aio.insecure_channel(f"127.0.0.1:{PORT + 1}", options=options) as channel:
            while time.perf_counter() < until:
                try:
                    await channel.unary_unary(INFER)(message, timeout=120)
                    codes["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    codes[error.code().name] += 1

    await asyncio.gather(*(send() for _ in range(CLIENTS)))
    return codes


def watch(seconds: float) -> list[float]:
    """Asks for readiness again and again, as a probe does, from a process of its own.

    Returns:
        Seconds that each answer took.
    """
    waits = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        connection.request("GET", READY)
        if connection.getresponse().status != 200:
            raise RuntimeError("not ready")
        connection.close()
        waits.append(time.perf_counter() - started)
        time.sleep(0.02)
    return waits


def main() -> None:
    """Prints the slowest readiness under each flood."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--model", default="runs/demo/registry/brain-tumor/1")
    parser.add_argument("--seconds", type=float, default=8, help="of each flood")
    options = parser.parse_args()
    seconds = options.seconds
    with predictor(options.model) as url, ProcessPoolExecutor(1) as prober:
        print(f"{CLIENTS} clients; readiness while they send, ms")
        floods: dict[str, Coroutine[Any, Any, Counter[Any]]]
        floods = {name: flood(url, body, seconds) for name, body in bodies().items()}
        floods |= {name: grpc_flood(body, seconds) for name, body in grpc_messages().items()}
        for name, sending in floods.items():
            watching = prober.submit(watch, seconds)
            codes = asyncio.run(sending)
            waits = watching.result()
            p99, most = np.percentile(waits, [99, 100]) * 1000
            answers = ", ".join(f"{count} of {code}" for code, count in sorted(codes.items()))
            print(f"{name:28} p99 {p99:6.1f}  slowest {most:6.1f}   answers: {answers}", flush=True)


if __name__ == "__main__":
    sys.exit(ended(main))
