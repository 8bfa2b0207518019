"""Clients that keep their connections, and one that does not; runs in a pod of the serving image.

Asks until /tmp/stop is there, then prints what was answered and what was lost, as JSON.
"""

import io
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import requests
import urllib3
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image

CHANNELS = 4
PAUSE_SECONDS = 0.02
HEADERS = {"Content-Type": "image/png"}


def main(http: str, grpc_address: str) -> None:
    """Args: http: URL of the predictor; grpc_address: host and port."""
    file = io.BytesIO()
    Image.new("L", (30, 30), 204).save(file, "PNG")
    image, url = file.getvalue(), f"{http}/v1/models/brain-tumor:predict"
    session, pool, client = requests.Session(), urllib3.PoolManager(), httpx.Client(timeout=60)
    clients: dict[str, Callable[[], int]] = {
        "requests": lambda: session.post(url, image, headers=HEADERS, timeout=60).status_code,
        "urllib3": lambda: (
            pool.request("POST", url, body=image, headers=HEADERS, retries=False).status
        ),
        "httpx": lambda: client.post(url, content=image, headers=HEADERS).status_code,
        "new": lambda: httpx.post(url, content=image, headers=HEADERS, timeout=60).status_code,
    }
    for number in range(CHANNELS):
        clients[f"grpc {number}"] = _channel(grpc_address, image)
    answered: Counter[str] = Counter()
    lost: list[str] = []

    def keep_asking(name: str, ask: Callable[[], int]) -> None:
        while not Path("/tmp/stop").exists():
            try:
                status = ask()
                assert status == 200, status
                answered[name] += 1
            except Exception as error:
                lost.append(f"{time.strftime('%H:%M:%S')} {name}: {error!r}")
            time.sleep(PAUSE_SECONDS)

    threads = [threading.Thread(target=keep_asking, args=one) for one in clients.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"answered": answered, "lost": lost}))


def _channel(address: str, image: bytes) -> Callable[[], int]:
    stub = GRPCInferenceServiceStub(
        grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
    )
    request = pb.ModelInferRequest(
        model_name="brain-tumor",
        inputs=[{"name": "image_bytes", "datatype": "BYTES", "shape": [1]}],
    )
    request.inputs[0].contents.bytes_contents.append(image)

    def ask() -> int:
        answer = stub.ModelInfer(request, timeout=60)
        return 200 if answer.outputs else 500

    return ask


if __name__ == "__main__":
    main(*sys.argv[1:])
