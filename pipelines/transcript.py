"""What kfp.local prints of a run: all of it into the log, what matters onto the console."""

import io
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from components.shared.reports.text import printable
from pipelines.progress_bar import ProgressBar

_STARTED = re.compile(r"- INFO - Executing task '(?P<name>[\w-]+)'")
_CACHED = re.compile(r"- INFO - Task (?P<name>[\w-]+) cache hit")
_ENDED = re.compile(r"- INFO - Task '[\w-]+' finished with status")
# What kfp.local itself says; what a step prints is indented.
_OF_KFP = re.compile(r"[\d:.]+ - (?P<level>INFO|WARNING|ERROR) - ")
# The executor's own lines, and TensorFlow's before its log level holds.
_NOISE = re.compile(r"^\[KFP Executor|^[IWE]0000 |^WARNING: All log messages before absl|^\s*$")
_TRACEBACK = "Traceback (most recent call last):"


@dataclass
class Step:
    """A step that runs, or that failed.

    Attributes:
        name: Its name in the pipeline.
        last_line: The last line that it printed.
        crashed: Whether it printed a traceback.
        last_words: Why it ended, as it said; empty unless it failed and said so.
    """

    name: str
    last_line: str = ""
    crashed: bool = False
    last_words: str = ""


class _Now(threading.local):
    """Where a thread is in what it prints: steps side by side have one each."""

    rest = ""
    in_dump = False
    step: Step | None = None


class Transcript(io.TextIOBase):
    """Takes all that kfp.local prints.

    Attributes:
        failed: The first step that failed; kfp.local may run others beside and after it.
    """

    def __init__(self, console: Console, bar: ProgressBar, log: TextIO, last_words: Path) -> None:
        """Takes where everything goes.

        Args:
            console: Shows what matters.
            bar: Shows the progress of the step that runs.
            log: Takes every line.
            last_words: File that a step writes why it ends into.
        """
        self._console, self._bar, self._log, self._file = console, bar, log, last_words
        self._now = _Now()
        self._running: list[Step] = []
        self.failed: Step | None = None

    @property
    def step(self) -> Step | None:
        """The step that runs, of several the last that began; None between steps."""
        return self._running[-1] if self._running else None

    def writable(self) -> bool:
        """Returns True, as `redirect_stdout` needs."""
        return True

    def write(self, text: str) -> int:
        """Takes text; whole lines are shown."""
        *lines, self._now.rest = (self._now.rest + text).split("\n")
        for line in lines:
            self._take_line(line)
        return len(text)

    def end(self) -> None:
        """Tells that nothing more comes: a step that has not ended well has failed."""
        for step in list(self._running):
            self._end_step(step, well=False)

    def _end_step(self, step: Step, well: bool) -> None:
        self._bar.end()
        self._running = [running for running in self._running if running is not step]
        if self._running:
            self._bar.begin(self._running[-1].name)
        self._now.step = None
        if not well:
            step.last_words = self._last_words()
            self.failed = self.failed or step

    def _last_words(self) -> str:
        return self._file.read_text(encoding="utf-8", errors="replace").strip()

    def _take_line(self, raw: str) -> None:
        line = "\t".join(printable(part) for part in plain(raw).split("\t"))
        self._log.write(line + "\n")
        self._log.flush()
        if cached := _CACHED.search(line):
            self._console.print(f"[bold]{cached['name']}[/]  [dim]taken from the cache[/]")
        elif started := _STARTED.search(line):
            if self._now.step:
                self._end_step(self._now.step, well=False)
            if not self._running:
                self._file.write_bytes(b"")
            self._now.step = step = Step(started["name"])
            self._running.append(step)
            self._console.print(f"[bold]{step.name}[/]")
            self._bar.begin(step.name)
        elif of_kfp := _OF_KFP.match(line):
            if self._now.step and (_ENDED.search(line) or of_kfp["level"] == "ERROR"):
                self._end_step(self._now.step, well=of_kfp["level"] == "INFO")
        elif self._now.step:
            self._show(self._now.step, line.removeprefix("    "))

    def _show(self, step: Step, line: str) -> None:
        # The executor dumps its input as JSON over many lines; the log has it.
        if "]: Got executor_input:" in line or self._now.in_dump:
            self._now.in_dump = line != "}"
            return
        step.crashed = step.crashed or line == _TRACEBACK
        if _NOISE.match(line):
            return
        step.last_line = line
        if step.crashed or self._bar.takes(line) or line in self._last_words().splitlines():
            return
        self._console.print(Text(f"  {line}"), soft_wrap=True)


def plain(text: str) -> str:
    """Returns text without colours and stray carriage returns."""
    return re.sub(r"\x1b\[[0-9;]*m|\r", "", text)
