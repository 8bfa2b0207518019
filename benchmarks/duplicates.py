"""Time and memory of grouping near-duplicates, and their growth, beside comparing every pair.

    python -m benchmarks.duplicates --up-to 100000 --source path/to/archive.zip

Thumbnails and heads are measured each by themselves; ingest looks at both, one after the other.
An image has one thumbnail and three heads: 100,000 images have the time of 300,000 heads.
They are made up from those of the source: each picture is one of them, turned a little, bent, mixed
with a second one and toned, and six in ten images are slightly changed copies of a picture, in any
orientation. Without a source they are made up from smooth noise. `--kind` has the
worst cases: `alike`, all near-copies of one picture; `cloud`, all nearly alike, but not alike;
`flat`, no picture at all.

Every pair is compared on the small sizes only. What that finds and the groups lack is the share
that recall says; the groups must be the same.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from components.ingest.sources import open_source
from components.shared.data.groups import join_links
from components.shared.images.decode import THUMBNAIL, decode, thumbnail
from components.shared.near_duplicates.grouping import HEAD_CORRELATION, THUMBNAIL_CORRELATION
from components.shared.near_duplicates.heads import HEAD, head
from components.shared.near_duplicates.matcher import Matcher
from components.shared.run.step import peak_memory
from pipelines.ending import ended

SIZES = (3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
PICTURES = 0.4  # the others are copies
STRONG, WEAK = 0.35, 0.12  # how much a picture is changed, and how much a copy
EVERY_PAIR_UP_TO = 10_000
AT_ONCE = 4096


class Pictures(NamedTuple):
    """What is compared.

    Attributes:
        of: Makes one, uint8 [side, side], of an image.
        side: Pixels.
        limit: Twins correlate above it.
    """

    of: Callable[[np.ndarray], np.ndarray]
    side: int
    limit: float


COMPARED = {
    "thumbnails": Pictures(thumbnail, THUMBNAIL, THUMBNAIL_CORRELATION),
    "heads": Pictures(head, HEAD, HEAD_CORRELATION),
}


def smooth_noise(rng: np.random.Generator, side: int, count: int = 2000) -> np.ndarray:
    """Returns uint8 [count, side, side]: smooth, as small pictures of anything are."""
    pictures = np.stack([gaussian_filter(rng.normal(size=(side, side)), 2.5) for _ in range(count)])
    pictures /= pictures.std(axis=(1, 2), keepdims=True)
    return np.clip(128 + 45 * pictures, 0, 255).astype(np.uint8)


def pictures_of(source: str) -> dict[str, np.ndarray]:
    """Returns uint8 [n, side, side] of each kind: the pictures of a source that differ."""
    with open_source(source) as opened:
        files = (file for file in opened.files if not file.problem)
        images = (decode(file.read()).pixels for file in files)
        found = [[pictures.of(image) for pictures in COMPARED.values()] for image in images]
    return {
        name: np.unique(np.stack(of_name), axis=0)
        for name, of_name in zip(COMPARED, zip(*found, strict=True), strict=True)
    }


def bent(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Returns images, float32 [n, side, side], turned, scaled, moved and bent at random."""
    count, side = images.shape[:2]
    last = side - 1
    down, across = np.indices((side, side)) - last / 2
    turn = rng.normal(0, 0.12 * strength, (count, 1, 1))
    scale = 1 + rng.normal(0, 0.06 * strength, (2, count, 1, 1))
    move = rng.normal(0, 0.8 * strength, (2, count, 1, 1)) + last / 2
    y = scale[0] * (np.cos(turn) * down - np.sin(turn) * across) + move[0]
    x = scale[1] * (np.sin(turn) * down + np.cos(turn) * across) + move[1]
    # Displacements at 4x4 places, linear between them.
    hat = np.maximum(0, 1 - np.abs(np.linspace(0, 3, side)[:, np.newaxis] - np.arange(4)))
    bend = hat @ rng.normal(0, strength, (2, count, 4, 4)) @ hat.T
    y, x = np.clip(y + bend[0], 0, last - 1e-3), np.clip(x + bend[1], 0, last - 1e-3)
    i, j, k = y.astype(int), x.astype(int), np.arange(count)[:, np.newaxis, np.newaxis]
    y, x = (y - i).astype(np.float32), (x - j).astype(np.float32)
    upper = images[k, i, j] * (1 - x) + images[k, i, j + 1] * x
    lower = images[k, i + 1, j] * (1 - x) + images[k, i + 1, j + 1] * x
    return upper * (1 - y) + lower * y


