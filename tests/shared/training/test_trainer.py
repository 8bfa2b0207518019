import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from kfp import dsl
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.network import Network
from components.shared.networks.reference import PARAMETERS, REFERENCE
from components.shared.training.batches import Batches
from components.shared.training.fit import Epoch, Fit
from components.shared.training.record import TrainingRecord
from components.shared.training.trainer import draw_curves, history_csv, train, train_networks
from components.train.component import train as train_component
from components.train.component import train_networks as networks_component

VALUES = Hyperparameters("reference", 0.01, 0.2, 64, augmentation=False)
Train = Callable[..., Any]


@pytest.fixture
def run(dataset: ImageDataset, split: Split, tmp_path: Path, tiny: Network) -> Train:
    def train_with(built: Network | None = tiny, **changed: Any) -> Any:
        return train(
            dataset,
            split,
            Training(**{"network": VALUES, "epochs": 3} | changed),
            output=tmp_path / "model",
            report=tmp_path / "report.html",
            state=tmp_path / "state",
            network=built,
        )

    return train_with


def test_what_is_written(dataset: ImageDataset, split: Split, tmp_path: Path, run: Train) -> None:
    fitted = run()
    output = tmp_path / "model"
    assert {path.name for path in output.iterdir()} == {
        "model.keras",
        "history.csv",
        "training.json",
        "tensorboard",
    }
    images = dataset.read(range(4))
    loaded = keras.models.load_model(output / "model.keras")
    expected = fitted.model.predict(images, verbose=0)
    assert np.array_equal(loaded.predict(images, verbose=0), expected)

    record = TrainingRecord.model_validate_json((output / "training.json").read_text())
    assert (record.learning_rate, record.dropout, record.dense) == (0.01, 0.2, 64)
    assert (record.epochs, record.best_epoch) == (3, fitted.best.epoch)
    assert record.parameters == fitted.model.count_params()
    assert record.dataset_digest == dataset.digest
    assert record.split_digest == split.digest()
    assert record.libraries["keras"] == keras.__version__

    rows = list(csv.DictReader((output / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [float(row["val_accuracy"]) for row in rows] == [
        epoch.val_accuracy for epoch in fitted.history
    ]

    for part, name in (("train", "loss"), ("validation", "val_loss")):
        events = EventAccumulator(str(output / "tensorboard" / part)).Reload()
        assert set(events.Tags()["tensors"]) == {"epoch_loss", "epoch_accuracy"}
        logged = events.Tensors("epoch_loss")
        assert [event.step for event in logged] == [1, 2, 3]
        assert [float(tf.make_ndarray(event.tensor_proto)) for event in logged] == pytest.approx(
            [getattr(epoch, name) for epoch in fitted.history]
        )

    html = (tmp_path / "report.html").read_text()
    assert html.count("<b>best</b>") == 1
    assert f"epoch {fitted.best.epoch}" in html
    assert '<svg role="img"' in html
    for outside in ("http://", "https://", "<script src", "<link"):
        assert outside not in html
    assert len(html) < 2_000_000

    assert not list((tmp_path / "state").iterdir())  # a finished run leaves nothing to resume


@pytest.mark.parametrize("how", [{"ensemble": 2}, {"mirror": True}], ids=str)
def test_an_average_is_measured_as_one(
    dataset: ImageDataset, split: Split, tmp_path: Path, run: Train, how: dict[str, Any]
) -> None:
    fitted = run(epochs=1, **how)
    rows = split.part("validation")
    healthy = fitted.model.predict(dataset.read(rows), verbose=0)[:, 0]
    labels = dataset.labels[rows]
    assert fitted.best.val_accuracy == pytest.approx(np.mean((healthy > 0.5) == labels))
    likelihood = np.where(labels, healthy, 1 - healthy)
    assert fitted.best.val_loss == pytest.approx(-np.mean(np.log(likelihood)), rel=1e-4)
    assert fitted.best != fitted.history[0]
    (said,) = how
    html = (tmp_path / "report.html").read_text()
    assert {"ensemble": "mean of 2 networks", "mirror": "with mirror images"}[said] in html


def test_networks_that_workers_trained_are_those_of_one_pod(
    dataset: ImageDataset,
    split: Split,
    tmp_path: Path,
    run: Train,
    tiny: Network,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    of_one_pod = run(ensemble=3, epochs=2)
    training = Training(network=VALUES, ensemble=3, epochs=2)

    def work(*numbers: int) -> None:
        train_networks(dataset, split, training, numbers, state=tmp_path / "state", network=tiny)

    batches_of = Batches.training

    def taken_back(*given: Any) -> Any:
        if given[3:5] == (2, 1):  # the second epoch of the network whose seed is 2
            raise KeyboardInterrupt
        return batches_of(*given)

    work(1)
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "training", taken_back)
        with pytest.raises(KeyboardInterrupt):
            work(0, 2)
    capsys.readouterr()
    work(0, 2)  # the pod is started again
    said = capsys.readouterr().out
    assert said.index("resumed after epoch 2") < said.index("resumed after epoch 1")
    assert said.count("2 of 2 epochs") == 1

    collected = run(ensemble=3, epochs=2)
    said = capsys.readouterr().out
    assert said.count("resumed after epoch 2") == 3
    assert "of 2 epochs" not in said, "nothing is trained twice"
    for one, other in zip(
        collected.model.get_weights(), of_one_pod.model.get_weights(), strict=True
    ):
        assert np.array_equal(one, other)
    assert not [path for path in (tmp_path / "state").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epochs": 0}, "epochs is 0: give at least 1"),
        ({"ensemble": 0}, "ensemble is 0: give at least 1"),
        ({"patience": -1}, "patience is -1: give at least 0"),
    ],
    ids=str,
)
def test_numbers_out_of_range(run: Train, changed: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}$"):
        run(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"dense": 1},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
    ],
    ids=str,
)
def test_values_that_train_nothing(changed: dict[str, float]) -> None:
    (name,) = changed
    with pytest.raises(UserError, match=f"^{name} is .*: give "):
        replace(VALUES, **changed)


