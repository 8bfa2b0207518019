"""The KFP interface of the ingest steps, alone and before split through the local runner."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kfp import dsl, local

from components.ingest.component import assemble, ingest
from components.shared.data.dataset import ImageDataset, Split
from components.split.component import split

SOURCE = "sample://?images=40&seed=2"
Step = Callable[..., Any]


@pytest.fixture
def ingested(tmp_path: Path) -> Step:
    """Runs the first step as its pod does; returns the artifact."""

    def run(**change: Any) -> dsl.Dataset:
        data = {"source": SOURCE, "source_version": "", "labels": "", "class_folders": ""}
        values = {"worker": 1, "workers": 1, "slices": 16} | data | change
        part = dsl.Dataset(uri=str(tmp_path / f"part-{values['worker']}"), metadata={})
        ingest.python_func(decoded=part, state_root=str(tmp_path / "state"), **values)
        return part

    return run


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Any]:
    """What the second step is told."""
    return {
        "max_bad_share": 0.1,
        "seed": 0,
        "dataset": dsl.Dataset(uri=str(tmp_path / "out" / "dataset"), metadata={}),
        "data_report": dsl.HTML(uri=str(tmp_path / "out" / "report.html")),
        "data_metrics": dsl.Metrics(uri=str(tmp_path / "out" / "metrics"), metadata={}),
    }


def test_what_they_write(tmp_path: Path, ingested: Step, written: dict[str, Any]) -> None:
    images, digest = assemble.python_func(decoded=[ingested()], **written)
    dataset = ImageDataset(written["dataset"].path)
    assert (images, digest) == (40, dataset.digest)
    metadata = written["dataset"].metadata
    of_data = {"source": SOURCE, "source_version": "2", "digest": digest}
    assert metadata.items() >= of_data.items()
    assert metadata.keys() - of_data == {"step", "seconds", "peak_memory_bytes"}
    metrics = written["data_metrics"].metadata
    assert metrics["images"] == 40
    assert metrics["images_brain_tumor"] + metrics["images_healthy"] == 40
    assert metrics["quarantined_files"] == 3
    assert metrics["mixed_groups"] == 0
    assert 0 <= metrics["metadata_accuracy_grouped_folds"] <= 1
    json.dumps(metrics, allow_nan=False)
    assert "<h1>Data report</h1>" in Path(written["data_report"].path).read_text()
    assert list((tmp_path / "state" / "ingest").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "nowhere"}, "no such file or folder"),
        ({"source": "ftp://host/data"}, "cannot read ftp://"),
        ({"source": "kaggle://nothing", "worker": 2, "workers": 3}, "give kaggle://owner/dataset"),
    ],
)
def test_a_bad_source_is_one_line(ingested: Step, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        ingested(**change)
    name = "ingest-2-of-3" if "workers" in change else "ingest"
    assert str(caught.value).startswith(f"{name}: source ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_workers_know_the_labels(
    tmp_path: Path,
    ingested: Step,
    written: dict[str, Any],
    image_files: dict[str, bytes],
    as_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.ingest.decode.FILES_IN_A_CHUNK", 8)
    files = {f"{n % 2}/{n:02}.png": content for n, content in enumerate(image_files.values())}
    source = as_folder(tmp_path / "scans", files)
    rows = (f"{n % 2}/{n:02}.png,PLANTED {n // 4},Ulm\n" for n in range(22))
    (source / "labels.csv").write_text(f"path,patient,site\n{''.join(rows)}")
    told = {
        "source": str(source),
        "labels": "labels.csv",
        "class_folders": "0=Healthy,1=Brain Tumor",
    }
    parts = [ingested(**told, worker=worker, workers=2) for worker in (1, 2)]
    assemble.python_func(decoded=parts, **written)
    dataset = ImageDataset(written["dataset"].path)
    known = {r.path: (r.label, r.patient, r.site) for r in dataset.manifest.images}
    assert known["1/23.png"] == (0, None, None)
    assert {known[f"{n % 2}/{n:02}.png"][1] for n in (4, 5, 6, 7)} == {known["0/04.png"][1]}
    assert {site for _, _, site in known.values()} == {"Ulm", None}
    assert len({patient for _, patient, _ in known.values()}) == 7
    assert len(set(dataset.groups.tolist())) == 8  # six patients, and two images of none
    files = [path for part in parts for path in Path(part.path).iterdir()]
    assert not any(b"PLANTED" in path.read_bytes() for path in files)


def test_too_many_bad_files_are_one_line(ingested: Step, written: dict[str, Any]) -> None:
    with pytest.raises(SystemExit) as caught:
        assemble.python_func(decoded=[ingested()], **written | {"max_bad_share": 0.01})
    assert "assemble: source sample://" in str(caught.value)
    assert "3 of 43 files (7.0%) are unusable" in str(caught.value)
    assert "\n" not in str(caught.value)


class Outputs(NamedTuple):
    """What the steps give."""

    dataset: dsl.Dataset
    split: dsl.Dataset
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
        with dsl.ParallelFor([1, 2]) as worker:
            ingested = ingest(
                source=SOURCE,
                source_version="",
                labels="",
                class_folders="",
                slices=16,
                state_root=state,
                worker=worker,
                workers=2,
            )
        assembled = assemble(
            decoded=dsl.Collected(ingested.outputs["decoded"]), max_bad_share=0.1, seed=0
        )
        made = split(
            dataset=assembled.outputs["dataset"],
            strategy="grouped",
            contradicted="leave-out",
            held_out_share=0.2,
            validation_share=0.25,
            seed=0,
        )
        return Outputs(
            dataset=assembled.outputs["dataset"],
            split=made.outputs["split"],
            images=assembled.outputs["images"],
            held_out=made.outputs["held_out"],
        )

    outputs = pipeline(state=str(tmp_path / "state")).outputs
    dataset = ImageDataset(outputs["dataset"].path)
    parts = Split.open(outputs["split"].path, dataset)
    assert outputs["images"] == len(dataset) == 40
    assert outputs["held_out"] == len(parts.held_out)
    assert abs(len(parts.held_out) - 8) <= 1
