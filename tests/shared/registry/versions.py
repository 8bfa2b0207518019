"""Small model versions: whole in form, of a few bytes."""

import hashlib
from pathlib import Path

from components.shared.evaluation.metrics import Interval, Scores
from components.shared.evaluation.results import PartResult
from components.shared.model_folder.metadata import Data, GateRecord, Metrics, ModelMetadata
from components.shared.registry import Registry
from components.shared.storage.files import write_atomically

DIGEST = hashlib.sha256(b"").hexdigest()


def metadata(version: int, run: str = "run-7", champion: int | None = None) -> ModelMetadata:
    """What a version says of itself."""

    def scores(value: float) -> Scores:
        interval = Interval(value=value, low=value - 0.1, high=value)
        return Scores.model_validate({name: interval for name in Scores.model_fields})

    part = PartResult(
        images=12,
        groups=12,
        tumor=6,
        healthy=6,
        twins_in_training=0,
        confusion=((6, 0), (0, 6)),
        model=scores(0.9),
        metadata_floor=scores(0.5),
        nearest_neighbour_floor=scores(0.75),
    )
    return ModelMetadata(
        name="brain-tumor",
        classes=("Brain Tumor", "Healthy"),
        positive_class="Brain Tumor",
        version=version,
        created="2026-11-23T12:00:00Z",
        inputs=(),
        outputs=(),
        threshold=0.25,
        threshold_rule="greatest balanced accuracy",
        data=Data(
            source="sample://<b>x</b>",
            source_version="1",
            digest=DIGEST,
            split_strategy="grouped",
            split_digest=DIGEST[::-1],
            split_seed=0,
            images={},
        ),
        metrics=Metrics(bootstrap_samples=100, seed=0, held_out=part, full_dataset=part),
        gate=GateRecord(
            min_accuracy=0.75,
            min_sensitivity=0.8,
            min_specificity=0.7,
            champion_margin=0.02,
            champion_version=champion,
            notes=(),
        ),
        training={},
        libraries={},
        python="3.11",
        git_revision="0123456789abcdef",
        pipeline_run=run,
    )


def publish(
    registry: Registry,
    folder: Path,
    mark: str = "graph",
    files: int = 1,
    run: str = "",
    size: int = 5000,
) -> int:
    """Registers a version of files of so many bytes, made in a new local folder."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(mark)
    for number in range(files):
        (folder / "variables" / f"{number}.data").write_bytes(mark.encode() * (size // len(mark)))

    def describe(version: int) -> None:
        content = metadata(version, mark).model_dump_json()
        write_atomically(folder / "metadata.json", content)

    return registry.publish(folder, describe, f"run {mark}", run)
