"""The KFP interface of the register step."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.register.component import register
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.external import EXTERNAL
from components.shared.evaluation.results import Evaluation
from components.shared.model_folder.checksums import verify
from components.shared.model_folder.metadata import read_metadata
from tests.external import external_result

_ROOT = Path(__file__).parents[2]


def test_compiling_needs_no_heavy_package() -> None:
    code = (
        "import sys, components.register.component\n"
        "sys.exit(', '.join({'tensorflow', 'keras', 'numpy'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=True)


def test_every_parameter_is_described() -> None:
    spec = register.component_spec
    assert spec.description
    assert set(spec.inputs) >= {"dataset", "registry", "champion_margin", "run_id"}
    assert {"registered", "model_uri", "version", "registered_model", "registration"} == set(
        spec.outputs
    )


@pytest.fixture
def validations(tmp_path: Path) -> list[Path]:
    """What the validate step wrote of one other source, and where there was none."""
    folders = [tmp_path / "validation", tmp_path / "no-validation"]
    for folder in folders:
        folder.mkdir()
    (folders[0] / EXTERNAL).write_text(external_result(name="Ulm").model_dump_json())
    return folders


@pytest.fixture
def arguments(
    tmp_path: Path,
    validations: list[Path],
    dataset: ImageDataset,
    split_folder: Path,
    model_folder: Path,
    evaluation_folder: Path,
) -> dict[str, Any]:
    return {
        "dataset": dsl.Dataset(uri=str(dataset.folder)),
        "split": dsl.Dataset(uri=str(split_folder)),
        "model": dsl.Model(uri=str(model_folder)),
        "evaluation": dsl.Artifact(uri=str(evaluation_folder)),
        "validations": [dsl.Artifact(uri=str(other)) for other in validations],
        "registry": str(tmp_path / "registry"),
        "model_registry": "",
        "min_accuracy": 0.9,
        "min_sensitivity": 0.9,
        "min_specificity": 0.9,
        "min_external_sensitivity": 0.0,
        "min_external_specificity": 0.0,
        "min_external_auroc": 0.9,
        "champion_margin": 0.0,
        "precision": "float32",
        "git_revision": "",
        "run_id": "",
        "registered_model": dsl.Model(uri=str(tmp_path / "registered_model"), metadata={}),
        "registration": dsl.Markdown(uri=str(tmp_path / "out" / "summary.md")),
    }


def test_a_model_that_passes(arguments: dict[str, Any], capsys: pytest.CaptureFixture) -> None:
    registered, uri, version = register.python_func(**arguments)
    assert (registered, version) == (True, 1)
    copy = arguments["registered_model"]
    assert copy.metadata["registry_uri"] == uri
    assert copy.metadata["version"] == 1
    assert copy.framework == "tensorflow"
    verify(copy.path)
    metadata = read_metadata(copy.path)
    assert [found.name for found in metadata.external] == ["Ulm"]
    assert metadata.gate.min_external_auroc == 0.9
    card = (Path(copy.path) / "model_card.md").read_text()
    assert "On other sources, AUROC of at least 0.900." in card
    assert "Other source: Ulm, 40 images" in Path(arguments["registration"].path).read_text()
    assert "Registered as version 1" in Path(arguments["registration"].path).read_text()
    assert "registered as version 1" in capsys.readouterr().out


def test_a_model_that_fails_elsewhere_is_refused(
    arguments: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    arguments["min_external_auroc"] = 0.91
    assert tuple(register.python_func(**arguments)) == (False, "", 0)
    assert "AUROC on the images of Ulm is 0.900" in capsys.readouterr().out


def test_a_refused_model_ends_well(
    arguments: dict[str, Any],
    tmp_path: Path,
    evaluation: Evaluation,
    capsys: pytest.CaptureFixture,
) -> None:
    content = json.loads(evaluation.model_dump_json())
    content["held_out"]["model"]["specificity"] = {"value": 0.6, "low": 0.5, "high": 0.7}
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    arguments["evaluation"] = dsl.Artifact(uri=str(tmp_path))
    assert tuple(register.python_func(**arguments)) == (False, "", 0)
    output = capsys.readouterr().out
    assert "NOT registered" in output
    assert "specificity on the held-out images is 60.0%" in output
    assert "Not registered" in Path(arguments["registration"].path).read_text()
    assert not Path(arguments["registered_model"].path).exists()
    assert not (tmp_path / "registry").exists()


def test_a_bad_parameter_ends_in_one_line(arguments: dict[str, Any]) -> None:
    arguments["min_accuracy"] = 1.1
    with pytest.raises(SystemExit, match=r"^register: min_accuracy is 1\.1; give a number"):
        register.python_func(**arguments)
