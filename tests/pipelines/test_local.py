import io
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl
from rich.console import Console

from components.shared.errors import UserError
from pipelines import local
from pipelines.catalogue import Pipeline
from pipelines.costs import StepCost
from pipelines.local import run_local


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "mine")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    before = dict(local.os.environ)
    with local._environment("last-words"):
        assert local.os.environ["PYTHONUNBUFFERED"] == "mine"
        assert local.os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    assert dict(local.os.environ) == before


def test_a_runs_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root, reason in (
        (tmp_path / "file" / "runs", "a file is where a folder is needed"),
        (tmp_path / "r\udcff", "is not plain text"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            run_local(Pipeline.training, {"source": "sample://"}, root, Console())
        assert "\n" not in str(caught.value)


def test_two_runs_of_one_second_have_a_log_each(tmp_path: Path) -> None:
    with local._new_log(tmp_path) as one, local._new_log(tmp_path) as other:
        assert one.name != other.name


def test_a_folder_is_the_same_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path)
    started: list[str] = []
    monkeypatch.setattr(local, "_run", lambda _, given, *__: started.append(given["source"]))
    for uri in ("a b", "file:{}/a%20b", "file://{}/a b", "FILE://localhost{}/a%20b"):
        run_local(Pipeline.training, {"source": uri.format(tmp_path)}, tmp_path / "runs", Console())
    assert started == [f"{tmp_path}/a b"] * 4
    with pytest.raises(UserError, match="source ~nobody-of-this-name/x: "):
        run_local(Pipeline.training, {"source": "~nobody-of-this-name/x"}, tmp_path, Console())


def test_a_run_is_another_when_its_labels_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "a.png").touch()
    monkeypatch.chdir(tmp_path)
    started: list[dict[str, Any]] = []
    monkeypatch.setattr(local, "_run", lambda _, parameters, *__: started.append(parameters))
    given = {"source": "scans", "labels": "labels.csv", "class_folders": "x=Brain Tumor"}
    for label in ("x", "Healthy"):
        Path("labels.csv").write_text(f"path,label\na.png,{label}\n")
        run_local(Pipeline.cross_validation, given, tmp_path / "runs", Console())
    first, second = started
    assert first["labels"].startswith(f"{tmp_path}/labels.csv#sha256=")
    assert first["labels"] != second["labels"]
    assert first["source_version"] != second["source_version"]
    Path("labels.csv").write_text("path,label\na.png,y\n")
    with pytest.raises(UserError, match=r"labels .*/labels.csv, row 2: the label 'y' is not known"):
        run_local(Pipeline.cross_validation, given, tmp_path / "runs", Console())


def test_a_refusal_says_which_figure_failed_where_to_read_more_and_what_to_change(
    tmp_path: Path,
) -> None:
    reason = "accuracy on the held-out images is 61.0% [b], below min_accuracy, 80.0%"
    gate = dsl.Markdown(uri="gate.md", metadata={"reasons": [reason]})
    costs = [StepCost("split", 1, 1), StepCost("register", 1, 1, outputs={"registration": gate})]
    console = Console(file=io.StringIO(), width=60)
    local._show_refusal(local._refused_for(costs), tmp_path / "a b" / "index.html", console)
    title, first, _, *places, ahead = console.file.getvalue().splitlines()[1:]
    assert title == "not registered: the model did not pass the gate"
    assert first == f"- {reason}"
    assert [place.rpartition("/")[2] for place in places] == ["gate.html", "index.html"]
    assert all("file:///" in place and "/a%20b/" in place for place in places)
    assert ahead.startswith("next    train longer (--epochs)")