def test_divergence_is_told_in_a_line(tmp_path: Path, run: Train) -> None:
    with pytest.raises(UserError, match="give a smaller learning rate") as error:
        run(network=replace(VALUES, learning_rate=1e30))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("changed", [{"epochs": 2}, {"seed": 9}, {"batch_size": 8}], ids=str)
def test_other_work_is_not_resumed(
    tmp_path: Path,
    run: Train,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    changed: dict[str, int],
) -> None:
    # As if killed at the very end: the checkpoint of three epochs is still there.
    monkeypatch.setattr("components.shared.training.trainer.forget", lambda _: None)
    run()
    capsys.readouterr()
    fitted = run(**changed)
    assert "resumed" not in capsys.readouterr().out
    assert len(fitted.history) <= changed.get("epochs", 3)


@pytest.mark.parametrize(
    ("values", "fewest", "most"),
    [
        (REFERENCE, PARAMETERS, PARAMETERS),
        (Hyperparameters(), 100_000, 1_000_000),
    ],
    ids=["reference", "compact"],
)
def test_the_network_that_the_values_name_is_trained(
    tmp_path: Path, run: Train, values: Hyperparameters, fewest: int, most: int
) -> None:
    fitted = run(built=None, network=values, epochs=1)
    assert fitted.model.name == values.architecture
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert fewest <= record["parameters"] == fitted.model.count_params() <= most
    assert record["architecture"] == values.architecture


def test_the_component(
    dataset: ImageDataset,
    split: Split,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tiny: Network,
) -> None:
    monkeypatch.setattr(
        "components.shared.networks.reference.NETWORK", tiny
    )  # no door hands one in
    model = dsl.Model(uri=str(tmp_path / "model"), metadata={})
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"), metadata={})
    told: dict[str, Any] = {
        "architecture": "reference",
        "pretrained_weights": "",
        "learning_rate": 0.01,
        "dropout": 0.2,
        "dense": 64,
        "augmentation": False,
        "ensemble": 1,
        "average_mirror_image": False,
        "from_model": "",
        "epochs": 2,
        "patience": 0,
        "batch_size": 32,
        "seed": 0,
        "state_root": str(tmp_path / "state"),
    }
    parts = {
        "dataset": dsl.Dataset(uri=str(dataset.folder)),
        "split": dsl.Dataset(uri=str(dataset.folder.parent / "split")),
    }
    networks = dsl.Artifact(uri=str(tmp_path / "networks"))
    of_networks = dsl.Metrics(uri=str(tmp_path / "of_networks"))
    networks_component.python_func(
        **parts, **told, networks=networks, networks_metrics=of_networks, worker=1, workers=2
    )
    assert (tmp_path / "networks" / "network-1.csv").read_text().count("\n") == 3
    assert 0 <= of_networks.metadata["network-1_val_accuracy"] <= 1
    assert "train-networks-1-of-2 finished in" in capsys.readouterr().out
    best_epoch, accuracy = train_component.python_func(
        **parts,
        **told,
        model=model,
        train_report=dsl.HTML(uri=str(tmp_path / "report.html")),
        train_metrics=metrics,
    )
    assert best_epoch in (1, 2)
    assert metrics.metadata["best_epoch_val_accuracy"] == accuracy
    assert metrics.metadata["epochs_trained"] == 2
    assert all(math.isfinite(value) for value in metrics.metadata.values())
    assert (tmp_path / "model" / "model.keras").exists()
    said = capsys.readouterr().out
    assert "resumed after epoch 2" in said, "the worker trained it"
    assert "train finished in" in said


def _history(losses: list[float]) -> tuple[Epoch, ...]:
    return tuple(Epoch(i, loss, 0.5, loss, 0.5, 1.0) for i, loss in enumerate(losses, start=1))


def test_history_keeps_every_digit() -> None:
    history = _history([0.1 + 0.2, 1e-9])
    rows = list(csv.DictReader(history_csv(history).splitlines()))
    assert [float(row["loss"]) for row in rows] == [0.1 + 0.2, 1e-9]


@pytest.mark.parametrize("losses", [[0.7], [80.0, 0.2], [0.0, 0.0]], ids=str)
def test_curves_of_odd_histories(losses: list[float]) -> None:
    history = _history(losses)
    figure = draw_curves(Fit(keras.Model(), history, history[0], "float32"))
    low, high = figure.axes[0].get_ylim()
    assert low == 0
    assert 0 < high <= 3
