"""What an evaluation says: plain data, written as JSON and read by the register step."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from components.files import read_json
from components.metrics import Interval, RocCurve, Scores

EVALUATION = "evaluation.json"
ROC = "roc.json"
PREDICTIONS = "predictions.csv"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def _read(cls, path: Path) -> Self:
        return read_json(path, cls, "evaluate the model again")


class PartResult(_Strict):
    """The model and the two floors on one part of the dataset."""

    images: int = Field(gt=0)
    groups: int = Field(gt=0)
    tumor: int = Field(gt=0)
    healthy: int = Field(gt=0)
    twins_in_training: int = Field(
        ge=0, description="images with a near-duplicate, other than themselves, in training"
    )
    confusion: tuple[tuple[int, int], tuple[int, int]] = Field(
        description="the model's; rows true, columns predicted, Brain Tumor first"
    )
    model: Scores
    metadata_floor: Scores
    nearest_neighbour_floor: Scores
    uncalibrated_ece: float | None = Field(
        default=None,
        description="the model's calibration error at temperature 1; null in older versions",
    )


class Slice(_Strict):
    """Accuracy of the model and of the metadata floor on images with something in common."""

    name: str
    images: int = Field(gt=0)
    groups: int = Field(gt=0)
    tumor: int = Field(ge=0)
    model: Interval
    metadata_floor: Interval


class Shortcuts(_Strict):
    """Accuracy by what the file, and not the brain, says; on the held-out part."""

    floor_right: Slice | None = Field(
        description="where the metadata floor is right; null: nowhere"
    )
    floor_wrong: Slice | None = Field(description="the metadata floor is wrong")
    size: tuple[Slice, ...] = Field(description="of the file's image, in pixels")
    mode: tuple[Slice, ...]
    format: tuple[Slice, ...]
    extension: tuple[Slice, ...] = Field(description="as the file's name has it")
    source: tuple[Slice, ...] = Field(
        description="by the classes of the training images of the same size, mode and format"
    )
    copies: tuple[Slice, ...] = Field(description="by the images of the near-duplicate group")


class Change(_Strict):
    """What a change of the images does to the model's answers."""

    name: str
    family: str
    flips: Interval = Field(description="share of the answers that are no longer the same")
    mean_change: float = Field(ge=-1, le=1, description="of P(Brain Tumor)")
    mean_absolute_change: float = Field(ge=0, le=1)
    accuracy: Interval
    auroc: Interval


class Stability(_Strict):
    """The model's answers for the same images, changed; on some of the held-out part."""

    images: int = Field(gt=0, description="at most one of a class and a near-duplicate group")
    accuracy: Interval = Field(description="of the unchanged images")
    auroc: Interval = Field(description="of the unchanged images")
    changes: tuple[Change, ...]


class Evaluation(_Strict):
    """One model on one dataset and split."""

    schema_version: Literal[1] = 1
    temperature: float = Field(
        gt=0, description="fitted on validation; divides the model's logits before all that follows"
    )
    threshold: float = Field(ge=0, le=1, description="Brain Tumor where P(Brain Tumor) reaches it")
    threshold_rule: str
    split_strategy: str
    dataset_digest: str
    split_digest: str
    seed: int
    bootstrap_samples: int = Field(gt=0)
    held_out: PartResult
    full_dataset: PartResult
    shortcuts: Shortcuts | None = Field(default=None, description="null in older evaluations")
    stability: Stability | None = Field(default=None, description="null in older evaluations")

    def flat(self) -> dict[str, float]:
        """Returns the numbers under names that say part, predictor and measure.

        The model's measures carry `_low` and `_high` beside them, the floors' do not.
        """
        numbers = {"temperature": self.temperature, "threshold": self.threshold}
        for part in ("held_out", "full_dataset"):
            result: PartResult = getattr(self, part)
            if result.uncalibrated_ece is not None:
                numbers[f"{part}_uncalibrated_ece"] = result.uncalibrated_ece
            for measure in Scores.model_fields:
                interval: Interval = getattr(result.model, measure)
                numbers[f"{part}_{measure}"] = interval.value
                numbers[f"{part}_{measure}_low"] = interval.low
                numbers[f"{part}_{measure}_high"] = interval.high
                for floor in ("metadata_floor", "nearest_neighbour_floor"):
                    numbers[f"{part}_{floor}_{measure}"] = getattr(
                        getattr(result, floor), measure
                    ).value
        if self.shortcuts and self.shortcuts.floor_wrong:
            numbers["held_out_accuracy_metadata_floor_wrong"] = (
                self.shortcuts.floor_wrong.model.value
            )
        if self.stability:
            for change in self.stability.changes:
                name = f"held_out_most_flips_{change.family}"
                numbers[name] = max(numbers.get(name, 0.0), change.flips.value)
        return numbers

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Reads what the evaluate step wrote.

        Args:
            folder: The evaluation's folder.

        Returns:
            The evaluation.

        Raises:
            UserError: Missing or malformed.
        """
        return cls._read(Path(folder) / EVALUATION)


class RocCurves(_Strict):
    """The model's ROC curves."""

    held_out: RocCurve
    full_dataset: RocCurve

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Reads what the evaluate step wrote; raises UserError where it cannot."""
        return cls._read(Path(folder) / ROC)
