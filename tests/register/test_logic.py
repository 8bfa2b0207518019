"""The register step on a real, tiny model: what is registered loads anywhere and answers alike."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from components.register.gate import Gate
from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.shared.evaluation.results import Evaluation
from components.shared.images.decode import decode
from components.shared.model_folder.checksums import verify, write_sums
from components.shared.model_folder.drift_reference import DriftReference
from components.shared.model_folder.signing import SIGNING_KEY, Trust
from components.shared.model_folder.smoke import read_smoke
from components.shared.registry import Registry
from tests.keys import write_keys
from tests.shared.registry.model_registry_server import running

_LENIENT = Gate(min_accuracy=0.5, min_sensitivity=0.5, min_specificity=0.5, champion_margin=0.0)


@pytest.fixture(scope="module")
def register(
    dataset: ImageDataset,
    split_folder: Path,
    model_folder: Path,
    evaluation_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable:
    """Registers the model that fits, but for what a test replaces."""
    from components.register.logic import register

    def call(registry: Path | str, gate: Gate = _LENIENT, **other: Path | str):
        folders = {
            "dataset_folder": dataset.folder,
            "split_folder": split_folder,
            "model_folder": model_folder,
            "evaluation_folder": evaluation_folder,
            "registered_folder": tmp_path_factory.mktemp("registered") / "model",
        }
        return register(registry_uri=str(registry), gate=gate, **(folders | other))

    return call


@pytest.fixture(scope="module")
def registered(register: Callable, tmp_path_factory: pytest.TempPathFactory):
    return register(
        f"file://{tmp_path_factory.mktemp('registry')}", git_revision="abc123", run_id="run-7"
    )


def _registry_of(registered) -> Registry:
    return Registry.open(registered.uri.removesuffix(f"/brain-tumor/{registered.version}"))


def test_a_model_that_passes_is_registered(registered) -> None:
    folder = Path(registered.uri)
    assert registered.registered
    assert registered.version == 1
    assert registered.reasons == ()
    assert folder.is_absolute()
    assert folder.parts[-2:] == ("brain-tumor", "1")
    verify(folder)
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "saved_model.pb",
        "fingerprint.pb",
        "labels.json",
        "metadata.json",
        "model_card.md",
        "drift.json",
        "weights.npy",
        "known_files.txt",
        "known_images.npy",
        "SHA256SUMS",
    }
    registry = _registry_of(registered)
    assert registry.aliases() == {"candidate": 1}
    assert [event.reason for event in registry.history()] == ["run run-7"]
    metadata = registry.metadata(1)
    assert metadata.version == 1
    assert metadata.git_revision == "abc123"
    assert metadata.pipeline_run == "run-7"
    assert metadata.training["architecture"] == "tiny"
    assert metadata.gate.champion_version is None
    assert "Registered as version 1" in registered.summary


def test_a_training_starts_where_it_ended(
    registered, dataset: ImageDataset, model_folder: Path
) -> None:
    import keras
    import tensorflow as tf

    from components.shared.training.start import starting_from, take_weights

    network = keras.models.clone_model(keras.saving.load_model(model_folder / "model.keras"))
    with starting_from(registered.uri) as start:
        assert start.version == "brain-tumor 1"
        assert start.architecture == "tiny"
        assert start.split_digest == _registry_of(registered).metadata(1).data.split_digest
        take_weights(network, start)
    images = dataset.read(range(6))
    answer = tf.saved_model.load(registered.uri).signatures["serving_default"]
    np.testing.assert_allclose(
        network.predict(images, verbose=0)[:, 0],
        answer(images=images)["probability_healthy"],
        atol=1e-6,
    )


def test_it_loads_without_this_project(registered, tmp_path: Path, dataset: ImageDataset) -> None:
    np.save(tmp_path / "images.npy", dataset.read(range(6)))
    code = """