def toned(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Returns uint8 images of another gamma, with noise."""
    peak = np.maximum(images.max(axis=(1, 2), keepdims=True), 1)
    gamma = np.exp(rng.normal(0, 0.25 * strength, (len(images), 1, 1)))
    noise = rng.normal(size=images.shape) * np.abs(rng.normal(0, 3 * strength, (len(images), 1, 1)))
    return np.clip(np.rint(peak * (images / peak) ** gamma + noise), 0, 255).astype(np.uint8)


def turned(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns each image in one of the eight orientations."""
    result, way = images.copy(), rng.integers(0, 8, len(images))
    for which in range(8):
        rotated = np.rot90(images[way == which], which % 4, axes=(1, 2))
        result[way == which] = rotated if which < 4 else rotated[:, :, ::-1]
    return result


def parts(start: int, stop: int) -> Iterator[slice]:
    """Yields the slices of a few thousand images."""
    for first in range(start, stop, AT_ONCE):
        yield slice(first, min(first + AT_ONCE, stop))


def realistic(into: np.ndarray, bases: np.ndarray, rng: np.random.Generator, limit: float) -> None:
    """Changed pictures in place of the first, copies of them in place of the others."""
    pictures = round(len(into) * PICTURES)
    for part in parts(0, pictures):
        count = part.stop - part.start
        one, other = bases[rng.integers(0, len(bases), (2, count))].astype(np.float32)
        mix = rng.uniform(0, 0.1, (count, 1, 1)).astype(np.float32)
        mixed = (1 - mix) * bent(one, rng, STRONG) + mix * bent(other, rng, STRONG)
        into[part] = toned(mixed, rng, STRONG)
    for part in parts(pictures, len(into)):
        # Some pictures have a hundred copies, most have none to three.
        of = (rng.pareto(1.2, part.stop - part.start) * pictures / 50).astype(int) % pictures
        copies = toned(bent(into[of].astype(np.float32), rng, WEAK), rng, WEAK)
        into[part] = turned(copies, rng)


def around_one_picture(distance: float) -> Callable[..., None]:
    """Returns what makes images of one picture, so far from each other as a part of the limit's."""

    def make(into: np.ndarray, bases: np.ndarray, rng: np.random.Generator, limit: float) -> None:
        picture = smooth_noise(rng, into.shape[1], 1)[0].astype(np.float32)
        noise = np.sqrt(1 / (1 - distance * (1 - limit)) - 1)  # in units of the picture's contrast
        for part in parts(0, len(into)):
            grain = rng.normal(0, noise * picture.std(), into[part].shape)
            into[part] = np.clip(np.rint(picture + grain), 0, 255)

    return make


def flat(into: np.ndarray, bases: np.ndarray, rng: np.random.Generator, limit: float) -> None:
    """One grey level each, and a single pixel that differs."""
    for part in parts(0, len(into)):
        into[part] = rng.integers(0, 240, (part.stop - part.start, 1, 1))
        into[part, 0, 0] += rng.integers(0, 15, part.stop - part.start).astype(np.uint8)


KINDS: dict[str, Callable[..., None]] = {
    "realistic": realistic,
    "alike": around_one_picture(0.25),  # correlations of 0.995, where the limit is 0.98
    "cloud": around_one_picture(1.5),  # of 0.97
    "flat": flat,
}


def every_pair(pictures: np.ndarray, limit: float) -> np.ndarray:
    """Returns all pairs of twins, int64 [p, 2], by one matrix product an orientation."""
    values = pictures.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=(1, 2), keepdims=True), 1e-6)
    found = []
    for start in range(0, len(values), 1024):
        rows, others = values[start : start + 1024], values[start:].reshape(len(values) - start, -1)
        best = np.full((len(rows), len(others)), -1, dtype=np.float32)
        for turns in range(4):
            rotated = np.rot90(rows, turns, axes=(1, 2))
            for image in (rotated, rotated[:, :, ::-1]):
                np.maximum(best, image.reshape(len(rows), -1) @ others.T, out=best)
        found.append(start + np.argwhere(best > limit))
    pairs = np.concatenate(found)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def beside_every_pair(pictures: np.ndarray, limit: float, groups: np.ndarray) -> tuple[str, str]:
    """Returns how long comparing every pair takes, and which share of twins is in one group."""
    started = time.process_time()
    pairs = every_pair(pictures, limit)
    seconds = time.process_time() - started
    together = groups[pairs[:, 0]] == groups[pairs[:, 1]]
    recall = together.mean() if len(pairs) else 1.0
    same = (join_links(len(groups), pairs) == groups).all()
    return f"{seconds:.1f}", f"{recall:.3%}{'' if same else ', other groups'}"


