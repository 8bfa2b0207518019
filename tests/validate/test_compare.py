"""Two models on the same images: leads counted by hand, and an interval that knows of pairs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.shared.data.dataset import ImageDataset
from components.validate.compare import COMPARISON, Comparison, compare
from components.validate.model import Answers, JudgedModel
from tests.browser import needs_browser
from tests.report_pages import report_faults
from tests.validate.conftest import Case, Source
from tests.validate.test_logic import NOTHING, Known

# The first model reads the pixel at the left, the second that beside it.
CASES = [
    *(Case("Brain Tumor", 200 + n, 190 + n) for n in range(15)),
    *(Case("Brain Tumor", 200 + n, 50 + n) for n in range(5)),  # only the first finds them
    *(Case("Healthy", 40 + n, 60 + n) for n in range(18)),
    *(Case("Healthy", 210 + n, 70 + n) for n in range(2)),  # only the second clears them
]


@pytest.fixture(scope="module")
def dataset(source: Source) -> ImageDataset:
    return source(CASES)


def second(images: np.ndarray) -> Answers:
    return Answers(images[:, 0, 1, 0] / 255, None)


def compared(
    dataset: ImageDataset, one: JudgedModel, other: JudgedModel, to: Path, known: Known = NOTHING
) -> Comparison:
    report = to / "report.html"
    found = compare(dataset, (one, other), (NOTHING, known), to, report, bootstrap_samples=200)
    assert Comparison.model_validate_json((to / COMPARISON).read_text()) == found
    return found


def test_leads_are_those_of_the_images(
    dataset: ImageDataset, model: JudgedModel, tmp_path: Path
) -> None:
    other = replace(model, answer=second, title="version <8>", score_limit=None)
    found = compared(dataset, model, other, tmp_path)
    leads = {lead.measure: lead for lead in found.differences}
    assert leads["sensitivity"].value == 5 / 20
    assert leads["sensitivity"].low > 0
    assert leads["specificity"].value == pytest.approx(-2 / 20)
    assert leads["accuracy"].value == pytest.approx(3 / 40)
    # Less is better, so the lead is the other's error less one's own.
    ours, theirs = (result.scores["brier"].value for result in found.results)
    assert leads["brier"].value == pytest.approx(theirs - ours)
    assert (found.answers_differ, found.only_first_right, found.only_second_right) == (7, 5, 2)
    text = (tmp_path / "report.html").read_text()
    assert "version 7 is better" in text
    assert "no more than chance can give" in text
    assert "version <8>" not in text
    back = {lead.measure: lead for lead in compared(dataset, other, model, tmp_path).differences}
    assert back["sensitivity"].value == -5 / 20
    assert back["sensitivity"].high == pytest.approx(-leads["sensitivity"].low)


def test_a_model_has_no_lead_on_itself(
    dataset: ImageDataset, model: JudgedModel, tmp_path: Path
) -> None:
    found = compared(dataset, model, model, tmp_path, Known({"000.png"}, set()))
    assert {(lead.value, lead.low, lead.high) for lead in found.differences} == {(0, 0, 0)}
    # What either model's own dataset holds is left out for both.
    assert [result.images for result in found.results] == [39, 39]


@needs_browser
def test_the_report_is_good_to_look_at(
    dataset: ImageDataset, model: JudgedModel, tmp_path: Path, browser: Any
) -> None:
    compared(dataset, model, model, tmp_path)
    assert report_faults(browser, tmp_path / "report.html") == []
