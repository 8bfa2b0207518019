import csv
import html
import json
import types
from dataclasses import replace

import keras
import numpy as np
import pytest
from kfp import dsl

from components.evaluate.component import evaluate as evaluate_component
from components.evaluate.logic import evaluate
from components.shared.data.dataset import ImageDataset, Split, twins_in_training
from components.shared.errors import UserError
from components.shared.evaluation.calibration import calibrate, fit_temperature
from components.shared.evaluation.predictor import apply_temperature, open_model, predict_tumor
from components.shared.evaluation.results import Evaluation
from components.shared.evaluation.unsure import choose_range
from components.shared.images.overlay import overlay
from components.shared.networks.gradcam import gradcam
from components.shared.networks.reference import reference_cnn
from components.shared.reports.html import MAX_BYTES
from components.shared.training.record import read_history, read_record


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return reference_cnn(dense=8)


@pytest.fixture(scope="module")
def write_model(model, make_training_record, tmp_path_factory):
    def write(split):
        folder = tmp_path_factory.mktemp("model")
        model.save(folder / "model.keras")
        (folder / "history.csv").write_text(
            "epoch,loss,accuracy,val_loss,val_accuracy\n1,0.7,0.5,nan,0.5\n2,0.6,0.6,0.8,0.55\n"
        )
        record = make_training_record(
            split, architecture="<script>x</script>", parameters=model.count_params(), dense=8
        )
        (folder / "training.json").write_text(record.model_dump_json())
        return folder

    return write


@pytest.fixture(scope="module")
def model_folder(write_model, split):
    return write_model(split)


@pytest.fixture(scope="module")
def outcome(dataset, split, model_folder, tmp_path_factory):
    """An evaluation of images whose sites and patients are known in part, three contradicted."""
    folder = tmp_path_factory.mktemp("out")
    known = ImageDataset(dataset.folder)
    records = [
        replace(record, site="<i>Ulm</i>" if record.group % 3 else None, patient=record.group)
        for record in dataset.manifest.images
    ]
    contradicted = (split.train[0], split.held_out[0], split.held_out[5])
    known.manifest = dataset.manifest.model_copy(
        update={"images": tuple(records), "contradicted": contradicted}
    )
    result = evaluate(
        known,
        split,
        model_folder,
        folder / "evaluation",
        folder / "report.html",
        seed=0,
        bootstrap_samples=100,
        target_error=0.7,
    )
    return result, folder


def test_predictions_are_the_models_in_batches(dataset, model):
    everything = np.arange(len(dataset))
    found = predict_tumor(model, dataset.batches(everything, 7), len(dataset))
    expected = 1 - model.predict(dataset.read(everything), verbose=0)[:, 0]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.4, 3.0])
@pytest.mark.parametrize("sureness", [1, 100])
def test_a_calibrated_model_answers_what_calibrated_scores_say(dataset, temperature, sureness):
    keras.utils.set_random_seed(0)
    model = reference_cnn(dense=8)
    apply_temperature(model, 1 / sureness)  # 100: many a float32 probability is 1 and no less
    images = len(dataset)
    scores = predict_tumor(model, dataset.batches(np.arange(images), 64), images)
    apply_temperature(model, temperature)
    answers = 1 - model.predict(dataset.read(np.arange(images)), verbose=0)[:, 0]
    np.testing.assert_allclose(calibrate(scores, temperature), answers, atol=1e-5)


def test_a_diverged_model_is_refused(dataset):
    model = reference_cnn(dense=8)
    model.layers[-1].bias.assign([np.nan])
    with pytest.raises(UserError, match="no probability for 60 of 60 images"):
        predict_tumor(model, dataset.batches(np.arange(60), 64), 60)


