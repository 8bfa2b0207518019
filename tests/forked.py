"""Processes that start at once, because they are forked from one that has imported what they need.

Starting Python for each takes a second of CPU or more, nearly all of it for imports. What a process
does while it starts or ends is seen in a fresh one only.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["__main__", "tests.imported"])


class Forked:
    """A process with the methods of `subprocess.Popen` that tests use.

    Attributes:
        pid: Its number.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        output: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Starts it.

        Args:
            function: What it does, which can be imported by its name.
            arguments: Of the function.
            output: The file to write stdout and stderr to.
            environment: All variables of it.
        """
        given = (output, dict(environment), function, arguments)
        self._process = _CONTEXT.Process(target=_call, args=given, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_module(name: str, *arguments: str) -> None:
    """Does what `python -m` does."""
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _call(
    output: Path,
    environment: dict[str, str],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    with output.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)
