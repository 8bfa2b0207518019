"""What each part of the training brings on images it has not seen.

    python -m benchmarks.ablation --source ZIP --epochs 16 --folds 1 --state FOLDER

The first row is the default's network and recipe. Each further row changes what its name says, and
is compared with the first; `benchmarks/recipes/judging.py` says how. What is finished stays in the
state folder, so a killed run goes on; after a change in components/ it is trained again.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from benchmarks.augmentation import OtherTones
from benchmarks.images import open_external, open_images
from benchmarks.recipes.judging import Course, External, Fold, Truth, print_judged
from components.shared.data.dataset import ImageDataset, Split
from components.shared.evaluation.predictor import predict_rows
from components.shared.networks import compact, efficientnet, reference
from components.shared.networks.augment import StrongAugmentation
from components.shared.networks.compact import compact_cnn
from components.shared.networks.hyperparameters import BATCH_SIZE, Hyperparameters, Training
from components.shared.networks.network import Network
from components.shared.networks.recipe import AS_PUBLISHED, FOR_UNSEEN, Recipe
from components.shared.networks.reference import REFERENCE
from components.shared.run.code import code_digest
from components.shared.storage.files import write_atomically
from components.shared.training.fit import fit
from components.split.logic import make_folds
from pipelines.ending import ended

CODE = code_digest(fit.__module__, predict_rows.__module__)


class Variant(NamedTuple):
    """A network and how it is trained."""

    values: Hyperparameters
    network: Network
    batch_size: int = BATCH_SIZE


def _trained(recipe: Recipe, **values: Any) -> Variant:
    """Trains the compact network in another way, or with other values."""
    return Variant(Hyperparameters(**values), replace(compact.NETWORK, recipe=recipe))


def _with(**changed: Any) -> Variant:
    return _trained(replace(FOR_UNSEEN, **changed))


def _in_batches(size: int, power: float) -> Variant:
    """Trains in other batches, at a rate that grows as a power of their size."""
    rate = Hyperparameters().learning_rate * (size / BATCH_SIZE) ** (power - 0.5)
    return _trained(FOR_UNSEEN, learning_rate=rate)._replace(batch_size=size)


def _network(name: str, build: Callable[[Hyperparameters], keras.Model]) -> Variant:
    """Trains another network than those of the project, as the compact one is trained."""
    return Variant(Hyperparameters(name), Network(build, FOR_UNSEEN))


def _random(values: Hyperparameters) -> keras.Model:
    """Builds the compact network with random weights instead of ImageNet's."""
    network = compact_cnn(values.dropout)
    return keras.models.clone_model(network)  # which draws every weight anew


def _one_sided(values: Hyperparameters) -> keras.Model:
    """Builds the compact network without its look at the mirror image."""
    whole = compact_cnn(values.dropout)
    maps = next(layer.input[0] for layer in whole.layers if isinstance(layer, layers.Concatenate))
    pooled = [layers.GlobalAveragePooling2D()(maps), layers.GlobalMaxPooling2D()(maps)]
    features = layers.Dropout(values.dropout)(layers.Concatenate()(pooled))
    answer = layers.Dense(1, "sigmoid", dtype="float32", kernel_initializer="zeros")
    return keras.Model(whole.inputs, answer(features))


def _seven_blocks(recipe: Recipe) -> Variant:
    """Trains the compact network without four of its blocks, which only add to their input."""
    blocks = (0, 1, 3, 5, 6, 8, 9)
    network = Network(lambda values: compact_cnn(values.dropout, blocks), recipe)
    return Variant(Hyperparameters("seven-blocks"), network)


NARROW = functools.partial(StrongAugmentation, smaller=0.0, stretch=0.0, shift=0.08)


def _frozen(values: Hyperparameters) -> keras.Model:
    """Builds the compact network with its stem and first two blocks kept as they are."""
    network = compact_cnn(values.dropout)
    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
    within = [layer for layer in network.layers if isinstance(layer, layers.DepthwiseConv2D)]
    for layer in (*convolutions[:4], *within[:2]):
        layer.trainable = False
    return network