import json, sys
import numpy as np, tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1], tags=["serve"]).signatures
images = tf.constant(np.load(sys.argv[2]))
answer = signatures["serving_default"](images=images)
explained = signatures["explain"](images=images)
assert "components" not in sys.modules
print(json.dumps({
    "answer": answer["probability_healthy"].numpy().tolist(),
    "names": sorted(answer), "dtype": answer["probability_healthy"].dtype.name,
    "explained": explained["probability_healthy"].numpy().tolist(),
    "scores": [o["in_distribution_score"].numpy().tolist() for o in (answer, explained)],
    "features": [o["features"].numpy().tolist() for o in (answer, explained)],
    "heat": [list(explained["heatmap"].shape), float(tf.reduce_max(explained["heatmap"]))],
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, registered.uri, str(tmp_path / "images.npy")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["names"] == ["features", "in_distribution_score", "probability_healthy"]
    assert found["dtype"] == "float32"
    assert [p > 0.5 for p in found["answer"]] == [False, True] * 3
    np.testing.assert_allclose(found["answer"], found["explained"], atol=1e-6)
    np.testing.assert_allclose(*found["scores"], atol=1e-5)
    assert all(0 <= score <= 1 for score in found["scores"][0])
    assert np.shape(found["features"][0]) == (6, 8)
    np.testing.assert_allclose(*found["features"], atol=1e-3)
    assert found["heat"][0] == [6, 3, 3]
    assert 0 < found["heat"][1] <= 1


def test_the_classifier_reads_what_was_registered(registered, dataset: ImageDataset) -> None:
    from serving.classifier import Classifier

    classifier = Classifier(registered.uri)
    predictions = classifier.classify(dataset.read(range(10)), batch_size=4)
    assert [p.label for p in predictions] == ["Brain Tumor", "Healthy"] * 5
    assert {p.model_version for p in predictions} == {1}


def test_what_it_answers_is_kept_with_it(registered) -> None:
    from serving.classifier import Classifier

    kept = read_smoke(registered.uri)
    assert [image.label for image in kept] == ["Brain Tumor"] * 2 + ["Healthy"] * 2
    pixels = np.stack([decode(image.png).pixels for image in kept])
    for image, answer in zip(kept, Classifier(registered.uri).classify(pixels), strict=True):
        assert answer.label == image.label
        expected = pytest.approx(image.probability_healthy, abs=1e-6)
        assert answer.probabilities["Healthy"] == expected


def test_the_check_is_registered_with_its_record(
    registered, dataset: ImageDataset, split: Split
) -> None:
    from serving.classifier import Classifier

    record = _registry_of(registered).metadata(1).in_distribution
    assert record is not None
    held_out = dataset.read(split.part("held_out"))
    answers = Classifier(registered.uri).classify(held_out)
    assert [a.in_distribution for a in answers] == [
        a.in_distribution_score <= record.score_limit for a in answers
    ]
    flagged = np.mean([not a.in_distribution for a in answers])
    assert flagged == pytest.approx(record.held_out_flagged)


def test_the_registered_model_is_calibrated_and_says_so(
    registered, dataset: ImageDataset, model_folder: Path, evaluation: Evaluation
) -> None:
    from components.shared.evaluation.calibration import calibrate
    from components.shared.evaluation.predictor import open_model, predict_tumor
    from serving.classifier import Classifier

    metadata = _registry_of(registered).metadata(1)
    assert metadata.temperature == evaluation.temperature != 1
    assert metadata.threshold_rule == evaluation.threshold_rule
    batches = dataset.batches(np.arange(20), 8)
    scores = predict_tumor(open_model(model_folder), batches, 20)
    answers = Classifier(registered.uri).classify(dataset.read(range(20)))
    found = [answer.probabilities["Brain Tumor"] for answer in answers]
    np.testing.assert_allclose(found, calibrate(scores, metadata.temperature), atol=1e-5)
    assert np.max(np.abs(found - scores)) > 0.01


def test_a_champion_older_than_check_and_calibration_is_compared_with(
    register: Callable, registered, tmp_path: Path
) -> None:
    older = tmp_path / "brain-tumor" / "1"
    shutil.copytree(registered.uri, older)
    metadata = json.loads((older / "metadata.json").read_text())
    del metadata["in_distribution"], metadata["temperature"]
    for part in ("held_out", "full_dataset"):
        del metadata["metrics"][part]["uncalibrated_ece"]
    (older / "metadata.json").write_text(json.dumps(metadata))
    (older / "SHA256SUMS").unlink()
    write_sums(older)
    registry = Registry.open(str(tmp_path))
    assert registry.metadata(1).in_distribution is None
    assert registry.metadata(1).temperature is None
    assert register(tmp_path).version == 2
    assert registry.metadata(2).gate.champion_version == 1


def test_a_refused_model_leaves_no_trace(register: Callable, tmp_path: Path, evaluation) -> None:
    held_out = evaluation.held_out
    low = held_out.model.specificity.model_copy(update={"value": 0.6, "low": 0.5, "high": 0.7})
    model = held_out.model.model_copy(update={"specificity": low})
    worse = evaluation.model_copy(update={"held_out": held_out.model_copy(update={"model": model})})
    (tmp_path / "evaluation.json").write_text(worse.model_dump_json())
    result = register(
        tmp_path / "registry",
        Gate(min_accuracy=0.9, min_sensitivity=0.9, min_specificity=0.9, champion_margin=0.0),
        evaluation_folder=tmp_path,
        registered_folder=tmp_path / "model",
    )
    assert not result.registered
    assert (result.uri, result.version) == ("", 0)
    assert len(result.reasons) == 1
    assert "60.0%" in result.reasons[0]
    assert "Not registered" in result.summary
    assert "specificity on the held-out images is 60.0%" in result.summary
    assert not (tmp_path / "registry").exists()
    assert not (tmp_path / "model").exists()


@pytest.fixture(scope="module")
def blind_folder(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A model that calls everything a tumour: sensitivity 1, accuracy one half."""
    import keras

    folder = tmp_path_factory.mktemp("blind")
    model = keras.saving.load_model(model_folder / "model.keras")
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 0, np.float32([-3.0])])
    model.save(folder / "model.keras")
    shutil.copy(model_folder / "training.json", folder)
    return folder


def _of_a_blind_model(evaluation: Evaluation) -> str:
    scores = evaluation.held_out.model
    half = scores.accuracy.model_copy(update={"value": 0.5, "low": 0.4, "high": 0.6})
    model = scores.model_copy(update={"accuracy": half, "specificity": half})
    held_out = evaluation.held_out.model_copy(update={"model": model})
    return evaluation.model_copy(update={"held_out": held_out}).model_dump_json()


def test_champion_and_challenger_both_ways(
    register: Callable,
    tmp_path: Path,
    blind_folder: Path,
    evaluation: Evaluation,
    split: Split,
    make_training_record: Callable,
) -> None:
    (tmp_path / "evaluation.json").write_text(_of_a_blind_model(evaluation))
    blind = {"model_folder": blind_folder, "evaluation_folder": tmp_path}
    root = tmp_path / "registry"
    gate = Gate(min_accuracy=0.5, min_sensitivity=0.5, min_specificity=0.5, champion_margin=0.2)

    registry = Registry.open(str(root))

    assert register(root, gate, **blind).version == 1
    assert register(root, gate).version == 2
    assert registry.metadata(2).gate.champion_version == 1

    refused = register(root, gate, **blind)
    assert not refused.registered
    (reason,) = refused.reasons
    for part in ("accuracy", "50.0%", "100.0%", "20.0%", "version 2"):
        assert part in reason
    assert registry.versions() == [1, 2]
    assert (
        register(
            root,
            Gate(min_accuracy=0.5, min_sensitivity=0.5, min_specificity=0.5, champion_margin=0.5),
            **blind,
        ).version
        == 3
    )

    # The champion by name counts, and not the version that was registered last.
    registry.promote("2")
    refused = register(root, gate, **blind)
    assert "version 2" in refused.reasons[0]
    registry.promote("1")
    assert register(root, gate, **blind).version == 4
    assert registry.metadata(4).gate.champion_version == 1
    assert registry.aliases() == {"champion": 1, "candidate": 4}


def test_without_a_registry_the_folder_is_all_there_is(register: Callable, tmp_path: Path) -> None:
    result = register("", registered_folder=tmp_path / "model")
    assert (result.registered, result.version, result.uri) == (True, 1, "")
    assert "no registry was given" in result.summary
    verify(tmp_path / "model")


def test_what_is_registered_is_also_in_the_folder(register: Callable, tmp_path: Path) -> None:
    result = register(tmp_path / "registry", registered_folder=tmp_path / "model")
    sums = (tmp_path / "model" / "SHA256SUMS").read_bytes()
    assert Path(result.uri, "SHA256SUMS").read_bytes() == sums
    verify(tmp_path / "model")


def test_the_champion_is_fetched_from_an_object_store(
    register: Callable, s3_uri: str, tmp_path: Path
) -> None:
    first = register(s3_uri)
    assert first.uri == f"{s3_uri}/brain-tumor/1"
    second = register(s3_uri, registered_folder=tmp_path / "model")
    assert second.version == 2
    assert f"is in {s3_uri}/brain-tumor/2" in second.summary.replace("\\", "")
    registry = Registry.open(s3_uri)
    assert registry.metadata(2).gate.champion_version == 1
    registry.fetch(2, tmp_path / "fetched")
    sums = [(tmp_path / name / "SHA256SUMS").read_bytes() for name in ("fetched", "model")]
    assert sums[0] == sums[1]


def test_the_record_in_kubeflow_model_registry(register: Callable, tmp_path: Path) -> None:
    with running() as server:
        result = register(tmp_path, model_registry=server.address)
        assert result.reasons == (f"recorded in Kubeflow Model Registry {server.address}",)
        (version,) = server.versions
        (artifact,) = server.artifacts[version["id"]]
        assert artifact["uri"] == result.uri

        server.faults["/model_versions"] = 503
        result = register(tmp_path, model_registry=server.address)
    assert (result.registered, result.version) == (True, 2)
    (told,) = result.reasons
    assert told.startswith(f"not recorded in Kubeflow Model Registry {server.address}: answers 503")
    assert told in result.summary.replace("\\", "")
    assert Registry.open(str(tmp_path)).versions() == [1, 2]

    (told,) = register("", model_registry="http://registry").reasons
    assert told.startswith("not recorded in Kubeflow Model Registry: without a registry")


def test_a_champion_of_another_split_is_said_to_be_flattered(
    register: Callable,
    registered,
    tmp_path: Path,
    dataset: ImageDataset,
    split: Split,
    evaluation: Evaluation,
    model_folder: Path,
    make_training_record: Callable,
) -> None:
    root = tmp_path / "registry"
    shutil.copytree(registered.uri, root / "brain-tumor" / "1")
    other = split.model_copy(update={"seed": 1})
    (tmp_path / "split.json").write_text(other.model_dump_json())
    (tmp_path / "evaluation.json").write_text(
        evaluation.model_copy(update={"split_digest": other.digest()}).model_dump_json()
    )
    shutil.copy(model_folder / "model.keras", tmp_path)
    (tmp_path / "training.json").write_text(make_training_record(other).model_dump_json())
    result = register(
        root, split_folder=tmp_path, evaluation_folder=tmp_path, model_folder=tmp_path
    )
    assert result.registered
    (note,) = result.reasons
    assert "version 1 was trained under another split" in note
    assert Registry.open(str(root)).metadata(2).gate.notes == result.reasons


def test_a_start_that_may_have_seen_what_is_held_out_is_said_to_flatter(
    register: Callable,
    model_folder: Path,
    split: Split,
    make_training_record: Callable,
    tmp_path: Path,
) -> None:
    shutil.copytree(model_folder, tmp_path / "model")
    record = make_training_record(split, from_model="brain-tumor 9", from_model_seen=2)
    (tmp_path / "model" / "training.json").write_text(record.model_dump_json())
    result = register("", model_folder=tmp_path / "model")
    (note,) = result.reasons
    assert "started from brain-tumor 9, whose own dataset has copies of 2 of these" in note
    assert note in result.summary


def test_a_damaged_champion_stops_the_run(register: Callable, registered, tmp_path: Path) -> None:
    shutil.copytree(registered.uri, tmp_path / "brain-tumor" / "1")
    (tmp_path / "brain-tumor" / "1" / "variables" / "variables.index").write_bytes(b"")
    with pytest.raises(UserError, match=r"variables/variables\.index has changed"):
        register(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("training.json", "[]", "Input should be an object"),
        ("training.json", None, "cannot read"),
        ("model.keras", "not a model", "cannot open the model"),
        ("model.keras", None, "cannot open the model"),
    ],
)
def test_bad_model_folders_are_named(
    register: Callable,
    model_folder: Path,
    tmp_path: Path,
    file: str,
    content: str | None,
    message: str,
) -> None:
    shutil.copytree(model_folder, tmp_path / "model")
    if content is None:
        (tmp_path / "model" / file).unlink()
    else:
        (tmp_path / "model" / file).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        register(tmp_path / "registry", model_folder=tmp_path / "model")
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_inputs_that_do_not_belong_together_are_refused(
    register: Callable,
    tmp_path: Path,
    blind_folder: Path,
    evaluation: Evaluation,
    split: Split,
    make_training_record: Callable,
) -> None:
    with pytest.raises(UserError, match="evaluate this model"):
        register(tmp_path / "registry", model_folder=blind_folder)
    other = evaluation.model_copy(update={"split_digest": "0" * 64})
    (tmp_path / "evaluation.json").write_text(other.model_dump_json())
    with pytest.raises(UserError, match="another dataset or split"):
        register(tmp_path / "registry", evaluation_folder=tmp_path)
    shutil.copytree(blind_folder, tmp_path / "model")
    elsewhere = make_training_record(split, split_digest="0" * 64)
    (tmp_path / "model" / "training.json").write_text(elsewhere.model_dump_json())
    with pytest.raises(UserError, match="trained on another split"):
        register(tmp_path / "registry", model_folder=tmp_path / "model")
    with pytest.raises(UserError, match="ftp:// is not supported"):
        register("ftp://bucket/models")


def test_an_export_that_answers_otherwise_is_caught(
    registered,
    model_folder: Path,
    blind_folder: Path,
    dataset: ImageDataset,
    split: Split,
    evaluation: Evaluation,
) -> None:
    from components.register.export import check_export
    from components.register.in_distribution import fit_check
    from components.register.projection import fit_projection
    from components.shared.evaluation.predictor import apply_temperature, open_model

    images = dataset.read([0])
    model = open_model(model_folder)
    same = fit_check(model, dataset, split)
    other = replace(same, bias=same.bias + 1)
    seen = fit_projection(model, dataset, split)
    moved = replace(seen, mean=seen.mean + 1)
    with pytest.raises(RuntimeError, match=r"off by .* in probability_healthy"):
        check_export(model, same, seen, registered.uri, images)  # is not calibrated yet
    apply_temperature(model, evaluation.temperature)
    check_export(model, same, seen, registered.uri, images)
    with pytest.raises(RuntimeError, match=r"off by .* in probability_healthy"):
        check_export(open_model(blind_folder), same, seen, registered.uri, images)
    with pytest.raises(RuntimeError, match=r"off by .* in in_distribution_score"):
        check_export(model, other, seen, registered.uri, images)
    with pytest.raises(RuntimeError, match=r"off by .* in features"):
        check_export(model, same, moved, registered.uri, images)


def test_a_model_is_signed_and_held_against_signed_ones_only(
    register: Callable, registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = write_keys(tmp_path)
    monkeypatch.setenv(SIGNING_KEY, str(private))
    with pytest.raises(UserError, match="is not signed"):
        register(registered.uri.rpartition("/brain-tumor/")[0])
    folder = tmp_path / "model"
    register("", registered_folder=folder)
    trust = Trust.of(public, "", "", None)
    assert trust
    trust.verify(folder)
    verify(folder)


def test_the_predictor_counts_the_held_out_images_as_register_did(
    registered, dataset: ImageDataset, split: Split
) -> None:
    from serving.classifier import Classifier
    from serving.drift import DriftCounts

    classifier = Classifier(registered.uri)
    reference = classifier.model.drift
    held_out = split.part("held_out")
    assert reference.images == len(held_out)
    assert reference.groups == len(np.unique(dataset.groups[held_out]))
    counts = DriftCounts(classifier.model)
    for answer in classifier.classify(dataset.read(held_out)):
        counts.add(answer)

    shown = [
        {(s.labels["quantity"], s.labels["bin"]): s.value for s in family.samples}
        for family in counts.collect()
    ]
    expected = {
        (quantity.name, name): count
        for quantity in reference.quantities
        for name, count in zip(quantity.bins, quantity.counts, strict=True)
    }
    assert shown == [expected, expected]


def test_answers_and_flags_are_counted_as_they_are_given(
    registered, dataset: ImageDataset, split: Split
) -> None:
    from serving.classifier import Classifier

    classifier = Classifier(registered.uri)
    answers = classifier.classify(dataset.read(split.part("held_out")))
    of = {quantity.name: quantity for quantity in classifier.model.drift.quantities}
    assert {"outcome", "flagged", "tumor_probability", "feature_1"} <= of.keys()
    labels = Counter(answer.label for answer in answers)
    flagged = sum(not answer.in_distribution for answer in answers)
    assert dict(zip(of["outcome"].bins, of["outcome"].counts, strict=True)) == {
        name: labels[name] for name in ("Healthy", "Brain Tumor")
    }
    assert of["flagged"].counts == (len(answers) - flagged, flagged)
    for quantity in of.values():
        assert sum(quantity.counts) == len(answers)


def test_unsure_is_an_outcome_that_is_counted(
    registered, dataset: ImageDataset, split: Split, evaluation: Evaluation, tmp_path: Path
) -> None:
    from components.register.drift import write_drift_reference
    from serving.classifier import Classifier

    answers = Classifier(registered.uri).classify(dataset.read(split.part("held_out")))
    scores = sorted(answer.probabilities["Brain Tumor"] for answer in answers)
    unsure = SimpleNamespace(low=scores[3], high=scores[8])
    folder = shutil.copytree(registered.uri, tmp_path / "model")
    write_drift_reference(
        folder,
        dataset,
        split.part("validation"),
        split.part("held_out"),
        threshold=evaluation.threshold,
        unsure=unsure,
        score_limit=0.5,
    )
    reference = DriftReference.model_validate_json((folder / "drift.json").read_text())
    outcome = next(q for q in reference.quantities if q.name == "outcome")
    assert outcome.bins == ("Healthy", "unsure", "Brain Tumor")
    assert outcome.counts == (3, 5, 4)  # the lower end is unsure, the upper one is not


def test_no_pixels_and_no_patients_are_kept(registered) -> None:
    text = Path(registered.uri, "drift.json").read_text()
    assert set(json.loads(text)) == {"images", "groups", "quantities"}
    assert len(text) < 100_000
    assert DriftReference.model_validate_json(text)


def test_a_version_without_a_reference_serves_and_counts_nothing(
    registered, dataset: ImageDataset, tmp_path: Path
) -> None:
    from serving.classifier import Classifier
    from serving.drift import DriftCounts

    older = tmp_path / "older"
    shutil.copytree(registered.uri, older, copy_function=os.link)
    for name in ("drift.json", "SHA256SUMS"):
        (older / name).unlink()
    write_sums(older)
    classifier = Classifier(older)
    assert classifier.model.drift is None
    counts = DriftCounts(classifier.model)
    for answer in classifier.classify(dataset.read(range(2))):
        counts.add(answer)
