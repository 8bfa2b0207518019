"""How commands end: exit statuses, one line each, on pipes and full disks."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from components.shared.errors import UserError
from pipelines import ending
from pipelines.ending import FaultError, ended
from tests.terminal import run_on_terminal, seen

PROJECT = Path(__file__).parents[2]
# Where a command reads and writes is not the point here; how it ends is.
PROGRAM = """
import sys
from pipelines.ending import ended
from pipelines.output import console
def command():
    {}
sys.exit(ended(command))
"""


def _raising(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("[b]x\n: no file"), 2, r"[b]x\n: no file"),
        (FileNotFoundError(2, "No such file or directory", "a/b"), 2, "a/b: No such file or dire"),
        (OSError(28, "No space left on device", "a"), 2, "a: No space left on device"),
        (FaultError("train: broke"), 1, "train: broke"),
        (ModuleNotFoundError("No module", name="kserve"), 2, "this command needs the package ks"),
        (typer.Abort(), 1, "nothing was done"),
    ],
)
def test_each_end_has_its_status_and_a_line(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(_raising(error)) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {line}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("status", [None, 0, 1])
def test_a_command_may_say_its_status(status: int | None) -> None:
    assert ended(lambda: status) == (status or 0)


def test_a_fault_is_one_line_and_its_traceback_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending.tempfile, "tempdir", str(tmp_path))
    assert ended(_raising(KeyError("a\nb"))) == 1
    line = capsys.readouterr().err
    found = re.fullmatch(
        r"error: KeyError: 'a\\nb'; this is a fault of brain-tumor, please report it with (.+)\n",
        line,
    )
    assert found, line
    assert "Traceback" in Path(found[1]).read_text()
    assert Path(found[1]).is_relative_to(tmp_path)


def _run(body: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body)],
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("call", ["print(*range(9999))", "console.print(*range(9999))"])
def test_a_reader_that_has_gone_hears_nothing(call: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = _run(call, stdout=theirs)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("call", ["print('a')", "console.print('a')"])
def test_a_full_disk_behind_standard_output_is_one_line(call: str) -> None:
    with open("/dev/full", "w") as full:
        done = _run(call, stdout=full)
    assert done.returncode == 2
    assert done.stderr == (
        "error: standard output: No space left on device; "
        "check the path, its permissions and the free space\n"
    )


def test_ctrl_c_is_one_word_and_130() -> None:
    script = PROGRAM.format("import time; print('begun', flush=True); time.sleep(60)")

    def answer(said: str) -> str:
        if said != "begun\r\n":
            return ""
        time.sleep(0.5)  # so that the program is in its sleep, not in the write
        return "\x03"

    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    status, said = run_on_terminal([sys.executable, "-c", script], environment, answer=answer)
    assert status == 130
    told = "stopped; to go on, give the same command again"
    assert sorted(seen(said)) == ["^C", "begun", told]  # the echo of ^C may come after it
