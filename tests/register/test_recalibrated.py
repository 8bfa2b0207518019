"""A registered version is fitted again: the new one answers alike, but for the temperature."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.register.gate import Gate
from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError
from components.shared.evaluation.calibration import calibrate
from components.shared.evaluation.metrics import Predictor
from components.shared.evaluation.recalibration import Recalibrated, Wanted, recalibrate
from components.shared.model_folder.checksums import verify
from components.shared.model_folder.contract import PROBABILITY
from components.shared.model_folder.known_images import ImagesOfDataset
from components.shared.model_folder.metadata import RecalibrationRecord, read_metadata
from components.shared.model_folder.reader import open_model_folder
from components.shared.model_folder.smoke import read_smoke
from components.shared.registry import Registry

WANTED = Wanted(sensitivity=0.0, error=0.3)
HELD_OUT_AND_VALIDATION = np.arange(20, 40)


@pytest.fixture(scope="module")
def first(
    dataset: ImageDataset,
    split_folder: Path,
    model_folder: Path,
    evaluation_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    from components.register.logic import register

    registry = tmp_path_factory.mktemp("registry")
    done = register(
        dataset_folder=dataset.folder,
        split_folder=split_folder,
        model_folder=model_folder,
        evaluation_folder=evaluation_folder,
        registered_folder=tmp_path_factory.mktemp("registered") / "model",
        registry_uri=str(registry),
        gate=Gate(min_accuracy=0.5, min_sensitivity=0.5, min_specificity=0.5, champion_margin=0),
    )
    return Path(done.uri)


@pytest.fixture(scope="module")
def fitted(first: Path, dataset: ImageDataset) -> Recalibrated:
    """Fitted on images of which the model knows some better than others."""
    rows = HELD_OUT_AND_VALIDATION
    scores = 1 - _healthy(first, dataset.read(rows))
    return recalibrate(
        dataset.labels[rows],
        Predictor(scores, 0.5),
        dataset.groups[rows],
        WANTED,
        samples=100,
        seed=0,
    )


@pytest.fixture(scope="module")
def second(
    first: Path,
    fitted: Recalibrated,
    dataset: ImageDataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    from components.register.recalibrated import register_recalibrated

    registry = Registry.open(str(first.parents[1]))
    folder = tmp_path_factory.mktemp("again") / "model"
    version = register_recalibrated(
        first,
        folder,
        registry,
        found=fitted,
        wanted=WANTED,
        record=_record(first, fitted),
        dataset=dataset,
        rows=HELD_OUT_AND_VALIDATION,
        known=ImagesOfDataset.open(first),
    )
    assert version == 2
    assert registry.history()[-1].reason == "version 1 recalibrated on <i>Ulm</i>"
    return Path(registry.address(2))


def _healthy(folder: Path, images: np.ndarray) -> np.ndarray:
    from components.shared.model_folder.runtimes import load

    return load(folder).classify(images)[PROBABILITY].astype(np.float64)


def _record(first: Path, fitted: Recalibrated, **changes: Any) -> RecalibrationRecord:
    facts: dict[str, Any] = {
        "from_version": 1,
        "from_digest": open_model_folder(first).digest,
        "source": "<i>Ulm</i>",
        "source_version": "",
        "dataset_digest": "0" * 64,
        "images": 20,
        "groups": 20,
        "patients": None,
        "tumor": 10,
        "healthy": 10,
        "left_out": 3,
        "overlap_checked": True,
        "temperature": fitted.fit.temperature,
        "bootstrap_samples": 100,
        "seed": 0,
        "before": fitted.before,
        "after": fitted.after,
    }
    return RecalibrationRecord(**facts | changes)


def test_the_logits_are_divided_and_nothing_else_changes(
    first: Path, second: Path, fitted: Recalibrated, dataset: ImageDataset
) -> None:
    from components.shared.model_folder.runtimes import every_runtime

    images = dataset.read(np.arange(40))
    assert abs(fitted.fit.temperature - 1) > 0.05
    before = [runtime.explain(images) for runtime in every_runtime(first)]
    after = [runtime.explain(images) for runtime in every_runtime(second)]
    for old, new in zip(before, after, strict=True):
        expected = calibrate(old[PROBABILITY].astype(np.float64), fitted.fit.temperature)
        np.testing.assert_allclose(new[PROBABILITY], expected, atol=1e-5)
        for name in old.keys() - {PROBABILITY}:
            np.testing.assert_allclose(new[name], old[name], atol=1e-4, err_msg=name)


def test_it_is_a_version_like_any_other(first: Path, second: Path, fitted: Recalibrated) -> None:
    verify(second)
    found = open_model_folder(second)
    assert found.version == 2
    assert found.threshold == fitted.fit.threshold
    assert found.unsure is not None
    assert (found.unsure.low, found.unsure.high) == fitted.fit.unsure
    assert found.drift is not None
    assert found.drift.images + 10 >= 20, "of the site's images, half set the edges"
    known, before = ImagesOfDataset.open(second), ImagesOfDataset.open(first)
    assert known is not None
    assert before is not None
    assert known.files == before.files, "here the site's images are the model's own"
    assert len(known.fingerprints) == len(before.fingerprints)
    for smoke in read_smoke(second):
        called = 1 - smoke.probability_healthy >= found.threshold
        assert smoke.label == ("Brain Tumor" if called else "Healthy")


def test_its_card_says_what_it_came_from(first: Path, second: Path, fitted: Recalibrated) -> None:
    old, new = read_metadata(first), read_metadata(second)
    assert old.temperature is not None
    assert new.temperature == pytest.approx(old.temperature * fitted.fit.temperature)
    assert new.metrics == old.metrics
    assert new.recalibration is not None
    assert new.recalibration.from_digest == open_model_folder(first).digest
    card = open_model_folder(second).card
    for part in (
        "## Recalibrated\n\nIt has the network of version 1 (digest",
        "from &lt;i&gt;Ulm&lt;/i&gt;. 3 more images were left out",
        "| measure, on these images | version 1 | after |\n|---|---|---|\n| accuracy | ",
        "**This section measures version 1",
        "| by cross-fitting | ",
        "| fitted on | ",
    ):
        assert part in card, part
    assert "the nearest to the former one within 2 standard errors" in card
    assert "on the site's images, halfway" in card
    assert "fitted on the validation part" not in card
    assert "None" not in card
    assert "Recalibrated" not in open_model_folder(first).card
    schema = json.loads((second / "metadata.json").read_text())
    assert schema["recalibration"]["left_out"] == 3


def test_a_model_whose_head_is_not_known_is_left_alone(
    tmp_path: Path,
) -> None:
    import tensorflow as tf

    from components.register.recalibrated import divide_logits

    module = tf.Module()
    specification = [tf.TensorSpec((None, 150, 150, 3), tf.uint8, name="images")]
    module.answer = tf.function(
        lambda images: {PROBABILITY: tf.reduce_mean(tf.cast(images, tf.float32), (1, 2, 3)) / 255},
        input_signature=specification,
    )
    tf.saved_model.save(module, str(tmp_path / "odd"), signatures=module.answer)
    with pytest.raises(UserError, match="its last layer is not known"):
        divide_logits(tmp_path / "odd", tmp_path / "new", 2.0)
    assert not (tmp_path / "new").exists()
