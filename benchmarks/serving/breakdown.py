"""Where the CPU time of a request goes, and how near this predictor is to what cannot be saved."""

import http.client
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.serving import load
from benchmarks.serving.contenders import CONTENDERS, OURS
from benchmarks.serving.measure import SMALL, Course
from benchmarks.serving.processes import Server

_STAGES = "brain_tumor_stage_seconds"
_REPEATS_SECONDS = 2.0
_SIZES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Alone:
    """The two things that every answer needs, without a server around them.

    Attributes:
        decode_ms: By size of the file, CPU for one image.
        inference_ms: By size of the batch, CPU for one image.
        inference_wall_ms: The same, on the clock.
    """

    decode_ms: dict[str, float]
    inference_ms: dict[int, float]
    inference_wall_ms: dict[int, float]


def alone(model: Path, course: Course) -> Alone:
    """Measures decoding and inference, in a process of its own.

    Args:
        model: Folder of the registered model.
        course: Has the images.
    """
    files = {size: [p.data for p in payloads] for size, payloads in course.payloads.items()}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_alone, model, files).result()


def _alone(model: Path, files: dict[str, list[bytes]]) -> Alone:
    from components.shared.images.decode import SHAPE, decode
    from serving.cgroup import available_cpus
    from serving.classifier import Classifier

    def cost(work: object, images: int) -> tuple[float, float]:
        """Returns CPU and wall milliseconds an image."""
        assert callable(work)
        work()
        times = 0
        cpu, wall = time.process_time(), time.perf_counter()
        while time.perf_counter() - wall < _REPEATS_SECONDS:
            work()
            times += 1
        scale = 1e3 / (times * images)
        return (time.process_time() - cpu) * scale, (time.perf_counter() - wall) * scale

    decoding = {
        size: cost(lambda some=some: [decode(file) for file in some], len(some))[0]
        for size, some in files.items()
    }
    classifier = Classifier(model, available_cpus())  # as the server: a batch on each CPU
    rng = np.random.default_rng(0)
    inference = {}
    for size in _SIZES:
        images = rng.integers(0, 256, (size, *SHAPE), dtype=np.uint8)
        inference[size] = cost(lambda images=images: classifier.classify(images, len(images)), size)
    return Alone(
        decoding,
        {size: cpu for size, (cpu, _) in inference.items()},
        {size: wall for size, (_, wall) in inference.items()},
    )


def breakdown(
    server: Server, port: int, course: Course, found: Alone, generator: ProcessPoolExecutor
) -> list[str]:
    """Loads this predictor and says where the CPU of a request goes.

    Args:
        server: Its process, warm.
        port: Where it listens.
        course: The images, the clients and how long.
        found: What decoding and inference cost without it.
        generator: Sends the load.

    Returns:
        Lines for people.
    """
    lines = [
        "decode alone, CPU ms an image: "
        + ", ".join(f"{size} {ms:.2f}" for size, ms in found.decode_ms.items()),
        "inference alone, CPU ms an image (on the clock): "
        + ", ".join(
            f"batch of {size} {ms:.2f} ({found.inference_wall_ms[size]:.2f})"
            for size, ms in found.inference_ms.items()
        ),
    ]
    for form in CONTENDERS[OURS].forms[:2]:
        requests = [form.request(payload) for payload in course.payloads[SMALL]]
        for clients in course.clients:
            before, cpu, started = _stages(port), server.cpu_seconds(), time.perf_counter()
            seen = generator.submit(
                load.closed_loop, port, requests, clients, course.seconds
            ).result()
            elapsed, cpu = time.perf_counter() - started, server.cpu_seconds() - cpu
            stages = {name: stage - before[name] for name, stage in _stages(port).items()}
            figures = load.summed_up([seen])
            batch = stages["decode"].count / stages["inference"].count
            inference = float(
                np.interp(batch, list(found.inference_ms), list(found.inference_ms.values()))
            )
            whole, decoding = 1e3 * cpu / max(1, figures.requests), found.decode_ms[SMALL]
            clock = ", ".join(
                f"{name} {1e3 * s.seconds / s.count:.1f}" for name, s in stages.items()
            )
            lines += [
                f"{form.name}, {clients} clients: {figures.requests_per_second:.0f} requests/s in "
                f"batches of {batch:.1f}, {cpu / elapsed:.2f} cores busy",
                f"  CPU ms a request: {whole:.2f}, of which decoding {decoding:.2f}, inference "
                f"{inference:.2f}, everything else {whole - decoding - inference:.2f}; decoding + "
                f"inference is {(decoding + inference) / whole:.0%}; the load generator takes "
                f"another {1e3 * figures.generator_seconds:.2f}",
                f"  on the clock, ms: {clock}; the client waits {1e3 * figures.p50:.1f}",
            ]
    return lines


@dataclass(frozen=True)
class _Stage:
    """How long a stage took so far, and how often it was passed."""

    seconds: float
    count: float

    def __sub__(self, other: "_Stage") -> "_Stage":
        return _Stage(self.seconds - other.seconds, self.count - other.count)


def _stages(port: int) -> dict[str, _Stage]:
    """Reads from `/metrics` what every stage took: of an image, or for inference of a batch."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    samples = {
        (sample.name.removeprefix(_STAGES), sample.labels.get("stage", "")): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == _STAGES
        for sample in family.samples
    }
    return {
        name: _Stage(samples["_sum", name], samples["_count", name])
        for name in ("decode", "queue", "inference", "request")
    }
