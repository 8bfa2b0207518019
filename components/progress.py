"""Progress as plain lines: readable in a pod's log, in a file and on a terminal."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_SECONDS_BETWEEN = 2.0


def track(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Passes items on and prints now and then how many have come.

    Args:
        items: What to pass on.
        total: How many there will be.
        what: What they are, in the plural.

    Yields:
        The items.
    """
    started = last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN or count == total:
            rate = count / max(now - started, 1e-9)
            print(f"{count:,} of {total:,} {what} ({rate:,.0f} a second)", flush=True)
            last = now
