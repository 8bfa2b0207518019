"""How long each architecture takes for a batch, beside the reference CNN.

    python -m benchmarks.inference --cpus 1
    python -m benchmarks.inference --cpus 2

The networks are untrained, which changes no operation. They answer in turn and in one process, as
compiled functions. `--cpus 1` sets TensorFlow up as the predictor does: each of its cores runs a
batch of its own. With --at-most it exits with status 1 where the compact network takes a greater
share of the reference's time.
"""

import argparse
import sys
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from components.shared.images.decode import SHAPE
from components.shared.model_folder.runtimes.tensorflow import use_cpus
from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.reference import REFERENCE
from components.shared.networks.table import network
from pipelines.ending import ended

Answer = Callable[[tf.Tensor], tf.Tensor]


def compiled(values: Hyperparameters) -> tuple[keras.Model, Answer]:
    """Returns a network and the function that answers with it."""
    keras.utils.set_random_seed(0)
    model = network(values.architecture).build(values)
    signature = [tf.TensorSpec((None, *SHAPE), tf.uint8)]
    answer = tf.function(lambda images: model(images, training=False), input_signature=signature)
    return model, answer


def milliseconds(answer: Answer, images: tf.Tensor, seconds: float) -> float:
    """Returns the median time of a call, in so many seconds of calls."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        answer(images).numpy()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1000


def main() -> None:
    """Prints a table with a row for each architecture and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--batches", default="1,8,32", help="batch sizes (1,8,32)")
    parser.add_argument("--rounds", type=int, default=5, help="times each is measured (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement (1)")
    parser.add_argument("--at-most", type=float, help="share of the reference's time to check")
    parser.add_argument("--cpus", type=int, default=2, help="to compute on (2)")
    options = parser.parse_args()
    use_cpus(options.cpus)
    networks = {
        "reference": compiled(REFERENCE),
        "compact": compiled(Hyperparameters("compact")),
        "efficientnet": compiled(Hyperparameters("efficientnet")),
    }

    table = Table(box=None, pad_edge=False)
    for heading in ("batch", "network", "parameters", "ms a batch", "images/s", "of reference"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    slowest = 0.0
    for size in (int(size) for size in options.batches.split(",")):
        random = np.random.default_rng(0).integers(0, 256, (size, *SHAPE), dtype=np.uint8)
        images = tf.constant(random)
        rounds: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(options.rounds):
            for name, (_, answer) in networks.items():
                answer(images)  # warm
                rounds[name].append(milliseconds(answer, images, options.seconds))
        for name, (model, _) in networks.items():
            pairs = zip(rounds[name], rounds["reference"], strict=True)
            share = float(np.median([own / reference for own, reference in pairs]))
            slowest = max(slowest, share if name == "compact" else 0.0)
            middle = float(np.median(rounds[name]))
            table.add_row(
                str(size),
                name,
                f"{model.count_params():,}",
                f"{middle:.2f}",
                f"{1000 * size / middle:,.0f}",
                f"{share:.2f}",
            )
    Console(width=100).print(table)
    if options.at_most is not None and slowest > options.at_most:
        sys.exit(f"compact takes {slowest:.2f} of the reference's time, more than asked for")


if __name__ == "__main__":
    sys.exit(ended(main))
