"""What the train step left beside the model: its curves and how it was made."""

import csv
from pathlib import Path

import numpy as np

from components.shared.data.dataset import Split
from components.shared.errors import UserError, reason
from components.shared.networks.hyperparameters import BATCH_SIZE
from components.shared.storage.files import read_json
from components.shared.strict import Strict

COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


class TrainingRecord(Strict):
    """How a model was made; stands beside it and goes into its card."""

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
    batch_size: int = BATCH_SIZE
    seed: int
    from_model: str | None = None
    from_model_digest: str | None = None
    from_model_seen: int | None = None  # held-out images; None where it cannot be told
    precision: str
    device: str
    seconds_per_epoch: float
    split_strategy: str
    dataset_digest: str
    split_digest: str
    libraries: dict[str, str]

    def start_note(self) -> str:
        """Says that the start may have seen what is held out; empty where it has not."""
        if self.from_model is None or self.from_model_seen == 0:
            return ""
        if self.from_model_seen is None:
            return (
                f"the training started from {self.from_model}, which may have seen some of these "
                "held-out images, which flatters it: it keeps nothing to tell by"
            )
        return (
            f"the training started from {self.from_model}, whose own dataset has copies of "
            f"{self.from_model_seen:,} of these held-out images, which flatters it"
        )


def read_history(folder: str | Path) -> dict[str, np.ndarray]:
    """Reads the training curves.

    Args:
        folder: The model's folder; holds `history.csv`.

    Returns:
        The columns `epoch`, `loss`, `accuracy`, `val_loss` and `val_accuracy`, float64 [epochs];
        a loss that diverged is NaN.

    Raises:
        UserError: Missing or malformed.
    """
    path = Path(folder) / "history.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        history = {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}
    except KeyError as error:
        raise UserError(f"{path}: has no column {error}; train the model again") from error
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: cannot read: {reason(error)}; train the model again") from error
    if not rows:
        raise UserError(f"{path}: holds no epoch; train the model again")
    return history


def read_record(folder: str | Path, split: Split) -> TrainingRecord:
    """Reads how the model was made, and checks that it never saw what it is measured on.

    Args:
        folder: The model's folder; holds `training.json`.
        split: The split to measure on.

    Returns:
        The record.

    Raises:
        UserError: Missing, malformed, or of a model that was trained on another split: images
            held out here may then have been learned there.
    """
    path = Path(folder) / "training.json"
    record = read_json(path, TrainingRecord, "train the model again")
    if record.split_digest != split.digest():
        raise UserError(
            f"{path}: the model was trained on another split, so nothing is held out from it; "
            "give the split it was trained on, or train it again"
        )
    return record
