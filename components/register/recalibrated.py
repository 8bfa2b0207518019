"""A registered version with another temperature, threshold and range of unsure: a new version."""

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from components.register.description import write_description
from components.register.drift import write_drift_reference
from components.register.export import check_answers
from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError
from components.shared.evaluation.calibration import calibrate
from components.shared.evaluation.recalibration import Fit, Recalibrated, Wanted
from components.shared.evaluation.threshold import threshold_rule
from components.shared.evaluation.unsure import NEVER_UNSURE
from components.shared.model_folder.contract import EXPLAIN, FEATURES, PROBABILITY, SCORE, SERVING
from components.shared.model_folder.known_images import ImagesOfDataset
from components.shared.model_folder.metadata import (
    ModelMetadata,
    RecalibrationRecord,
    UnsureRecord,
    read_metadata,
)
from components.shared.model_folder.runtimes import every_runtime, load
from components.shared.model_folder.smoke import read_smoke, write_smoke
from components.shared.registry import Registry


def register_recalibrated(
    origin: str | Path,
    folder: str | Path,
    registry: Registry,
    *,
    found: Recalibrated,
    wanted: Wanted,
    record: RecalibrationRecord,
    dataset: ImageDataset,
    rows: np.ndarray,
    known: ImagesOfDataset | None,
) -> int:
    """Registers what was fitted again as a new version, which says what it came from.

    Args:
        origin: The folder of the version that it came from, verified.
        folder: Where to write the new version; must not exist.
        registry: Takes it.
        found: What was fitted, and what it is worth.
        wanted: What it was fitted for.
        record: On what, for the card.
        dataset: The site's images.
        rows: Positions of those that it was fitted on, int64 [n].
        known: What is kept of the images of the model's own dataset; None where nothing is.

    Returns:
        Its number.

    Raises:
        UserError: The version cannot be read, is older than what this needs, or the registry
            cannot be written.
    """
    fit, folder, before = found.fit, Path(folder), read_metadata(origin)
    images = np.stack([_pixels(image.png) for image in read_smoke(origin)])
    divide_logits(origin, folder, fit.temperature)
    _check(origin, folder, images, fit.temperature)
    runtime = load(folder)
    write_smoke(folder, images, runtime.classify(images)[PROBABILITY], fit.threshold)
    if before.in_distribution and {SCORE, FEATURES} <= runtime.outputs:
        half = np.unique(dataset.groups[rows], return_inverse=True)[1] % 2 == 0
        write_drift_reference(
            folder,
            dataset,
            rows[half],
            rows[~half],
            threshold=fit.threshold,
            unsure=fit.unsure,
            score_limit=before.in_distribution.score_limit,
        )

    if known:
        known.joined(ImagesOfDataset.of(dataset)).write(folder)

    def write(version: int) -> None:
        write_description(folder, _described(before, version, found, wanted, record))

    reason = f"version {record.from_version} recalibrated on {record.source}"
    return registry.publish(folder, write, reason)


def divide_logits(origin: str | Path, folder: str | Path, temperature: float) -> None:
    """Writes a SavedModel whose logits are those of another, divided.

    The head is linear up to its sigmoid, so its weights take the division up, and every server of
    the SavedModel divides at no cost.

    Args:
        origin: The folder of the other.
        folder: Where to write.
        temperature: What to divide by.

    Raises:
        UserError: It has no such head.
    """
    loaded = tf.saved_model.load(str(origin))
    head = [
        variable
        for variable in loaded.signatures[SERVING].variables
        if variable.name.startswith(f"{PROBABILITY}/")
    ]
    if len(head) != 2:
        raise UserError(f"{origin}: its last layer is not known, so it cannot be calibrated again")
    for variable in head:
        variable.assign(variable / temperature)
    signatures = {name: loaded.signatures[name] for name in (SERVING, EXPLAIN)}
    tf.saved_model.save(loaded, str(folder), signatures=signatures)


def _check(origin: str | Path, folder: Path, images: np.ndarray, temperature: float) -> None:
    """Checks that both signatures answer as they did, but for the temperature."""
    expected = load(origin).classify(images)
    healthy = expected[PROBABILITY].astype(np.float64)
    expected[PROBABILITY] = calibrate(healthy, temperature)
    for runtime in every_runtime(folder):
        for run in (runtime.classify, runtime.explain):
            check_answers(run(images), expected, f"{runtime.name}'s {run.__name__}")


def _described(
    before: ModelMetadata,
    version: int,
    found: Recalibrated,
    wanted: Wanted,
    record: RecalibrationRecord,
) -> ModelMetadata:
    fit: Fit = found.fit
    weaknesses = [said for said in before.weaknesses if not said.startswith(NEVER_UNSURE)]
    if found.never_unsure:
        weaknesses.append(found.never_unsure)
    return before.model_copy(
        update={
            "version": version,
            "created": datetime.now(UTC).replace(microsecond=0),
            "temperature": (before.temperature or 1.0) * fit.temperature,
            "threshold": fit.threshold,
            "threshold_rule": threshold_rule(
                wanted.sensitivity, "the former one", "the site's images"
            ),
            "unsure": UnsureRecord(target_error=wanted.error, **dict(found.unsure))
            if found.unsure
            else None,
            "recalibration": record,
            "lower_precision": None,  # it was measured at the former temperature and threshold
            "external": (),  # which are of the answers before
            "weaknesses": tuple(weaknesses),
        }
    )


def _pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))
