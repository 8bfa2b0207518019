"""Evaluation of many images in batches, beside one `model.predict` per image.

    python -m benchmarks.evaluation --images 500

Both ask the same untrained reference CNN about the same random images, in turn and in one
process, so that a slow or busy machine slows both. Exits with status 1 below the ratio asked for.
"""

import argparse
import sys
import time
from collections.abc import Callable

import keras
import numpy as np

from components.shared.evaluation.predictor import BATCH, predict_tumor
from components.shared.images.decode import SHAPE
from components.shared.networks.reference import reference_cnn
from pipelines.ending import ended


def one_by_one(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns P(Brain Tumor), float64 [n], from one `model.predict` an image."""
    answers = [model.predict(image[None], verbose=0)[0, 0] for image in images]
    return 1.0 - np.array(answers, dtype=np.float64)


def batched(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns the same as the evaluate step computes it."""
    positions = np.arange(len(images))
    batches = (
        (positions[start : start + BATCH], images[start : start + BATCH])
        for start in range(0, len(images), BATCH)
    )
    return predict_tumor(model, batches, len(images))


def main() -> None:
    """Measures both ways and prints their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=500, help="images to ask about (500)")
    parser.add_argument("--rounds", type=int, default=3, help="times each way runs (3)")
    parser.add_argument("--at-least", type=float, default=12.0, help="ratio to reach (12)")
    options = parser.parse_args()
    if options.images < 1 or options.rounds < 1:
        parser.error("--images and --rounds must be at least 1")

    images = np.random.default_rng(0).integers(0, 256, (options.images, *SHAPE), dtype=np.uint8)
    keras.utils.set_random_seed(0)
    model = reference_cnn()
    # Both are warm before the clock starts: neither pays for tracing.
    difference = np.abs(one_by_one(model, images[:4]) - batched(model, images[:4])).max()
    assert difference < 1e-4, f"the two ways disagree by {difference}"

    ways: dict[str, Callable[[keras.Model, np.ndarray], np.ndarray]] = {
        "one by one": one_by_one,
        "batched": batched,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way(model, images)
            seconds[name].append(time.perf_counter() - started)
            each = seconds[name][-1] / len(images) * 1000
            print(f"round {number + 1}, {name}: {each:.2f} ms an image", flush=True)
    slow, fast = (float(np.median(seconds[name])) for name in ways)
    print(
        f"{len(images):,} images, median of {options.rounds} rounds: one by one {slow:.1f} s, "
        f"batched {fast:.2f} s, ratio {slow / fast:.1f}"
    )
    if slow / fast < options.at_least:
        sys.exit(f"the ratio is below {options.at_least:g}")


if __name__ == "__main__":
    sys.exit(ended(main))
