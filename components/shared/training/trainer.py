"""The train step: fit, then write the model with all that is known of its making."""

import hashlib
import math
import platform
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path

import tensorflow as tf
from matplotlib.figure import Figure

from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.shared.model_folder.known_images import ImagesOfDataset
from components.shared.networks import table
from components.shared.networks.average import averaged
from components.shared.networks.hyperparameters import Training
from components.shared.networks.network import Network
from components.shared.reports.facts import facts_of
from components.shared.reports.html import plot, write_report
from components.shared.reports.learning_curves import draw_learning_curves
from components.shared.reports.numbers import setting
from components.shared.reports.text import csv_text
from components.shared.run.code import code_digest
from components.shared.run.progress import begun_line
from components.shared.run.work import work_folder
from components.shared.storage.files import write_atomically
from components.shared.training.fit import DivergedError, Epoch, Fit, fit, forget, validate
from components.shared.training.hardware import device_name
from components.shared.training.record import TrainingRecord
from components.shared.training.start import held_out_seen

MODEL = "model.keras"
HISTORY = "history.csv"
RECORD = "training.json"
TENSORBOARD = "tensorboard"
_SETTINGS = (
    "learning_rate",
    "dropout",
    "dense",
    "augmentation",
    "ensemble",
    "mirror",
    "patience",
    "batch_size",
    "seed",
)


def train(
    dataset: ImageDataset,
    split: Split,
    training: Training,
    *,
    output: str | Path,
    report: str | Path,
    state: str | Path,
    network: Network | None = None,
) -> Fit:
    """Trains the final model and writes it.

    Args:
        dataset: The images.
        split: Its train part is learned; its validation part chooses the epoch, where weights are
            not averaged.
        training: What is trained and how, with the values that the search found.
        output: Folder for model, history, record and TensorBoard logs.
        report: HTML file with the curves.
        state: Folder that a killed run is resumed from.
        network: How to build and train it; None for that which the table names.

    Returns:
        The fitted network; of an ensemble its first one's history, with the model of all and that
        one's figures on the validation part.

    Raises:
        UserError: The loss stopped being a number, or the architecture cannot be built.
    """
    network = network or table.network(training.network.architecture)
    with ExitStack() as lent:
        fits, works = [], []
        for number in range(training.ensemble):
            work = lent.enter_context(_work_of(dataset, split, training, number, state))
            fits.append(_fit(dataset, split, training, number, work, network))
            works.append(work)
        fitted = fits[0]
        if training.ensemble > 1 or training.mirror:
            model = averaged([each.model for each in fits], training.mirror)
            smoothing = network.recipe.label_smoothing
            loss, accuracy = validate(model, dataset, split.part("validation"), smoothing)
            best = replace(fitted.best, val_loss=loss, val_accuracy=accuracy)
            fitted = replace(fitted, model=model, best=best)
        output = Path(output)
        output.mkdir(parents=True, exist_ok=True)
        beside = output / f"unfinished.{MODEL}"
        fitted.model.save(beside)
        beside.replace(output / MODEL)
        if training.start and (earlier := ImagesOfDataset.open(training.start.folder)):
            earlier.write(output)  # the weights know these images too
        write_atomically(output / HISTORY, history_csv(fitted.history))
        _write_tensorboard(output / TENSORBOARD, fitted.history)
        record = training_record(dataset, split, training, fitted)
        write_atomically(output / RECORD, record.model_dump_json(indent=1))
        write_report(
            report,
            "train/report.html.j2",
            facts_of(dataset, split),
            record=record,
            settings={name: setting(getattr(record, name)) for name in _SETTINGS},
            history=fitted.history,
            best=fitted.best,
            curves=plot(draw_curves(fitted)),
        )
        for work in works:
            forget(work)
        return fitted


