"""What near-duplicates are found by, on real images: in one set, and by fingerprints in another.

    python -m benchmarks.near_duplicates --source path/to/archive.zip --others path/to/others.zip

First, how many groups thumbnails give, and how many pairs of these groups heads join at each limit:
heads of one brightness, and any two of three brightnesses, as the grouping does it.
Then, how many changed copies of images of the source are found: by the grouping of a dataset that
holds both, and by fingerprints. Last, how many images of the other set fingerprints take for
near-duplicates. `--sheet pairs.png` draws one pair of images for each pair of groups that heads
join, to be looked at.
"""

import argparse
import io
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import product

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from rich.console import Console
from rich.table import Table

from components.ingest.sources import open_source
from components.shared.data.groups import join_links
from components.shared.images.decode import ImageError, decode, thumbnail
from components.shared.near_duplicates.fingerprints import Fingerprints
from components.shared.near_duplicates.grouping import HEAD_CORRELATION, THUMBNAIL_CORRELATION
from components.shared.near_duplicates.heads import head_region, heads
from components.shared.near_duplicates.matcher import Matcher, correlation, orientations, unit_rows
from pipelines.ending import ended

LIMITS = (0.97, 0.96, 0.95, 0.94, 0.93)
CELL, COLUMNS = 96, 8  # of the sheet of pairs


def toned(gamma: float) -> Callable[[Image.Image], Image.Image]:
    """Returns what gives an image another gamma."""
    return lambda image: image.point(lambda v: round(255 * (v / 255) ** gamma))


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    """Returns what takes so much of the width and height away on each side."""

    def crop(image: Image.Image) -> Image.Image:
        x, y = round(share * image.width), round(share * image.height)
        return image.crop((x, y, image.width - x, image.height - y))

    return crop


