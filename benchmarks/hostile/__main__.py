"""What the predictor does while it is attacked: memory, and how long honest clients wait.

    python -m benchmarks.hostile --model runs/registry/brain-tumor/1

Each attack runs for some seconds against the predictor's real process, with the limits that it has
by default. Meanwhile honest clients send one image a request, ten a second over REST and five over
gRPC. Attackers, clients and predictor share the same cores. The predictor holds where it lives on
within the memory of its pod, answers 99% of honest requests in under a second, and gives the
memory back.
"""

import argparse
import math
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.hostile import attacks, honest
from benchmarks.hostile.attacks import ATTACKS, Target
from benchmarks.serving.load import Load, summed_up
from benchmarks.serving.measure import SMALL
from benchmarks.serving.payloads import make_payloads
from benchmarks.serving.processes import Server, StartError, free_ports, listens
from pipelines.ending import ended

MIB = 2**20
POD_BYTES = 2 * 2**30  # the memory that manifests/base gives the predictor
KEPT = 1.25  # of the memory before: what allocators keep is no leak
P99_SECONDS = 1.0
REST_RATE, GRPC_RATE = 10.0, 5.0
_LOOK_SECONDS, _START_SECONDS, _AFTER_SECONDS = 0.2, 120.0, 10.0
_SETTINGS = {
    "BRAIN_TUMOR_SERVE_IMAGE_URL_HOSTS": "127.0.0.1",
    "BRAIN_TUMOR_SERVE_IMAGE_URL_HTTP": "true",
    "BRAIN_TUMOR_SERVE_IMAGE_URL_NETWORKS": "127.0.0.0/8",
}


@dataclass(frozen=True)
class Outcome:
    """What one attack did.

    Attributes:
        sent: Bytes of the attacker.
        first: Resident bytes of all the predictor's processes before any attack.
        before, most, after: The same around this one.
        rest, grpc: What honest clients saw.
        alive: Whether the predictor is.
    """

    sent: int
    first: int
    before: int
    most: int
    after: int
    rest: Load
    grpc: Load
    alive: bool

    def verdict(self) -> str:
        """Returns `holds`, or what is wrong."""
        wrong = []
        if not self.alive:
            wrong.append("killed")
        if self.most > POD_BYTES:
            wrong.append("more memory than the pod has")
        elif self.after > KEPT * self.first:
            wrong.append("keeps memory")
        if max(_p99(self.rest), _p99(self.grpc)) >= P99_SECONDS:
            wrong.append("honest clients wait")
        return ", ".join(wrong) or "holds"


class Watch:
    """The most memory that a server takes between two moments."""

    def __init__(self, server: Server) -> None:
        """Args: server: whose."""
        self._server = server
        self._over = threading.Event()
        self.most = 0

    def __enter__(self) -> "Watch":
        """Begins."""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Ends."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.most = max(self.most, self._server.memory())


def main() -> None:
    """Prints a table with a row for each attack; exits with status 1 where one does harm."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, required=True, help="folder of a registered version")
    parser.add_argument("--attacks", default="", help="only those whose name has this in it")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each attack (20)")
    options = parser.parse_args()
    chosen = [name for name in ATTACKS if options.attacks in name]
    if not chosen:
        parser.error(f"--attacks {options.attacks}: there are {', '.join(ATTACKS)}")
    _allow_connections()
    files = [payload.data for payload in make_payloads("sample://?images=60")[SMALL]]
    table = _table()
    outcomes = []
    with (
        slow_host() as slow,
        TemporaryDirectory() as folder,
        ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool,
        ExitStack() as servers,
    ):
        predictor = None
        for name in ("", *chosen):
            if predictor is None or not predictor.alive():
                predictor = Predictor(options.model, Path(folder, "log"), slow)
                servers.enter_context(predictor.server)
                _honest(pool, predictor.target, files, 2.0)  # whoever is first waits longer
            print(f"{name or 'no attack'} ...", end=" ", flush=True)
            outcome = _measure(predictor, name, files, options.seconds, pool)
            print(outcome.verdict(), flush=True)
            outcomes.append(outcome)
            table.add_row(name or "none", *_cells(outcome))
    Console(width=160).print(table)
    sys.exit(any(outcome.verdict() != "holds" for outcome in outcomes))


@contextmanager
def slow_host() -> Iterator[int]:
    """Listens, and never answers; yields the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        kept: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    kept.append(listener.accept()[0])
                except OSError:
                    return
                del kept[:-1024]

        threading.Thread(target=take, daemon=True).start()
        yield int(listener.getsockname()[1])


