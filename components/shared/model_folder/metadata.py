"""What a registered model says of itself: `metadata.json`, and its published JSON schema."""

import json
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field, JsonValue, ValidationError

from components.shared.data.dataset import PARTS, ImageDataset, SourceRecord, Split, Strategy
from components.shared.errors import UserError, first_fault, reason
from components.shared.evaluation.external import ExternalResult
from components.shared.evaluation.metrics import Interval, Scores
from components.shared.evaluation.results import (
    Answered,
    BySubgroup,
    PartResult,
    Uncontradicted,
)
from components.shared.images.decode import SHAPE
from components.shared.model_folder.contract import (
    EXPLAIN,
    FEATURES,
    FEATURES_COUNT,
    HEATMAP,
    INPUT,
    METADATA,
    PROBABILITY,
    SCORE,
    SERVING,
)
from components.shared.model_folder.served import (
    InDistributionLimit,
    LowerPrecision,
    Served,
    UnsureRange,
)
from components.shared.storage.files import read_regular, write_atomically
from components.shared.strict import Strict

_MAX_BYTES = 4 * 2**20
SCHEMA = Path(__file__).with_name("metadata.schema.json")

_INTENDED_USE = (
    "For researchers, teachers and students: telling brain MRI slices that show a tumour from "
    "slices that were labelled healthy, among images like those it was trained on.",
    "For whoever measures how duplicates and other shortcuts in a public dataset inflate accuracy.",
    "For engineers: a worked example of training, measuring and rolling out a classifier.",
)
_NOT_INTENDED_USE = (
    "Physicians, patients or screening services: diagnosis, triage or any other decision "
    "about a patient. It is not a medical device and was never tested as one.",
    "Any given population or scanner: the dataset tells of neither, so how good the model is for "
    "one of them is unknown.",
    "Images of other kinds: other body parts, CT, whole volumes, photographs of screens. It "
    "answers for those too, flagged or not, and the answer means nothing.",
    "Finding out which tumour, where, or how large. Healthy means only that the dataset's owner "
    "filed the image so; some of these scans show other diseases.",
)


class Tensor(Strict):
    """One input or output of the SavedModel; -1 in a shape is any length."""

    name: str
    signatures: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    meaning: str


INPUTS = (
    Tensor(
        name=INPUT,
        signatures=(SERVING, EXPLAIN),
        dtype="uint8",
        shape=(-1, *SHAPE),
        meaning="RGB images, 0..255, resized to 150x150 without keeping the aspect",
    ),
)
OUTPUTS = (
    Tensor(
        name=PROBABILITY,
        signatures=(SERVING, EXPLAIN),
        dtype="float32",
        shape=(-1,),
        meaning="probability of Healthy; that of Brain Tumor is 1 minus it",
    ),
    Tensor(
        name=SCORE,
        signatures=(SERVING, EXPLAIN),
        dtype="float32",
        shape=(-1,),
        meaning="probability that the image is not a brain MRI slice; beyond the limit below "
        "the answer means nothing",
    ),
    Tensor(
        name=FEATURES,
        signatures=(SERVING, EXPLAIN),
        dtype="float32",
        shape=(-1, FEATURES_COUNT),
        meaning="what the network sees in the image in a few numbers, by which a change of the "
        "images shows: the first principal components of what its last layer decides by, each of "
        "mean 0 and variance 1 on the training images",
    ),
    Tensor(
        name=HEATMAP,
        signatures=(EXPLAIN,),
        dtype="float32",
        shape=(-1, -1, -1),
        meaning="Grad-CAM of the more probable class, 0..1, laid over the whole image",
    ),
)


class Data(Strict):
    """What the model was trained and measured on."""

    source: str
    source_version: str
    sources: tuple[SourceRecord, ...] = Field(
        default=(), description="those that the dataset was joined of, where there are several"
    )
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    split_strategy: Strategy
    split_digest: str = Field(pattern="^[0-9a-f]{64}$")
    split_seed: int
    images: dict[str, int] = Field(description="how many images each part has")

    @classmethod
    def of(cls, dataset: ImageDataset, split: Split) -> "Data":
        """Describes a dataset and the split that lies over it."""
        return cls(
            source=dataset.manifest.source,
            source_version=dataset.manifest.source_version,
            sources=dataset.manifest.sources,
            digest=dataset.digest,
            split_strategy=split.strategy,
            split_digest=split.digest(),
            split_seed=split.seed,
            images={part: len(split.part(part)) for part in PARTS},
        )


class Metrics(BySubgroup):
    """The evaluation's numbers, with 95% intervals; by subgroup on the held-out part."""

    bootstrap_samples: int = Field(gt=0)
    seed: int
    held_out: PartResult
    without_contradicted: Uncontradicted | None = Field(
        default=None,
        description="the held-out part without pictures that both classes claim; null where it has "
        "none, and in older versions",
    )
    full_dataset: PartResult
    error_at_90_coverage: Interval | None = Field(
        default=None,
        description="share of wrong answers among the surest 90% of the held-out images; null in "
        "older versions",
    )


