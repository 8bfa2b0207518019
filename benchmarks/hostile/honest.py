"""Ordinary clients, who send one image a request and want their answer while others attack."""

import asyncio
import time
from collections.abc import Sequence

import grpc
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

from benchmarks.serving.load import Load, arrivals, open_loop

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_PATIENCE_SECONDS = 10.0


def over_rest(port: int, files: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Sends JPEGs as raw bodies.

    Args:
        port: Of REST.
        files: Sent in turn.
        rate: Requests a second, on average.
        seconds: How long.

    Returns:
        What was answered, and when.
    """
    head = "POST /v1/models/brain-tumor:predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    requests = [f"{head}Content-Length: {len(file)}\r\n\r\n".encode() + file for file in files]
    return open_loop(port, requests, rate, seconds, seed=0)


def over_grpc(port: int, files: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Sends JPEGs as raw contents of calls, on one channel.

    Args:
        port: Of gRPC.
        files: Sent in turn.
        rate: Calls a second, on average.
        seconds: How long.

    Returns:
        What was answered, and when.
    """
    return asyncio.run(_calls(port, [_message(file) for file in files], rate, seconds))


def _message(file: bytes) -> bytes:
    request = ModelInferRequest(model_name="brain-tumor")
    request.inputs.add(name="image_bytes", datatype="UINT8", shape=[len(file)])
    request.raw_input_contents.append(file)
    message: bytes = request.SerializeToString()
    return message


async def _calls(port: int, messages: Sequence[bytes], rate: float, seconds: float) -> Load:
    latencies: list[float] = []
    errors = 0
    started = time.perf_counter()

    async def call(message: bytes, due: float) -> None:
        nonlocal errors
        try:
            await channel.unary_unary(_INFER)(message, timeout=_PATIENCE_SECONDS)
            latencies.append(time.perf_counter() - due)
        except grpc.aio.AioRpcError:
            errors += 1

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = []
        for number, offset in enumerate(arrivals(rate, seconds, seed=1)):
            await asyncio.sleep(started + offset - time.perf_counter())
            message = messages[number % len(messages)]
            calls.append(asyncio.create_task(call(message, started + offset)))
        await asyncio.gather(*calls)
    cpu = time.process_time()
    return Load(seconds, tuple(latencies), len(latencies), errors, 0, (), cpu)