class Predictor:
    """The predictor's process.

    Attributes:
        server: The process.
        target: Where it listens.
        first: Resident bytes before the first attack; 0 until that is known.
    """

    def __init__(self, model: Path, log: Path, slow: int) -> None:
        """Starts it, and waits until it listens.

        Args:
            model: Folder of a registered version.
            log: Where its output goes.
            slow: See `Target`.
        """
        port = free_ports(2)
        self.target = Target(port, port + 1, slow)
        self.first = 0
        command = [sys.executable, "-m", "serving", str(model), "--name", "brain-tumor"]
        command += ["--port", str(port), "--grpc-port", str(port + 1)]
        self.server = Server(command, log, **_SETTINGS)
        try:
            self.server.wait(self.alive, _START_SECONDS)
        except StartError as error:
            self.server.stop()
            sys.exit(f"the predictor did not start: {error}")

    def alive(self) -> bool:
        """Returns whether it listens at both ports."""
        return listens(self.target.http) and listens(self.target.grpc)


def _measure(
    predictor: Predictor,
    name: str,
    files: list[bytes],
    seconds: float,
    pool: ProcessPoolExecutor,
) -> Outcome:
    """Attacks the predictor; without a name honest clients are alone."""
    target = predictor.target
    before = predictor.server.memory()
    predictor.first = predictor.first or before
    with Watch(predictor.server) as watch:
        sending = pool.submit(attacks.run, name, target, seconds) if name else None
        time.sleep(1.0)  # connections are open
        rest, grpc = _honest(pool, target, files, seconds - 2.0)
        sent = sending.result() if sending else 0
    if name:
        time.sleep(_AFTER_SECONDS)
    after = predictor.server.memory()
    return Outcome(
        sent,
        predictor.first,
        before,
        max(before, watch.most),
        after,
        rest,
        grpc,
        predictor.alive(),
    )


def _honest(
    pool: ProcessPoolExecutor, target: Target, files: list[bytes], seconds: float
) -> tuple[Load, Load]:
    both: tuple[Future[Load], Future[Load]] = (
        pool.submit(honest.over_rest, target.http, files, REST_RATE, seconds),
        pool.submit(honest.over_grpc, target.grpc, files, GRPC_RATE, seconds),
    )
    return both[0].result(), both[1].result()


def _allow_connections() -> None:
    """Raises the number of files that attackers may have open, which is often 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _table() -> Table:
    table = Table(box=box.MARKDOWN, header_style="", show_edge=True)
    table.add_column("attack")
    for heading in ("MB sent", "before", "at most", "after", "REST p99", "failed"):
        table.add_column(heading, justify="right")
    for heading in ("gRPC p99", "failed"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    return table


def _cells(outcome: Outcome) -> list[str]:
    memory = (outcome.before, outcome.most, outcome.after)
    cells = [f"{outcome.sent / 1e6:,.1f}", *(f"{size / MIB:,.0f}" for size in memory)]
    for load in (outcome.rest, outcome.grpc):
        p99 = _p99(load)
        cells.append(f"{1e3 * p99:,.0f} ms" if math.isfinite(p99) else "-")
        cells.append(str(summed_up([load]).failed))
    return [*cells, outcome.verdict()]


def _p99(load: Load) -> float:
    return summed_up([load]).p99


if __name__ == "__main__":  # not for the processes that multiprocessing starts
    sys.exit(ended(main))