class GateRecord(Strict):
    """What the model had to pass."""

    min_accuracy: float = Field(ge=0, le=1)
    min_sensitivity: float = Field(ge=0, le=1)
    min_specificity: float = Field(ge=0, le=1)
    champion_margin: float = Field(ge=0, le=1)
    min_external_sensitivity: float = Field(default=0, ge=0, le=1)
    min_external_specificity: float = Field(default=0, ge=0, le=1)
    min_external_auroc: float = Field(default=0, ge=0, le=1)
    champion_version: int | None = Field(ge=1, description="the version it was compared with")
    notes: tuple[str, ...]


class InDistributionRecord(InDistributionLimit):
    """The check that an image looks like the brain MRI slices that the model knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    validation_flagged: float = Field(
        ge=0, le=1, description="share of the validation images, which the limit was set on"
    )
    held_out_flagged: float = Field(ge=0, le=1, description="share of the held-out images")


class UnsureRecord(UnsureRange):
    """Between which probabilities of the positive class the answer is unsure, and what it does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_error: float = Field(gt=0, lt=1, description="share of the answers that may be wrong")
    validation: Answered = Field(description="which the range was chosen on")
    held_out: Answered


class LowerPrecisionRecord(LowerPrecision):
    """What a version is worth in the precision that serves it; by the runtime that serves it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: str
    images: int = Field(gt=0, description="of the held-out part")
    held_out: Scores
    largest_change: float = Field(
        ge=0, le=1, description="of a probability, against the same runtime in float32"
    )
    flipped: int = Field(ge=0, description="images that get another class than in float32")


class RecalibrationRecord(Strict):
    """What a version was fitted again on, and what that is worth there."""

    from_version: int = Field(ge=1, description="whose network it is")
    from_digest: str = Field(pattern="^[0-9a-f]{64}$", description="of the list of its files")
    source: str
    source_version: str
    dataset_digest: str = Field(pattern="^[0-9a-f]{64}$")
    images: int = Field(gt=0)
    groups: int = Field(gt=0, description="of near-duplicates and images of one patient")
    patients: int | None = Field(description="null where none is known")
    tumor: int = Field(gt=0)
    healthy: int = Field(gt=0)
    left_out: int = Field(ge=0, description="images that the model's own dataset holds too")
    overlap_checked: bool = Field(description="whether such images could be looked for")
    temperature: float = Field(gt=0, description="divides the logits of `from_version`")
    bootstrap_samples: int = Field(gt=0)
    seed: int
    before: Scores = Field(description="`from_version` on these images")
    after: Scores = Field(
        description="by cross-fitting: each image answered with what other groups' images gave"
    )


class ModelMetadata(Served):
    """What a registered model says of itself: `metadata.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    created: AwareDatetime = Field(description="UTC, ISO 8601")
    intended_use: tuple[str, ...] = _INTENDED_USE
    not_intended_use: tuple[str, ...] = _NOT_INTENDED_USE
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="fitted on validation; the SavedModel divides its logits by it, so that its "
        "probabilities are calibrated; null where the version is older than that",
    )
    threshold_rule: str
    in_distribution: InDistributionRecord | None = Field(
        default=None, description="null where the version is older than the check"
    )
    unsure: UnsureRecord | None = Field(
        default=None,
        description="null where the version is older than that, or where validation allows no "
        "range, which the weaknesses say",
    )
    lower_precision: LowerPrecisionRecord | None = Field(
        default=None, description="null where the version is served in float32"
    )
    recalibration: RecalibrationRecord | None = Field(
        default=None,
        description="null where temperature, threshold and range are of the model's own "
        "validation part; else data and metrics are those of the version that it came from, and "
        "`unsure` has the site's images, `held_out` by cross-fitting",
    )
    data: Data
    metrics: Metrics
    weaknesses: tuple[str, ...] = Field(
        default=(),
        description="what sites, sequences and held-out images that mislead or were changed showed",
    )
    external: tuple[ExternalResult, ...] = Field(
        default=(), description="what it is worth on images of other sources"
    )
    gate: GateRecord
    training: dict[str, JsonValue] = Field(description="the train step's own record")
    libraries: dict[str, str]
    python: str
    git_revision: str
    pipeline_run: str


def read_metadata(folder: str | Path) -> ModelMetadata:
    """Reads all that a version says of itself.

    Args:
        folder: The version's folder, verified.

    Returns:
        Its metadata.

    Raises:
        UserError: They are missing or malformed.
    """
    path = Path(folder, METADATA)
    try:
        content = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise UserError(f"{path}: cannot read it: {reason(error)}; register again") from error
    return parse_metadata(content, str(path))


def parse_metadata(content: bytes, where: str) -> ModelMetadata:
    """Checks what a version says of itself.

    Args:
        content: Of its `metadata.json`.
        where: Its path or address, for the error.

    Returns:
        Its metadata.

    Raises:
        UserError: They are malformed.
    """
    try:
        return ModelMetadata.model_validate_json(content)
    except ValidationError as error:
        raise UserError(f"{where}: {first_fault(error)}; restore it from a backup") from error


def schema_text() -> str:
    """Returns the JSON schema of `metadata.json`, as published beside this file."""
    schema = ModelMetadata.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2) + "\n"


if (
    __name__ == "__main__"
):  # python -m components.shared.model_folder.metadata: publishes the schema
    write_atomically(SCHEMA, schema_text())
