"""The KFP interface of the ingest step, alone and before split through the local runner."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kfp import dsl, local

from components.dataset import ImageDataset, Split
from components.ingest.component import ingest
from components.split.component import split


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    return {
        "source": "sample://?images=40&seed=2",
        "source_version": "",
        "max_bad_share": 0.1,
        "seed": 0,
        "state_root": str(tmp_path / "state"),
        "dataset": dsl.Dataset(uri=str(tmp_path / "out" / "dataset"), metadata={}),
        "data_report": dsl.HTML(uri=str(tmp_path / "out" / "report.html")),
        "data_metrics": dsl.Metrics(uri=str(tmp_path / "out" / "metrics"), metadata={}),
    }


def test_what_it_writes(arguments: dict[str, Any]) -> None:
    images, digest = ingest.python_func(**arguments)
    dataset = ImageDataset(arguments["dataset"].path)
    assert (images, digest) == (40, dataset.digest)
    assert arguments["dataset"].metadata == {
        "source": "sample://?images=40&seed=2",
        "source_version": "1",
        "digest": digest,
    }
    metrics = arguments["data_metrics"].metadata
    assert metrics["images"] == 40
    assert metrics["images_brain_tumor"] + metrics["images_healthy"] == 40
    assert metrics["quarantined_files"] == 3
    assert metrics["mixed_groups"] == 0
    assert 0 <= metrics["metadata_accuracy_grouped_folds"] <= 1
    json.dumps(metrics, allow_nan=False)
    assert "<h1>Data report</h1>" in Path(arguments["data_report"].path).read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "nowhere"}, "no such file or folder"),
        ({"source": "ftp://host/data"}, "cannot read ftp://"),
        ({"max_bad_share": 0.01}, "3 of 43 files (7.0%) are unusable"),
        ({"source": "kaggle://nothing"}, "give kaggle://owner/dataset"),
    ],
)
def test_bad_input_is_one_line(
    arguments: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        ingest.python_func(**{**arguments, **change})
    assert str(caught.value).startswith("ingest: source ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Outputs(NamedTuple):
    """What the two steps give."""

    dataset: dsl.Dataset
    parts: dsl.Dataset
    images: int
    held_out: int


@pytest.mark.filterwarnings("ignore")
def test_ingest_and_split_through_the_local_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))

    @dsl.pipeline(name="ingest-and-split")
    def pipeline(state: str) -> Outputs:
        ingested = ingest(
            source="sample://?images=40&seed=2",
            source_version="",
            max_bad_share=0.1,
            seed=0,
            state_root=state,
        )
        made = split(
            dataset=ingested.outputs["dataset"],
            strategy="grouped",
            held_out_share=0.2,
            validation_share=0.25,
            seed=0,
        )
        return Outputs(
            dataset=ingested.outputs["dataset"],
            parts=made.outputs["parts"],
            images=ingested.outputs["images"],
            held_out=made.outputs["held_out"],
        )

    outputs = pipeline(state=str(tmp_path / "state")).outputs
    dataset = ImageDataset(outputs["dataset"].path)
    parts = Split.open(outputs["parts"].path, dataset)
    assert outputs["images"] == len(dataset) == 40
    assert outputs["held_out"] == len(parts.held_out)
    assert abs(len(parts.held_out) - 8) <= 1
