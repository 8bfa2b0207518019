"""The command line cross-validates a sample on this machine."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.shared.reports.html import MAX_BYTES
from tests.browser import needs_browser
from tests.report_pages import report_faults

SCRIPT = Path(sys.executable).with_name("brain-tumor")
OPTIONS = [
    *("--source", "sample://?images=60"),
    *("--folds", "2", "--bootstrap-samples", "100"),
]

pytestmark = pytest.mark.timeout(600)


def _run(runs: Path, *changed: str) -> str:
    command = [str(SCRIPT), "cross-validate", "--runs", str(runs), *OPTIONS, *changed]
    done = subprocess.run(command, cwd=runs, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr.strip()
    return done.stdout


def _report(out: str) -> Path:
    (found,) = re.findall(r"^report +file://(/.*)$", out, re.MULTILINE)
    return Path(found.strip())


def _place(out: str, name: str) -> Path:
    """Where the first page of the reports says a file is."""
    (found,) = re.findall(rf"<code>(/.*/{name})</code>", _report(out).read_text())
    return Path(found)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def first(runs: Path) -> str:
    return _run(runs, "--epochs", "1")


def test_every_image_is_predicted_once(first: str) -> None:
    steps = [
        "check",
        "ingest",
        "assemble",
        "folds",
        "cross-validate-1",
        "cross-validate-2",
        "collect",
    ]
    assert re.findall(r"^([\w-]+) +[\d.]+ s", first, re.MULTILINE) == [*steps, "total"]
    assert "mean of 2 folds" in first
    result = json.loads(_place(first, "cross_validation.json").read_text())
    assert [fold["fold"] for fold in result["folds"]] == [1, 2]
    rows = list(csv.DictReader(_place(first, "predictions.csv").read_text().splitlines()))
    assert len(rows) == result["images"] == sum(fold["images"] for fold in result["folds"])
    assert {row["fold"] for row in rows} == {"1", "2"}
    assert all(0 <= float(row["probability_tumor"]) <= 1 for row in rows)


@needs_browser
def test_the_reports_are_good_to_look_at(first: str, browser: Any) -> None:
    pages = sorted(_report(first).parent.glob("*.html"))
    names = ["cross-validation", "data", "folds", "index", "labels"]
    assert [page.stem for page in pages] == names
    assert max(page.stat().st_size for page in pages) < MAX_BYTES
    assert report_faults(browser, *pages) == []


def test_other_resamples_train_nothing_again(runs: Path, first: str) -> None:
    again = _run(runs, "--epochs", "1", "--bootstrap-samples", "101")
    assert re.findall(r"^([\w-]+) +cached", again, re.MULTILINE) == [
        "ingest", "assemble", "folds", "cross-validate-1", "cross-validate-2",
    ]  # fmt: skip
    assert re.search(r"^collect +[\d.]+ s", again, re.MULTILINE)
