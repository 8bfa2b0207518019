"""What an evaluation says: plain data, written as JSON and read by the register step."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.errors import UserError, first_fault
from components.metrics import Interval, RocCurve, Scores

EVALUATION = "evaluation.json"
ROC = "roc.json"
PREDICTIONS = "predictions.csv"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def _read(cls, path: Path) -> Self:
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot read: {error}; evaluate the model again") from error
        except ValidationError as error:
            raise UserError(f"{path}: {first_fault(error)}; evaluate the model again") from error


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


class Evaluation(_Strict):
    """One model on one dataset and split."""

    schema_version: Literal[1] = 1
    threshold: float = Field(ge=0, le=1, description="Brain Tumor where P(Brain Tumor) reaches it")
    threshold_rule: str
    split_strategy: str
    dataset_digest: str
    split_digest: str
    seed: int
    bootstrap_samples: int = Field(gt=0)
    held_out: PartResult
    full_dataset: PartResult

    def flat(self) -> dict[str, float]:
        """Returns the numbers under names that say part, predictor and measure.

        The model's measures carry `_low` and `_high` beside them, the floors' do not.
        """
        numbers = {"threshold": self.threshold}
        for part in ("held_out", "full_dataset"):
            result: PartResult = getattr(self, part)
            for measure in Scores.model_fields:
                interval: Interval = getattr(result.model, measure)
                numbers[f"{part}_{measure}"] = interval.value
                numbers[f"{part}_{measure}_low"] = interval.low
                numbers[f"{part}_{measure}_high"] = interval.high
                for floor in ("metadata_floor", "nearest_neighbour_floor"):
                    numbers[f"{part}_{floor}_{measure}"] = getattr(
                        getattr(result, floor), measure
                    ).value
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
