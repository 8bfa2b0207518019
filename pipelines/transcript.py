"""What kfp.local prints of a run: all of it into the log, what matters onto the console."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from components.shared.reports.text import printable
from pipelines.progress_bar import Lines, ProgressBar

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


class Transcript(Lines):
    """Takes all that kfp.local prints.

    Attributes:
        step: The step that runs; None between steps.
        failed: The first step that failed; kfp.local may run others after it.
    """

    def __init__(self, console: Console, bar: ProgressBar, log: TextIO, last_words: Path) -> None:
        """Takes where everything goes.

        Args:
            console: Shows what matters.
            bar: Shows the progress of the step that runs.
            log: Takes every line.
            last_words: File that a step writes why it ends into.
        """
        super().__init__(self._take_line)
        self._console, self._bar, self._log, self._file = console, bar, log, last_words
        self._in_dump = False
        self.step: Step | None = None
        self.failed: Step | None = None

    def end(self) -> None:
        """Tells that nothing more comes: a step that has not ended well has failed."""
        self._end_step(well=False)

    def _end_step(self, well: bool) -> None:
        self._bar.end()
        if self.step and not well and not self.failed:
            self.step.last_words = self._last_words()
            self.failed = self.step
        self.step = None
        self._file.write_bytes(b"")

    def _last_words(self) -> str:
        return self._file.read_text(encoding="utf-8", errors="replace").strip()

    def _take_line(self, raw: str) -> None:
        line = "\t".join(printable(part) for part in plain(raw).split("\t"))
        self._log.write(line + "\n")
        self._log.flush()
        if cached := _CACHED.search(line):
            self._console.print(f"[bold]{cached['name']}[/]  [dim]taken from the cache[/]")
        elif started := _STARTED.search(line):
            self._end_step(well=False)
            self.step = Step(started["name"])
            self._console.print(f"[bold]{self.step.name}[/]")
            self._bar.begin(self.step.name)
        elif of_kfp := _OF_KFP.match(line):
            if _ENDED.search(line) or of_kfp["level"] == "ERROR":
                self._end_step(well=of_kfp["level"] == "INFO")
        elif self.step:
            self._show(self.step, line.removeprefix("    "))

    def _show(self, step: Step, line: str) -> None:
        # The executor dumps its input as JSON over many lines; the log has it.
        if "]: Got executor_input:" in line or self._in_dump:
            self._in_dump = line != "}"
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