def test_the_evaluation_adds_up(outcome, dataset, split):
    result, folder = outcome
    assert Evaluation.open(folder / "evaluation") == result
    assert (result.held_out.images, result.full_dataset.images) == (12, 60)
    assert result.held_out.twins_in_training == 0
    assert result.full_dataset.twins_in_training == 36  # both of each pair in training
    with (folder / "evaluation" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [r.path for r in dataset.manifest.images]
    held = [row for row in rows if row["part"] == "held_out"]
    right = [
        (float(row["probability_tumor"]) >= result.threshold) == (row["label"] == "0")
        for row in held
    ]
    assert np.mean(right) == pytest.approx(result.held_out.model.accuracy.value)
    assert sum(map(sum, result.held_out.confusion)) == len(held)
    # Each remembers its own training images.
    assert result.full_dataset.nearest_neighbour_floor.accuracy.value >= 0.6
    numbers = result.held_out_metrics()
    assert len(numbers) == 10, "a page of KFP's UI"
    assert numbers["accuracy"] == result.held_out.model.accuracy.value
    for found in (numbers, result.held_out_details(), result.full_dataset_metrics()):
        assert all(np.isfinite(list(found.values())))


def test_the_held_out_part_is_measured_without_contradicted_pictures_too(outcome, split):
    result, folder = outcome
    without = result.without_contradicted
    assert (without.images, without.left_out) == (10, 2)
    with (folder / "evaluation" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    held_out = {*split.held_out} - {split.held_out[0], split.held_out[5]}
    right = [
        (float(rows[i]["probability_tumor"]) >= result.threshold) == (rows[i]["label"] == "0")
        for i in held_out
    ]
    assert without.model.accuracy.value == pytest.approx(np.mean(right))
    details = result.held_out_details()
    assert details["accuracy_without_contradicted"] == without.model.accuracy.value
    report = (folder / "report.html").read_text()
    assert "The picture of 2 of these images is in the other class too" in report
    assert "Accuracy without 2 contradicted images" in report


def test_shortcuts_and_stability_are_measured_on_the_held_out_part(outcome):
    result, _ = outcome
    tables = result.shortcuts
    assert sum(found.images for found in tables.size) == 12
    right = sum(found.images * found.model.value for found in tables.size)
    assert right / 12 == pytest.approx(result.held_out.model.accuracy.value)
    wrong = sum(found.images for found in (tables.floor_wrong,) if found)
    assert wrong / 12 == pytest.approx(1 - result.held_out.metadata_floor.accuracy.value)
    assert result.stability.images == 6  # groups
    numbers = result.held_out_details()
    assert numbers["max_flips_border"] == max(
        change.flips.value for change in result.stability.changes if change.family == "border"
    )
    assert ("accuracy_metadata_floor_wrong" in numbers) == bool(wrong)


def test_what_is_unsure_is_chosen_on_validation_and_measured_on_the_held_out_part(
    outcome, dataset, split
):
    result, folder = outcome
    with (folder / "evaluation" / "predictions.csv").open(newline="") as file:
        scores = np.array([float(row["probability_tumor"]) for row in csv.DictReader(file)])
    rows = split.part("validation")
    found = choose_range(
        dataset.labels[rows], scores[rows], dataset.groups[rows], result.threshold, 0.7
    )
    assert found == (result.unsure.low, result.unsure.high)
    assert (result.target_error, result.never_unsure) == (0.7, "")
    rows = split.part("held_out")
    answered = found.answers(scores[rows])
    held_out = result.unsure.held_out
    assert held_out.coverage.value == np.mean(answered)
    assert sum(map(sum, held_out.outcomes)) == len(rows)
    numbers = result.held_out_details()
    assert numbers["coverage"] == held_out.coverage.value
    assert numbers["error_at_90_coverage"] == result.error_at_90_coverage.value
    empty = "at most 70.0% of all answers are wrong on validation"
    chosen = "so that at most 70.0% of the answers are wrong"
    assert (empty if found.low == found.high else chosen) in (folder / "report.html").read_text()


def test_sites_are_measured_where_they_are_known(outcome):
    result, folder = outcome
    assert sum(found.images for found in result.by_site) == 12
    right = sum(found.images * found.accuracy.value for found in result.by_site)
    assert right / 12 == pytest.approx(result.held_out.model.accuracy.value)
    assert [found.name for found in result.by_site] == ["<i>Ulm</i>", "unknown"]
    assert (result.by_sequence, result.held_out.patients) == ((), 6)
    text = (folder / "report.html").read_text()
    assert "By site" in text
    assert "By sequence" not in text
    assert "<i>Ulm" not in text
    assert "and of 6 patients" in text


def test_the_threshold_comes_from_validation_alone(dataset, split, model_folder, outcome, tmp_path):
    held_out = split.part("held_out")
    records = list(dataset.manifest.images)
    for position in held_out:
        records[position] = replace(records[position], label=1 - records[position].label)
    flipped = ImageDataset(dataset.folder)
    flipped.manifest = dataset.manifest.model_copy(update={"images": tuple(records)})
    result = evaluate(
        flipped,
        split,
        model_folder,
        tmp_path / "e",
        tmp_path / "r.html",
        seed=0,
        bootstrap_samples=100,
    )
    before = outcome[0]
    assert result.threshold == before.threshold
    assert result.held_out.model.accuracy.value == pytest.approx(
        1 - before.held_out.model.accuracy.value
    )


def test_what_is_measured_is_calibrated_on_validation(outcome, dataset, split, model):
    result, folder = outcome
    raw = predict_tumor(model, dataset.batches(np.arange(60), 64), 60)
    validation, held_out = split.part("validation"), split.part("held_out")
    expected = fit_temperature(
        dataset.labels[validation], raw[validation], dataset.groups[validation]
    )
    assert result.temperature == pytest.approx(expected, rel=1e-4)
    with (folder / "evaluation" / "predictions.csv").open(newline="") as file:
        found = np.array([float(row["probability_tumor"]) for row in csv.DictReader(file)])
    np.testing.assert_allclose(found, calibrate(raw, result.temperature), atol=1e-5)
    brier = np.mean((found - (dataset.labels == 0))[held_out] ** 2)
    assert result.held_out.model.brier.value == pytest.approx(brier)
    assert result.held_out_metrics()["temperature"] == result.temperature
    details = result.held_out_details()
    assert details["uncalibrated_ece"] == result.held_out.uncalibrated_ece
    before = f"{result.held_out.uncalibrated_ece:.3f} before calibration"
    assert before in (folder / "report.html").read_text()


def test_a_target_sensitivity_is_reached_on_validation(dataset, split, model_folder, tmp_path):
    result = evaluate(
        dataset,
        split,
        model_folder,
        tmp_path,
        tmp_path / "r.html",
        seed=0,
        bootstrap_samples=100,
        target_sensitivity=1.0,
    )
    assert "100% of the tumours" in result.threshold_rule
    with (tmp_path / "predictions.csv").open(newline="") as file:
        tumors = [
            float(row["probability_tumor"])
            for row in csv.DictReader(file)
            if row["part"] == "validation" and row["label"] == "0"
        ]
    assert min(tumors) >= result.threshold
    assert result.unsure is None, "the validation part is far too small for an error of 2%"
    assert "needs at least 49 groups" in result.never_unsure
    assert result.never_unsure in (tmp_path / "r.html").read_text()
    with pytest.raises(UserError, match=r"target_sensitivity is 1\.5: give a share"):
        evaluate(
            dataset,
            split,
            model_folder,
            tmp_path,
            tmp_path / "r",
            seed=0,
            bootstrap_samples=100,
            target_sensitivity=1.5,
        )
    with pytest.raises(UserError, match=r"target_error is 1: give a share between 0 and 1"):
        evaluate(dataset, split, model_folder, tmp_path, tmp_path / "r", target_error=1)


def test_the_report_is_self_contained_small_and_escaped(outcome):
    _, folder = outcome
    data = (folder / "report.html").read_bytes()
    text = data.decode()
    assert len(data) < MAX_BYTES
    assert "http://" not in text
    assert "https://" not in text
    assert "<script>x" not in text
    assert html.escape("<script>x</script>") in text
    assert "-0</b>.jpg" not in text
    assert "Held-out accuracy, grouped split" in text
    assert "Not a measure of quality" in text
    assert "None of them has a near-duplicate in training" in text
    assert "Shortcuts: is the model right only if" in text
    assert "Stability: does the answer stay" in text
    assert "baseline" in text


def test_by_name_says_what_it_is_and_the_component_logs_finite_numbers(
    dataset, by_name, write_model, tmp_path
):
    def artifact(kind, path):
        return kind(name=kind.__name__, uri=str(path))

    metrics, details, full_metrics = (
        artifact(dsl.Metrics, tmp_path / name) for name in ("metrics", "details", "full_metrics")
    )
    held_out = artifact(dsl.ClassificationMetrics, tmp_path / "held_out")
    full = artifact(dsl.ClassificationMetrics, tmp_path / "full")
    outputs = evaluate_component.python_func(
        dataset=types.SimpleNamespace(path=str(dataset.folder)),
        split=types.SimpleNamespace(path=str(dataset.folder.parent / "by-name")),
        model=types.SimpleNamespace(path=str(write_model(by_name))),
        seed=0,
        bootstrap_samples=100,
        target_sensitivity=0.0,
        target_error=0.02,
        held_out_metrics=metrics,
        held_out_curves=held_out,
        held_out_details=details,
        full_dataset_metrics=full_metrics,
        full_dataset_curves=full,
        evaluation_report=types.SimpleNamespace(path=str(tmp_path / "report.html")),
        evaluation=types.SimpleNamespace(path=str(tmp_path / "evaluation"), metadata={}),
    )
    assert all(type(value) is float for value in outputs)
    for found in (metrics, details, full_metrics):
        assert all(np.isfinite(value) for value in found.metadata.values())
    assert metrics.metadata["threshold"] == outputs[0]
    assert metrics.metadata["accuracy"] == outputs[1]
    assert {"metadata_floor_accuracy", "accuracy_low"} <= set(details.metadata)
    assert {"accuracy", "metadata_floor_accuracy", "accuracy_low"} <= set(full_metrics.metadata)
    json.dumps([held_out.metadata, full.metadata], allow_nan=False)
    assert sum(sum(row["row"]) for row in held_out.metadata["confusionMatrix"]["rows"]) == 12
    text = (tmp_path / "report.html").read_text()
    assert "These numbers do not say how the model does on new images" in text
    assert "the same 12 images" in text
    assert "By site" not in text
    assert "patients" not in text


def test_twins_are_counted_apart_from_the_image_itself():
    groups = np.array([5, 5, 7, 7, 9])
    assert twins_in_training(groups, np.array([0, 2, 3, 4]), np.array([1])) == 1
    assert twins_in_training(groups, np.array([0, 2, 3, 4]), np.arange(5)) == 3


def test_too_few_resamples_are_refused(dataset, split, model_folder, tmp_path):
    with pytest.raises(UserError, match="bootstrap_samples is 3"):
        evaluate(
            dataset, split, model_folder, tmp_path, tmp_path / "r.html", seed=0, bootstrap_samples=3
        )


def test_a_part_without_a_class_is_refused(dataset, split, model_folder, tmp_path):
    tumors = [i for i in split.held_out if dataset.labels[i] == 0]
    poor = Split(**{**split.model_dump(), "held_out": tumors})
    with pytest.raises(UserError, match="held_out part has no Healthy image"):
        evaluate(dataset, poor, model_folder, tmp_path, tmp_path / "r.html")


def test_unusable_model_folders_are_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"model\.keras: cannot open"):
        open_model(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match=r"model\.keras: cannot open"):
        open_model(tmp_path)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=r"goes from \(None, 3\)"):
        open_model(tmp_path)
    headless = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(1)]
    keras.Sequential([keras.Input((150, 150, 3)), *headless]).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="does not end in a dense layer with a sigmoid"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epoch,loss\n1,2\n", "no column 'accuracy'"),
        ("epoch,loss,accuracy,val_loss,val_accuracy\n", "no epoch"),
        ("epoch,loss,accuracy,val_loss,val_accuracy\n1,x,1,1,1\n", "cannot read"),
        ("epoch,loss,accuracy,val_loss,val_accuracy\n1,1\n", "cannot read"),
        ("\0", "no epoch|cannot read|no column"),
    ],
)
def test_malformed_curves_are_one_clear_line(tmp_path, text, reason):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(UserError, match=reason):
        read_history(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"epochs": 1}'])
