"""Growth of what ingest costs with the number of files: listing, decoding, assembling, opening.

    python -m benchmarks.ingest --up-to 100000

The files are tiny PNGs in a zip. Decoding works through chunks of 2,048 files and keeps none in
memory. It is measured up to 100,000 files, whose pixels take 7 GB of disk. For the later stages the
parts are made up: records as decoding writes them, noise for thumbnails, and black pixels, as holes
that take no space on the disk.
Grouping near-duplicates has a benchmark of its own, `benchmarks.duplicates`, and is left out of
assembling here. Each stage runs in a process of its own. Its memory is the peak over what its
imports take, about 200 MiB.
"""

import argparse
import hashlib
import io
import json
import math
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from components.ingest import assemble as assembling
from components.ingest.decode import FILES_IN_A_CHUNK, decode_part
from components.ingest.parts import (
    PART,
    Chunk,
    Part,
    heads_path,
    pixels_path,
    record_path,
    save_array,
    thumbnails_path,
)
from components.ingest.report import write_data_report
from components.ingest.sources import open_source
from components.shared.data.classes import CLASSES
from components.shared.data.dataset import ImageDataset, ImageRecord, Manifest
from components.shared.images.decode import SHAPE, THUMBNAIL
from components.shared.near_duplicates.heads import BRIGHTNESSES, HEAD
from components.shared.storage.files import file_digest
from pipelines.ending import ended

SIZES = (3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
DECODED_UP_TO = 100_000


def name_of(number: int) -> str:
    """Returns the path of a file; a class takes every other."""
    return f"scans/{CLASSES[number % 2]}/patient {number // 40:06d}/slice {number:07d}.png"


def write_zip(path: Path, count: int) -> None:
    """Writes a zip of tiny images, no two the same."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            content = io.BytesIO()
            noise = rng.integers(0, 256, (6, 6), dtype=np.uint8)
            Image.fromarray(noise).resize((24, 24)).save(content, "PNG", compress_level=1)
            archive.writestr(zipfile.ZipInfo(name_of(number)), content.getvalue())


def write_parts(folder: Path, count: int) -> None:
    """Writes a part as one worker would that had decoded so many files."""
    rng = np.random.default_rng(1)
    black: dict[int, str] = {}  # digests by number of images
    chunks = math.ceil(count / FILES_IN_A_CHUNK)
    order = sorted(range(count), key=lambda number: (number % 2, name_of(number)))
    for chunk in range(chunks):
        numbers = order[chunk * FILES_IN_A_CHUNK : (chunk + 1) * FILES_IN_A_CHUNK]
        thumbnails_sha256, heads_sha256 = (
            save_array(path(folder, chunk), len(numbers), shape, [small])
            for path, shape in (
                (thumbnails_path, (THUMBNAIL, THUMBNAIL)),
                (heads_path, (len(BRIGHTNESSES), HEAD, HEAD)),
            )
            for small in [rng.integers(0, 256, (len(numbers), *shape), dtype=np.uint8)]
        )
        save_array(pixels_path(folder, chunk), len(numbers), SHAPE, [])
        with open(pixels_path(folder, chunk), "r+b") as file:
            file.truncate(file.seek(0, 2) + len(numbers) * int(np.prod(SHAPE)))
        if len(numbers) not in black:
            black[len(numbers)] = file_digest(pixels_path(folder, chunk))
        record = Chunk(
            images=[_record(number) for number in numbers],
            patients=[()] * len(numbers),
            quarantined=[],
            quarantined_labels=[],
            pixels_file_sha256=black[len(numbers)],
            thumbnails_file_sha256=thumbnails_sha256,
            heads_file_sha256=heads_sha256,
        )
        record_path(folder, chunk).write_text(record.model_dump_json())
    part = Part(
        source="made up",
        source_version="",
        listing="",
        files=count,
        left_out={},
        chunks=chunks,
        first=0,
        stop=chunks,
    )
    (folder / PART).write_text(part.model_dump_json())


def _record(number: int) -> ImageRecord:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return ImageRecord(
        path=name_of(number),
        label=number % 2,
        bytes=200 + number % 90,
        sha256=digest,
        pixels_sha256=digest[::-1],
        phash=digest[:16],
        width=24 + number % 7,
        height=24,
        mode="L",
        format="PNG",
        wrong_extension=False,
        group=0,
    )


class _AllDifferent:
    """Stands for the search for near-duplicates, which has a benchmark of its own."""

    def __init__(self, thumbnails: np.ndarray, heads: np.ndarray) -> None:
        self.count = len(thumbnails)

    def groups(self) -> np.ndarray:
        return np.arange(self.count)

    def contradicted(self, groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.zeros(self.count, dtype=bool)


def _list(folder: Path) -> None:
    with open_source(str(folder / "source.zip")) as source:
        source.fingerprint()


def _decode(folder: Path) -> None:
    (folder / "decoded").mkdir()
    with open_source(str(folder / "source.zip")) as source:
        decode_part(source, folder / "decoded")


def _assemble(folder: Path) -> None:
    with patch.object(assembling, "NearDuplicates", _AllDifferent):
        assembling.assemble([folder / "part"], folder / "dataset", 0.05)


def _manifest(folder: Path) -> None:
    Manifest.open(folder / "dataset")


def _report(folder: Path) -> None:
    write_data_report(folder / "report.html", ImageDataset(folder / "dataset"))


STAGES: dict[str, Callable[[Path], None]] = {
    "list": _list,
    "decode": _decode,
    "assemble": _assemble,
    "manifest": _manifest,
    "report": _report,
}


def measure(stage: str, folder: Path) -> None:
    """Runs a stage in this process; prints seconds, CPU seconds and bytes of memory."""
    with redirect_stdout(sys.stderr):
        before = _kibibytes("VmRSS")
        started, cpu = time.perf_counter(), time.process_time()
        STAGES[stage](folder)
        took = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps([*took, 1024 * (_kibibytes("VmHWM") - before)]))


def _kibibytes(what: str) -> int:
    """Returns what Linux says of this process's memory, now (VmRSS) or at most (VmHWM)."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(found[1]) if found else 0


def row(count: int, stages: list[str], table: Table, console: Console) -> None:
    """Measures the stages with so many files."""
    with TemporaryDirectory(prefix="benchmark-", dir=Path.cwd()) as place:
        folder = Path(place)
        (folder / "part").mkdir()
        if {"list", "decode"} & set(stages):
            write_zip(folder / "source.zip", count)
        if set(stages) - {"list", "decode"}:
            write_parts(folder / "part", count)
        for stage in stages:
            if stage == "decode" and count > DECODED_UP_TO:
                continue
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.ingest", "--measure", stage, str(folder)],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            seconds, cpu, memory = json.loads(done.stdout)
            figures = (f"{count:,}", stage, f"{seconds:.1f} s", f"{cpu:.1f} s")
            table.add_row(*figures, f"{memory / 2**20:,.0f} MiB")
            console.print(*figures, f"{memory / 2**20:,.0f} MiB")


def main(arguments: list[str]) -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--up-to", type=int, default=100_000, help="greatest number of files")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    console = Console(stderr=True)
    table = Table("files", "stage", "time", "CPU time", "memory")
    for count in (size for size in SIZES if size <= options.up_to):
        row(count, options.stages, table, console)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(ended(lambda: main(sys.argv[1:])))
