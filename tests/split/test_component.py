"""The KFP interface of the split step."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.shared.data.dataset import ImageDataset, Split
from components.split.component import folds, split

ROOT = Path(__file__).parents[2]


def test_compiling_needs_no_heavy_package() -> None:
    code = (
        "import sys, components.split.component, components.ingest.component\n"
        "sys.exit(', '.join({'tensorflow', 'keras', 'numpy'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.fixture
def arguments(tmp_path: Path, dataset: ImageDataset) -> dict[str, Any]:
    return {
        "dataset": dsl.Dataset(uri=str(dataset.folder)),
        "split": dsl.Dataset(uri=str(tmp_path / "out" / "split"), metadata={}),
        "split_report": dsl.HTML(uri=str(tmp_path / "out" / "report.html")),
        "split_metrics": dsl.Metrics(uri=str(tmp_path / "out" / "metrics"), metadata={}),
        "strategy": "grouped",
        "held_out_share": 0.2,
        "validation_share": 0.25,
        "contradicted": "leave-out",
        "seed": 0,
    }


@pytest.fixture
def of_folds(arguments: dict[str, Any]) -> dict[str, Any]:
    del arguments["strategy"], arguments["held_out_share"]
    arguments["splits"] = arguments.pop("split")
    arguments["folds_by"] = "group"
    for name in ("report", "metrics"):
        arguments[f"folds_{name}"] = arguments.pop(f"split_{name}")
    return arguments


def test_what_it_writes(arguments: dict[str, Any], dataset: ImageDataset) -> None:
    assert split.python_func(**arguments) == (36, 12, 12)
    made = Split.open(arguments["split"].path, dataset)
    assert len(made.held_out) == 12
    assert "<h1>Split: grouped</h1>" in Path(arguments["split_report"].path).read_text()
    assert arguments["split"].metadata["strategy"] == "grouped"
    metrics = arguments["split_metrics"].metadata
    assert metrics["held_out_images"] == 12
    assert metrics["held_out_twins_in_training"] == 0
    assert all(isinstance(value, int | float) for value in metrics.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "by-luck"}, "give grouped or by-name"),
        ({"held_out_share": 0.0}, "give images of more patients, or other shares"),
        ({"dataset": dsl.Dataset(uri="nowhere")}, "cannot read the dataset"),
    ],
)
def test_bad_input_is_one_line(
    arguments: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        split.python_func(**{**arguments, **change})
    assert message in str(caught.value)
    assert str(caught.value).startswith("split: ")
    assert "\n" not in str(caught.value)


def test_the_folds_that_it_writes(
    of_folds: dict[str, Any], dataset: ImageDataset, tmp_path: Path
) -> None:
    assert folds.python_func(**of_folds, folds=3) == [1, 2, 3]
    made = [
        Split.open(Path(of_folds["splits"].path) / f"fold-{fold}", dataset) for fold in (1, 2, 3)
    ]
    assert sorted(i for split in made for i in split.held_out) == list(range(len(dataset)))
    html = Path(of_folds["folds_report"].path).read_text()
    assert "<h1>3 folds</h1>" in html
    assert "fold 3" in html
    metrics = of_folds["folds_metrics"].metadata
    assert sum(metrics[f"fold_{fold}_images"] for fold in (1, 2, 3)) == len(dataset)
    assert metrics["fold_1_twins_in_training"] == 0


def test_folds_that_cannot_be_made(of_folds: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match=r"^folds: folds is 1: give at least 2"):
        folds.python_func(**of_folds, folds=1)


def test_folds_by_source_need_several(of_folds: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match=r"^folds: folds_by source: there is only one source"):
        folds.python_func(**of_folds | {"folds_by": "source"}, folds=3)
