"""The train step: fit, then write the model with all that is known of its making."""

import csv
import hashlib
import io
import math
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import tensorflow as tf
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict

from components.average import averaged
from components.code import code_digest
from components.dataset import ImageDataset, Split
from components.errors import UserError, require_at_least
from components.files import write_atomically
from components.hyperparameters import Hyperparameters
from components.report import plot, write_report
from components.train.fit import DivergedError, Epoch, Fit, fit, forget, validate
from components.train.hardware import device_name
from components.work import work_folder

MODEL = "model.keras"
HISTORY = "history.csv"
RECORD = "training.json"
TENSORBOARD = "tensorboard"


class TrainingRecord(BaseModel):
    """How a model was made; stands beside it and goes into its card."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str
    parameters: int
    learning_rate: float
    dropout: float
    dense: int
    augmentation: bool
    ensemble: int = 1
    mirror: bool = False
    epochs: int
    best_epoch: int
    averaged_epochs: int = 0
    patience: int
    seed: int
    precision: str
    device: str
    seconds_per_epoch: float
    split_strategy: str
    dataset_digest: str
    split_digest: str
    libraries: dict[str, str]


def train(
    dataset: ImageDataset,
    split: Split,
    values: Hyperparameters,
    epochs: int,
    patience: int,
    seed: int,
    output: str | Path,
    report: str | Path,
    state: str | Path,
    ensemble: int = 1,
    mirror: bool = False,
) -> Fit:
    """Trains the final model and writes it.

    Args:
        dataset: The images.
        split: Its train part is learned; its validation part chooses the epoch, where weights are
            not averaged.
        values: Hyperparameters, as the search found them.
        epochs: Most epochs to train.
        patience: Stop after so many epochs without a better one; 0 never stops early.
        seed: Of everything random.
        output: Folder for model, history, record and TensorBoard logs.
        report: HTML file with the curves.
        state: Folder that a killed run is resumed from.
        ensemble: How many networks to train, from different seeds; their logits are averaged.
        mirror: Whether the model averages its answers to an image and to its mirror image.

    Returns:
        The fitted network; of an ensemble its first one's history, with the model of all and that
        one's figures on the validation part.

    Raises:
        UserError: The loss stopped being a number, the architecture cannot be built, or a number is
            out of range.
    """
    require_at_least(1, epochs=epochs, ensemble=ensemble)
    require_at_least(0, patience=patience)
    with work_folder(
        Path(state) / _fingerprint(dataset, split, values, epochs, patience, seed)
    ) as work:
        try:
            fits = []
            for number in range(ensemble):
                if ensemble > 1:
                    print(f"network {number + 1} of {ensemble}", flush=True)
                own_state = work / f"{number}"
                fits.append(fit(dataset, split, values, epochs, patience, seed + number, own_state))
        except DivergedError as error:
            raise UserError(f"{error}; give a smaller learning rate") from error
        fitted = fits[0]
        if ensemble > 1 or mirror:
            model = averaged([each.model for each in fits], mirror)
            loss, accuracy = validate(model, dataset, split.part("validation"), values.architecture)
            best = replace(fitted.best, val_loss=loss, val_accuracy=accuracy)
            fitted = replace(fitted, model=model, best=best)
        output = Path(output)
        output.mkdir(parents=True, exist_ok=True)
        beside = output / f"unfinished.{MODEL}"
        fitted.model.save(beside)
        beside.replace(output / MODEL)
        write_atomically(output / HISTORY, history_csv(fitted.history))
        _write_tensorboard(output / TENSORBOARD, fitted.history)
        record = training_record(dataset, split, values, patience, seed, fitted, ensemble, mirror)
        write_atomically(output / RECORD, record.model_dump_json(indent=1))
        write_report(
            report,
            "train/report.html.j2",
            record=record,
            history=fitted.history,
            best=fitted.best,
            curves=plot(draw_curves(fitted)),
        )
        forget(work)
        return fitted


def training_record(
    dataset: ImageDataset,
    split: Split,
    values: Hyperparameters,
    patience: int,
    seed: int,
    fitted: Fit,
    ensemble: int = 1,
    mirror: bool = False,
) -> TrainingRecord:
    """Returns the record of a finished training."""
    return TrainingRecord(
        architecture=fitted.model.name,
        parameters=fitted.model.count_params(),
        learning_rate=values.learning_rate,
        dropout=values.dropout,
        dense=values.dense,
        augmentation=values.augmentation,
        ensemble=ensemble,
        mirror=mirror,
        epochs=len(fitted.history),
        best_epoch=fitted.best.epoch,
        averaged_epochs=fitted.averaged_epochs,
        patience=patience,
        seed=seed,
        precision=fitted.precision,
        device=device_name(),
        seconds_per_epoch=sorted(e.seconds for e in fitted.history)[len(fitted.history) // 2],
        split_strategy=split.strategy,
        dataset_digest=dataset.digest,
        split_digest=split.digest(),
        libraries={
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            **{name: version(name) for name in ("keras", "numpy", "pillow")},
        },
    )


def history_csv(history: tuple[Epoch, ...]) -> str:
    """Returns the history as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Epoch.__dataclass_fields__)
    for epoch in history:
        writer.writerow(getattr(epoch, name) for name in Epoch.__dataclass_fields__)
    return text.getvalue()


def draw_curves(fitted: Fit) -> Figure:
    """Draws loss and accuracy of both parts, and marks what the weights came to."""
    history, best = fitted.history, fitted.best
    kept = f"mean of the last {fitted.averaged_epochs}" if fitted.averaged_epochs else "best epoch"
    figure = Figure(figsize=(9.5, 3.4))
    epochs = [epoch.epoch for epoch in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [getattr(e, name) for e in history], color="#8a94a0", label="training")
        axes.plot(
            epochs,
            [getattr(e, f"val_{name}") for e in history],
            color="#24527a",
            label="validation",
        )
        axes.axvline(best.epoch, color="#24527a", linewidth=0.8, linestyle=":")
        axes.plot(best.epoch, getattr(best, f"val_{name}"), "o", color="#24527a", label=kept)
        axes.set(xlabel="epoch", title=name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    highest = max(max(e.loss, e.val_loss) for e in history)
    figure.axes[0].set_ylim(0, min(3.0, 1.1 * highest) or 1.0)
    figure.axes[1].legend(frameon=False, loc="lower right")
    return figure


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


def _fingerprint(
    dataset: ImageDataset,
    split: Split,
    values: Hyperparameters,
    epochs: int,
    patience: int,
    seed: int,
) -> str:
    """Returns a name for the work in progress that any other work does not have."""
    parts = [dataset.digest[:12], split.digest()[:12], str(epochs), str(patience), str(seed)]
    chosen = hashlib.sha256(f"{values} {code_digest()}".encode()).hexdigest()[:12]
    return "-".join([*parts, values.architecture, chosen])
