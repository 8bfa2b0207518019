"""Which images the in-distribution check flags: held-out slices, photographs, documents, noise.

    python -m benchmarks.in_distribution --source path/to/archive.zip --photographs folder

Ingests, splits and fits the check as the register step does. Photographs are taken whole and in
three random crops, in colour and in grey, and pass through JPEG; documents are drawn with a font.
Nothing of this was seen by the check. Without --photographs, those that scikit-image ships.
"""

import argparse
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

from components.ingest.logic import ingest
from components.ingest.sources import open_source
from components.register.in_distribution import InDistributionCheck, fit_check
from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import decode
from components.split.logic import make_split

CROPS = 3
SUFFIXES = {".jpg", ".jpeg", ".png"}
SMALLEST = 600  # pixels a side; what is smaller is an icon or a preview of another file
SHIPPED = [
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "brick.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "motorcycle_right.png",
]


def shipped_photographs() -> list[Path]:
    """Returns the photographs that lie in scikit-image's own package; fetches nothing."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return [folder / name for name in SHIPPED]


def find_photographs(folder: Path) -> list[Path]:
    """Returns the JPEG and PNG files below a folder that are large enough; follows no links."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.is_symlink() and _is_large(path)
    )


def _is_large(path: Path) -> bool:
    with Image.open(path) as file:
        return min(file.size) >= SMALLEST


def photographs(paths: list[Path], grey: bool, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields each photograph whole and in crops, as the model would get them."""
    for path in paths:
        with Image.open(path) as file:
            whole = file.convert("L").convert("RGB") if grey else file.convert("RGB")
        yield _decoded(whole, "JPEG")
        for _ in range(CROPS):
            side = int(min(whole.size) * rng.uniform(0.3, 0.9))
            left, top = (int(rng.integers(0, length - side + 1)) for length in whole.size)
            yield _decoded(whole.crop((left, top, left + side, top + side)), "JPEG")


def documents(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields pages of made-up words."""
    for _ in range(count):
        page = Image.new("L", (600, 800), int(rng.integers(235, 256)))
        pen = ImageDraw.Draw(page)
        font = ImageFont.load_default(float(rng.integers(9, 22)))
        y = 40
        while y < 760:
            line = " ".join(_word(rng) for _ in range(rng.integers(3, 14)))
            pen.text((int(rng.integers(30, 60)), y), line, fill=int(rng.integers(0, 60)), font=font)
            y += int(rng.integers(12, 30))
        yield _decoded(page, "PNG")


def noise(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields uniform noise in colour and in grey, and normal noise in grey."""
    for number in range(count):
        side = int(rng.choice([150, 300, 600]))
        if number % 3 == 0:
            pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        elif number % 3 == 1:
            pixels = rng.integers(0, 256, (side, side), dtype=np.uint8)
        else:
            values = rng.normal(rng.uniform(20, 200), rng.uniform(10, 80), (side, side))
            pixels = np.clip(values, 0, 255).astype(np.uint8)
        yield _decoded(Image.fromarray(pixels), "PNG")


def count_flagged(check: InDistributionCheck, images: Iterator[np.ndarray]) -> tuple[int, int]:
    """Returns how many images are flagged, and of how many."""
    scores = [float(check.score(tf.constant(image[None]))[0]) for image in images]
    return sum(score > check.limit for score in scores), len(scores)


def _word(rng: np.random.Generator) -> str:
    return "".join(chr(letter) for letter in rng.integers(97, 123, rng.integers(2, 10)))


def _decoded(image: Image.Image, kind: str) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return decode(buffer.getvalue()).pixels


def main() -> None:
    """Prints a table with a row for each kind of image."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--source", default="sample://?images=400", help="as for brain-tumor run")
    parser.add_argument("--photographs", type=Path, help="a folder of JPEG and PNG files")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the check (0)")
    options = parser.parse_args()
    if options.photographs and not options.photographs.is_dir():
        parser.error(f"--photographs {options.photographs}: there is no such folder")
    paths = find_photographs(options.photographs) if options.photographs else shipped_photographs()
    if not paths:
        sys.exit(
            f"{options.photographs}: holds no JPEG or PNG file of {SMALLEST} pixels a side or more"
        )
    with TemporaryDirectory() as scratch:
        with open_source(options.source) as opened:
            ingest(opened, Path(scratch, "dataset"), Path(scratch, "state"))
        dataset = ImageDataset(Path(scratch, "dataset"))
        split = make_split(dataset, "grouped", seed=options.seed)
        started = time.perf_counter()
        check = fit_check(dataset, split, options.seed)
        print(
            f"fitted on {len(split.train):,} slices in {time.perf_counter() - started:.1f} s; "
            f"limit {check.limit:.4f}; {check.validation_flagged:.2%} of validation flagged"
        )
        kinds = {
            "held-out slices": iter(dataset.read([i])[0] for i in split.held_out),
            "photographs, colour": photographs(paths, False, np.random.default_rng(1)),
            "photographs, grey": photographs(paths, True, np.random.default_rng(1)),
            "documents": documents(200, np.random.default_rng(2)),
            "noise": noise(200, np.random.default_rng(3)),
        }
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("images", "n", "flagged"):
            table.add_column(heading, justify="left" if heading == "images" else "right")
        for name, images in kinds.items():
            flagged, of = count_flagged(check, images)
            table.add_row(name, f"{of:,}", f"{flagged / of:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