def test_malformed_records_are_one_clear_line(tmp_path, split, text):
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(UserError, match=r"training\.json.*train the model again"):
        read_record(tmp_path, split)


def test_a_model_of_another_split_is_refused(model_folder, by_name):
    with pytest.raises(UserError, match="trained on another split"):
        read_record(model_folder, by_name)


def test_heat_lies_where_the_evidence_is(model):
    """A head that looks at one corner alone must be explained by that corner alone."""
    keras.utils.set_random_seed(0)
    watched = np.zeros((37, 37, 64, 1), dtype=np.float32)
    watched[4:12, 24:32] = 0.01
    fresh = [type(x).from_config(x.get_config()) for x in model.layers[:8]]  # up to Flatten
    looking = keras.Sequential(
        [
            keras.Input((150, 150, 3), dtype="uint8"),
            *fresh,
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    looking.layers[-1].set_weights([watched.reshape(-1, 1), np.zeros(1)])
    images = np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3), dtype=np.uint8)
    probability, heat, *_ = gradcam(looking)(images)
    np.testing.assert_allclose(probability, looking.predict(images, verbose=0)[:, 0], atol=1e-5)
    assert heat.shape == (3, 37, 37)
    heat = heat.numpy()
    assert heat.min() >= 0
    np.testing.assert_allclose(heat.max(axis=(1, 2)), 1, atol=1e-6)
    inside = heat[:, 2:14, 22:34].sum() / heat.sum()
    assert inside > 0.999


def test_an_overlay_leaves_cold_places_and_warms_hot_ones():
    pixels = np.full((150, 150, 3), 90, dtype=np.uint8)
    heat = np.zeros((37, 37), dtype=np.float32)
    heat[10:20, 10:20] = 1
    mixed = overlay(pixels, heat)
    assert mixed.dtype == np.uint8
    np.testing.assert_array_equal(mixed[120:, 120:], pixels[120:, 120:])
    red, green, blue = mixed[60, 60].astype(int)
    assert red > green > 90 > blue
