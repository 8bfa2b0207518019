"""A pod is replaced under its clients: nothing is lost, over new and over kept connections."""

import asyncio
import http.client
import io
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import pytest
import requests
import urllib3
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image

PREDICT = "/v1/models/brain-tumor:predict"
READY = "/v2/models/brain-tumor/ready"
IMAGE = {"Content-Type": "image/png"}
CHANNELS = 24


def _file() -> bytes:
    file = io.BytesIO()
    Image.new("L", (30, 30), 204).save(file, "PNG")
    return file.getvalue()


def test_an_answer_while_draining_closes_its_connection(start: Callable[..., Any]) -> None:
    with start(drain_seconds=3) as server:
        kept = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(3)]
        for connection in kept:
            answer = _asked(connection, "POST", PREDICT, _file())
            assert (answer.status, answer.will_close) == (200, False)
        health, statuses = health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse
        channel = grpc.insecure_channel(server.grpc)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health)
        assert next(watch).status == statuses.SERVING
        server.process.send_signal(signal.SIGTERM)
        while httpx.get(server.url + READY).status_code == 200:
            time.sleep(0.05)
        assert next(watch).status == statuses.NOT_SERVING
        wanted = {("POST", PREDICT): 200, ("GET", "/nowhere"): 404, ("GET", READY): 503}
        for connection, ((method, path), status) in zip(kept, wanted.items(), strict=True):
            answer = _asked(connection, method, path, _file() if method == "POST" else None)
            assert (answer.status, answer.headers["connection"]) == (status, "close")
        new = http.client.HTTPConnection("127.0.0.1", server.port)
        assert _asked(new, "POST", PREDICT, _file()).status == 200  # the port is still open
        with channel, pytest.raises(grpc.RpcError, match="make room"):
            next(watch)  # nothing waits for it
        assert server.process.wait(30) == 0


def _asked(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
) -> http.client.HTTPResponse:
    connection.request(method, path, body, IMAGE)
    answer = connection.getresponse()
    answer.read()
    return answer


class _Service:
    """Passes each new connection on to the pod of the day, as a Service's address does."""

    def __init__(self) -> None:
        self.pod: Any = None
        self.ports: dict[str, int] = {}

    @contextmanager
    def open(self) -> Iterator[None]:
        opened = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(opened)))
        thread.start()
        opened.wait()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._closing.set)
            thread.join()

    async def _serve(self, opened: threading.Event) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        for name in ("port", "grpc_port"):
            server = await asyncio.start_server(self._passes_on(name), "127.0.0.1", 0)
            self.ports[name] = server.sockets[0].getsockname()[1]
        opened.set()
        await self._closing.wait()

    def _passes_on(self, name: str) -> Callable[..., Awaitable[None]]:
        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_connection("127.0.0.1", getattr(self.pod, name))
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

        return pass_on


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def test_nothing_is_lost_over_kept_connections(predictor: Any, start: Callable[..., Any]) -> None:
    service, stop = _Service(), threading.Event()
    lost: list[str] = []
    answered: dict[str, int] = {}

    def keep_asking(name: str, ask: Callable[[], int]) -> None:
        while not stop.is_set():
            try:
                assert ask() == 200
                answered[name] = answered.get(name, 0) + 1
            except Exception as error:
                lost.append(f"{name}: {error!r}")

    async def keep_calling() -> None:
        request = pb.ModelInferRequest(
            model_name="brain-tumor",
            inputs=[{"name": "image_bytes", "datatype": "BYTES", "shape": [1]}],
        )
        request.inputs[0].contents.bytes_contents.append(_file())

        async def call(number: int) -> None:
            alone = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
            address = f"127.0.0.1:{service.ports['grpc_port']}"
            async with grpc.aio.insecure_channel(address, alone) as channel:
                stub = GRPCInferenceServiceStub(channel)
                while not stop.is_set():
                    try:
                        await stub.ModelInfer(request)
                        answered[f"grpc {number}"] = answered.get(f"grpc {number}", 0) + 1
                    except grpc.aio.AioRpcError as error:
                        lost.append(f"grpc {number}: {error!r}")

        await asyncio.gather(*map(call, range(CHANNELS)))

    with service.open(), start(drain_seconds=2) as old:
        service.pod = old
        url = f"http://127.0.0.1:{service.ports['port']}{PREDICT}"
        session, pool, client = requests.Session(), urllib3.PoolManager(), httpx.Client()
        asking: dict[str, Callable[[], int]] = {
            "requests": lambda: session.post(url, _file(), headers=IMAGE).status_code,
            "urllib3": lambda: (
                pool.request("POST", url, body=_file(), headers=IMAGE, retries=False).status
            ),
            "httpx": lambda: client.post(url, content=_file(), headers=IMAGE).status_code,
        }
        threads = [threading.Thread(target=keep_asking, args=one) for one in asking.items()]
        threads.append(threading.Thread(target=lambda: asyncio.run(keep_calling())))
        for thread in threads:
            thread.start()
        try:
            while len(answered) < len(asking) + CHANNELS and not lost:
                time.sleep(0.05)
            old.process.send_signal(signal.SIGTERM)
            while httpx.get(old.url + READY).status_code == 200:
                time.sleep(0.05)
            service.pod = predictor
            assert old.process.wait(60) == 0
            before = dict(answered)
            while not lost and any(answered[name] < before[name] + 5 for name in before):
                time.sleep(0.05)  # each goes on with the new pod
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not lost
