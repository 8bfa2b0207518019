"""How kfp.local starts a step's process, where its own way lacks something.

It puts the interpreter unquoted into a shell line, so that a path with a space fails, puts it into
the step's arguments too, reads what the step prints in the terminal's encoding, and leaves the step
running when it is itself told to stop. Side by side it starts two steps at most, and indents their
lines by a `print` that outlives them.
"""

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

from kfp.local import logging_utils
from kfp.local import subprocess_task_handler as handler
from kfp.local.io import IOStore
from kfp.local.orchestrator.enhanced_dag_orchestrator import ParallelExecutor

from pipelines.ending import Stopped

_PATIENCE = 10  # seconds between being asked to stop and being stopped
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def steps_as_processes() -> Iterator[list[int]]:
    """Lets kfp.local start its steps in this way; Ctrl-C, SIGTERM and SIGHUP stop them too.

    A second signal does not wait until they have ended as they like.

    Yields:
        A list that gets the exit status of each step that ends; a negative one is a signal's.

    Raises:
        Stopped: One of these signals came, and the steps have ended.
    """
    running: set[subprocess.Popen] = set()
    statuses: list[int] = []
    stopped = threading.Event()

    def run(full_command: list[str], env_vars: Mapping[str, str] | None = None) -> int:
        if stopped.is_set():  # kfp.local would go on with the next fold
            raise RuntimeError("stopped")
        process = subprocess.Popen(
            full_command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            env={**os.environ, **(env_vars or {})},
        )
        running.add(process)
        try:
            for line in process.stdout or ():
                print(f"    {line}", end="")
            print("\n")  # as kfp.local ends a step's lines
            statuses.append(process.wait())
            return statuses[-1]
        finally:
            _stop([process])
            running.discard(process)

    def stop(number: int, _: FrameType | None) -> None:
        if stopped.is_set():
            for process in list(running):
                process.kill()
            return  # to where the first signal waits for them
        stopped.set()
        _stop(list(running))
        raise Stopped(128 + number)

    kept = handler.replace_python_executable, handler.run_local_subprocess
    handler.replace_python_executable, handler.run_local_subprocess = with_interpreter, run
    indenting, logging_utils.indented_print = logging_utils.indented_print, nullcontext
    in_main = threading.current_thread() is threading.main_thread()  # others get no signals
    before = {number: signal.signal(number, stop) for number in _STOPPING if in_main}
    try:
        yield statuses
    finally:
        handler.replace_python_executable, handler.run_local_subprocess = kept
        logging_utils.indented_print = indenting
        for number, action in before.items():
            signal.signal(number, action)


@contextmanager
def at_a_time(number: int) -> Iterator[None]:
    """Lets kfp.local run so many turns of a loop at a time, where the loop has no limit of its own.

    Its own limit is two, for the threads of loops in loops.

    Args:
        number: Of turns.
    """
    own = ParallelExecutor.__init__

    def with_limit(self: Any, *args: Any, **kwargs: Any) -> None:
        own(self, *args, **kwargs)
        self.max_workers = self.conservative_max = number

    ParallelExecutor.__init__ = with_limit
    try:
        yield
    finally:
        ParallelExecutor.__init__ = own


@contextmanager
def loops_over_outputs() -> Iterator[None]:
    """Lets kfp.local loop over a step's output of any name; it finds only one called `Output`."""
    own = IOStore.get_parent_input

    def get_parent_input(self: IOStore, key: str) -> Any:
        try:
            return own(self, key)
        except ValueError:
            step, _, output = key.removeprefix("pipelinechannel--").rpartition("-")
            return self.get_task_output(step, output)

    IOStore.get_parent_input = get_parent_input
    try:
        yield
    finally:
        IOStore.get_parent_input = own


def with_interpreter(full_command: list[str], executable: str) -> list[str]:
    """Returns a step's command with the interpreter in its shell line, and only there.

    `exec` makes the shell the interpreter, so that a signal to the one process reaches the step.

    Args:
        full_command: `sh -c`, a line with `python3` in it, the step's code and its arguments.
        executable: Path of the interpreter.
    """
    shell, option, line, *rest = full_command
    before, _, after = line.rpartition("python3")
    return [shell, option, f"{before}exec {shlex.quote(executable)}{after}", *rest]


def _stop(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
