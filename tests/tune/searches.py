"""A search whose trainings are stood in for, by one worker or by many."""

import math
from pathlib import Path
from typing import Any

from components.shared.data.dataset import ImageDataset, Split
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.start import Start
from components.shared.training.fit import DivergedError, Epoch, Fit
from components.tune.settings import Settings
from components.tune.trial import Trial, Trials

TRIALS, EPOCHS = 10, 9
Walk = list[tuple[Hyperparameters, int, float | None]]


def accuracy(values: Hyperparameters, epochs: int) -> float:
    """Stands in for a training: best at 0.001, then by dropout, dense, augmentation, epochs."""
    score = 0.9 - 0.1 * abs(math.log10(values.learning_rate) + 3)
    score -= 0.1 * values.dropout + abs(values.dense - 128) / 4000
    score += 0.1 * (values.architecture == "compact")
    return score + 0.003 * values.augmentation + 0.001 * epochs


class Trainings:
    """Counts what would have been trained; some values diverge."""

    def __init__(self, diverging: tuple[float, ...] = ()) -> None:
        self.diverging = diverging
        self.runs: list[tuple[Hyperparameters, int, int]] = []

    def __call__(
        self,
        dataset: ImageDataset,
        split: Split,
        training: Training,
    ) -> Fit:
        values, epochs, seed = training.network, training.epochs, training.seed
        self.runs.append((values, epochs, seed))
        if values.learning_rate in self.diverging:
            raise DivergedError(f"the loss is not a number at {values.learning_rate:g}")
        best = Epoch(epochs, 0.3, 0.9, 0.4, accuracy(values, epochs) + 0.0001 * seed, 0.1)
        return Fit(None, (best,), best, "float32")


def trials_of(
    dataset: ImageDataset,
    split: Split,
    algorithm: str,
    state: Path,
    architectures: tuple[str, ...] = ("reference",),
    start: Start | None = None,
    **changed: Any,
) -> Trials:
    """Returns the trials of a small search; settings may be changed by name."""
    numbers = {"trials": TRIALS, "epochs": EPOCHS, "seed": 0} | changed
    settings = Settings(architectures=architectures, algorithm=algorithm, **numbers)
    return Trials(dataset, split, settings, state, start)


def walk_of(trials: list[Trial]) -> Walk:
    """Returns what was tried, in order, and what came of it."""
    return [(trial.values, trial.epochs, trial.score) for trial in trials]
