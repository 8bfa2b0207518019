"""Servers as processes: started, measured and stopped, with all that they start themselves."""

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

ROOT = Path(__file__).parents[2]
_MARK = "BENCHMARK_SERVER"
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05


class StartError(Exception):
    """A server does not come up; the message is one line."""


def free_ports(count: int) -> int:
    """Returns the first of some neighbouring ports that nobody listens on."""
    while True:
        sockets: list[socket.socket] = []
        try:
            first = 0
            for offset in range(count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", first + offset))
                first = first or sockets[0].getsockname()[1]
            return first
        except (OSError, OverflowError):
            continue
        finally:
            for one in sockets:
                one.close()


class Server:
    """A running server, from start to stop.

    It carries a mark in its environment that its children inherit: so those are found too that
    are not its children any more, as Ray's are.
    """

    def __init__(self, command: Sequence[str], log: Path, **environment: str) -> None:
        """Starts it.

        Args:
            command: What to run; the folder is that of this project.
            log: Where its output goes.
            environment: Variables beside those of this process.
        """
        self._mark = uuid.uuid4().hex
        self._log = log
        self.started = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ
                | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
                | environment
                | {_MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self) -> "Server":
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops it."""
        self.stop()

    def wait(self, answers: Callable[[], bool], seconds: float) -> float:
        """Waits until it answers.

        Args:
            answers: Asks it.
            seconds: How long to wait at most.

        Returns:
            Seconds from its start.

        Raises:
            StartError: It ended, or did not answer in time; with the end of its log.
        """
        while not answers():
            if self._process.poll() is not None:
                raise StartError(f"ended with status {self._process.returncode}: {self._tail()}")
            if time.perf_counter() - self.started > seconds:
                raise StartError(f"no answer within {seconds:.0f} s: {self._tail()}")
            time.sleep(_POLL_SECONDS)
        return time.perf_counter() - self.started

    def memory(self) -> int:
        """Returns resident bytes of all its processes; a page that two share counts twice."""
        total = 0
        for process in self._tree():
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def proportional_memory(self) -> int:
        """Returns bytes of all its processes; of a page that some share, each has its share."""
        total = 0
        for process in self._tree():
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total

    def cpu_seconds(self) -> float:
        """Returns what all its processes have taken so far."""
        total = 0.0
        for process in self._tree():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def stop(self) -> None:
        """Asks it to stop, and ends whatever of it is still there after a while."""
        tree = self._tree()
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        _, alive = psutil.wait_procs({*tree, *self._tree()}, timeout=2)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=_STOP_SECONDS)
        self._process.wait()

    def _tree(self) -> set[psutil.Process]:
        found: set[psutil.Process] = set()
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == self._mark:
                    found.add(process)
        # Some write their title over their environment, but they have a parent.
        for process in list(found):
            with suppress(psutil.Error):
                found.update(process.children(recursive=True))
        return found

    def _tail(self) -> str:
        text = self._log.read_text(errors="replace")
        return " ".join(text[-2000:].split())[-600:] or "it wrote nothing"


def listens(port: int) -> bool:
    """Returns whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