def measured(
    name: str, size: int, bases: np.ndarray, options: argparse.Namespace
) -> tuple[list[str], float]:
    """Groups so many pictures; returns the table's cells but for the growth, and CPU seconds."""
    compared = COMPARED[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pictures.npy"
        shape = (size, compared.side, compared.side)
        made = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
        KINDS[options.kind](made, bases, np.random.default_rng(1), compared.limit)
        np.random.default_rng(2).shuffle(made)
        del made
        pictures = np.load(file, mmap_mode="r")
        started, cpu_started = time.perf_counter(), time.process_time()
        links = Matcher(pictures, compared.limit).links(f"different {name}")
        groups = join_links(size, links)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        memory = peak_memory()  # before every pair adds its own
        every = ("", "")
        if size <= options.every_pair_up_to and options.kind != "flat":
            every = beside_every_pair(pictures, compared.limit, groups)
    cells = [f"{groups.max() + 1:,}", f"{np.bincount(groups).max():,}", f"{seconds:.1f}"]
    return [*cells, f"{cpu:.1f}", f"{memory / 1e9:.2f} GB", *every], cpu


def main() -> None:
    """Measures each size and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--up-to", type=int, default=100_000, help="largest size (100,000)")
    parser.add_argument("--from", type=int, default=SIZES[0], dest="start", help="smallest size")
    parser.add_argument("--source", help="images to make others from, as of brain-tumor run")
    parser.add_argument("--pictures", default=",".join(COMPARED), help="thumbnails, heads or both")
    parser.add_argument("--kind", choices=KINDS, default="realistic")
    parser.add_argument(
        "--every-pair-up-to", type=int, default=EVERY_PAIR_UP_TO, help="largest size to compare so"
    )
    options = parser.parse_args()
    sizes = [size for size in SIZES if options.start <= size <= options.up_to]
    if not sizes:
        parser.error(f"no size from {options.start:,} to {options.up_to:,} of {SIZES}")
    bases = (
        pictures_of(options.source)
        if options.source
        else {
            name: smooth_noise(np.random.default_rng(0), pictures.side)
            for name, pictures in COMPARED.items()
        }
    )

    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = ("groups", "largest", "seconds", "CPU seconds", "growth of CPU", "peak memory")
    table.add_column("pictures")
    for heading in ("number", *columns, "every pair, CPU s", "recall"):
        table.add_column(heading, justify="right")
    for name in options.pictures.split(","):
        before = (0, 0.0)
        for size in sizes:
            row, cpu = measured(name, size, bases[name], options)
            growth = ""
            if before[0]:
                growth = f"n^{math.log(cpu / before[1]) / math.log(size / before[0]):.2f}"
            before = (size, cpu)
            table.add_row(name, f"{size:,}", *row[:4], growth, *row[4:])
            print(f"{size:,} {name}: {row[0]} groups, {cpu:.1f} CPU s, {row[4]}", flush=True)
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(ended(main))