VARIANTS: dict[str, Callable[[], Variant]] = {
    "the default": _with,
    "no augmentation": lambda: _trained(FOR_UNSEEN, augmentation=False),
    "the reference's augmentation": lambda: _with(augmentation=AS_PUBLISHED.augmentation),
    "no look at the mirror image": lambda: _network("one-sided", _one_sided),
    "best epoch, no average": lambda: _with(averaged_epochs=0.0),
    "twice the rate": lambda: _trained(FOR_UNSEEN, learning_rate=0.0005),
    "falling from twice the rate, a quarter averaged": lambda: _trained(
        replace(FOR_UNSEEN, warm_up=1, averaged_epochs=0.25), learning_rate=0.0005
    ),
    "no label smoothing": lambda: _with(label_smoothing=0.0),
    "seven blocks": lambda: _seven_blocks(FOR_UNSEEN),
    "seven blocks, no smaller heads": lambda: _seven_blocks(
        replace(FOR_UNSEEN, augmentation=NARROW)
    ),
    "images count alike": lambda: _with(group_power=0.0),
    "random weights": lambda: _network("random", _random),
    "blur too": lambda: _with(augmentation=functools.partial(StrongAugmentation, blurred=0.3)),
    "a tenth inverted": lambda: _with(augmentation=functools.partial(OtherTones, inverted=0.1)),
    "amplitudes mixed": lambda: _with(augmentation=functools.partial(OtherTones, mixed=0.5)),
    "bias fields": lambda: _with(augmentation=functools.partial(OtherTones, bias_field=0.2)),
    "no smaller heads": lambda: _with(augmentation=NARROW),
    "last layer as trained": lambda: _with(refit_head=False),
    "reference network": lambda: Variant(
        replace(REFERENCE, learning_rate=0.001, augmentation=True),
        replace(reference.NETWORK, recipe=FOR_UNSEEN),
    ),
    "reference network and recipe": lambda: Variant(REFERENCE, reference.NETWORK),
    "no weight decay": lambda: _with(weight_decay=0.0),
    "first blocks frozen": lambda: _network("frozen", _frozen),
    "rotation by any angle": lambda: _with(
        augmentation=functools.partial(StrongAugmentation, any_angle=1.0)
    ),
    "groups count alike": lambda: _with(group_power=1.0),
    "no clipping": lambda: _with(clip_norm=0.0),
    "no dropout": lambda: _trained(FOR_UNSEEN, dropout=0.0),
    **{
        f"batches of {size}{rule}": functools.partial(_in_batches, size, power)
        for size in (64, 128, 256)
        for rule, power in ((", the same rate", 0.0), ("", 0.5), (", rate in proportion", 1.0))
    },
    "efficientnet": lambda: Variant(Hyperparameters("efficientnet"), efficientnet.NETWORK),
}


def course(
    dataset: ImageDataset,
    split: Split,
    variant: Variant,
    epochs: int,
    seed: int,
    record: Path,
    external: ImageDataset | None = None,
) -> Course:
    """Trains and predicts, or recalls what is on disk."""
    if not record.exists():
        started = time.perf_counter()
        training = Training(
            network=variant.values, epochs=epochs, batch_size=variant.batch_size, seed=seed
        )
        model = fit(dataset, split, training, network=variant.network).model
        seconds = time.perf_counter() - started
        scores = {
            part: predict_rows(model, dataset, split.part(part)).tolist()
            for part in ("validation", "held_out")
        }
        if external:
            scores["external"] = predict_rows(model, external, np.arange(len(external))).tolist()
        write_atomically(record, json.dumps(scores | {"seconds": seconds}))
    saved = json.loads(record.read_text())
    seconds = saved.pop("seconds")
    return Course(**{name: np.array(value) for name, value in saved.items()}, seconds=seconds)


def _rows(text: str) -> list[str]:
    """Reads which rows are meant: the default; no dropout."""
    names = [name.strip() for name in text.split(";")]
    if unknown := set(names) - set(VARIANTS):
        raise argparse.ArgumentTypeError(f"{min(unknown)}: the rows are {'; '.join(VARIANTS)}")
    return names


def _folds(text: str) -> list[int]:
    """Reads which folds are meant: 1,4."""
    numbers = [int(number) for number in text.split(",")]
    if not set(numbers) <= set(range(1, 6)):
        raise argparse.ArgumentTypeError(f"{text}: there are folds 1 to 5")
    return numbers


def main() -> None:
    """Trains what is not trained yet and prints a row for each variant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--source", default="sample://?images=400", help="as for brain-tumor run")
    parser.add_argument("--epochs", type=int, default=2, help="of each training (2)")
    parser.add_argument("--folds", type=_folds, default=[1], help="of five, commas between (1)")
    parser.add_argument("--validation-share", type=float, default=0.2, help="of the rest (0.2)")
    parser.add_argument("--rows", type=_rows, default=list(VARIANTS), help="A; B (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds and the first training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each fold (1)")
    parser.add_argument("--external", help="source with a labels.csv, which judges as well")
    parser.add_argument("--state", type=Path, help="folder that outlives a killed run")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        state = options.state or Path(scratch, "state")
        dataset = open_images(options.source, Path(scratch, "dataset"))
        external = None
        if options.external:
            external = open_external(options.external, Path(scratch, "external"))
        every = make_folds(dataset, 5, options.validation_share, options.seed)
        trainings = [
            (fold, options.seed + number)
            for fold in options.folds
            for number in range(options.seeds)
        ]
        courses: list[list[Course]] = []
        for name in options.rows:
            variant = VARIANTS[name]()
            print(f"\n{name}: {asdict(variant.values)}", flush=True)
            stem = f"{name.replace(' ', '-')}-{options.epochs}"
            judges = f"-{external.digest[:12]}" if external else ""
            courses.append(
                [
                    course(
                        dataset,
                        split := every[fold - 1],
                        variant,
                        options.epochs,
                        seed,
                        state / f"{stem}-{seed}-{CODE}-{split.digest()[:12]}{judges}.json",
                        external,
                    )
                    for fold, seed in trainings
                ]
            )
        folds = [
            Fold(
                fold,
                Truth.of(dataset, every[fold - 1].part("validation")),
                Truth.of(dataset, every[fold - 1].part("held_out")),
            )
            for fold, _ in trainings
        ]
        count = len(dataset)
        judged = External.of(external) if external else None
    numbers = ", ".join(map(str, options.folds))
    print(
        f"\n{count:,} images, folds {numbers} of 5, {options.seeds} seeds, {options.epochs} epochs"
    )
    print_judged(options.rows, folds, courses, options.seed, judged)


if __name__ == "__main__":
    sys.exit(ended(main))
