"""What a cross-validation says: plain data, written as JSON."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from components.shared.evaluation.metrics import MEASURES, Interval, Scores
from components.shared.evaluation.predictors import MODEL, PREDICTORS, Compared
from components.shared.evaluation.results import Answered, BySubgroup
from components.shared.storage.files import read_json
from components.shared.strict import Strict

CROSS_VALIDATION = "cross_validation.json"
PREDICTIONS = "predictions.csv"
SUSPICIOUS = "suspicious_labels.csv"


class Figures(Compared[Scores]):
    """The network and the two baselines on the same images."""


class FoldFigures(Figures):
    """One fold, on what it held out."""

    fold: int = Field(gt=0)
    source: str | None = Field(default=None, description="held out whole, if it is one")
    images: int = Field(gt=0)
    groups: int = Field(gt=0)
    best_epoch: int = Field(gt=0)
    temperature: float = Field(gt=0)
    threshold: float = Field(ge=0, le=1)


class WithoutContradicted(Strict):
    """All folds together, without images whose picture the dataset files under both classes."""

    left_out: int = Field(gt=0, description="images whose picture both classes claim")
    images: int = Field(gt=0)
    groups: int = Field(gt=0)
    mean: Figures
    pooled: Figures
    error_at_90_coverage: Interval


class CrossValidation(BySubgroup):
    """All folds together; every image is predicted by the fold that has not seen it."""

    schema_version: Literal[1] = 1
    dataset_digest: str
    git_revision: str
    settings: dict[str, bool | int | float | str]
    from_model_seen: int | None = Field(
        default=None, ge=0, description="as in the folds, of all images"
    )
    threshold_rule: str
    seed: int
    bootstrap_samples: int = Field(gt=0)
    images: int = Field(gt=0)
    groups: int = Field(gt=0, description="of near-duplicates and images of one patient")
    patients: int | None = Field(default=None, description="null where none is known")
    tumor: int = Field(gt=0)
    healthy: int = Field(gt=0)
    confusion: tuple[tuple[int, int], tuple[int, int]] = Field(
        description="the network's; rows true, columns predicted, Brain Tumor first"
    )
    mean: Figures = Field(description="the mean of the folds")
    pooled: Figures = Field(
        description="all images measured at once, each at its own fold's threshold"
    )
    without_contradicted: WithoutContradicted | None = Field(
        default=None, description="null where no picture is contradicted, and in older ones"
    )
    uncalibrated_ece: float = Field(
        ge=0, description="the pooled calibration error at temperature 1"
    )
    target_error: float | None = Field(
        default=None, description="share of the answers that may be wrong; null in older ones"
    )
    answered: Answered | None = Field(
        default=None,
        description="all images, each unsure or not as its own fold says; null in older ones and "
        "where a fold's validation allows none",
    )
    error_at_90_coverage: Interval | None = Field(
        default=None,
        description="share of wrong answers among the surest 90% of all images; null in older ones",
    )
    suspicious_labels: int = Field(ge=0, description="pictures; twins count once")
    suspicious_images: int = Field(ge=0, description="images of these pictures")
    folds: tuple[FoldFigures, ...] = Field(min_length=2)

    def flat(self) -> dict[str, float]:
        """Returns the numbers under names that say what, predictor and measure.

        The network's measures carry `_low` and `_high` beside them, the baselines' do not.
        """
        numbers: dict[str, float] = {
            "folds": len(self.folds),
            "images": self.images,
            "suspicious_labels": self.suspicious_labels,
            "uncalibrated_ece": self.uncalibrated_ece,
        }
        if self.error_at_90_coverage:
            numbers["error_at_90_coverage"] = self.error_at_90_coverage.value
        if self.answered:
            numbers["coverage"] = self.answered.coverage.value
            if self.answered.error:
                numbers["error_of_answers"] = self.answered.error.value
        if self.without_contradicted:
            for what in ("mean", "pooled"):
                without: Figures = getattr(self.without_contradicted, what)
                for measure in MEASURES:
                    value = without.of(MODEL).of(measure).value
                    numbers[f"{what}_{measure}_without_contradicted"] = value
        for what in ("mean", "pooled"):
            figures: Figures = getattr(self, what)
            for measure in MEASURES:
                for predictor in PREDICTORS:
                    interval = figures.of(predictor).of(measure)
                    name = f"{what}_{measure}"
                    if predictor == MODEL:
                        numbers[name] = interval.value
                        numbers[f"{name}_low"] = interval.low
                        numbers[f"{name}_high"] = interval.high
                    else:
                        numbers[f"{what}_{predictor}_{measure}"] = interval.value
        return numbers

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Reads what the collect step wrote.

        Args:
            folder: Its folder.

        Returns:
            The cross-validation.

        Raises:
            UserError: Missing or malformed.
        """
        return read_json(Path(folder) / CROSS_VALIDATION, cls, "cross-validate again")
