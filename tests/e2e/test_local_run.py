"""The command line runs the real pipeline, from images to a registered model, and again."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.shared.model_folder.checksums import verify
from components.shared.model_folder.metadata import read_metadata
from components.shared.reports.html import MAX_BYTES
from tests.browser import needs_browser
from tests.deploy.kube_api import KubeAPI, serve, write_kubeconfig
from tests.report_pages import report_faults, widths_in_kfp

SCRIPT = Path(sys.executable).with_name("brain-tumor")
REPORTS = [
    *("data", "split", "search", "training", "evaluation", "other-source-1", "gate", "model-card")
]
STEPS = ["ingest", "assemble", "split", "tune", "train", "evaluate", "register"]
OPTIONS = [
    *("--source", "sample://?images=60"),
    *("--max-trials", "1", "--tune-epochs", "1", "--epochs", "1"),
    *("--bootstrap-samples", "100", "--champion-margin", "1"),
    *("--validate-sources", "sample://?images=60&seed=3"),
    *("--min-accuracy", "0", "--min-sensitivity", "0", "--min-specificity", "0"),
]

pytestmark = pytest.mark.timeout(600)


@dataclass
class Run:
    status: int
    out: str
    err: str

    def costs(self) -> dict[str, str]:
        """What the summary says each step took."""
        rows = re.findall(r"^(\w+) +(cached|[\d.]+ s)", self.out, re.MULTILINE)
        return {name: cost for name, cost in rows if name in STEPS}

    def place(self, name: str) -> Path:
        """Where the summary says a thing is."""
        (found,) = re.findall(rf"^{name} +(/.*)$", self.out, re.MULTILINE)
        return Path(found.strip())

    def report(self) -> Path:
        """The first page of its reports."""
        (found,) = re.findall(r"^report +file://(/.*)$", self.out, re.MULTILINE)
        return Path(found.strip())

    def log(self) -> Path:
        return self.report().parents[1].with_suffix(".log")

    def figures(self) -> Path:
        """The numbers of the evaluation, where the first page says they are."""
        (found,) = re.findall(r"<code>(/.*/evaluation.json)</code>", self.report().read_text())
        return Path(found)


def _command(runs: Path, *changed: str) -> list[str]:
    return [str(SCRIPT), "run", "--runs", str(runs), *OPTIONS, *changed]


def _run(runs: Path, *changed: str) -> Run:
    done = subprocess.run(_command(runs, *changed), cwd=runs, capture_output=True, text=True)
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def first(runs: Path) -> Run:
    run = _run(runs)
    assert run.status == 0, run.out + run.err
    return run


def test_the_pipeline_runs_from_images_to_a_registered_model(runs: Path, first: Run) -> None:
    assert list(first.costs()) == STEPS
    assert "cached" not in first.costs().values()
    model = first.place("model")
    assert model == runs / "registry" / "brain-tumor" / "1"
    verify(model)
    assert (model / "saved_model.pb").exists()
    assert json.loads((model / "labels.json").read_text())
    assert "sample" in (model / "model_card.md").read_text()


def test_the_reports_and_metrics_are_there(first: Run) -> None:
    index = first.report().read_text()
    links = re.findall(r'<li><a href="([\w-]+).html">', index)
    assert links == REPORTS
    for name in links:
        html = (first.report().parent / f"{name}.html").read_text()
        assert html.startswith("<!doctype html>")
        assert "http://" not in html
        assert "https://" not in html
        assert len(html.encode()) < MAX_BYTES
        assert "brain-tumor run --runs" in html  # the command
        assert f'<a href="{name}.html" aria-current="page">' in html
    evaluation = json.loads(first.figures().read_text())
    assert 0 <= evaluation["held_out"]["model"]["accuracy"]["value"] <= 1
    (trials,) = first.figures().parents[2].glob("*/trials/trials.csv")
    assert len(list(csv.DictReader(trials.read_text().splitlines()))) == 1


@needs_browser
def test_the_reports_are_good_to_look_at(first: Run, browser: Any) -> None:
    pages = sorted(first.report().parent.glob("*.html"))
    assert len(pages) == 1 + len(REPORTS)
    assert report_faults(browser, *pages) == []


@needs_browser
def test_a_picture_is_enlarged_in_the_frame_of_the_kfp_ui(first: Run, browser: Any) -> None:
    small, large, small_again = widths_in_kfp(browser, first.report().with_name("evaluation.html"))
    assert large > 2 * small == 2 * small_again


def test_the_console_is_for_people_and_the_log_has_all(first: Run) -> None:
    assert "KFP Executor" not in first.out
    assert "executor_input" not in first.out
    assert "Traceback" not in first.out + first.err
    assert not first.err.strip()
    assert "held-out images" in first.out
    log = first.log().read_text()
    assert "KFP Executor" in log
    assert "\x1b[" not in log


def test_the_registered_model_answers(first: Run, tmp_path: Path) -> None:
    subprocess.run([SCRIPT, "sample", tmp_path / "new", "--images", "20"], check=True)
    folder = next((tmp_path / "new").rglob("Healthy"))
    images = sorted(folder.glob("*.jpg"))[:2]
    done = subprocess.run(
        [SCRIPT, "predict", first.place("model"), *images, "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout)
    assert [answer["file"] for answer in answers] == [str(image) for image in images]
    assert {answer["model_version"] for answer in answers} == {1}


def test_the_registered_model_is_judged_by_another_source(
    runs: Path, first: Run, tmp_path: Path
) -> None:
    latest = f"{runs / 'registry'}#latest"
    to = tmp_path / "results"
    given = ("--source", "sample://?images=60&seed=4", "--output", to)
    for command in (("evaluate", latest), ("compare", latest, first.place("model"))):
        done = subprocess.run([SCRIPT, *command, *given], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert str(to / "report.html") in done.stdout
    result = json.loads((to / "external.json").read_text())
    assert (result["images"], result["name"]) == (60, "sample")
    assert result["overlap"]["checked"]
    comparison = json.loads((to / "comparison.json").read_text())
    assert comparison["answers_differ"] == 0
    # The version is as it was; the copy of its description tells of the source.
    verify(first.place("model"))
    in_run = read_metadata(first.place("model")).external
    assert [found.images for found in in_run] == [60]
    assert read_metadata(to).external[:1] == in_run
    assert len(read_metadata(to).external) == 2
    assert "## Other sources" in (to / "model_card.md").read_text()
    assert not list(to.glob(".*"))
    own = (SCRIPT, "evaluate", latest, "--source", "sample://?images=60", "--output", to / "own")
    done = subprocess.run(own, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the model's own dataset holds all of its 60 images" in done.stderr


def test_the_registered_model_is_fitted_again_on_a_sites_images(
    runs: Path, first: Run, tmp_path: Path
) -> None:
    site = ("--source", "sample://?images=80&seed=4", "--output", tmp_path / "decoded")
    there = ("--registry", tmp_path / "registry", "--target-error", "0.3")
    command = (SCRIPT, "recalibrate", f"{runs / 'registry'}#latest", *site, *there)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "version 1, cross-fitted" in done.stdout
    folder = tmp_path / "registry" / "brain-tumor" / "1"
    verify(folder)
    found = read_metadata(folder)
    assert found.recalibration is not None
    assert found.recalibration.images == 80
    assert (found.external, found.threshold_rule != "") == ((), True)
    image = tmp_path / "image.png"
    image.write_bytes(next((folder / "smoke").glob("*.png")).read_bytes())
    predicted = (SCRIPT, "predict", folder, image, "--format", "json")
    (answer,) = json.loads(subprocess.run(predicted, capture_output=True, check=True).stdout)
    assert answer["threshold"] == found.threshold
    alone = (SCRIPT, "recalibrate", first.place("model"), *site)
    done = subprocess.run(alone, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--registry: say where the new version goes" in done.stderr


def test_again_with_a_gate_that_nothing_passes(runs: Path, first: Run) -> None:
    again = _run(runs, "--min-accuracy", "1", "--min-sensitivity", "1", "--min-specificity", "1")
    assert again.status == 0, again.out + again.err
    costs = again.costs()
    assert costs.pop("register") != "cached"
    assert costs == dict.fromkeys(STEPS[:-1], "cached")
    assert "not registered" in again.out
    assert "NOT registered: the model did not pass the gate" in again.out
    assert [path.name for path in first.place("model").parent.glob("[0-9]*")] == ["1"]


def test_a_run_killed_in_training_is_resumed_by_the_same_command(runs: Path, first: Run) -> None:
    options = ("--epochs", "8")
    process = subprocess.Popen(
        _command(runs, *options), cwd=runs, stdout=subprocess.PIPE, text=True, bufsize=1,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            if re.match(r" *2 of 8 epochs ", line):
                os.killpg(process.pid, signal.SIGKILL)
                break
        else:
            pytest.fail("the run ended before its second epoch")
    assert process.wait() == -signal.SIGKILL

    resumed = _run(runs, *options)
    assert resumed.status == 0, resumed.out + resumed.err
    found = re.search(r"resumed after epoch (\d)", resumed.out)
    assert found
    assert int(found[1]) >= 2
    rest = list(range(int(found[1]) + 1, 9))
    assert [int(epoch) for epoch in re.findall(r"(\d) of 8 epochs ", resumed.out)] == rest
    assert all(resumed.costs()[name] == "cached" for name in ("ingest", "split", "tune"))
    (training,) = resumed.figures().parents[2].glob("train/model/training.json")
    record = json.loads(training.read_text())
    assert record["epochs"] == 8
    assert resumed.place("model").name == "2"

    # As after a kill behind "registered": the same command finds what it registered.
    again = _run(runs, *options)
    assert again.status == 0, again.out + again.err
    assert again.place("model") == resumed.place("model")
    assert "an earlier try of this run registered it" in again.out
    assert {path.name for path in resumed.place("model").parent.glob("[0-9]*")} == {"1", "2"}


def test_a_failing_step_says_why_in_a_line(tmp_path: Path) -> None:
    failed = _run(tmp_path, "--max-bad-share", "0")
    assert failed.status == 2
    (line,) = failed.err.splitlines()
    assert line.startswith("error: assemble: source sample://")
    assert "the whole log is" in line
    assert "Traceback" not in failed.out
    assert "assemble: " not in failed.out


def test_what_is_registered_goes_on_to_be_deployed(
    runs: Path, first: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = KubeAPI()
    server = serve(api)
    config = tmp_path / "kubeconfig"
    write_kubeconfig(config, f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("KUBECONFIG", str(config))
    deployed = ("--inference-service", "brain-tumor", "--deploy-dry-run")
    try:
        run = _run(runs, *deployed, "--served-from", "pvc://claim/registry")
    finally:
        server.shutdown()
    assert run.status == 0, run.out + run.err
    version = run.place("model").name
    assert f"+      storageUri: pvc://claim/registry/brain-tumor/{version}" in run.out
    assert re.search(r"^deploy +[\d.]+ s", run.out, re.MULTILINE)
    assert api.requests == ["get", "create?dryRun"]

    refused = _run(runs, *deployed)  # before anything runs
    assert refused.status == 2
    assert refused.out == ""
    assert "KServe cannot read this folder" in refused.err
