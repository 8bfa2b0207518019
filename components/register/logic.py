"""The register step: gate, champion, in-distribution check, export, publication."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from components.register.description import describe, write_description
from components.register.drift import write_drift_reference
from components.register.export import check_export, export
from components.register.gate import (
    Decision,
    Gate,
    Measured,
    check_bounds,
    check_external,
    compare,
    joined,
)
from components.register.in_distribution import METHOD, InDistributionCheck, fit_check
from components.register.precision import (
    Resamples,
    measure_lower_precision,
    require_precision,
)
from components.register.projection import fit_projection
from components.shared.data.classes import TUMOR
from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.shared.evaluation.external import ExternalResult
from components.shared.evaluation.predictor import apply_temperature, open_model
from components.shared.evaluation.results import Evaluation
from components.shared.model_folder.contract import CARD, PROBABILITY
from components.shared.model_folder.known_images import learned_images
from components.shared.model_folder.metadata import (
    Data,
    GateRecord,
    InDistributionRecord,
    LowerPrecisionRecord,
    read_metadata,
)
from components.shared.model_folder.runtimes import load
from components.shared.model_folder.served import Precision
from components.shared.model_folder.signing import Signer, Trust, seal
from components.shared.model_folder.smoke import write_smoke
from components.shared.model_folder.weights import write_weights
from components.shared.networks.average import first_weights
from components.shared.registry import Registry, kubeflow
from components.shared.registry.history import Alias
from components.shared.reports.markdown import render
from components.shared.reports.numbers import percent
from components.shared.training.record import TrainingRecord, read_record
from components.shared.training.trainer import MODEL

_CHECKED_IMAGES = 8
_BATCH = 64

# uint8 [n, 150, 150, 3] -> P(Healthy), float32 [n]
_Answer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Registration:
    """What became of a model.

    Attributes:
        registered: Whether it is in the registry now.
        uri: The version's address in the registry; empty where it was refused or there is none.
        version: Its number, 1 where there is no registry; 0 where it was refused.
        reasons: Why it was refused, or what else to know.
        summary: The same for people, in Markdown.
    """

    registered: bool
    uri: str
    version: int
    reasons: tuple[str, ...]
    summary: str


class _Inputs(NamedTuple):
    """What the earlier steps wrote, checked to belong together; the model is calibrated."""

    dataset: ImageDataset
    split: Split
    evaluation: Evaluation
    external: tuple[ExternalResult, ...]
    training: TrainingRecord
    model: keras.Model
    model_folder: Path


class _Written(NamedTuple):
    """What was measured on the exported model."""

    in_distribution: InDistributionRecord
    lower_precision: LowerPrecisionRecord | None


class _Champion(NamedTuple):
    """The version that a model has to hold out against."""

    version: int
    split_digest: str
    measured: Measured


def register(
    *,
    dataset_folder: str | Path,
    split_folder: str | Path,
    model_folder: str | Path,
    evaluation_folder: str | Path,
    registered_folder: str | Path,
    registry_uri: str,
    gate: Gate,
    external: tuple[ExternalResult, ...] = (),
    precision: Precision = "float32",
    git_revision: str = "",
    run_id: str = "",
    model_registry: str = "",
) -> Registration:
    """Registers a model that passes the gate, and says why where it does not.

    Args:
        dataset_folder: What the ingest step wrote.
        split_folder: What the split step wrote.
        model_folder: What the train step wrote.
        evaluation_folder: What the evaluate step wrote, of this model, dataset and split.
        registered_folder: Where to write the registered version; not made where it is refused.
        registry_uri: The registry: a path, file://, s3:// or gs://. Empty leaves the version in
            `registered_folder` only.
        gate: What the model has to pass.
        external: What it is worth on other sources.
        precision: In which numbers it will be served; it has to pass the gate in these too.
        git_revision: Of the project; empty where unknown.
        run_id: Of the pipeline run; empty where there is none.
        model_registry: Address of a Kubeflow Model Registry, to record the version in too; empty
            for none. Where that fails the version is registered all the same.

    Returns:
        What became of it.

    Raises:
        UserError: An input is missing, malformed, or does not belong to the others; or the
            registry cannot be used; or this machine cannot compute in that precision.
    """
    require_precision(precision)
    registry = Registry.open(registry_uri) if registry_uri else None
    Trust.from_environment()  # a key that cannot be used is told before anything takes time
    run = _identity(run_id, Path(model_folder))
    if registry and run and (version := registry.registered_by(run)):
        return _registered_before(registry, version, Path(registered_folder), model_registry)
    inputs = _read_inputs(dataset_folder, split_folder, model_folder, evaluation_folder, external)
    challenger = _measure(_keras_answer(inputs.model), inputs.evaluation.threshold, inputs)
    _check_same_model(challenger, inputs, evaluation_folder)
    champion = _measure_champion(registry, inputs) if registry else None
    decision = _decide(gate, challenger, champion, inputs)
    folder = Path(registered_folder)
    if decision.accepted:
        written = _write_model(folder, inputs, precision)
        decision = joined([decision, _decide_lower(gate, written.lower_precision, champion)])
        if not decision.accepted:
            shutil.rmtree(folder)
    uri, version, reasons = "", 0, decision.reasons
    if decision.accepted:
        record = GateRecord(
            **asdict(gate),
            champion_version=champion.version if champion else None,
            notes=decision.reasons,
        )
        version = _publish(
            registry,
            folder,
            inputs,
            written,
            record,
            git_revision=git_revision,
            run_id=run_id,
            run=run,
        )
        uri = registry.address(version) if registry else ""
        if model_registry:
            reasons = (*reasons, _record(model_registry, folder, uri))
    summary = render(
        "register/summary.md.j2",
        accepted=decision.accepted,
        reasons=reasons,
        version=version,
        uri=uri,
        gate=gate,
        champion=champion,
        external=external,
        part=inputs.evaluation.held_out,
        without=inputs.evaluation.without_contradicted,
        strategy=inputs.split.strategy,
    )
    return Registration(decision.accepted, uri, version, reasons, summary)


def _identity(run_id: str, model_folder: Path) -> str:
    """Returns what is registered once: a run and its model. Empty where there is no run."""
    model = model_folder / MODEL
    if not run_id or not model.is_file():  # which is told when it is opened
        return ""
    with model.open("rb") as file:
        return f"{run_id} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _registered_before(
    registry: Registry, version: int, folder: Path, model_registry: str
) -> Registration:
    """Returns what an earlier try of the run did, and does what it may not have come to."""
    registry.fetch(version, folder)
    uri = registry.address(version)
    reasons: tuple[str, ...] = ("an earlier try of this run registered it",)
    if model_registry:
        reasons = (*reasons, _record(model_registry, folder, uri))
    summary = render("register/registered_before.md.j2", version=version, uri=uri, reasons=reasons)
    return Registration(True, uri, version, reasons, summary + (folder / CARD).read_text())


def _read_inputs(
    dataset_folder: str | Path,
    split_folder: str | Path,
    model_folder: str | Path,
    evaluation_folder: str | Path,
    external: tuple[ExternalResult, ...],
) -> _Inputs:
    dataset = ImageDataset(dataset_folder)
    split = Split.open(split_folder, dataset)
    evaluation = Evaluation.open(evaluation_folder)
    found = (evaluation.dataset_digest, evaluation.split_digest)
    if found != (dataset.digest, split.digest()):
        raise UserError(
            f"evaluation {evaluation_folder} was made on another dataset or split: "
            "evaluate the model on those at hand"
        )
    training = read_record(model_folder, split)
    model = open_model(model_folder)
    apply_temperature(model, evaluation.temperature)
    return _Inputs(dataset, split, evaluation, external, training, model, Path(model_folder))


def _measure(answer: _Answer, threshold: float, inputs: _Inputs) -> Measured:
    """Measures a model on the held-out images at its own threshold."""
    indices = inputs.split.part("held_out")
    batches = inputs.dataset.batches(indices, _BATCH)
    healthy = np.concatenate([answer(images) for _, images in batches]).astype(np.float64)
    called_tumor = 1 - healthy >= threshold
    tumor = inputs.dataset.labels[indices] == TUMOR
    return Measured(
        accuracy=float(np.mean(called_tumor == tumor)),
        sensitivity=float(np.mean(called_tumor[tumor])),
        specificity=float(np.mean(~called_tumor[~tumor])),
    )


def _keras_answer(model: keras.Model) -> _Answer:
    return lambda images: np.asarray(model.predict_on_batch(images))[:, 0]


def _registered_answer(folder: Path, precision: Precision) -> _Answer:
    runtime = load(folder, precision=precision)
    return lambda images: runtime.classify(images)[PROBABILITY]


def _check_same_model(challenger: Measured, inputs: _Inputs, folder: str | Path) -> None:
    """Catches an evaluation that was made of another model."""
    part = inputs.evaluation.held_out
    # Another device may tip an image that lies on the threshold, and one may be more than 1%.
    allowed = max(0.01, 1 / part.images) + 1e-9
    if abs(challenger.accuracy - part.model.accuracy.value) > allowed:
        raise UserError(
            f"evaluation {folder} says {percent(part.model.accuracy.value)} held-out accuracy "
            f"where this model reaches {percent(challenger.accuracy)}: evaluate this model"
        )


def _measure_champion(registry: Registry, inputs: _Inputs) -> _Champion | None:
    """Measures the champion on the images at hand; where none was promoted, the latest version."""
    version = registry.aliases().get(Alias.champion) or max(registry.versions(), default=None)
    if version is None:
        return None
    with tempfile.TemporaryDirectory(prefix="champion-") as temporary:
        folder = Path(temporary, str(version))
        registry.fetch(version, folder)
        metadata = read_metadata(folder)
        measured = _measure(
            _registered_answer(folder, metadata.precision), metadata.threshold, inputs
        )
    return _Champion(version, metadata.data.split_digest, measured)


def _decide(
    gate: Gate, challenger: Measured, champion: _Champion | None, inputs: _Inputs
) -> Decision:
    """Combines bounds and champion, so that all that is wrong is told at once."""
    decisions = [
        check_bounds(gate, inputs.evaluation.held_out.model),
        check_external(gate, inputs.external),
    ]
    notes = [inputs.training.start_note()]
    if champion:
        margin = gate.champion_margin
        decisions.append(compare(challenger, champion.measured, champion.version, margin))
        if champion.split_digest != inputs.split.digest():
            notes.append(
                f"version {champion.version} was trained under another split and may have seen "
                "some of these held-out images, which flatters it"
            )
    return joined([*decisions, Decision(True, tuple(filter(None, notes)))])


def _decide_lower(
    gate: Gate, lower: LowerPrecisionRecord | None, champion: _Champion | None
) -> Decision:
    """Judges what the version is worth in the precision that it will be served in."""
    if lower is None:
        return Decision(True)
    decisions = [check_bounds(gate, lower.held_out)]
    if champion:
        measured = Measured.of(lower.held_out)
        margin = gate.champion_margin
        decisions.append(compare(measured, champion.measured, champion.version, margin))
    found = joined(decisions)
    reasons = tuple(f"in {lower.name}, {reason}" for reason in found.reasons)
    return Decision(found.accepted, reasons)


def _write_model(folder: Path, inputs: _Inputs, precision: Precision) -> _Written:
    """Writes all of a version but what says which one it is."""
    held_out = inputs.split.part("held_out")
    labels = inputs.dataset.labels[held_out]
    of_each = [held_out[labels == label][: _CHECKED_IMAGES // 2] for label in np.unique(labels)]
    samples = inputs.dataset.read(np.concatenate(of_each))
    check = fit_check(inputs.model, inputs.dataset, inputs.split)
    in_distribution = _in_distribution_record(check, inputs)
    projection = fit_projection(inputs.model, inputs.dataset, inputs.split)
    export(inputs.model, check, projection, folder)
    check_export(inputs.model, check, projection, folder, samples)
    write_weights(folder, first_weights(inputs.model))
    learned_images(inputs.dataset, inputs.model_folder).write(folder)
    answer = _registered_answer(folder, precision)
    write_smoke(folder, samples, answer(samples), inputs.evaluation.threshold)
    write_drift_reference(
        folder,
        inputs.dataset,
        inputs.split.part("validation"),
        held_out,
        threshold=inputs.evaluation.threshold,
        unsure=inputs.evaluation.unsure,
        score_limit=check.limit,
    )
    lower_precision = measure_lower_precision(
        folder,
        precision,
        inputs.dataset,
        held_out,
        inputs.evaluation.threshold,
        Resamples(inputs.evaluation.bootstrap_samples, inputs.evaluation.seed),
    )
    return _Written(in_distribution, lower_precision)


def _publish(
    registry: Registry | None,
    folder: Path,
    inputs: _Inputs,
    written: _Written,
    record: GateRecord,
    *,
    git_revision: str,
    run_id: str,
    run: str,
) -> int:
    """Describes the version in its folder and, where there is a registry, publishes it."""

    def write(version: int) -> None:
        metadata = describe(
            version,
            data=Data.of(inputs.dataset, inputs.split),
            evaluation=inputs.evaluation,
            external=inputs.external,
            gate=record,
            in_distribution=written.in_distribution,
            lower_precision=written.lower_precision,
            training=inputs.training.model_dump(exclude_none=True),
            git_revision=git_revision,
            pipeline_run=run_id,
        )
        write_description(folder, metadata)

    if registry:
        return registry.publish(folder, write, f"run {run_id}" if run_id else "", run)
    write(1)
    seal(folder, Signer.from_environment(), Trust.from_environment())
    return 1


def _record(model_registry: str, folder: Path, uri: str) -> str:
    """Records a version in Kubeflow Model Registry and says in a line what came of it."""
    if not uri:
        return "not recorded in Kubeflow Model Registry: without a registry it has no address"
    metadata = read_metadata(folder)
    try:
        kubeflow.record(model_registry, metadata, uri)
    except UserError as error:
        return f"not recorded in {error}"
    return f"recorded in Kubeflow Model Registry {model_registry}"


def _in_distribution_record(check: InDistributionCheck, inputs: _Inputs) -> InDistributionRecord:
    """Says how the check was made and how many held-out slices it flags."""
    return InDistributionRecord(
        method=METHOD,
        score_limit=check.limit,
        validation_flagged=check.validation_flagged,
        held_out_flagged=check.flagged(inputs.model, inputs.dataset, inputs.split.part("held_out")),
    )
