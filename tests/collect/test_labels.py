"""Labels in doubt: the wrong ones are found, copies count once, and nothing is left out."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.collect.labels import suspicions_csv, suspicious_labels
from components.collect.report import GALLERY, write_suspicions_report
from components.shared.data.classes import CLASSES, HEALTHY, TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import SHAPE
from components.shared.reports.html import MAX_BYTES


class Listed:
    """What doubts need of a dataset: paths, labels and groups, and pixels that are all alike."""

    def __init__(self, labels: np.ndarray, groups: np.ndarray, path: str = "a/{}.png") -> None:
        self.labels, self.duplicate_groups = labels.astype(np.int8), groups
        self.manifest = self
        self.source, self.source_version, self.digest = "sample://", "1", "0123456789abcdef"
        self.images = [
            SimpleNamespace(path=path.format(i), group=int(group)) for i, group in enumerate(groups)
        ]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 255, (len(indices), *SHAPE), dtype=np.uint8)


def _scores(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.where(labels == TUMOR, 0.92, 0.08) + rng.normal(0, 0.05, len(labels)), 0, 1)


def test_wrong_labels_are_found_once_a_picture_with_all_copies() -> None:
    rng = np.random.default_rng(0)
    sizes = np.r_[30, 2, rng.integers(1, 4, 198)]
    groups = np.repeat(np.arange(200), sizes)
    truth = np.repeat(np.arange(200) % 2, sizes)
    labels = truth.copy()
    for group in (0, 1, 50):
        labels[groups == group] = 1 - labels[groups == group]
    everything = Listed(labels, groups)
    found = suspicious_labels(everything, _scores(truth, rng))  # type: ignore[arg-type]
    assert {everything.duplicate_groups[s.positions[0]] for s in found} == {0, 1, 50}
    for suspicion in found:
        (group,) = set(groups[suspicion.positions])
        assert list(suspicion.positions) == list(np.flatnonzero(groups == group))
        assert suspicion.label == labels[suspicion.positions[0]]
        assert suspicion.confidence < 0.5
    confidences = [suspicion.confidence for suspicion in found]
    assert confidences == sorted(confidences)


def test_a_group_of_both_labels_is_doubted_for_the_wrong_ones_only() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 2)
    truth = groups % 2
    labels = truth.copy()
    labels[0] = HEALTHY  # its twin keeps the right label
    everything = Listed(labels, groups)
    (found,) = suspicious_labels(everything, _scores(truth, rng))  # type: ignore[arg-type]
    assert list(found.positions) == [0]
    assert found.label == HEALTHY


@settings(deadline=None, derandomize=True, max_examples=40)
@given(data=st.data(), count=st.integers(2, 60))
def test_whatever_the_scores_no_image_is_doubted_twice(data: st.DataObject, count: int) -> None:
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
    labels[:2] = TUMOR, HEALTHY
    groups = np.array(data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)))
    scores = np.array(data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)))
    everything = Listed(labels, groups)
    found = suspicious_labels(everything, scores)  # type: ignore[arg-type]
    positions = [position for suspicion in found for position in suspicion.positions.tolist()]
    assert len(set(positions)) == len(positions)
    table = suspicions_csv(everything, scores, found)  # type: ignore[arg-type]
    rows = list(csv.DictReader(table.splitlines()))
    assert [int(row["index"]) for row in rows] == positions
    for row in rows:
        assert row["given_label"] == CLASSES[labels[int(row["index"])]]


def test_the_gallery_stays_below_what_kfp_shows(tmp_path: Path) -> None:
    labels = np.arange(4 * GALLERY) % 2
    everything = Listed(labels, np.arange(len(labels)) // 2 % (2 * GALLERY), "<b>" + "x" * 3000)
    wrong = np.where(labels == TUMOR, 0.01, 0.99)
    wrong[: GALLERY // 2] = 1 - wrong[: GALLERY // 2]
    found = suspicious_labels(everything, wrong)  # type: ignore[arg-type]
    write_suspicions_report(tmp_path / "a.html", everything, found)  # type: ignore[arg-type]
    html = (tmp_path / "a.html").read_text()
    assert len(html.encode()) < MAX_BYTES
    assert html.count("<figure") == min(GALLERY, len(found))
    assert "<b>xxx" not in html


def test_paths_stand_in_the_gallery(dataset: ImageDataset, tmp_path: Path) -> None:
    scores = np.where(dataset.labels == TUMOR, 0.9, 0.1)
    scores[dataset.groups == 4] = 0.1
    (found,) = suspicious_labels(dataset, scores)
    assert found.label == TUMOR
    assert found.confidence == pytest.approx(0.1)
    write_suspicions_report(tmp_path / "a.html", dataset, [found])
    html = (tmp_path / "a.html").read_text()
    assert "Brain Tumor/&lt;b&gt;4-0&lt;/b&gt;.jpg" in html
    assert "2 images" in html
    assert "labelled Brain Tumor" in html
    assert "0.100" in html
