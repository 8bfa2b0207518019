"""One worker that ingests its share of a source in a store, in a process of its own.

    python -m benchmarks.scale.worker s3://models/source 1 2 /tmp/part

It prints, as JSON, how many requests of each method it sent and how many seconds of CPU it took.
"""

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import urllib3

from components.ingest.logic import ingest_part
from components.ingest.sources import open_source


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts the requests that this process sends, by method; LIST is a GET of a bucket's keys."""
    sent: Counter[str] = Counter()
    real = urllib3.HTTPConnectionPool.urlopen

    def urlopen(pool: Any, method: str, url: str, *given: Any, **options: Any) -> Any:
        sent["LIST" if "list-type=2" in url else method] += 1
        return real(pool, method, url, *given, **options)

    with patch.object(urllib3.HTTPConnectionPool, "urlopen", urlopen):
        yield sent


def cpu_seconds() -> float:
    """Returns what this process has taken so far, of user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(uri: str, worker: int, workers: int, folder: Path) -> None:
    """Ingests a share and prints what it cost."""
    imported = cpu_seconds()
    started = time.perf_counter()
    with counted() as sent, open_source(uri) as source:
        listed = cpu_seconds()
        ingest_part(source, folder / "part", folder / "state", worker=worker, workers=workers)
    costs = {
        "requests": sent,
        "start_seconds": listed,
        "listing_seconds": listed - imported,
        "cpu_seconds": cpu_seconds() - listed,
        "wall_seconds": time.perf_counter() - started,
    }
    print(json.dumps(costs))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
