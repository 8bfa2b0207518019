"""What an evaluation says: plain data, written as JSON and read by the register step."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from components.shared.data.dataset import SUBGROUPS
from components.shared.evaluation.metrics import MEASURES, Interval, RocCurve, Scores
from components.shared.evaluation.predictors import FLOORS, Compared
from components.shared.storage.files import read_json
from components.shared.strict import Strict

EVALUATION = "evaluation.json"
ROC = "roc.json"
PREDICTIONS = "predictions.csv"


_MEND = "evaluate the model again"


class PartResult(Compared[Scores]):
    """The model and the two baselines on one part of the dataset."""

    images: int = Field(gt=0)
    groups: int = Field(gt=0, description="of near-duplicates and images of one patient")
    patients: int | None = Field(default=None, description="null where none is known")
    tumor: int = Field(gt=0)
    healthy: int = Field(gt=0)
    twins_in_training: int = Field(
        ge=0, description="images with a near-duplicate, other than themselves, in training"
    )
    confusion: tuple[tuple[int, int], tuple[int, int]] = Field(
        description="the model's; rows true, columns predicted, Brain Tumor first"
    )
    uncalibrated_ece: float | None = Field(
        default=None,
        description="the model's calibration error at temperature 1; null in older versions",
    )


class Uncontradicted(PartResult):
    """A part without the images whose picture the dataset files under the other class too."""

    left_out: int = Field(gt=0, description="images of the part whose picture both classes claim")
    error_at_90_coverage: Interval = Field(
        description="share of wrong answers among the surest 90%"
    )


class Subgroup(Strict):
    """The model on images with something in common, such as their site."""

    name: str
    images: int = Field(gt=0)
    groups: int = Field(gt=0)
    tumor: int = Field(ge=0)
    accuracy: Interval
    sensitivity: Interval | None = Field(description="null where no image shows a tumour")
    specificity: Interval | None = Field(description="null where all images show a tumour")
    auroc: Interval | None = Field(
        default=None, description="null where a class is missing, and in older results"
    )
    flagged: Interval | None = Field(
        default=None, description="share flagged as no brain MRI; null where it was not measured"
    )
    unsure: Interval | None = Field(
        default=None, description="share answered unsure; null where it was not measured"
    )


class BySubgroup(Strict):
    """A model by what is known of the images besides their class; empty where it is of none."""

    by_source: tuple[Subgroup, ...] = Field(default=(), description="empty where there is one")
    by_site: tuple[Subgroup, ...] = ()
    by_sequence: tuple[Subgroup, ...] = ()
    by_type: tuple[Subgroup, ...] = Field(default=(), description="of tumour")
    by_plane: tuple[Subgroup, ...] = ()

    def subgroups(self) -> dict[str, tuple[Subgroup, ...]]:
        """Returns the subgroups by kind, as `SUBGROUPS` has it; empty ones are left out."""
        found = {kind: getattr(self, f"by_{kind}") for kind in SUBGROUPS}
        return {kind: subgroups for kind, subgroups in found.items() if subgroups}


class Slice(Strict):
    """Accuracy of the model and of the metadata baseline on images with something in common."""

    name: str
    images: int = Field(gt=0)
    groups: int = Field(gt=0)
    tumor: int = Field(ge=0)
    model: Interval
    metadata_floor: Interval


class Shortcuts(Strict):
    """Accuracy by what the file, and not the brain, says; on the held-out part."""

    floor_right: Slice | None = Field(
        description="where the metadata baseline is right; null: nowhere"
    )
    floor_wrong: Slice | None = Field(description="the metadata baseline is wrong")
    size: tuple[Slice, ...] = Field(description="of the file's image, in pixels")
    mode: tuple[Slice, ...]
    format: tuple[Slice, ...]
    extension: tuple[Slice, ...] = Field(description="as the file's name has it")
    source: tuple[Slice, ...] = Field(
        description="by the classes of the training images of the same size, mode and format"
    )
    copies: tuple[Slice, ...] = Field(description="by the images of the near-duplicate group")


class Change(Strict):
    """What a change of the images does to the model's answers."""

    name: str
    family: str
    flips: Interval = Field(description="share of the answers that are no longer the same")
    mean_change: float = Field(ge=-1, le=1, description="of P(Brain Tumor)")
    mean_absolute_change: float = Field(ge=0, le=1)
    accuracy: Interval
    auroc: Interval


