"""What a replica of the predictor takes: CPU until it is ready, memory before and after requests.

    python -m benchmarks.replica --requests 10000

Each round starts the predictor, as its image does, sends requests of one image over one connection,
asks for one heat map, and stops it. Memory is that of all its processes; of what they share, each
has its share. `--replicas 3` starts three of them at once, which the same clients ask in turn.
"""

import argparse
import base64
import io
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.serving.processes import Server, free_ports
from pipelines.ending import ended

START_SECONDS = 120.0
ARENAS = "2"  # as Dockerfile.serve sets it


def request() -> dict[str, list[dict[str, dict[str, str]]]]:
    """Returns a request of v1 with one slice, 512x512 as JPEG."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).resize((512, 512)).save(file, "JPEG")
    return {"instances": [{"image_bytes": {"b64": base64.b64encode(file.getvalue()).decode()}}]}


def start(model: Path, log: Path) -> tuple[Server, str]:
    """Starts a predictor and returns it with its address, before it is ready."""
    port = free_ports(2)
    command = [sys.executable, "-m", "serving", str(model), "--name", "brain-tumor"]
    ports = ["--port", str(port), "--grpc-port", str(port + 1)]
    server = Server([*command, *ports], log, MALLOC_ARENA_MAX=ARENAS)
    return server, f"http://127.0.0.1:{port}"


def is_ready(url: str) -> bool:
    """Asks a predictor for its readiness."""
    try:
        return httpx.get(f"{url}/v2/models/brain-tumor/ready").status_code == 200
    except httpx.TransportError:
        return False


def measure(model: Path, replicas: int, requests: int) -> list[float]:
    """Measures one round.

    Returns:
        Of a replica: CPU seconds and seconds until ready, megabytes when ready, after the
        requests and after a heat map, and the median time of a request in milliseconds.
    """
    with ExitStack() as stack, tempfile.TemporaryDirectory() as logs:
        started = [start(model, Path(logs, f"{number}.log")) for number in range(replicas)]
        servers = [stack.enter_context(server) for server, _ in started]
        seconds = [server.wait(partial(is_ready, url), START_SECONDS) for server, url in started]
        cpu = [server.cpu_seconds() for server in servers]
        memory = [[server.proportional_memory() for server in servers]]
        body, times = request(), []
        clients = [
            stack.enter_context(httpx.Client(base_url=url, timeout=60)) for _, url in started
        ]
        for number in range(requests):
            begun = time.perf_counter()
            answer = clients[number % replicas].post("/v1/models/brain-tumor:predict", json=body)
            times.append(time.perf_counter() - begun)
            answer.raise_for_status()
        memory.append([server.proportional_memory() for server in servers])
        for client in clients:
            client.post("/v1/models/brain-tumor:explain", json=body).raise_for_status()
        memory.append([server.proportional_memory() for server in servers])
    mean = [statistics.fmean(at) / 1e6 for at in memory]
    return [
        statistics.fmean(cpu),
        statistics.fmean(seconds),
        *mean,
        1000 * statistics.median(times),
    ]


def main() -> None:
    """Prints a row for each round."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=Path("runs/demo/registry/brain-tumor/1"))
    parser.add_argument("--requests", type=int, default=1000, help="of all replicas (1,000)")
    parser.add_argument("--replicas", type=int, default=1, help="at the same time (1)")
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured (3)")
    options = parser.parse_args()

    table = Table(box=None, pad_edge=False)
    for heading in (
        "to ready, CPU s",
        "to ready, s",
        "MB",
        "after requests",
        "after a heat map",
        "p50, ms",
    ):
        table.add_column(heading, justify="right")
    for _ in range(options.rounds):
        cpu, seconds, ready, after, explained, median = measure(
            options.model, options.replicas, options.requests
        )
        table.add_row(
            f"{cpu:.1f}",
            f"{seconds:.1f}",
            f"{ready:.0f}",
            f"{after:.0f}",
            f"{explained:.0f}",
            f"{median:.1f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(ended(main))