def train_networks(
    dataset: ImageDataset,
    split: Split,
    training: Training,
    numbers: Iterable[int],
    *,
    state: str | Path,
    network: Network | None = None,
) -> list[Fit]:
    """Trains some networks of an ensemble and keeps them where `train` finds them trained.

    Args:
        dataset: The images.
        split: Its train and validation parts are used.
        training: What is trained and how, as `train` is told.
        numbers: Which networks, from 0.
        state: Folder that `train` is told too; whoever shares it can train other networks.
        network: How to build and train them; None for that which the table names.

    Returns:
        What became of each.

    Raises:
        UserError: The loss stopped being a number, or the architecture cannot be built.
    """
    network = network or table.network(training.network.architecture)
    fits = []
    for number in numbers:
        with _work_of(dataset, split, training, number, state) as work:
            fits.append(_fit(dataset, split, training, number, work, network))
    return fits


def _fit(
    dataset: ImageDataset,
    split: Split,
    training: Training,
    number: int,
    work: Path,
    network: Network,
) -> Fit:
    """Trains one network of an ensemble, or goes on where its work ended."""
    one = training.of_one(number)
    if training.ensemble > 1:
        begun = begun_line(number + 1, training.ensemble, "network")
        print(f"{begun}: seed {one.seed}", flush=True)
    try:
        return fit(dataset, split, one, state=work, network=network)
    except DivergedError as error:
        raise UserError(f"{error}; give a smaller learning rate") from error


def _work_of(
    dataset: ImageDataset, split: Split, training: Training, number: int, state: str | Path
) -> AbstractContextManager[Path]:
    """Lends the folder of one network's work, which is named by all that the network depends on."""
    one = training.of_one(number)
    told = hashlib.sha256(f"{one} {code_digest(fit.__module__)}".encode()).hexdigest()[:12]
    name = "-".join([dataset.digest[:12], split.digest()[:12], one.network.architecture, told])
    return work_folder(Path(state) / name)


def training_record(
    dataset: ImageDataset,
    split: Split,
    training: Training,
    fitted: Fit,
) -> TrainingRecord:
    """Returns the record of a finished training."""
    told, start = training.settings, training.start
    del told["pretrained_weights"]  # a path of this machine
    found = {
        "architecture": fitted.model.name,
        "parameters": fitted.model.count_params(),
        "epochs": len(fitted.history),
        "best_epoch": fitted.best.epoch,
        "averaged_epochs": fitted.averaged_epochs,
        "precision": fitted.precision,
        "device": device_name(),
        "seconds_per_epoch": sorted(e.seconds for e in fitted.history)[len(fitted.history) // 2],
        "split_strategy": split.strategy,
        "dataset_digest": dataset.digest,
        "split_digest": split.digest(),
        "from_model_seen": start and held_out_seen(dataset, split, start),
        "libraries": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            **{name: version(name) for name in ("keras", "numpy", "pillow")},
        },
    }
    return TrainingRecord(**told | found)


def history_csv(history: tuple[Epoch, ...]) -> str:
    """Returns the history as CSV with a header."""
    names = [field.name for field in fields(Epoch)]
    return csv_text(names, ([getattr(epoch, name) for name in names] for epoch in history))


def draw_curves(fitted: Fit) -> Figure:
    """Draws loss and accuracy of both parts, and marks what the weights came to."""
    columns = {
        field.name: [getattr(epoch, field.name) for epoch in fitted.history]
        for field in fields(Epoch)
    }
    best = fitted.best
    kept = {"loss": best.val_loss, "accuracy": best.val_accuracy}
    return draw_learning_curves(columns, best.epoch, fitted.averaged_epochs, kept)


def _write_tensorboard(folder: Path, history: tuple[Epoch, ...]) -> None:
    for part, prefix in (("train", ""), ("validation", "val_")):
        writer = tf.summary.create_file_writer(str(folder / part))
        with writer.as_default():
            for epoch in history:
                for name in ("loss", "accuracy"):
                    figure = getattr(epoch, prefix + name)
                    assert math.isfinite(figure)
                    tf.summary.scalar(f"epoch_{name}", figure, step=epoch.epoch)
        writer.close()
