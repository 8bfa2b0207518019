"""Progress as plain lines: readable in a pod's log, in a file and on a terminal."""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_SECONDS_BETWEEN = 2.0


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
                rate = self._count / max(now - self._started, 1e-9)
                print(
                    f"{self._count:,} of {self._total:,} {self._what} ({rate:,.0f} a second)",
                    flush=True,
                )
                self._last = now


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
