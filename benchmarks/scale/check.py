"""The simulation beside what the same work took here."""

import math
import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.scale.events import Clock, Process, Shared
from benchmarks.scale.measure import Ingested, ingest, store_with
from benchmarks.scale.training import PAGE
from benchmarks.scale.units import Units

WORKERS = (1, 2, 4)


def expected(units: Units, images: int, size: int, workers: int, cores: int) -> Ingested:
    """Returns what the simulation says of workers that share a machine's cores.

    Args:
        units: What was measured.
        images: Of the source.
        size: Of all of them, bytes.
        workers: That ingest it side by side.
        cores: Of the machine.
    """
    clock = Clock()
    processors = Shared(clock, total=cores, each=cores)
    share = images / workers

    def worker() -> Process:
        yield processors.use(units.start_seconds + share * units.ingest_seconds)

    for _ in range(workers):
        clock.start(worker())
    return Ingested(
        wall_seconds=clock.run(),
        requests=Counter(
            LIST=workers * math.ceil(images / PAGE), GET=round(images * units.read_requests)
        ),
        bytes_down=round(size + images * (units.answer_bytes + workers * units.listing_bytes)),
        cpu_seconds=images * units.ingest_seconds + workers * units.start_seconds,
        start_seconds=units.start_seconds,
    )


def check(images: int, source: str, console: Console) -> None:
    """Prints what was measured with a few workers, and what the simulation said.

    Args:
        images: How many; other than the units were measured with.
        source: Folder or zip that they are taken of.
        console: Where to.
    """
    units, cores = Units.read(), os.cpu_count() or 1
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("workers", "", "LIST", "GET", "bytes down", "CPU", "time"):
        table.add_column(name, justify="right")
    with (
        TemporaryDirectory() as scratch,
        store_with(Path(scratch), images, source) as (proxy, size),
    ):
        for workers in WORKERS:
            for kind, one in (
                ("simulated", expected(units, images, size, workers, cores)),
                ("measured", ingest(proxy, Path(scratch), workers)),
            ):
                table.add_row(
                    str(workers),
                    kind,
                    f"{one.requests['LIST']:,.0f}",
                    f"{one.requests['GET']:,.0f}",
                    f"{one.bytes_down:,.0f}",
                    f"{one.cpu_seconds:.1f} s",
                    f"{one.wall_seconds:.1f} s",
                )
    console.print(table)
    console.print(
        f"{cores} cores; this machine's load over 15 minutes was {os.getloadavg()[2]:.0f}"
    )
