"""Figures of the folds together, and what is refused."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl
from sklearn.metrics import roc_auc_score

from components.collect.component import collect as component
from components.collect.logic import collect
from components.collect.results import CrossValidation
from components.shared.data.classes import TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError
from components.shared.evaluation.fold_result import FoldResult
from components.shared.evaluation.metrics import MEASURES
from components.shared.reports.html import MAX_BYTES

WriteFolds = Callable[[list[FoldResult]], list[Path]]
Collect = Callable[..., CrossValidation]


@pytest.fixture
def run(dataset: ImageDataset, tmp_path: Path, write_folds: WriteFolds) -> Collect:
    def collected(results: list[FoldResult], **changed: Any) -> CrossValidation:
        arguments: dict[str, Any] = {
            "output": tmp_path / "out",
            "report": tmp_path / "report.html",
            "gallery": tmp_path / "gallery.html",
            "bootstrap_samples": 200,
        }
        return collect(dataset, write_folds(results), **arguments | changed)

    return collected


def test_a_fold_that_is_a_site_has_the_auroc_of_its_scores(
    dataset: ImageDataset, results: list[FoldResult], write_folds: WriteFolds, tmp_path: Path
) -> None:
    fold_of = {row: str(result.fold) for result in results for row in result.held_out}
    known = ImageDataset(dataset.folder)
    images = [replace(r, site=fold_of[row]) for row, r in enumerate(dataset.manifest.images)]
    known.manifest = dataset.manifest.model_copy(update={"images": tuple(images)})
    found = collect(
        known,
        write_folds(results),
        tmp_path / "out",
        tmp_path / "report.html",
        tmp_path / "g.html",
        seed=0,
        bootstrap_samples=100,
    )
    by_site = {one.name: one for one in found.by_site}
    for result in results:
        tumor = dataset.labels[list(result.held_out)] == TUMOR
        expected = roc_auc_score(tumor, result.model.scores)
        assert by_site[str(result.fold)].auroc.value == pytest.approx(expected)


def test_sites_are_measured_at_each_folds_own_threshold(
    dataset: ImageDataset, results: list[FoldResult], write_folds: WriteFolds, tmp_path: Path
) -> None:
    known = ImageDataset(dataset.folder)
    images = [
        replace(record, site="Ulm" if record.group % 3 else None)
        for record in dataset.manifest.images
    ]
    known.manifest = dataset.manifest.model_copy(update={"images": tuple(images)})
    report = tmp_path / "report.html"
    found = collect(
        known,
        write_folds(results),
        tmp_path / "out",
        report,
        tmp_path / "g.html",
        seed=0,
        bootstrap_samples=100,
    )
    right = {"Ulm": [], "unknown": []}  # type: ignore[var-annotated]
    for result in results:
        for row, score in zip(result.held_out, result.model.scores, strict=True):
            called = score >= result.model.threshold
            tumor = dataset.labels[row] == TUMOR
            right["Ulm" if images[row].site else "unknown"].append(called == tumor)
    assert [(one.name, one.images) for one in found.by_site] == [("Ulm", 40), ("unknown", 20)]
    for subgroup in found.by_site:
        assert subgroup.accuracy.value == pytest.approx(np.mean(right[subgroup.name]))
    assert found.by_sequence == ()
    assert "By site" in report.read_text()
    collect(
        dataset,
        write_folds(results),
        tmp_path / "out",
        report,
        tmp_path / "g.html",
        seed=0,
        bootstrap_samples=100,
    )
    assert "By site" not in report.read_text()


def test_the_mean_is_that_of_the_folds(
    dataset: ImageDataset, results: list[FoldResult], run: Collect
) -> None:
    found = run(results)
    accuracies, aucs = [], []
    for result in results:
        tumor = dataset.labels[list(result.held_out)] == TUMOR
        scores = np.array(result.model.scores)
        accuracies.append(np.mean((scores >= result.model.threshold) == tumor))
        aucs.append(roc_auc_score(tumor, scores))
    assert [f.model.accuracy.value for f in found.folds] == pytest.approx(accuracies)
    assert found.mean.model.accuracy.value == pytest.approx(np.mean(accuracies))
    assert found.mean.model.auroc.value == pytest.approx(np.mean(aucs))
    for figures in (found.mean, found.pooled, *found.folds):
        for predictor in (figures.model, figures.metadata_floor, figures.nearest_neighbour_floor):
            for measure in MEASURES:
                interval = getattr(predictor, measure)
                assert interval.low <= interval.high
    widths = [f.model.accuracy.high - f.model.accuracy.low for f in found.folds]
    mean = found.mean.model.accuracy
    assert mean.low <= mean.value <= mean.high
    assert mean.high - mean.low < max(widths)


def test_figures_without_contradicted_pictures_stand_beside_those_as_labelled(
    dataset: ImageDataset, results: list[FoldResult], write_folds: WriteFolds, tmp_path: Path
) -> None:
    known = ImageDataset(dataset.folder)
    known.manifest = dataset.manifest.model_copy(update={"contradicted": (0, 7, 30)})
    report = tmp_path / "report.html"
    found = collect(
        known,
        write_folds(results),
        tmp_path / "out",
        report,
        tmp_path / "gallery.html",
        bootstrap_samples=100,
    )
    assert CrossValidation.open(tmp_path / "out") == found
    without = found.without_contradicted
    assert without is not None
    assert (without.left_out, without.images, found.images) == (3, 57, 60)
    accuracies, right = [], []
    for result in results:
        rows = np.array(result.held_out)
        counted = ~np.isin(rows, (0, 7, 30))
        called = np.array(result.model.scores)[counted] >= result.model.threshold
        right += (called == (dataset.labels[rows[counted]] == TUMOR)).tolist()
        accuracies.append(np.mean(right[-len(called) :]))
    assert without.mean.model.accuracy.value == pytest.approx(np.mean(accuracies))
    assert without.pooled.model.accuracy.value == pytest.approx(np.mean(right))
    assert found.flat()["mean_accuracy_without_contradicted"] == pytest.approx(np.mean(accuracies))
    assert "Accuracy without 3 contradicted images" in report.read_text()
    assert "Without contradicted pictures" in report.read_text()


def test_all_images_at_once_each_at_its_own_folds_threshold(
    dataset: ImageDataset, results: list[FoldResult], run: Collect
) -> None:
    found = run(results)
    scores, called = np.empty(len(dataset)), np.empty(len(dataset), bool)
    for result in results:
        rows = list(result.held_out)
        scores[rows] = result.model.scores
        called[rows] = scores[rows] >= result.model.threshold
    tumor = dataset.labels == TUMOR
    pooled = found.pooled.model
    assert pooled.accuracy.value == pytest.approx(np.mean(called == tumor))
    assert pooled.sensitivity.value == pytest.approx(np.mean(called[tumor]))
    assert pooled.auroc.value == pytest.approx(roc_auc_score(tumor, scores))
    assert pooled.brier.value == pytest.approx(np.mean((scores - tumor) ** 2))
    assert found.confusion[0] == (np.sum(called[tumor]), np.sum(~called[tumor]))
    assert found.confusion[1] == (np.sum(called[~tumor]), np.sum(~called[~tumor]))


def test_each_fold_says_itself_what_is_unsure(
    dataset: ImageDataset, results: list[FoldResult], run: Collect, tmp_path: Path
) -> None:
    ranges = [(0.1 * result.fold, 0.9) for result in results]
    known = [
        result.model_copy(update={"unsure": unsure, "target_error": 0.05})
        for result, unsure in zip(results, ranges, strict=True)
    ]
    found = run(known)
    answered, wrong = 0, 0
    for result, (low, high) in zip(results, ranges, strict=True):
        scores = np.array(result.model.scores)
        sure = (scores < low) | (scores >= high)
        called = scores >= result.model.threshold
        answered += sure.sum()
        wrong += (sure & (called != (dataset.labels[list(result.held_out)] == TUMOR))).sum()
    assert found.answered is not None
    assert found.answered.error is not None
    assert found.answered.coverage.value == pytest.approx(answered / len(dataset))
    assert found.answered.error.value == pytest.approx(wrong / answered)
    assert found.flat()["coverage"] == found.answered.coverage.value
    assert "at\nmost 5.0% are wrong" in (tmp_path / "report.html").read_text()

    assert run([*known[:-1], known[-1].model_copy(update={"unsure": None})]).answered is None
    with pytest.raises(UserError, match="fold 3 was trained otherwise than fold 1"):
        run([*known[:-1], known[-1].model_copy(update={"target_error": 0.1})])


def test_what_is_written(
    dataset: ImageDataset, results: list[FoldResult], run: Collect, tmp_path: Path
) -> None:
    found = run(results, git_revision="0123456789ab")
    assert CrossValidation.open(tmp_path / "out") == found
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    assert [int(row["index"]) for row in rows] == list(range(len(dataset)))
    for result in results:
        for position, score in zip(result.held_out, result.model.scores, strict=True):
            row = rows[position]
            assert float(row["probability_tumor"]) == score
            assert float(row["threshold"]) == result.model.threshold
            assert int(row["fold"]) == result.fold
    report, gallery = ((tmp_path / f"{name}.html").read_text() for name in ("report", "gallery"))
    for html in (report, gallery):
        assert html.startswith("<!doctype html>")
        assert "http://" not in html
        assert "https://" not in html
        assert "<b>0-0</b>" not in html  # a file's name is no markup
        assert len(html.encode()) < MAX_BYTES
    assert "Cross-validation in 3 folds" in report
    assert "0123456789ab" in report
    assert "Nothing has been removed and no label was changed" in gallery


@pytest.mark.parametrize(
    ("seen", "whole", "said"),
    [
        ([0, 0, 0], 0, "has no copy of these images"),
        ([2, 0, 3], 5, "has copies of 5 of these images"),
        ([2, None, 3], None, "has no record of its images"),
    ],
)
def test_images_that_the_start_has_seen_are_told(
    results: list[FoldResult],
    run: Collect,
    tmp_path: Path,
    seen: list[int | None],
    whole: int | None,
    said: str,
) -> None:
    settings = {**results[0].settings, "from_model": "brain-tumor 4"}
    started = [
        result.model_copy(update={"settings": settings, "from_model_seen": of_fold})
        for result, of_fold in zip(results, seen, strict=True)
    ]
    assert run(started).from_model_seen == whole
    assert said in (tmp_path / "report.html").read_text()


def test_folds_say_which_source_they_held_out(
    results: list[FoldResult], run: Collect, tmp_path: Path
) -> None:
    named = [r.model_copy(update={"source": f"clinic {r.fold}"}) for r in results]
    assert [fold.source for fold in run(named).folds] == ["clinic 1", "clinic 2", "clinic 3"]
    assert "<td>clinic 2</td>" in (tmp_path / "report.html").read_text()
    assert [fold.source for fold in run(results).folds] == [None] * 3
    assert "held-out source" not in (tmp_path / "report.html").read_text()


def test_the_same_folds_give_the_same_numbers(results: list[FoldResult], run: Collect) -> None:
    found = run(results)
    assert found == run(results[::-1])
    assert run(results, seed=1).mean != found.mean


def test_without_a_doubt(
    dataset: ImageDataset, results: list[FoldResult], run: Collect, tmp_path: Path
) -> None:
    sure = []
    for result in results:
        tumor = dataset.labels[list(result.held_out)] == TUMOR
        scores = tuple(np.where(tumor, 0.99, 0.01).tolist())
        answers = result.model.model_copy(update={"scores": scores})
        sure.append(result.model_copy(update={"model": answers}))
    found = run(sure)
    assert found.suspicious_labels == found.suspicious_images == 0
    assert found.mean.model.accuracy.value == 1
    assert "No label is in doubt" in (tmp_path / "gallery.html").read_text()
    assert len((tmp_path / "out" / "suspicious_labels.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folds: folds[1:], r"the folds are \[2, 3\]"),
        (lambda folds: folds[:1], r"the folds are \[1\]"),
        (lambda folds: [*folds, folds[0]], r"the folds are \[1, 1, 2, 3\]"),
        (lambda folds: folds[:2], "do not hold out each image once"),
        (
            lambda folds: [folds[0].model_copy(update={"dataset_digest": "x"}), *folds[1:]],
            "fold 1 is of another dataset",
        ),
        (
            lambda folds: [*folds[:2], folds[2].model_copy(update={"settings": {"epochs": 9}})],
            "fold 3 was trained otherwise than fold 1",
        ),
        (
            lambda folds: [*folds[:2], folds[1].model_copy(update={"fold": 3})],
            "do not hold out each image once",
        ),
    ],
)
def test_folds_that_do_not_belong_together(
    results: list[FoldResult],
    run: Collect,
    tmp_path: Path,
    change: Callable[[list[FoldResult]], list[FoldResult]],
    reason: str,
) -> None:
    with pytest.raises(UserError, match=reason) as error:
        run(change(results))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_too_few_resamples(results: list[FoldResult], run: Collect) -> None:
    with pytest.raises(UserError, match="bootstrap_samples is 99: give at least 100"):
        run(results, bootstrap_samples=99)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("fold", 0, "fold"),
        ("temperature", 0, "temperature"),
        ("held_out", [-1], "held_out"),
        ("held_out", [], "held_out"),
        ("held_out", [1], "not one score for each held-out image"),
        ("surprise", 1, "surprise"),
        ("model", {"threshold": 2, "scores": []}, "threshold"),
    ],
)
def test_a_fold_that_is_damaged(
    results: list[FoldResult], tmp_path: Path, name: str, value: object, reason: str
) -> None:
    content = json.loads(results[0].model_dump_json()) | {name: value}
    (tmp_path / "fold.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{reason}.*run this fold again") as error:
        FoldResult.open(tmp_path)
    assert "\n" not in str(error.value)


def test_a_fold_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fold\.json: cannot read"):
        FoldResult.open(tmp_path)
    with pytest.raises(UserError, match=r"cross_validation\.json: cannot read"):
        CrossValidation.open(tmp_path)


def test_the_component(
    dataset: ImageDataset,
    results: list[FoldResult],
    write_folds: WriteFolds,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"), metadata={})
    arguments: dict[str, Any] = {
        "dataset": dsl.Dataset(uri=str(dataset.folder)),
        "folds": [dsl.Artifact(uri=str(folder)) for folder in write_folds(results)],
        "cross_validation_report": dsl.HTML(uri=str(tmp_path / "report.html")),
        "suspicious_labels": dsl.HTML(uri=str(tmp_path / "gallery.html")),
        "cross_validation_metrics": metrics,
        "cross_validation": dsl.Artifact(uri=str(tmp_path / "out"), metadata={}),
        "seed": 0,
        "bootstrap_samples": 100,
        "git_revision": "",
    }
    component.python_func(**arguments)
    found = CrossValidation.open(tmp_path / "out")
    assert metrics.metadata == found.flat()
    assert metrics.metadata["mean_accuracy"] == found.mean.model.accuracy.value
    assert all(np.isfinite(value) for value in metrics.metadata.values())
    assert "collect finished in" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^collect: the folds are \[\]"):
        component.python_func(**arguments | {"folds": []})
