"""Fitting the network: what a trial of the search and the final training have in common."""

import json
import math
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components.shared.data.dataset import ImageDataset, Split
from components.shared.networks import table
from components.shared.networks.hyperparameters import BATCH_SIZE, Training
from components.shared.networks.network import Network
from components.shared.run.progress import done_line
from components.shared.training.batches import Batches
from components.shared.training.feed import Feed
from components.shared.training.hardware import precision
from components.shared.training.head import centre_head, refit_head
from components.shared.training.start import take_weights
from components.shared.training.weights import image_weights

_CHECKPOINT = "checkpoint.npz"


class DivergedError(Exception):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Epoch:
    """One line of the history.

    Attributes:
        epoch: From 1.
        loss: What was trained on, on the training part: binary cross-entropy, of smoothed labels
            where the recipe smooths them.
        accuracy: On the training part, while it trained.
        val_loss: The same on the validation part.
        val_accuracy: On the validation part, at a threshold of 0.5.
        seconds: Wall time.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float

    def better_than(self, other: "Epoch | None") -> bool:
        """Returns whether this epoch validates better; equal accuracy is decided by the loss."""
        if other is None:
            return True
        return (self.val_accuracy, -self.val_loss) > (other.val_accuracy, -other.val_loss)


@dataclass(frozen=True)
class Fit:
    """A fitted network.

    Attributes:
        model: With the weights that were kept, computing in float32.
        history: All epochs.
        best: The epoch that validated best; where weights were averaged, the last one. Where the
            recipe changes weights after it, with the kept ones' figures on the validation part.
        precision: The policy it was trained with.
        averaged_epochs: How many of the last epochs' weights were averaged; 0 where the best
            epoch's were kept.
    """

    model: keras.Model
    history: tuple[Epoch, ...]
    best: Epoch
    precision: str
    averaged_epochs: int = 0


def fit(
    dataset: ImageDataset,
    split: Split,
    training: Training,
    *,
    state: Path | None = None,
    network: Network | None = None,
) -> Fit:
    """Trains a network and keeps its best epoch by validation, or the mean of its last ones.

    On a CPU the same seed gives the same weights, also where the run was killed and resumed, as
    long as the number of threads is the same. All GPUs that are here share each batch, and train
    as one of them does, but for rounding.

    Args:
        dataset: The images.
        split: Its train and validation parts are used.
        training: What is trained and how; the seed is that of initial weights, order, dropout and
            augmentation. One network is trained, whatever the ensemble.
        state: Folder to resume from and to keep every epoch in; None keeps nothing.
        network: How to build and train it; None for that which the table names.

    Returns:
        The fitted network.

    Raises:
        DivergedError: The loss became NaN or infinite.
        UserError: The architecture is unknown, or its pretrained weights cannot be had.
    """
    values, epochs, seed = training.network, training.epochs, training.seed
    network = network or table.network(values.architecture)
    recipe = network.recipe
    train, validation = split.part("train"), split.part("validation")
    weights = image_weights(dataset, train, recipe.group_power)
    keras.utils.set_random_seed(seed)
    policy = precision(recipe.bfloat16_on_cpu)
    if not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
    feed = Feed.of(dataset, train, validation, training.batch_size)
    with _policy(policy), feed.strategy.scope():
        model = network.build(values)
        if training.start:
            take_weights(model, training.start)
        augmentation = recipe.augmentation(seed) if values.augmentation else None
        trained = feed.trained(model, augmentation)
        steps = math.ceil(len(train) / training.batch_size)
        scaled = replace(values, learning_rate=training.learning_rate)
        trained.compile(
            recipe.optimizer(scaled, epochs, steps),
            keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing),
            metrics=["accuracy"],
            steps_per_execution=feed.steps_per_execution(steps),
            jit_compile=False,
        )
        trained.optimizer.build(trained.trainable_variables)
    plain_epochs = epochs - round(epochs * recipe.averaged_epochs)
    vary = feed.vary(augmentation)
    progress = _Progress(trained, model, augmentation, state, plain_epochs)
    progress.resume()

    while len(progress.history) < epochs and not progress.stalled(training.patience):
        number = len(progress.history)
        started = time.perf_counter()
        logs = trained.fit(
            feed.training(train, weights, seed, number, vary),
            validation_data=feed.validation(validation),
            steps_per_epoch=feed.steps(train),
            validation_steps=feed.steps(validation),
            initial_epoch=number,
            epochs=number + 1,
            shuffle=False,  # the order is set already
            verbose=0,
        ).history
        figures = {name: float(values_[-1]) for name, values_ in logs.items()}
        if not all(math.isfinite(figure) for figure in figures.values()):
            raise DivergedError(
                f"the loss is not a number in epoch {number + 1} at learning rate "
                f"{training.learning_rate:g}"
            )
        epoch = Epoch(epoch=number + 1, seconds=time.perf_counter() - started, **figures)
        progress.add(epoch)
        pace = statistics.median(each.seconds for each in progress.history)  # the first is slower
        print(
            f"{done_line(epoch.epoch, epochs, 'epochs', pace)}: loss {epoch.loss:.4f}, "
            f"validation {epoch.val_loss:.4f}, accuracy {epoch.val_accuracy:.2%}",
            flush=True,
        )
    assert progress.best is not None  # epochs is at least 1
    best = progress.best
    with _policy("float32"):
        final = network.build(values)
    final.set_weights(progress.kept)
    if recipe.refit_head:
        refit_head(final, dataset, train, weights)
        counts = image_weights(dataset, validation, recipe.group_power)
        centre_head(final, dataset, validation, counts)
    if recipe.refit_head or best.epoch > plain_epochs:
        model.set_weights(final.get_weights())
        found = trained.evaluate(
            feed.validation(validation),
            steps=feed.steps(validation),
            verbose=0,
            return_dict=True,
        )
        best = replace(best, val_loss=found["loss"], val_accuracy=found["accuracy"])
    averaged = max(0, best.epoch - plain_epochs)
    return Fit(final, tuple(progress.history), best, policy, averaged)


def validate(
    model: keras.Model, dataset: ImageDataset, rows: np.ndarray, label_smoothing: float
) -> tuple[float, float]:
    """Measures a model that was not trained as one, as `Epoch` measures.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1].
        dataset: The images.
        rows: Which of them.
        label_smoothing: Of the loss that its networks were trained on.

    Returns:
        Loss and accuracy.
    """
    measured = keras.Model(model.inputs, model.outputs)  # so that the model stays uncompiled
    loss = keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
    measured.compile(loss=loss, metrics=["accuracy"], jit_compile=False)
    batches = Batches(dataset, BATCH_SIZE).validation(rows)
    found = measured.evaluate(batches, verbose=0, return_dict=True)
    return found["loss"], found["accuracy"]


class _Progress:
    """The epochs so far, the weights to keep, and both on disk."""

    def __init__(
        self,
        trained: keras.Model,
        model: keras.Model,
        augmentation: keras.layers.Layer | None,
        state: Path | None,
        plain_epochs: int,
    ) -> None:
        self.trained = trained
        self.model = model
        self.augmentation = augmentation
        self.state = state
        self.plain_epochs = plain_epochs  # those after them are averaged
        self.history: list[Epoch] = []
        self.best: Epoch | None = None
        self.kept: list[np.ndarray] = []

    def add(self, epoch: Epoch) -> None:
        """Records an epoch that has just been trained."""
        self.history.append(epoch)
        if self._is_kept(epoch):
            averaged = max(1, epoch.epoch - self.plain_epochs)
            weights = self.model.get_weights()
            if averaged > 1:
                weights = [
                    kept + (new - kept) / averaged
                    for kept, new in zip(self.kept, weights, strict=True)
                ]
            self.best, self.kept = epoch, weights
        if self.state:
            self._save()

    def stalled(self, patience: int) -> bool:
        """Returns whether so many epochs passed without a better one."""
        if not patience or self.best is None:
            return False
        return len(self.history) - self.best.epoch >= patience

    def resume(self) -> None:
        """Continues from the last epoch on disk, if there is one."""
        if not self.state or not (self.state / _CHECKPOINT).exists():
            return
        with np.load(self.state / _CHECKPOINT, allow_pickle=False) as saved:
            record = json.loads(str(saved["record"]))
            for i, variable in enumerate(self._variables()):
                variable.assign(saved[f"variable_{i}"])
            self.kept = [saved[f"kept_{i}"] for i in range(len(self.model.weights))]
        self.history = [Epoch(**epoch) for epoch in record]
        for epoch in self.history:
            if self._is_kept(epoch):
                self.best = epoch
        print(f"resumed after epoch {len(self.history)}", flush=True)

    def _is_kept(self, epoch: Epoch) -> bool:
        return epoch.epoch > self.plain_epochs or epoch.better_than(self.best)

    def _save(self) -> None:
        """Writes one file beside its place and renames it: an epoch is there whole or not."""
        assert self.state
        self.state.mkdir(parents=True, exist_ok=True)
        arrays = {f"variable_{i}": np.asarray(v) for i, v in enumerate(self._variables())}
        arrays["record"] = np.array(json.dumps([asdict(e) for e in self.history]))
        arrays |= {f"kept_{i}": weights for i, weights in enumerate(self.kept)}
        beside = self.state / f".{_CHECKPOINT}"
        with open(beside, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        beside.replace(self.state / _CHECKPOINT)

    def _variables(self) -> list[keras.Variable]:
        """Weights, statistics, the state of random layers and of the optimizer."""
        # On GPUs the last ones are among the first.
        drawn = self.augmentation.variables if self.augmentation else []
        return [*self.trained.variables, *self.trained.optimizer.variables, *drawn]


def forget(state: Path) -> None:
    """Removes what a finished run no longer needs to resume."""
    shutil.rmtree(state, ignore_errors=True)


@contextmanager
def _policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
