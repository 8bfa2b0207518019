"""What a run shows of what kfp.local prints, and what it remembers of a step that failed."""

import io
import re
import threading
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.progress_bar import ProgressBar
from pipelines.transcript import Step, Transcript

LINES = """\
10:00:00.000 - INFO - ----------------------------------------
10:00:00.001 - INFO - Running pipeline: 'brain-tumor-training'
10:00:00.002 - INFO - Task ingest cache hit (key=0123); skipping execution.
10:00:00.003 - INFO - Executing task \x1b[96m'train'\x1b[0m
10:00:00.004 - INFO - Streamed logs:

    [KFP Executor 2026-01-01 10:00:00,000 INFO]: Got executor_input:
    {
        "inputs": {
            "secret": "dumped"
        }
    }
    I0000 00:00:1 tensorflow chatter
    WARNING: All log messages before absl::InitializeLog() is called
    1 of 2 epochs (3.1 s each, 3 s left): loss [0.5]\r
    train finished in 12.5 s, peak memory 1.25 GB
    [KFP Executor 2026-01-01 10:00:12,000 INFO]: Wrote executor output file.
10:00:13.000 - INFO - Task \x1b[96m'train'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
10:00:13.001 - INFO - Task 'train' outputs:
    best_epoch: 2
"""


class _Run:
    """A run's transcript, on a console without a terminal."""

    def __init__(self, folder: Path) -> None:
        self.last_words = folder / "last-words"
        self.shown, self.log = io.StringIO(), io.StringIO()
        console = Console(file=self.shown, width=200, color_system=None)
        self.transcript = Transcript(console, ProgressBar(console), self.log, self.last_words)

    def write(self, text: str, piece: int | None = None) -> None:
        for start in range(0, len(text), piece or len(text)):
            self.transcript.write(text[start : start + (piece or len(text))])

    def lines(self) -> list[str]:
        return self.shown.getvalue().splitlines()


@pytest.fixture
def run(tmp_path: Path) -> _Run:
    return _Run(tmp_path)


@pytest.mark.parametrize("piece", [None, 1, 7])
def test_the_console_shows_what_matters(run: _Run, piece: int | None) -> None:
    run.write(LINES, piece)
    assert run.lines() == [
        "ingest  taken from the cache",
        "train",
        "  1 of 2 epochs (3.1 s each, 3 s left): loss [0.5]",
        "  train finished in 12.5 s, peak memory 1.25 GB",
    ]


def test_steps_side_by_side_have_lines_of_their_own(run: _Run) -> None:
    turn = threading.Barrier(2)

    def write(name: str, end: str) -> None:
        for part in (
            f"10:00 - INFO - Executing task '{name}'\n",
            "    [KFP Executor 2026]: Got executor_input:\n    {\n",
            '        "secret": "dumped"\n',
            f"    }}\n    trial {name} beg",
            "ins\n",
            f"10:01 - {end}\n    after\n",
        ):
            turn.wait()
            run.transcript.write(part)

    ends = {
        "a": "INFO - Task 'a' finished with status SUCCESS",
        "b": "ERROR - Task 'b' finished with status FAILURE",
    }
    threads = [threading.Thread(target=write, args=item) for item in ends.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.lines()) == ["  trial a begins", "  trial b begins", "a", "b"]
    assert run.transcript.failed
    assert run.transcript.failed.name == "b"
    assert run.transcript.step is None


def test_the_log_has_everything_without_colours(run: _Run) -> None:
    run.write(LINES)
    assert run.log.getvalue() == re.sub(r"\x1b\[\d+m|\r", "", LINES)


def test_what_a_step_prints_is_no_markup(run: _Run) -> None:
    run.write("10:00 - INFO - Executing task 'train'\n    [bold]not bold[/] [/nothing]\n")
    assert "  [bold]not bold[/] [/nothing]" in run.lines()


START = "10:00:00.1 - INFO - Executing task 'ingest'\n10:00:00.2 - INFO - Streamed logs:\n\n"


@pytest.mark.parametrize(
    "after",
    [
        "10:01:00.3 - ERROR - Task 'ingest' finished with status FAILURE\n    not of a step\n",
        "",
        "10:01:00.3 - INFO - Executing task 'other'\n"
        "10:01:00.4 - INFO - Task 'other' finished with status SUCCESS\n",
    ],
    ids=["told", "silent", "others go on"],
)
def test_why_a_step_failed_is_told_once_at_the_end(run: _Run, after: str) -> None:
    run.write(f"{START}    a word before\n")
    reason = "ingest: /nowhere: there is nothing; give a folder"
    run.last_words.write_text(reason)
    run.write(f"    a late word\n    {reason}\n\n{after}")
    run.transcript.end()
    assert run.lines()[:3] == ["ingest", "  a word before", "  a late word"]
    assert not [line for line in run.lines() if "nothing" in line or "not of" in line]
    assert run.transcript.failed == Step("ingest", reason, False, reason)
    assert reason in run.log.getvalue()


def test_a_traceback_is_for_the_log(run: _Run) -> None:
    trace = "    Traceback (most recent call last):\n      File x, line 3\n    KeyError: 'a'\n"
    run.write(f"{START}    before\n{trace}")
    run.transcript.end()
    assert run.lines() == ["ingest", "  before"]
    assert run.transcript.failed == Step("ingest", "KeyError: 'a'", True, "")
    assert trace in run.log.getvalue()


def test_a_run_that_ends_well_has_no_step_that_failed(run: _Run) -> None:
    run.write(LINES)
    run.transcript.end()
    assert run.transcript.failed is None
