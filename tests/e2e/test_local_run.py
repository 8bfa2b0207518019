"""The command line runs the real pipeline, from images to a registered model, and again.

Each step of a run takes seconds of CPU, most of them to import TensorFlow. So one run is killed,
resumed and deployed, and the commands that need no run are called in the process of the tests.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
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
Invoke = Callable[..., tuple[int, str, str]]
STEPS = ["ingest", "assemble", "split", "tune", "train", "evaluate", "register"]
OPTIONS = [
    *("--source", "sample://?images=60"),
    *("--max-trials", "1", "--tune-epochs", "1", "--epochs", "8"),
    *("--bootstrap-samples", "100", "--champion-margin", "1"),
    *("--validate-sources", "sample://?images=60&seed=3"),
    *("--min-accuracy", "0", "--min-sensitivity", "0", "--min-specificity", "0"),
    *("--inference-service", "brain-tumor", "--deploy-dry-run"),
    *("--served-from", "pvc://claim/registry"),
]

pytestmark = pytest.mark.timeout(1200)


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
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeAPI]:
    """A cluster that the runs deploy to."""
    api = KubeAPI()
    server = serve(api)
    config = tmp_path_factory.mktemp("cluster") / "kubeconfig"
    write_kubeconfig(config, f"http://127.0.0.1:{server.server_address[1]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(config))
        yield api
    server.shutdown()


@pytest.fixture(scope="module")
def killed(runs: Path, api: KubeAPI) -> str:
    """What a run shows until it is killed in its training."""
    shown = ""
    with subprocess.Popen(
        _command(runs), cwd=runs, stdout=subprocess.PIPE, text=True, bufsize=1,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout
        for line in process.stdout:
            shown += line
            if re.match(r" *2 of 8 epochs ", line):
                os.killpg(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL, shown
    return shown


@pytest.fixture(scope="module")
def first(runs: Path, killed: str, api: KubeAPI) -> Run:
    """The same command again, which goes on with it to its end."""
    run = _run(runs)
    assert run.status == 0, run.out + run.err
    assert api.requests == ["get", "create?dryRun"]
    return run


def test_the_pipeline_runs_from_images_to_a_registered_model(
    runs: Path, killed: str, first: Run
) -> None:
    assert list(first.costs()) == STEPS
    assert [name for name, cost in first.costs().items() if cost != "cached"] == STEPS[4:]
    assert re.findall(r"^(\w+)$", killed, re.MULTILINE) == ["check", *STEPS[:5]]
    assert "cache" not in killed
    model = first.place("model")
    assert model == runs / "registry" / "brain-tumor" / "1"
    verify(model)
    assert (model / "saved_model.pb").exists()
    assert json.loads((model / "labels.json").read_text())
    assert "sample" in (model / "model_card.md").read_text()


def test_the_reports_and_metrics_are_there(runs: Path, first: Run) -> None:
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
    (trials,) = runs.glob("*/*/trials/trials.csv")
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


def test_the_registered_model_answers(first: Run, invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("sample", tmp_path / "new", "--images", "20")[0] == 0
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
    runs: Path, first: Run, invoke: Invoke, tmp_path: Path
) -> None:
    latest = f"{runs / 'registry'}#latest"
    to = tmp_path / "results"
    given = ("--source", "sample://?images=60&seed=4", "--output", to)
    for command in (("evaluate", latest), ("compare", latest, first.place("model"))):
        status, out, err = invoke(*command, *given)
        assert status == 0, err
        assert str(to / "report.html") in out
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
    own = ("--source", "sample://?images=60", "--output", to / "own")
    status, _, err = invoke("evaluate", latest, *own)
    assert status == 2
    assert "the model's own dataset holds all of its 60 images" in err


def test_the_registered_model_is_fitted_again_on_a_sites_images(
    runs: Path, first: Run, invoke: Invoke, tmp_path: Path
) -> None:
    site = ("--source", "sample://?images=80&seed=4", "--output", tmp_path / "decoded")
    there = ("--registry", tmp_path / "registry", "--target-error", "0.3")
    status, out, err = invoke("recalibrate", f"{runs / 'registry'}#latest", *site, *there)
    assert status == 0, err
    assert "version 1, cross-fitted" in out
    folder = tmp_path / "registry" / "brain-tumor" / "1"
    verify(folder)
    found = read_metadata(folder)
    assert found.recalibration is not None
    assert found.recalibration.images == 80
    assert (found.external, found.threshold_rule != "") == ((), True)
    image = tmp_path / "image.png"
    image.write_bytes(next((folder / "smoke").glob("*.png")).read_bytes())
    status, out, _ = invoke("predict", folder, image, "--format", "json")
    assert status == 0
    (answer,) = json.loads(out)
    assert answer["threshold"] == found.threshold
    status, _, err = invoke("recalibrate", first.place("model"), *site)
    assert status == 2
    assert "--registry: say where the new version goes" in err


def test_again_with_a_gate_that_nothing_passes(runs: Path, first: Run) -> None:
    floors = ("accuracy", "sensitivity", "specificity", "external-sensitivity")
    again = _run(runs, *(text for name in floors for text in (f"--min-{name}", "1")))
    assert again.status == 0, again.out + again.err
    costs = again.costs()
    assert costs.pop("register") != "cached"
    assert costs == dict.fromkeys(STEPS[:-1], "cached")
    assert "not registered" in again.out
    assert "NOT registered: the model did not pass the gate" in again.out
    assert [path.name for path in first.place("model").parent.glob("[0-9]*")] == ["1"]


def test_a_run_killed_in_training_is_resumed_by_the_same_command(runs: Path, first: Run) -> None:
    found = re.search(r"resumed after epoch (\d)", first.out)
    assert found
    assert int(found[1]) >= 2
    rest = list(range(int(found[1]) + 1, 9))
    assert [int(epoch) for epoch in re.findall(r"(\d) of 8 epochs ", first.out)] == rest
    assert all(first.costs()[name] == "cached" for name in ("ingest", "split", "tune"))
    (training,) = first.figures().parents[2].glob("train/model/training.json")
    record = json.loads(training.read_text())
    assert record["epochs"] == 8


def test_a_version_is_compared_with_the_one_before_and_registered_once(
    runs: Path, first: Run
) -> None:
    changed = ("--champion-margin", "0.9")
    second = _run(runs, *changed)
    assert second.status == 0, second.out + second.err
    assert second.place("model").name == "2"
    assert read_metadata(second.place("model")).gate.champion_version == 1

    # As after a kill behind "registered": the same command finds what it registered.
    again = _run(runs, *changed)
    assert again.status == 0, again.out + again.err
    assert again.place("model") == second.place("model")
    assert "an earlier try of this run registered it" in again.out
    assert {path.name for path in first.place("model").parent.glob("[0-9]*")} == {"1", "2"}


def test_a_failing_step_says_why_in_a_line(tmp_path: Path) -> None:
    failed = _run(tmp_path, "--max-bad-share", "0")
    assert failed.status == 2
    (line,) = failed.err.splitlines()
    assert line.startswith("error: assemble: source sample://")
    assert "the whole log is" in line
    assert "Traceback" not in failed.out
    assert "assemble: " not in failed.out


def test_what_is_registered_goes_on_to_be_deployed(runs: Path, first: Run) -> None:
    assert "+      storageUri: pvc://claim/registry/brain-tumor/1" in first.out
    assert re.search(r"^deploy +[\d.]+ s", first.out, re.MULTILINE)

    refused = _run(runs, "--served-from", "")  # before anything runs
    assert refused.status == 2
    assert refused.out == ""
    assert "KServe cannot read this folder" in refused.err
