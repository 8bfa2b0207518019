"""Each runtime in a process of its own, asked in turn."""

import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtimes.contenders import (
    CONTENDERS,
    LITERT_MODEL,
    ONNX_MODEL,
    SAVED_MODEL,
    proportional_megabytes,
)
from components.shared.images.decode import SHAPE

NEEDS = {
    "OpenVINO": ("openvino", SAVED_MODEL),
    "OpenVINO, bfloat16": ("openvino", SAVED_MODEL),
    "TensorFlow": ("tensorflow", SAVED_MODEL),
    "LiteRT": ("ai_edge_litert", LITERT_MODEL),
    "ONNX Runtime": ("onnxruntime", ONNX_MODEL),
}
TOLERANCES = {"OpenVINO, bfloat16": 0.05}
_TOLERANCE = 1e-5


def images(size: int) -> np.ndarray:
    """Returns uint8 [n, 150, 150, 3] of noise."""
    return np.random.default_rng(size).integers(0, 256, (size, *SHAPE), dtype=np.uint8)


def serve(name: str, folder: Path, cpus: int, asked: Connection) -> None:
    """Answers in a process of its own, whenever it is asked for a batch size and seconds."""
    started = time.process_time()
    answer = CONTENDERS[name](folder, cpus)
    answer(images(1))
    asked.send(time.process_time() - started)
    while order := _next_order(asked):
        size, seconds = order
        batch = images(size)
        found = answer(batch)  # warm
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begun = time.perf_counter()
            answer(batch)
            times.append(time.perf_counter() - begun)
        asked.send((found, 1000 * float(np.median(times or [0])), proportional_megabytes()))


def _next_order(asked: Connection) -> tuple[int, float] | None:
    try:
        order: tuple[int, float] | None = asked.recv()
    except EOFError:  # who asks has ended
        return None
    return order


def measure(
    network: str, names: list[str], cpus: int, batches: list[int], rounds: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Measures all runtimes with one network.

    Returns:
        Of each runtime: `ms` of each batch size, `start` in CPU seconds and `memory` in MB.
    """
    from benchmarks.runtimes.models import write_models

    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = write_models(network, folder, {NEEDS[name][1] for name in names})
        asking, results = {}, {}
        for name in names:
            asking[name], theirs = context.Pipe()
            context.Process(target=serve, args=(name, folder, cpus, theirs), daemon=True).start()
            results[name] = {"start": asking[name].recv(), "ms": {}, "memory": 0.0}
        for size in batches:
            expected = np.asarray(model(images(size), training=False))[:, 0]
            times: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(rounds):
                for name, connection in asking.items():
                    connection.send((size, seconds))
                    found, milliseconds, memory = connection.recv()
                    gap = float(np.abs(found - expected).max())
                    if gap > TOLERANCES.get(name, _TOLERANCE):
                        raise SystemExit(f"{name} is off by {gap:.2g} with {network}")
                    times[name].append(milliseconds)
                    results[name]["memory"] = memory
            for name, found_times in times.items():
                results[name]["ms"][size] = float(np.median(found_times))
        for connection in asking.values():
            connection.send(None)
    return results
