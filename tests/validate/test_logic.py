"""A model on another source: figures counted by hand, by one class too, and what overlaps."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError
from components.shared.evaluation.external import PREDICTIONS, ExternalResult
from components.shared.reports.html import MAX_BYTES
from components.validate.logic import validate
from components.validate.model import JudgedModel
from tests.validate.conftest import Case, Source

TUMOR, HEALTHY, STRANGER = "Brain Tumor", "Healthy", "no brain MRI"

# Two tumours of twelve are missed, one of them surely; three of eight healthy are called tumour,
# two of them surely; two slices of a patient are flagged, and one of three strangers.
MIXED = [
    *(Case(TUMOR, 250 - n, site="tcga", sequence="FLAIR", type="glioma") for n in range(8)),
    Case(TUMOR, 240, 200, "p1", "tcga", "T1", "glioma"),
    Case(TUMOR, 140, 200, "p1", "tcga", "T1", "glioma"),
    Case(TUMOR, 100, 0, "p2", "tcga", "T1", "glioma"),
    Case(TUMOR, 10, 0, "p2", "tcga", "T1", "glioma"),
    *(Case(HEALTHY, 5 + n, site="<i>elderly</i>", sequence="T1") for n in range(5)),
    *(Case(HEALTHY, grey, site="<i>elderly</i>", sequence="FLAIR") for grey in (130, 252, 253)),
    Case(STRANGER, 255, 255, site="ct", type="bleed"),
    Case(STRANGER, 255, 9, site="ct", type="bleed"),
    Case(STRANGER, 0, 9, site="x-ray"),
]


class Known:
    """Knows some files of a dataset as identical, and others as near-duplicates."""

    def __init__(self, identical: set[str], near: set[str]) -> None:
        self.parts = identical, near

    def find(self, dataset: ImageDataset) -> tuple[np.ndarray, np.ndarray]:
        paths = [record.path for record in dataset.manifest.images]
        identical, near = (np.array([p in part for p in paths]) for part in self.parts)
        return identical, near


NOTHING = Known(set(), set())


@pytest.fixture(scope="module")
def mixed(source: Source) -> ImageDataset:
    return source(MIXED)


def judged(dataset: ImageDataset, model: JudgedModel, known: object, to: Path) -> ExternalResult:
    result = validate(
        dataset, model, known, to, to / "report.html", name="study", bootstrap_samples=100
    )
    assert ExternalResult.open(to) == result
    return result


def test_figures_are_those_of_the_images(
    mixed: ImageDataset, model: JudgedModel, tmp_path: Path
) -> None:
    found = judged(mixed, model, NOTHING, tmp_path)
    assert (found.images, found.tumor, found.healthy, found.groups) == (20, 12, 8, 18)
    assert found.patients == 2
    assert found.confusion == ((10, 2), (3, 5))
    assert {name: found.scores[name].value for name in ("accuracy", "sensitivity")} == {
        "accuracy": 15 / 20,
        "sensitivity": 10 / 12,
    }
    truth = [case.label == TUMOR for case in MIXED[:20]]
    scores = [case.tumor / 255 for case in MIXED[:20]]
    assert found.scores["auroc"].value == pytest.approx(roc_auc_score(truth, scores))
    assert found.scores["brier"].value == pytest.approx(np.mean(np.subtract(truth, scores) ** 2))
    assert found.mean_probability == pytest.approx(np.mean(scores))
    assert (found.commoner_class, found.sure_and_wrong, found.unusable) == (12 / 20, 3, 0)
    assert found.flagged is not None
    assert found.flagged.value == 2 / 20
    assert found.answered is not None
    assert found.answered.error is not None
    assert (found.answered.coverage.value, found.answered.error.value) == (17 / 20, 3 / 17)
    assert (found.overlap.checked, found.overlap.images) == (True, 0)
    assert found.unmeasured() == []


def test_results_by_what_the_labels_say(
    mixed: ImageDataset, model: JudgedModel, tmp_path: Path
) -> None:
    found = judged(mixed, model, NOTHING, tmp_path)
    assert {kind: [one.name for one in of] for kind, of in found.subgroups().items()} == {
        "site": ["tcga", "<i>elderly</i>"],
        "sequence": ["FLAIR", "T1"],
        "type": ["glioma", "unknown"],
    }
    flair, t1 = found.by_sequence
    assert (flair.accuracy.value, flair.flagged and flair.flagged.value) == (8 / 11, 0)
    assert t1.sensitivity is not None
    assert t1.flagged is not None
    assert t1.unsure is not None
    assert (t1.sensitivity.value, t1.flagged.value, t1.unsure.value) == (2 / 4, 2 / 9, 2 / 9)
    assert {one.name: one.images for one in found.by_site_and_sequence} == {
        "tcga, FLAIR": 8,
        "<i>elderly</i>, T1": 5,
        "tcga, T1": 4,
        "<i>elderly</i>, FLAIR": 3,
    }
    every, ct, x_ray = found.strangers
    assert (every.name, every.images, every.called_tumor.value) == ("all", 3, 2 / 3)
    assert every.flagged is not None
    assert every.flagged.value == 1 / 3
    assert [(one.name, one.images) for one in (ct, x_ray)] == [("ct, bleed", 2), ("x-ray", 1)]


def test_report_and_predictions(mixed: ImageDataset, model: JudgedModel, tmp_path: Path) -> None:
    judged(mixed, model, NOTHING, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert len(text.encode()) < MAX_BYTES
    assert "<i>elderly" not in text
    for said in (
        "Sure (at least 90%) and wrong: tumours called healthy: 1",
        "Sure (at least 90%) and wrong: healthy images called tumour: 2",
        "Wrong: tumours called healthy: 1",
        "Flagged as no brain MRI: 2",
        "No brain MRI, and not flagged: 2",
        "holds none of these images",
    ):
        assert said in text
    with open(tmp_path / PREDICTIONS) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(MIXED)
    assert rows[20]["label"] == STRANGER
    assert (float(rows[0]["probability_tumor"]), rows[8]["flagged"]) == (250 / 255, "1")


@pytest.mark.parametrize("label", [TUMOR, HEALTHY])
def test_one_class_is_measured_as_far_as_it_goes(
    source: Source, model: JudgedModel, tmp_path: Path, label: str
) -> None:
    dataset = source([Case(label, grey) for grey in (250, 200, 160, 10)])
    found = judged(dataset, model, NOTHING, tmp_path)
    one, other = ("sensitivity", "specificity")[:: 1 if label == TUMOR else -1]
    assert set(found.scores) == {"accuracy", one, "brier", "ece"}
    assert found.scores[one] == found.scores["accuracy"]
    assert found.scores[one].value == (3 / 4 if label == TUMOR else 1 / 4)
    assert (found.commoner_class, found.of("auroc")) == (1, None)
    assert other in (tmp_path / "report.html").read_text().split("cannot be measured:")[1][:60]


def test_what_the_models_own_dataset_holds_is_left_out_with_its_patients(
    mixed: ImageDataset, model: JudgedModel, tmp_path: Path
) -> None:
    # One slice of p1 is known, so the other is left out too.
    found = judged(mixed, model, Known({"000.png", "020.png"}, {"000.png", "008.png"}), tmp_path)
    assert (found.overlap.identical, found.overlap.near_duplicates) == (2, 1)
    assert (found.overlap.same_group, found.images, found.strangers[0].images) == (1, 17, 2)
    unknown = judged(mixed, model, None, tmp_path)
    assert not unknown.overlap.checked
    assert "is unknown whether" in (tmp_path / "report.html").read_text()
    everything = {record.path for record in mixed.manifest.images}
    with pytest.raises(UserError, match="holds all of its 23 images"):
        judged(mixed, model, Known(everything, set()), tmp_path)


def test_a_model_without_the_check_flags_nothing(
    mixed: ImageDataset, model: JudgedModel, tmp_path: Path
) -> None:
    found = judged(mixed, replace(model, score_limit=None, unsure=None), None, tmp_path)
    assert (found.flagged, found.strangers[0].flagged, found.by_site[0].flagged) == (None,) * 3
    assert (found.answered, found.by_site[0].unsure) == (None, None)
    assert "Flagged as" not in (tmp_path / "report.html").read_text()
    assert "nsure" not in (tmp_path / "report.html").read_text()