class Stability(Strict):
    """The model's answers for the same images, changed; on some of the held-out part."""

    images: int = Field(gt=0, description="at most one of a class and a near-duplicate group")
    accuracy: Interval = Field(description="of the unchanged images")
    auroc: Interval = Field(description="of the unchanged images")
    changes: tuple[Change, ...]


class Answered(Strict):
    """A model that may answer "unsure", on one part of the dataset."""

    coverage: Interval = Field(description="share of the images that are answered")
    error: Interval | None = Field(
        description="share of the answers that are wrong; null where none is answered"
    )
    group_error: float | None = Field(
        ge=0, le=1, description="the same with each group counted once, as it was bounded"
    )
    outcomes: tuple[tuple[int, int, int], tuple[int, int, int]] = Field(
        description="images; rows true, Brain Tumor first, columns Brain Tumor, unsure, Healthy"
    )


class Unsure(Strict):
    """Between which scores the answer is unsure, and what that does."""

    low: float = Field(ge=0, le=1, description="unsure from this P(Brain Tumor) on")
    high: float = Field(ge=0, le=1, description="and below this one")
    validation: Answered = Field(description="which the two were chosen on")
    held_out: Answered


class Evaluation(BySubgroup):
    """One model on one dataset and split; by subgroup on the held-out part."""

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
    without_contradicted: Uncontradicted | None = Field(
        default=None,
        description="the held-out part without pictures that both classes claim; null where it has "
        "none, and in older evaluations",
    )
    shortcuts: Shortcuts | None = Field(default=None, description="null in older evaluations")
    stability: Stability | None = Field(default=None, description="null in older evaluations")
    target_error: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of the answers that may be wrong; null in older evaluations",
    )
    unsure: Unsure | None = Field(
        default=None, description="null in older evaluations and where validation allows none"
    )
    never_unsure: str = Field(default="", description="why validation allows none")
    error_at_90_coverage: Interval | None = Field(
        default=None,
        description="share of wrong answers among the surest 90% of the held-out images; null in "
        "older evaluations",
    )

    def held_out_metrics(self) -> dict[str, float]:
        """Returns the figures that count: ten, because KFP's UI shows ten on a page."""
        chosen = {"temperature": self.temperature, "threshold": self.threshold}
        return _measures(self.held_out) | chosen

    def held_out_details(self) -> dict[str, float]:
        """Returns what puts them into perspective: intervals, baselines, shortcuts, stability."""
        numbers = _intervals_and_floors(self.held_out)
        if self.shortcuts and self.shortcuts.floor_wrong:
            numbers["accuracy_metadata_floor_wrong"] = self.shortcuts.floor_wrong.model.value
        if self.stability:
            for change in self.stability.changes:
                name = f"max_flips_{change.family}"
                numbers[name] = max(numbers.get(name, 0.0), change.flips.value)
        if self.error_at_90_coverage:
            numbers["error_at_90_coverage"] = self.error_at_90_coverage.value
        if self.without_contradicted:
            numbers |= {
                f"{name}_without_contradicted": value
                for name, value in _measures(self.without_contradicted).items()
            }
        if self.unsure:
            numbers["coverage"] = self.unsure.held_out.coverage.value
            if self.unsure.held_out.error:
                numbers["error_of_answers"] = self.unsure.held_out.error.value
        return numbers

    def full_dataset_metrics(self) -> dict[str, float]:
        """Returns the figures of all images, most of which the model was trained on."""
        return _measures(self.full_dataset) | _intervals_and_floors(self.full_dataset)

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
        return read_json(Path(folder) / EVALUATION, cls, _MEND)


class RocCurves(Strict):
    """The model's ROC curves."""

    held_out: RocCurve
    full_dataset: RocCurve

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Reads what the evaluate step wrote; raises UserError where it cannot."""
        return read_json(Path(folder) / ROC, cls, _MEND)


def _measures(part: PartResult) -> dict[str, float]:
    return {measure: part.model.of(measure).value for measure in MEASURES}


def _intervals_and_floors(part: PartResult) -> dict[str, float]:
    numbers = {}
    for measure in MEASURES:
        interval = part.model.of(measure)
        numbers[f"{measure}_low"] = interval.low
        numbers[f"{measure}_high"] = interval.high
        for floor in FLOORS:
            numbers[f"{floor}_{measure}"] = part.of(floor).of(measure).value
    if part.uncalibrated_ece is not None:
        numbers["uncalibrated_ece"] = part.uncalibrated_ece
    return numbers
