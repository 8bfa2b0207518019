"""The command line cross-validates a sample on this machine."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def _place(out: str, name: str) -> Path:
    (found,) = re.findall(rf"^{name} +(/.*)$", out, re.MULTILINE)
    return Path(found.strip())


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
    result = json.loads(_place(first, "metrics").read_text())
    assert [fold["fold"] for fold in result["folds"]] == [1, 2]
    rows = list(csv.DictReader(_place(first, "predictions").read_text().splitlines()))
    assert len(rows) == result["images"] == sum(fold["images"] for fold in result["folds"])
    assert {row["fold"] for row in rows} == {"1", "2"}
    assert all(0 <= float(row["probability_tumor"]) <= 1 for row in rows)


def test_the_reports_are_there(first: str) -> None:
    for name in ("report", "suspicious labels", "folds report", "data report"):
        html = _place(first, name).read_text()
        assert html.startswith("<!doctype html>")
        assert len(html.encode()) < 2_000_000


def test_other_resamples_train_nothing_again(runs: Path, first: str) -> None:
    again = _run(runs, "--epochs", "1", "--bootstrap-samples", "101")
    assert re.findall(r"^([\w-]+) +cached", again, re.MULTILINE) == [
        "ingest", "assemble", "folds", "cross-validate-1", "cross-validate-2",
    ]  # fmt: skip
    assert re.search(r"^collect +[\d.]+ s", again, re.MULTILINE)
