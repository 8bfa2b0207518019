"""A version that is served in bfloat16: what it is worth there is measured, judged and told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.register.gate import Gate
from components.register.precision import precision_named
from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.shared.model_folder.metadata import read_metadata
from components.shared.model_folder.runtimes import computes, load

_GATE = Gate(min_accuracy=0.5, min_sensitivity=0.5, min_specificity=0.5)
_needs_bfloat16 = pytest.mark.skipif(
    not computes("bfloat16"), reason="the CPU of this machine does not multiply bfloat16"
)


@pytest.fixture(scope="module")
def register(
    dataset: ImageDataset, split_folder: Path, model_folder: Path, evaluation_folder: Path
) -> Callable:
    """Registers the model that fits, in bfloat16."""
    from components.register.logic import register

    def call(folder: Path, gate: Gate = _GATE):
        return register(
            dataset_folder=dataset.folder,
            split_folder=split_folder,
            model_folder=model_folder,
            evaluation_folder=evaluation_folder,
            registered_folder=folder / "model",
            registry_uri=str(folder / "registry"),
            gate=gate,
            precision="bfloat16",
        )

    return call


@_needs_bfloat16
def test_it_is_measured_as_it_is_served(
    register: Callable, dataset: ImageDataset, split: Split, tmp_path: Path
) -> None:
    import openvino

    from serving.classifier import Classifier

    registered = register(tmp_path)
    metadata = read_metadata(registered.uri)
    lower = metadata.lower_precision
    rows = split.part("held_out")
    tumor = {}
    for hint in ("bf16", "f32"):  # without this project's runtime
        config = {"INFERENCE_PRECISION_HINT": hint}
        compiled = openvino.Core().compile_model(registered.uri, "CPU", config)
        found = compiled(dataset.read(rows))
        by_name = {output.any_name: values for output, values in found.items()}
        tumor[hint] = 1 - by_name["probability_healthy"].astype(np.float64)
    gap = np.abs(tumor["bf16"] - tumor["f32"])
    called = {hint: values >= metadata.threshold for hint, values in tumor.items()}
    assert gap.max() > 0
    assert lower.largest_change == pytest.approx(gap.max(), abs=1e-3)
    assert lower.flipped == np.sum(called["bf16"] != called["f32"])
    assert (lower.runtime, lower.images) == ("OpenVINO", len(rows))
    right = called["bf16"] == (dataset.labels[rows] == 0)
    assert lower.held_out.accuracy.value == pytest.approx(np.mean(right))
    assert "### In bfloat16" in Path(registered.uri, "model_card.md").read_text()

    served = Classifier(registered.uri)
    assert served.runtime.precision == "bfloat16"
    np.testing.assert_allclose(
        [1 - found.probabilities["Brain Tumor"] for found in served.classify(dataset.read(rows))],
        1 - tumor["bf16"],
        atol=5e-3,
    )


def test_the_gate_judges_it(
    register: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import components.register.logic as logic
    from components.shared.evaluation.metrics import Interval
    from components.shared.model_folder.metadata import LowerPrecisionRecord

    monkeypatch.setattr(logic, "require_precision", lambda precision: None)

    def poor(folder, precision, dataset, rows, threshold, resamples):
        scores = read_scores(folder).model_copy(
            update={"sensitivity": Interval(value=0.4, low=0.2, high=0.6)}
        )
        return LowerPrecisionRecord(
            name=precision,
            runtime="OpenVINO",
            images=len(rows),
            held_out=scores,
            largest_change=0.3,
            flipped=3,
        )

    def read_scores(folder):
        assert (folder / "saved_model.pb").is_file()  # it is the exported model that is measured
        from components.shared.evaluation.metrics import MEASURES, Scores

        return Scores(**{name: Interval(value=0.9, low=0.8, high=1.0) for name in MEASURES})

    monkeypatch.setattr(logic, "measure_lower_precision", poor)
    refused = register(tmp_path)
    assert not refused.registered
    (reason,) = refused.reasons
    assert reason.startswith("in bfloat16, sensitivity on the held-out images is 40.0%")
    assert not (tmp_path / "model").exists()
    assert not any((tmp_path / "registry").rglob("saved_model.pb"))


def test_a_machine_that_cannot_measure_it_says_so_first(
    register: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.register.precision.computes", lambda precision: False)
    with pytest.raises(UserError, match="serving_precision is bfloat16, which the CPU"):
        register(tmp_path)
    assert not (tmp_path / "model").exists()


def test_a_cpu_without_it_serves_in_float32(
    register: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: ImageDataset
) -> None:
    monkeypatch.setattr("components.register.logic.require_precision", lambda precision: None)
    monkeypatch.setattr(
        "components.shared.model_folder.runtimes.openvino.multiplies",
        lambda precision: precision == "float32",
    )
    registered = register(tmp_path)
    lower, exact = load(registered.uri, precision="bfloat16"), load(registered.uri)
    assert lower.precision == "float32"
    images = dataset.read(range(4))
    for name, values in exact.classify(images).items():
        np.testing.assert_array_equal(lower.classify(images)[name], values)


def test_a_precision_has_a_known_name() -> None:
    assert precision_named("bfloat16") == "bfloat16"
    with pytest.raises(UserError, match="serving_precision is 'fp8'; give float32 or bfloat16"):
        precision_named("fp8")
