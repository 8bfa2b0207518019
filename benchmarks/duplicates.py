"""Growth of the time that grouping near-duplicates takes, beside comparing every pair.

    python -m benchmarks.duplicates --up-to 100000

The thumbnails are made up: smooth, as small pictures of anything are, and three in ten are a
changed copy of another. Comparing every pair is tried on the small sizes only; there the two must
give the same groups.
"""

import argparse
import math
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter
from scipy.sparse.csgraph import connected_components

from components.images import THUMBNAIL
from components.ingest.duplicates import CORRELATION, group_duplicates
from components.step import peak_memory

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
COPIES = 0.3
BRUTE_FORCE_UP_TO = 3_000
SHORT, ROUNDS = 10_000, 3  # small sizes: the best of three, since the clock is coarse there


def made_up_thumbnails(count: int, seed: int = 0) -> np.ndarray:
    """Returns uint8 [count, 32, 32]: smooth pictures, and near-copies in any orientation."""
    rng = np.random.default_rng(seed)
    originals = count - round(COPIES * count)
    pictures = np.empty((count, THUMBNAIL, THUMBNAIL), dtype=np.float32)
    for i in range(originals):
        smooth = gaussian_filter(rng.normal(size=(THUMBNAIL, THUMBNAIL)), 2.5)
        pictures[i] = 128 + 45 * (smooth - smooth.mean()) / smooth.std()
    for i in range(originals, count):
        copy: np.ndarray = np.rot90(pictures[rng.integers(originals)], int(rng.integers(4)))
        copy = copy[:, ::-1] if rng.random() < 0.5 else copy
        pictures[i] = copy * rng.uniform(0.9, 1) + rng.normal(0, 3, copy.shape)
    return np.clip(pictures[rng.permutation(count)], 0, 255).astype(np.uint8)


def compare_every_pair(thumbnails: np.ndarray) -> np.ndarray:
    """Groups by the same rule without any index: one matrix product for each orientation."""
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    values /= np.linalg.norm(values, axis=(1, 2), keepdims=True)
    rows = values.reshape(len(values), -1)
    twins = np.zeros((len(rows), len(rows)), dtype=bool)
    for turns in range(4):
        turned = np.rot90(values, turns, axes=(1, 2))
        for image in (turned, turned[:, :, ::-1]):
            twins |= rows @ image.reshape(len(rows), -1).T > CORRELATION
    _, groups = connected_components(twins, directed=False)
    return groups


def main() -> None:
    """Measures each size and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--up-to", type=int, default=SIZES[-1], help="largest size (100,000)")
    options = parser.parse_args()
    sizes = [size for size in SIZES if size <= options.up_to]
    if not sizes:
        parser.error(f"--up-to must be at least {SIZES[0]:,}")

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("thumbnails", "groups", "seconds", "growth", "every pair, s", "peak memory"):
        table.add_column(heading, justify="right")
    before = (0, 0.0)
    for size in sizes:
        thumbnails = made_up_thumbnails(size)
        seconds, groups = math.inf, np.empty(0)
        for _ in range(ROUNDS if size <= SHORT else 1):
            started = time.perf_counter()
            groups = group_duplicates(thumbnails)
            seconds = min(seconds, time.perf_counter() - started)
        # Of the whole process so far; read before the comparison of every pair adds its own.
        memory = peak_memory()
        growth = ""
        if before[0]:
            exponent = math.log(seconds / before[1]) / math.log(size / before[0])
            growth = f"n^{exponent:.2f}"
        before = (size, seconds)
        every_pair = ""
        if size <= BRUTE_FORCE_UP_TO:
            started = time.perf_counter()
            expected = compare_every_pair(thumbnails)
            every_pair = f"{time.perf_counter() - started:.2f}"
            both = set(zip(groups.tolist(), expected.tolist(), strict=True))
            if not len(both) == len(set(groups.tolist())) == len(set(expected.tolist())):
                sys.exit(f"{size:,} thumbnails: the groups differ from those of every pair")
        print(f"{size:,} thumbnails grouped in {seconds:.2f} s", flush=True)
        table.add_row(
            f"{size:,}",
            f"{groups.max() + 1:,}",
            f"{seconds:.2f}",
            growth,
            every_pair,
            f"{memory / 1e9:.2f} GB",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