def cropped_to_the_head(image: Image.Image) -> Image.Image:
    """Crops an image to the box of its largest bright region."""
    region = head_region(np.asarray(image.convert("L")))
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if len(rows) == 0:
        return image
    return image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved again": lambda image: image,
    "97x120 pixels": lambda image: image.resize((97, 120)),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored": ImageOps.mirror,
    "sharpened": lambda image: ImageEnhance.Sharpness(image).enhance(3),
    "blurred": lambda image: ImageEnhance.Sharpness(image).enhance(0),
    "contrast 0.6": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "brightness 1.6, clipped": lambda image: image.point(lambda v: min(255, round(1.6 * v))),
    "gamma 0.6": toned(0.6),
    "gamma 0.75": toned(0.75),
    "gamma 1.3": toned(1.3),
    "gamma 1.6": toned(1.6),
    "gamma 1.8": toned(1.8),
    "margins of 5% added": lambda image: ImageOps.expand(image, image.width // 20),
    "margins of 13% added": lambda image: ImageOps.expand(image, image.width * 13 // 100),
    "cropped to the head": cropped_to_the_head,
    "cropped so, turned, gamma 0.75": lambda image: toned(0.75)(
        cropped_to_the_head(image).transpose(Image.Transpose.ROTATE_90)
    ),
    "5% of one side cropped": lambda image: image.crop((7, 0, image.width, image.height)),
    "2% of each side cropped": cropped(0.02),
    "4% of each side cropped": cropped(0.04),
    "8% of each side cropped": cropped(0.08),
}


def images_of(source: str, labels: str = "") -> list[np.ndarray]:
    """Returns the images of a source that can be read, uint8 [150, 150, 3] each."""
    images = []
    with open_source(source, labels=labels, judging=True) as opened:
        for file in opened.files:
            with suppress(ImageError):
                if not file.problem:
                    images.append(decode(file.read()).pixels)
    return images


def joined_by_heads(
    images: list[np.ndarray], groups: np.ndarray, brightnesses: int
) -> list[tuple[float, int, int]]:
    """Compares every pair of images.

    Args:
        images: uint8 [150, 150, 3] each.
        groups: The group of each so far, int64 [n].
        brightnesses: How many, of those that heads are cut out at.

    Returns:
        For each pair of groups whose heads correlate above the least limit, the correlation and the
        images of the nearest pair; the most alike first.
    """
    cut = np.stack([heads(image) for image in images])
    rows = [unit_rows(cut[:, which]) for which in range(brightnesses)]
    nearest: dict[tuple[int, int], tuple[float, int, int]] = {}
    for start, (left, right) in product(range(0, len(images), 256), product(rows, rows)):
        turned = orientations(left[start : start + 256])
        products = turned.reshape(-1, right.shape[1]) @ right.T
        best = products.reshape(len(turned), 8, -1).max(axis=1)
        for row, other in np.argwhere(best > min(LIMITS)).tolist():
            one, pair = start + row, (float(best[row, other]), start + row, other)
            between = (int(min(groups[[one, other]])), int(max(groups[[one, other]])))
            if between[0] != between[1]:
                nearest[between] = max(pair, nearest.get(between, pair))
    return sorted(nearest.values(), reverse=True)


def groups_with(groups: np.ndarray, pairs: list[tuple[float, int, int]]) -> int:
    """Returns how many groups are left where pairs above the grouping's limit join them."""
    links = [groups[[one, other]] for likeness, one, other in pairs if likeness > HEAD_CORRELATION]
    return int(join_links(groups.max() + 1, np.array(links).reshape(-1, 2)).max() + 1)


def sheet(images: list[np.ndarray], pairs: list[tuple[float, int, int]]) -> Image.Image:
    """Draws pairs of images side by side, the most alike first."""
    rows = math.ceil(len(pairs) / COLUMNS)
    drawn = Image.new("RGB", (COLUMNS * (2 * CELL + 6), rows * (CELL + 6)), "dimgrey")
    for number, (_, *pair) in enumerate(pairs):
        for side, position in enumerate(pair):
            x = (number % COLUMNS) * (2 * CELL + 6) + side * CELL
            cell = Image.fromarray(images[position]).resize((CELL, CELL))
            drawn.paste(cell, (x, number // COLUMNS * (CELL + 6)))
    return drawn


def copy(pixels: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Returns a changed image that was saved as a JPEG."""
    buffer = io.BytesIO()
    change(Image.fromarray(pixels)).save(buffer, "JPEG", quality=80)
    return decode(buffer.getvalue()).pixels


def linked(image: np.ndarray, copied: np.ndarray) -> bool:
    """Tells whether two images of one dataset, uint8 [150, 150, 3] each, are linked directly."""
    return correlation(thumbnail(image), thumbnail(copied)) > THUMBNAIL_CORRELATION or any(
        correlation(one, other) > HEAD_CORRELATION
        for one, other in product(heads(image), heads(copied))
    )


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--source", default="sample://?images=400", help="as for brain-tumor run")
    parser.add_argument("--others", help="another set of images")
    parser.add_argument("--others-labels", default="", help="the table of its labels")
    parser.add_argument("--copies", type=int, default=400, help="images that are changed (400)")
    parser.add_argument("--sheet", help="PNG for one pair of images for each pair of groups")
    options = parser.parse_args()
    console = Console(width=120)
    images = images_of(options.source)

    thumbnails = np.stack([thumbnail(image) for image in images])
    groups = join_links(len(images), Matcher(thumbnails, THUMBNAIL_CORRELATION).links("thumbnails"))
    console.print(f"{len(images):,} images, {groups.max() + 1:,} groups by thumbnails")
    once, thrice = (joined_by_heads(images, groups, count) for count in (1, 3))
    table = Table("heads above", "pairs joined, one brightness", "three", box=None)
    for limit in LIMITS:
        counts = [str(sum(pair[0] > limit for pair in pairs)) for pairs in (once, thrice)]
        table.add_row(f"{limit}", *counts)
    left = [str(groups_with(groups, pairs)) for pairs in (once, thrice)]
    table.add_row(f"groups left at {HEAD_CORRELATION}", *left)
    console.print(table)
    if options.sheet:
        sheet(images, thrice).save(options.sheet)

    known = Fingerprints.of([np.stack(images)])
    console.print(f"fingerprints: {known.numbers.nbytes:,} bytes")
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(images), min(options.copies, len(images)), replace=False)
    table = Table("copies", "linked", "found by fingerprints", box=None, header_style="dim")
    for name, change in CHANGES.items():
        copies = np.stack([copy(images[position], change) for position in chosen])
        links = [linked(images[at], one) for at, one in zip(chosen, copies, strict=True)]
        found = known.twins_of([copies]) >= 0
        table.add_row(name, f"{np.mean(links):.1%}", f"{found.mean():.1%}")
    console.print(table)
    if options.others:
        others = images_of(options.others, options.others_labels)
        taken = int((known.twins_of([np.stack(others)]) >= 0).sum())
        console.print(f"others: {taken:,} of {len(others):,} are taken for near-duplicates")


if __name__ == "__main__":
    sys.exit(ended(main))
