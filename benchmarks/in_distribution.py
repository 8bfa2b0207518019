"""Which images the in-distribution check flags, and what it adds to the time of an answer.

    python -m benchmarks.in_distribution --source path/to/archive.zip --model path/to/model
    python -m benchmarks.in_distribution --source path/to/archive.zip --external path/to/folder

Ingests, splits and fits the check as the register step does, on a model that the train step wrote;
without --model on the default network as ImageNet left it. Photographs are taken whole and in
three random crops, in colour and in grey, and pass through JPEG; documents are drawn with a font.
Without --photographs, those that scikit-image ships. --external is a folder of images with a
`labels.csv` of the columns path, site and sequence; each site and sequence is a row, with an
interval by the column patient. Nothing of this was seen by the check.
"""

import argparse
import csv
import io
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import openvino
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

from benchmarks.images import open_images
from components.register.export import export
from components.register.in_distribution import InDistributionCheck, fit_check
from components.register.projection import fit_projection
from components.shared.evaluation.predictor import open_model
from components.shared.images.decode import SHAPE, decode
from components.shared.model_folder.contract import SCORE
from components.shared.networks.compact import compact_cnn
from components.shared.networks.features import with_features
from components.split.logic import make_split
from pipelines.ending import ended

BATCH = 64
ROUNDS = 5
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


def external(folder: Path) -> dict[str, tuple[Iterator[np.ndarray], list[str]]]:
    """Returns images and patients of each site and sequence that a folder's labels.csv names."""
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kinds = sorted({(row["site"], row["sequence"]) for row in rows})
    of_kind = {kind: [r for r in rows if (r["site"], r["sequence"]) == kind] for kind in kinds}
    return {
        ", ".join(kind): (
            iter(decode((folder / row["path"]).read_bytes()).pixels for row in chosen),
            [row["patient"] for row in chosen],
        )
        for kind, chosen in of_kind.items()
    }


def flags(
    check: InDistributionCheck, model: keras.Model, images: Iterator[np.ndarray]
) -> np.ndarray:
    """Returns which images are flagged, bool [n]."""
    seen = with_features(model)
    found = []
    while batch := list(islice(images, BATCH)):
        *_, early = seen(np.stack(batch), training=False)
        found.append(check.score(np.stack(batch), early).numpy() > check.limit)
    return np.concatenate(found)


def interval(flagged: np.ndarray, patients: list[str]) -> tuple[float, float]:
    """Returns a 95% interval of the share, by resampling patients."""
    _, of = np.unique(patients, return_inverse=True)
    flags_of, images_of = np.bincount(of, flagged), np.bincount(of)
    drawn = np.random.default_rng(0).integers(0, len(images_of), (2000, len(images_of)))
    low, high = np.quantile(flags_of[drawn].sum(1) / images_of[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)


def milliseconds(folder: Path, size: int, checked: bool, seconds: float = 2.0) -> float:
    """Returns the least time of an answer of OpenVINO on one thread.

    Args:
        folder: Holds a SavedModel whose default signature answers.
        size: Images a batch.
        checked: Whether the check's score is asked for.
        seconds: How long to measure.
    """
    model = openvino.Core().read_model(folder)
    outputs = [o for o in model.outputs if checked or SCORE not in o.names]
    part = openvino.Model(outputs, model.get_parameters())
    config = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(part, "CPU", config).create_infer_request()
    images = np.random.default_rng(0).integers(0, 256, (size, *SHAPE), dtype=np.uint8)
    request.infer([images])
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        request.infer([images], share_inputs=True)
        times.append(time.perf_counter() - started)
    return 1000 * min(times)  # what other work on the machine delays is longer


def _word(rng: np.random.Generator) -> str:
    return "".join(chr(letter) for letter in rng.integers(97, 123, rng.integers(2, 10)))


def _decoded(image: Image.Image, kind: str) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return decode(buffer.getvalue()).pixels


def main() -> None:
    """Prints a table with a row for each kind of image, and the time that the check takes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--source", default="sample://?images=400", help="as for brain-tumor run")
    parser.add_argument("--model", type=Path, help="the folder that the train step wrote")
    parser.add_argument("--photographs", type=Path, help="a folder of JPEG and PNG files")
    parser.add_argument("--external", type=Path, help="a folder of images with a labels.csv")
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
        dataset = open_images(options.source, Path(scratch, "dataset"))
        split = make_split(dataset, "grouped", seed=options.seed)
        started = time.process_time()
        model = open_model(options.model) if options.model else compact_cnn()
        check = fit_check(model, dataset, split, options.seed)
        print(
            f"fitted on {len(split.train):,} slices, "
            f"{time.process_time() - started:.0f} s of CPU; limit {check.limit:.4f}; "
            f"{check.validation_flagged:.2%} of validation flagged"
        )
        kinds = {
            "held-out slices": (
                iter(dataset.read([i])[0] for i in split.held_out),
                [str(group) for group in dataset.groups[split.part("held_out")]],
            ),
            "photographs, colour": (photographs(paths, False, np.random.default_rng(1)), []),
            "photographs, grey": (photographs(paths, True, np.random.default_rng(1)), []),
            "documents": (documents(200, np.random.default_rng(2)), []),
            "noise": (noise(200, np.random.default_rng(3)), []),
            **(external(options.external) if options.external else {}),
        }
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("images", "n", "flagged", "95% by group or patient"):
            table.add_column(heading, justify="left" if heading == "images" else "right")
        for name, (images, patients) in kinds.items():
            flagged = flags(check, model, images)
            between = interval(flagged, patients) if patients else ()
            table.add_row(
                name,
                f"{len(flagged):,}",
                f"{flagged.mean():.1%}",
                "-".join(f"{end:.1%}" for end in between),
            )
        Console().print(table)
        export(model, check, fit_projection(model, dataset, split), Path(scratch, "model"))
        for size in (1, 8):
            rounds = [
                [milliseconds(Path(scratch, "model"), size, checked) for checked in (False, True)]
                for _ in range(ROUNDS)
            ]
            without, with_check = np.min(rounds, axis=0)
            print(
                f"batch {size}, one thread: {without:.2f} ms without the check, "
                f"{with_check:.2f} with it, {with_check / without - 1:+.1%}"
            )


if __name__ == "__main__":
    sys.exit(ended(main))
