"""A model against the counts of a Prometheus: what drifted, told by report, step and exit."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from components.drift.results import Drift
from components.shared.errors import UserError
from components.shared.evaluation.binning import drift_reference
from components.shared.model_folder.checksums import write_sums
from components.shared.run.parameters import DriftRule
from pipelines.cli import app
from tests.browser import needs_browser
from tests.drift.prometheus_server import serving
from tests.report_pages import report_faults
from tests.shared.registry.versions import metadata

HOURS = 7 * 24
TITLES = {"score": "score", "feature_1": "feature 1", "flagged": "flagged as no brain MRI"}


@pytest.fixture
def folder(make_folder: Callable[..., Path]) -> Path:
    """A version whose reference are 600 images with two values."""
    rng = np.random.default_rng(0)

    def values(images: int) -> dict[str, np.ndarray]:
        return {"score": rng.normal(size=images), "feature_1": rng.normal(size=images)}

    reference = drift_reference(
        values(500), values(600), np.arange(600) // 2, {"flagged": ("score", (2.0,), ("no", "yes"))}
    )
    folder = make_folder()
    (folder / "drift.json").write_text(reference.model_dump_json())
    (folder / "SHA256SUMS").unlink()
    write_sums(folder)
    return folder


@contextmanager
def prometheus(
    folder: Path, shift: float = 0.0, hours: int = 60, only: tuple[str, ...] = ()
) -> Iterator[Any]:
    """Yields the address of one that counted normal values, feature_1 shifted, in some hours."""
    rng = np.random.default_rng(1)
    quantities = json.loads((folder / "drift.json").read_text())["quantities"]
    quantities = [each for each in quantities if not only or each["name"] in only]

    def answer(path: str, query: dict[str, str], handler: Any) -> bytes:
        if path.endswith("/query"):
            return b'{"status": "success", "data": {"resultType": "vector", "result": []}}'
        last, step = int(query["end"]), int(query["step"])
        assert (last - int(query["start"])) / step == HOURS - 1
        values = {name: rng.normal(size=(hours, 6)) for name in ("score", "feature_1")}
        values["feature_1"] += shift
        result = []
        for quantity in quantities if hours else ():
            bins = np.searchsorted(quantity["edges"], values[quantity["of"]], side="right")
            result += [
                {
                    "metric": {"quantity": quantity["name"], "bin": name},
                    "values": [
                        [last - step * hour, str((bins[hour] == place).sum() * 1.02)]
                        for hour in range(hours)
                    ],
                }
                for place, name in enumerate(quantity["bins"])
            ]
        data = {"resultType": "matrix", "result": result}
        return json.dumps({"status": "success", "data": data}).encode()

    with serving(answer) as address:
        yield address


def _invoke(folder: Path, address: str, *options: str) -> Any:
    command = ["drift", str(folder), "--prometheus", address, "--report", f"{folder}.html"]
    return CliRunner().invoke(app, [*command, *options], catch_exceptions=False)


def test_no_drift(folder: Path) -> None:
    with prometheus(folder) as address:
        done = _invoke(folder, address, "--format", "json")
    assert done.exit_code == 0
    found = Drift.model_validate_json(done.stdout)
    assert found.verdict == "no drift in 3 quantities"
    assert found.served_images == pytest.approx(360 * 1.02)
    assert (found.served_hours, found.reference_images, found.reference_groups) == (60, 600, 300)
    assert [quantity.name for quantity in found.quantities] == ["flagged", "score", "feature_1"]
    assert all(q.low <= q.psi for q in found.quantities)


def test_quantities_that_are_not_counted_are_named(folder: Path) -> None:
    with prometheus(folder, only=("flagged",)) as address:
        done = _invoke(folder, address)
    assert done.exit_code == 0
    assert "no drift in 1 quantity; counted in too few hours: score, feature_1" in done.stdout
    assert "too few hours: score, feature_1" in Path(f"{folder}.html").read_text()


def test_drift_is_an_exit_status_a_line_and_a_report(folder: Path) -> None:
    with prometheus(folder, shift=0.8) as address:
        done = _invoke(folder, address)
    assert done.exit_code == 1
    assert "version 7: drift in feature_1\n" in done.stdout
    report = Path(f"{folder}.html").read_text()
    for title in TITLES.values():
        assert title in report
    assert report.count('<svg role="img"') == 2
    assert len(report) < 2_000_000
    assert ">drift<" in report.replace("\n", "").replace(" ", "")


def test_the_rule_decides(folder: Path) -> None:
    with prometheus(folder, shift=0.8) as address:
        done = _invoke(folder, address, "--psi-limit", "5")
    assert done.exit_code == 0
    assert "no drift in 3 quantities" in done.stdout


def test_too_few_hours_say_nothing(folder: Path) -> None:
    with prometheus(folder, shift=3.0, hours=23) as address:
        done = _invoke(folder, address)
    assert done.exit_code == 0
    assert "undecided: images were served in 23 of 168 hours, and 24 are needed" in done.stdout
    assert "undecided" in Path(f"{folder}.html").read_text()


def test_a_version_that_is_older_than_the_counts(make_folder: Callable[..., Path]) -> None:
    from components.drift.logic import drift_of

    with pytest.raises(UserError, match=r"version 7 has no drift\.json.*register a model again"):
        drift_of(str(make_folder()), DriftRule())


def test_a_version_that_is_not_served(folder: Path) -> None:
    with (
        prometheus(folder, hours=0) as address,
        pytest.raises(
            UserError, match=r"no count of this version in the last 168 hours; it has no"
        ),
    ):
        _invoke(folder, address)


def test_the_pipeline_ends_by_telling_of_drift(folder: Path, tmp_path: Path) -> None:
    from components.shared.registry import Registry
    from pipelines.catalogue import Pipeline
    from pipelines.local import run_local

    def describe(version: int) -> None:
        (folder / "metadata.json").write_text(metadata(version).model_dump_json())

    registry, runs = str(tmp_path / "registry"), tmp_path / "runs"
    Registry.open(registry).publish(folder, describe)
    given = {"registry": registry, "served_model": "latest", "source": ["sample://"]}
    with (
        prometheus(folder, shift=0.8) as address,
        pytest.raises(UserError, match=r"^alert: version 1: drift in"),
    ):
        run_local(Pipeline.drift, given | {"prometheus": address}, runs, Console())
    log = next(runs.glob("run-*.log")).read_text()
    assert "alert: version 1: drift in feature_1; look at the run's drift report" in log
    (result,) = runs.glob("*/drift/drift_result")
    assert Drift.open(result).drifted == ("feature_1",)
    (report,) = runs.glob("*/drift/drift_report*")
    assert report.read_text().startswith("<!doctype html>")


@needs_browser
def test_the_report_is_good_to_look_at(folder: Path, browser: Any) -> None:
    with prometheus(folder, shift=0.8) as address:
        _invoke(folder, address)
    assert report_faults(browser, Path(f"{folder}.html")) == []
