"""Progress as plain lines: readable in a pod's log and in a file; a terminal makes a bar of them.

A line says how much is done, `3 of 16 epochs (3.1 s each, 40 s left)`, or what has begun,
`trial 3 of 8: …`. `read_progress` reads both back.
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

_SECONDS_BETWEEN = 2.0
_LEFT = r"(?:(?P<h>\d+) h )?(?:(?P<min>\d+) min )?(?:(?P<s>\d+) s )?left"
_DONE = re.compile(
    r"(?P<count>[\d,]+) of (?P<total>[\d,]+) (?P<what>[^():]+) "
    rf"\((?:[\d,.]+ a second|[\d.]+ s each)(?:, {_LEFT})?\)(?:: (?P<text>.*))?"
)
_BEGUN = re.compile(
    rf"(?P<what>[a-z]+) (?P<count>\d+) of (?P<total>\d+)(?: \({_LEFT}\))?: (?P<text>.*)"
)


@dataclass(frozen=True)
class Progress:
    """What a line of progress says.

    Attributes:
        what: What is counted, such as `files read` or `trial`.
        done: How many are done.
        total: Of how many.
        begun: Whether the line tells that the next one has begun, not that one is done.
        seconds_left: Until all are done; None where nobody knows yet.
        text: What else the line says.
    """

    what: str
    done: int
    total: int
    begun: bool
    seconds_left: float | None
    text: str

    @property
    def words(self) -> str:
        """What is shown beside a bar."""
        if self.begun:
            return f"{self.what} {self.done + 1:,} of {self.total:,}"
        return f"{self.done:,} of {self.total:,} {self.what}"


def read_progress(line: str) -> Progress | None:
    """Returns what a line of progress says, or None for any other line."""
    done = _DONE.fullmatch(line)
    found = done or _BEGUN.fullmatch(line)
    if not found:
        return None
    begun = done is None
    count, total = (int(found[name].replace(",", "")) for name in ("count", "total"))
    spans = {"h": 3600, "min": 60, "s": 1}
    told = {unit: int(found[unit]) for unit in spans if found[unit]}
    left = sum(number * spans[unit] for unit, number in told.items()) if told else None
    return Progress(found["what"], count - begun, total, begun, left, found["text"] or "")


def duration(seconds: float) -> str:
    """Returns a time as people say it: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def done_line(count: int, total: int, what: str, seconds_each: float) -> str:
    """Returns the line for what takes seconds or more each, such as an epoch.

    Args:
        count: How many are done.
        total: Of how many.
        what: What they are, in the plural.
        seconds_each: How long one takes.
    """
    left = f", {duration(seconds_each * (total - count))} left" if count < total else ""
    return f"{count:,} of {total:,} {what} ({seconds_each:.1f} s each{left})"


def begun_line(number: int, total: int, what: str, seconds_left: float | None = None) -> str:
    """Returns how the line for what has begun begins, such as `trial 3 of 8 (12 min left)`.

    Args:
        number: Which one, from 1.
        total: Of how many.
        what: What it is, in one word.
        seconds_left: Until all are done; None where nobody knows yet.
    """
    left = "" if seconds_left is None else f" ({duration(seconds_left)} left)"
    return f"{what} {number} of {total}{left}"


class Meter:
    """Prints now and then how much is done; any number of threads may report to it."""

    def __init__(self, total: int, what: str) -> None:
        """Starts the clock.

        Args:
            total: How much there is to do.
            what: What is counted, in the plural.
        """
        self._total, self._what, self._count = total, what, 0
        self._started = self._last = time.monotonic()
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Counts what has been done, and prints a line where one is due."""
        with self._lock:
            self._count += count
            now = time.monotonic()
            if now - self._last >= _SECONDS_BETWEEN or self._count == self._total:
                print(self._line(max(now - self._started, 1e-9)), flush=True)
                self._last = now

    def _line(self, seconds: float) -> str:
        rate = self._count / seconds
        # One alone may have waited for a batch, or for what comes first.
        left = (self._total - self._count) / rate if 1 < self._count < self._total else 0
        told = f", {duration(left)} left" if left else ""
        pace = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}".removesuffix(".0")
        return f"{self._count:,} of {self._total:,} {self._what} ({pace} a second{told})"


def track(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Passes items on and prints now and then how many have come.

    Args:
        items: What to pass on.
        total: How many there will be.
        what: What they are, in the plural.

    Yields:
        The items.
    """
    meter = Meter(total, what)
    for item in items:
        yield item
        meter.add(1)
