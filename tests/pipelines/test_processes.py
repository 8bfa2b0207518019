"""Steps' processes: any path works, and whoever stops the run stops the step."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kfp.local import subprocess_task_handler as handler
from kfp.local.io import IOStore

from pipelines.catalogue import Pipeline
from pipelines.processes import loops_over_outputs, steps_as_processes, with_interpreter
from tests.pipelines.specification import containers_of

PROJECT = Path(__file__).parents[2]
SHELL_LINE = containers_of(Pipeline.training.committed.read_text())["ingest"]["command"][2]


@pytest.mark.parametrize("folder", ["a b", "(x)&y", "it's", '"$HOME"', "python3", "ä\udcff"])
def test_any_path_of_the_interpreter(tmp_path: Path, folder: str) -> None:
    interpreter = tmp_path / folder / "python3.11"
    interpreter.parent.mkdir()
    interpreter.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    interpreter.chmod(0o755)
    arguments = ["code of python3", "--executor_input", '{"source": "/data/python3/x"}']
    command = with_interpreter(["sh", "-ec", SHELL_LINE, *arguments], str(interpreter))
    said = subprocess.run(command, capture_output=True, check=True).stdout
    ran, _, module, *_, option, value = said.splitlines()
    assert ran == os.fsencode(interpreter)
    assert module == b"kfp.dsl.executor_main"
    assert (option, value) == (b"--executor_input", arguments[2].encode())


def test_what_a_step_prints_is_read_whatever_it_is(capsys: pytest.CaptureFixture) -> None:
    with steps_as_processes() as statuses:
        code = handler.run_local_subprocess(["sh", "-c", r"printf 'gr\303\266\303\237e \377\n'"])
    assert (code, statuses) == (0, [0])
    assert capsys.readouterr().out == "    größe \\xff\n\n\n"


RUN = """
from kfp.local import subprocess_task_handler as handler
from pipelines.processes import steps_as_processes
with steps_as_processes():
    handler.run_local_subprocess(["sh", "-c", "echo $$; exec sleep 600"])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_step_too(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-uc", RUN],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    step = int(process.stdout.readline())
    os.kill(step, 0)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(step, 0)


def test_a_second_signal_does_not_wait() -> None:
    stubborn = RUN.replace("exec sleep 600", "trap '' TERM INT; sleep 600 & echo; wait; wait")
    process = subprocess.Popen(
        [sys.executable, "-uc", stubborn],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    step = int(process.stdout.readline())
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)  # far less than it would wait
    process.send_signal(signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
    with pytest.raises(ProcessLookupError):
        os.kill(step, 0)
    os.killpg(process.pid, signal.SIGKILL)  # the sleep


def test_a_loop_is_over_an_output_of_any_name() -> None:
    store = IOStore()
    store.put_task_output("check", "ingest_workers", [1])
    with loops_over_outputs():
        for key in ("check-ingest_workers", "pipelinechannel--check-ingest_workers"):
            assert IOStore(store).get_parent_input(key) == [1]
        with pytest.raises(ValueError, match="no output named 'other'"):
            store.get_parent_input("check-other")
    with pytest.raises(ValueError, match="not found"):
        store.get_parent_input("check-ingest_workers")
