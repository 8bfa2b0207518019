"""A fold is trained on its own parts and asked only about what it holds out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl

from components.cross_validate.component import cross_validate as component
from components.cross_validate.logic import cross_validate
from components.shared.data.classes import TUMOR
from components.shared.data.dataset import SPLIT, ImageDataset
from components.shared.errors import UserError
from components.shared.evaluation import floors
from components.shared.evaluation.calibration import calibrate, fit_temperature
from components.shared.evaluation.fold_result import FoldResult
from components.shared.evaluation.predictor import open_model, predict_tumor
from components.shared.evaluation.threshold import choose_threshold
from components.shared.evaluation.unsure import choose_range
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.network import Network
from components.shared.training.record import TrainingRecord
from components.split.logic import make_folds

VALUES = Hyperparameters("reference", 0.01, 0.2, 64, augmentation=False)
Run = Callable[..., FoldResult]


@pytest.fixture
def run(dataset: ImageDataset, tmp_path: Path, tiny: Network) -> Run:
    def run_fold(epochs: int = 3, **changed: Any) -> FoldResult:
        arguments: dict[str, Any] = {
            "split": make_folds(dataset, 3)[1],
            "training": Training(network=VALUES, epochs=epochs),
            "fold": 2,
            "target_sensitivity": 0.0,
            "target_error": 0.7,
            "model_folder": tmp_path / "model",
            "report": tmp_path / "report.html",
            "output": tmp_path / "fold",
            "state": tmp_path / "state",
            "network": tiny,
        }
        return cross_validate(dataset, **arguments | changed)

    return run_fold


def test_what_it_says_is_of_the_held_out_images(
    dataset: ImageDataset, tmp_path: Path, run: Run
) -> None:
    result = run()
    assert FoldResult.open(tmp_path / "fold") == result
    split = make_folds(dataset, 3)[1]
    assert result.held_out == split.held_out
    assert result.split_digest == split.digest()
    assert result.settings["epochs"] == 3
    assert result.settings["dense"] == 64

    # The kept model, calibrated as it says, gives the same answers.
    everything = dataset.batches(np.arange(len(dataset)))
    scores = predict_tumor(open_model(tmp_path / "model"), everything, len(dataset))
    validation, held_out = split.part("validation"), split.part("held_out")
    labels = dataset.labels[validation]
    temperature = fit_temperature(labels, scores[validation], dataset.groups[validation])
    assert result.temperature == pytest.approx(temperature, rel=1e-3)
    calibrated = calibrate(scores, result.temperature)
    np.testing.assert_allclose(result.model.scores, calibrated[held_out], atol=1e-4)
    threshold = choose_threshold(labels, calibrated[validation], dataset.groups[validation])
    assert result.model.threshold == pytest.approx(threshold, abs=1e-4)
    unsure = choose_range(
        labels, calibrated[validation], dataset.groups[validation], threshold, 0.7
    )
    assert result.unsure == pytest.approx(unsure, abs=1e-4)
    called = np.array(result.model.scores) >= result.model.threshold
    truth = dataset.labels[held_out] == TUMOR
    assert result.accuracy(dataset.labels) == np.mean(called == truth)
    record = TrainingRecord.model_validate_json((tmp_path / "model/training.json").read_text())
    assert record.split_digest == split.digest()


def test_the_floors_learn_from_the_folds_train_part(dataset: ImageDataset, run: Run) -> None:
    result = run(epochs=1)
    split = make_folds(dataset, 3)[1]
    train, held_out = split.part("train"), split.part("held_out")
    neighbour = floors.nearest_neighbour_scores(dataset, train, held_out)
    assert result.nearest_neighbour_floor.scores == tuple(neighbour)
    metadata = floors.metadata_scores(dataset, train, held_out, 0)
    np.testing.assert_allclose(result.metadata_floor.scores, metadata)


def test_a_target_moves_the_thresholds(dataset: ImageDataset, run: Run) -> None:
    result = run(epochs=1, target_sensitivity=1.0)
    assert "100% of the tumours" in result.threshold_rule
    split = make_folds(dataset, 3)[1]
    tumors = [
        score
        for position, score in zip(result.held_out, result.model.scores, strict=True)
        if dataset.labels[position] == TUMOR
    ]
    assert result.model.threshold <= max(tumors)
    assert len(tumors) < len(split.held_out)


def test_a_killed_fold_goes_on_where_it_was(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    unbroken = run()
    monkeypatch.setattr("components.shared.training.trainer.forget", lambda _: None)
    run()  # as if killed at the very end
    capsys.readouterr()
    assert run() == unbroken
    assert "resumed after epoch 3" in capsys.readouterr().out


def test_a_part_without_a_class(dataset: ImageDataset, run: Run) -> None:
    split = make_folds(dataset, 3)[0]
    tumors = tuple(i for i in split.held_out if dataset.labels[i] == TUMOR)
    with pytest.raises(UserError, match="the held_out part has no Healthy image"):
        run(split=split.model_copy(update={"held_out": tumors}))


def test_the_component(
    dataset: ImageDataset, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for fold, split in enumerate(make_folds(dataset, 2), start=1):
        folder = tmp_path / "splits" / f"fold-{fold}"
        folder.mkdir(parents=True)
        (folder / SPLIT).write_text(split.model_dump_json())
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"), metadata={})
    arguments: dict[str, Any] = {
        "dataset": dsl.Dataset(uri=str(dataset.folder)),
        "splits": dsl.Dataset(uri=str(tmp_path / "splits")),
        "model": dsl.Model(uri=str(tmp_path / "model"), metadata={}),
        "fold_report": dsl.HTML(uri=str(tmp_path / "report.html")),
        "fold_metrics": metrics,
        "fold_result": dsl.Artifact(uri=str(tmp_path / "result"), metadata={}),
        "architecture": "reference",
        "pretrained_weights": "",
        "learning_rate": 0.01,
        "dropout": 0.2,
        "dense": 64,
        "augmentation": False,
        "ensemble": 1,
        "average_mirror_image": False,
        "from_model": "",
        "epochs": 1,
        "patience": 0,
        "batch_size": 32,
        "target_sensitivity": 0.0,
        "target_error": 0.02,
        "seed": 0,
        "state_root": str(tmp_path / "state"),
    }
    component.python_func(**arguments, fold=2)
    result = FoldResult.open(tmp_path / "result")
    assert result.fold == 2
    assert metrics.metadata["held_out_accuracy"] == result.accuracy(dataset.labels)
    assert all(isinstance(value, int | float) for value in metrics.metadata.values())
    assert "cross-validate-2 finished in" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^cross-validate-7: .*fold-7/split.json: cannot read"):
        component.python_func(**arguments, fold=7)
