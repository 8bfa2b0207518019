"""From the start to the end of the predictor's process, and what it does when there is too much."""

import asyncio
import base64
import io
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image

from tests.serving.conftest import ROOT, free_port, launch

PREDICT = "/v1/models/brain-tumor:predict"
READY = "/v2/models/brain-tumor/ready"


def _body(seed: int, images: int = 1, side: int = 400) -> dict[str, Any]:
    instances = []
    for number in range(images):
        file = _file([seed, number], side)
        instances.append({"b64": base64.b64encode(file).decode()})
    return {"instances": instances}


def _file(seed: Any, side: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_changed_missing_or_extra_file_refuses_to_start(
    checked_model_folder: Path, tmp_path: Path, start_in_vain: Callable[..., str]
) -> None:
    def damaged(name: str) -> Path:
        return Path(shutil.copytree(checked_model_folder, tmp_path / name))

    changed, missing, extra = damaged("changed"), damaged("missing"), damaged("extra")
    (changed / "saved_model.pb").write_bytes(b"other")
    (missing / "labels.json").unlink()
    (extra / "more.py").write_text("")
    for folder, says in (
        (changed, "saved_model.pb has changed"),
        (missing, "labels.json is missing"),
        (extra, "more.py is extra"),
        (tmp_path / "nowhere", "no such folder"),
    ):
        (line,) = start_in_vain(folder).strip().splitlines()
        assert says in line
        assert "Traceback" not in line


def test_a_wrong_setting_names_itself(
    checked_model_folder: Path, start_in_vain: Callable[..., str]
) -> None:
    said = start_in_vain(checked_model_folder, BRAIN_TUMOR_SERVE_MAX_BODY_BYTES="lots")
    assert "BRAIN_TUMOR_SERVE_MAX_BODY_BYTES: 'lots' is not allowed" in said
    said = start_in_vain(checked_model_folder, BRAIN_TUMOR_SERVE_MAX_BODY="1")
    assert "did you mean 'BRAIN_TUMOR_SERVE_MAX_BODY_BYTES'?" in said


def test_beyond_the_queue_it_says_so_at_once_and_loses_nothing(start: Callable[..., Any]) -> None:
    async def flood(server: Any) -> tuple[Counter[int], list[httpx.Response], list[int]]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(limits=limits, timeout=60, base_url=server.url) as client:
            health: list[int] = []

            async def watch() -> None:
                while True:
                    health.append((await client.get(READY)).status_code)
                    health.append((await client.get("/v2/health/live")).status_code)
                    await asyncio.sleep(0.01)

            watching = asyncio.create_task(watch())
            bodies = [_body(seed, images=4) for seed in range(10)]
            responses = await asyncio.gather(
                *(client.post(PREDICT, json=bodies[n % 10]) for n in range(100))
            )
            watching.cancel()
            again = await client.post(PREDICT, json=bodies[0])
            assert again.status_code == 200
            return Counter(r.status_code for r in responses), responses, health

    with start(queue_length=12) as server:
        codes, responses, health = asyncio.run(flood(server))
    assert set(codes) == {200, 503}
    assert set(health) == {200}
    for response in responses:
        if response.status_code == 503:
            assert response.headers["retry-after"] == "1"
            assert "try again" in response.json()["error"]
        else:
            assert len(response.json()["predictions"]) == 4


def test_sigterm_drops_readiness_and_answers_what_it_accepted(start: Callable[..., Any]) -> None:
    async def under_load(server: Any) -> tuple[Counter[int], list[int]]:
        async with httpx.AsyncClient(timeout=60, base_url=server.url) as client:
            bodies = [_body(seed, images=8, side=900) for seed in range(4)]
            sent = [
                asyncio.create_task(client.post(PREDICT, json=bodies[n % 4])) for n in range(12)
            ]
            await asyncio.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            readiness = []
            while True:
                try:
                    readiness.append((await client.get(READY)).status_code)
                    server_wide = (await client.get("/v2/health/ready")).status_code
                    assert server_wide >= readiness[-1]  # 200 or 503, never ready again
                except httpx.TransportError:
                    break  # the port has closed
                await asyncio.sleep(0.05)
            responses = await asyncio.gather(*sent)
            return Counter(r.status_code for r in responses), readiness

    with start(drain_seconds=1) as server:
        codes, readiness = asyncio.run(under_load(server))
        assert codes == {200: 12}
        assert readiness[-1] == 503
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log.read_text()


def test_sigterm_over_grpc_answers_what_it_accepted(start: Callable[..., Any]) -> None:
    files = [_file(seed, 400) for seed in range(8)]
    request = pb.ModelInferRequest(
        model_name="brain-tumor",
        inputs=[{"name": "image_bytes", "datatype": "BYTES", "shape": [8]}],
        raw_input_contents=[b"".join(struct.pack("<I", len(file)) + file for file in files)],
    )

    async def under_load(server: Any) -> tuple[list[int], list[bool]]:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub = GRPCInferenceServiceStub(channel)
            sent = [asyncio.ensure_future(stub.ModelInfer(request)) for _ in range(24)]
            await asyncio.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            readiness = []
            while True:
                try:
                    answer = await stub.ModelReady(pb.ModelReadyRequest(name="brain-tumor"))
                except grpc.aio.AioRpcError:
                    break  # the port has closed
                readiness.append(answer.ready)
                await asyncio.sleep(0.05)
            answers = await asyncio.gather(*sent)
            return [answer.outputs[0].shape[0] for answer in answers], readiness

    with start(drain_seconds=1) as server:
        answered, readiness = asyncio.run(under_load(server))
        assert answered == [8] * 24
        assert readiness[-1] is False
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log.read_text()


def test_a_signal_ends_it_while_the_model_is_loaded_and_while_the_ports_open(
    checked_model_folder: Path, tmp_path: Path
) -> None:
    ports = {f"BRAIN_TUMOR_SERVE_{kind}_PORT": str(free_port()) for kind in ("HTTP", "GRPC")}
    for name, is_reached in (("loading", _catches_sigterm), ("opening", _listens(ports))):
        process = launch(str(checked_model_folder), log=tmp_path / name, fresh=True, **ports)
        while not is_reached(process.pid):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "Traceback" not in (tmp_path / name).read_text()


# A model whose loading swallows the first exception that a signal's handler raises, as destructors
# and callbacks of C code do.
STUBBORN = """
import sys, time
import serving.server

class Stubborn:
    def __init__(self, *_):
        try:
            print("loading", flush=True)
            time.sleep(60)
        except SystemExit:
            time.sleep(60)

serving.server.Classifier = Stubborn
sys.argv = ["serving", "/nowhere", "--port", "0", "--grpc-port", "0"]
from serving.cli import main
main()
"""


def test_a_signal_ends_it_though_its_exception_is_swallowed() -> None:
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def _catches_sigterm(process: int) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _listens(ports: dict[str, str]) -> Callable[[int], bool]:
    """Returns whether the port of REST takes connections, without making one."""
    at = f":{int(ports['BRAIN_TUMOR_SERVE_HTTP_PORT']):04X} 00000000:0000 0A"
    return lambda _: at in Path("/proc/net/tcp").read_text()


def test_it_serves_under_the_name_that_kserve_gives_and_ends_at_once(
    start: Callable[..., Any],
) -> None:
    with start(name="tumours", fresh=True) as server:
        ready = httpx.get(server.url + "/v2/models/tumours/ready")
        assert ready.json() == {"name": "tumours", "ready": True}
        assert httpx.get(server.url + "/v1/models").json() == {"models": ["tumours"]}
        answer = httpx.post(server.url + "/v1/models/tumours:predict", json=_body(1))
        assert answer.status_code == 200
        assert httpx.post(server.url + PREDICT, json=_body(1)).status_code == 404
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
