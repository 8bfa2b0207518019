"""What a model is worth on another source: plain data, written as JSON and into the metadata."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt

from components.shared.data.dataset import SUBGROUPS
from components.shared.evaluation.metrics import MEASURES, Interval
from components.shared.evaluation.results import Answered, BySubgroup, Subgroup
from components.shared.reports.numbers import counted
from components.shared.storage.files import read_json
from components.shared.strict import Strict

EXTERNAL = "external.json"
PREDICTIONS = "predictions.csv"


class Overlap(Strict):
    """Images that were left out, because the model's own dataset holds them."""

    checked: bool = Field(
        description="false where the version is older than the record of its dataset's images"
    )
    identical: NonNegativeInt = Field(description="images of files that its dataset holds too")
    near_duplicates: NonNegativeInt = Field(description="further images, near-duplicates of some")
    same_group: NonNegativeInt = Field(
        description="further images of their patients and near-duplicate groups"
    )

    @property
    def images(self) -> int:
        """How many images were left out."""
        return self.identical + self.near_duplicates + self.same_group


class Strangers(Strict):
    """Images that are not brain MRI, which the model should flag."""

    name: str
    images: PositiveInt
    groups: PositiveInt
    flagged: Interval | None = Field(description="share; null where the model has no such check")
    called_tumor: Interval = Field(description="share, flagged or not")


class ExternalResult(BySubgroup):
    """One model on the images of one other source; the intervals are by group.

    A group is near-duplicates, and images of one patient where patients are known.
    """

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=200, description="of the source, for people")
    source: str
    source_version: str
    dataset_digest: str = Field(pattern="^[0-9a-f]{64}$")
    threshold: float = Field(ge=0, le=1, description="the model's own, not chosen here")
    seed: int
    bootstrap_samples: PositiveInt
    overlap: Overlap
    unusable: NonNegativeInt = Field(description="files that could not be read")
    images: PositiveInt = Field(description="of both classes, without overlap and strangers")
    groups: PositiveInt
    patients: PositiveInt | None = Field(description="null where none is known")
    tumor: NonNegativeInt
    healthy: NonNegativeInt
    scores: dict[str, Interval] = Field(
        description="by measure; those are missing that need a class of which there is no image"
    )
    confusion: tuple[tuple[int, int], tuple[int, int]] = Field(
        description="rows true, columns answered, Brain Tumor first"
    )
    commoner_class: float = Field(
        ge=0.5, le=1, description="accuracy of always answering the class with more images here"
    )
    mean_probability: float = Field(ge=0, le=1, description="of Brain Tumor, that the model gives")
    sure_and_wrong: NonNegativeInt = Field(
        description="images of which it gives the wrong class at least 0.9"
    )
    flagged: Interval | None = Field(
        description="share flagged as no brain MRI; null where the model has no such check"
    )
    answered: Answered | None = Field(
        default=None, description="where it may answer unsure; null where it always answers"
    )
    by_site_and_sequence: tuple[Subgroup, ...] = ()
    strangers: tuple[Strangers, ...] = Field(
        default=(), description="all, then by what the labels say of them; empty where none"
    )

    def of(self, measure: str) -> Interval | None:
        """Returns a measure by its name in `MEASURES`; None where it means nothing here."""
        return self.scores.get(measure)

    def unsure(self) -> Interval | None:
        """Returns the share of images of which the model is unsure; None where it never is."""
        if self.answered is None:
            return None
        answered = self.answered.coverage
        return Interval(value=1 - answered.value, low=1 - answered.high, high=1 - answered.low)

    def numbers(self) -> dict[str, float]:
        """Returns what KFP's UI shows."""
        found = {name: interval.value for name, interval in self.scores.items()}
        found |= {"images": self.images, "overlap": self.overlap.images}
        if self.flagged:
            found["flagged"] = self.flagged.value
        if self.answered:
            found["coverage"] = self.answered.coverage.value
        if self.strangers and self.strangers[0].flagged:
            found["strangers_flagged"] = self.strangers[0].flagged.value
        return found

    def sentence(self) -> str:
        """Returns the figures that count in one line."""
        shown = ("accuracy", "sensitivity", "specificity", "auroc")
        told = [
            f"{MEASURES[name].name} {MEASURES[name].text(score.value)}"
            for name in shown
            if (score := self.of(name))
        ]
        return f"{self.name}, {counted(self.images, 'image')}: {', '.join(told)}"

    def tables(self) -> list[tuple[str, tuple[Subgroup, ...]]]:
        """Returns what each table of subgroups is by, such as `site`, and the subgroups."""
        found = [(SUBGROUPS[kind], subgroups) for kind, subgroups in self.subgroups().items()]
        if self.by_site_and_sequence:
            found.append(("site and sequence", self.by_site_and_sequence))
        return found

    def unmeasured(self) -> list[str]:
        """Returns the names of the measures that mean nothing here, as people call them."""
        return [measure.name for name, measure in MEASURES.items() if name not in self.scores]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Reads what the validate step wrote.

        Args:
            folder: Where it wrote.

        Returns:
            The result.

        Raises:
            UserError: Missing or malformed.
        """
        return read_json(Path(folder) / EXTERNAL, cls, "evaluate the model on the source again")


def read_results(folders: Sequence[str | Path]) -> tuple[ExternalResult, ...]:
    """Reads what the validate steps of a run wrote.

    Args:
        folders: One for each source; one without a result where there was no source.

    Raises:
        UserError: A result is malformed.
    """
    return tuple(
        ExternalResult.open(folder) for folder in folders if (Path(folder) / EXTERNAL).exists()
    )
