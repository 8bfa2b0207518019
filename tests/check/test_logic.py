"""What a run's parameters may be."""

from typing import Any

import pytest

from components.check.logic import check_parameters
from components.shared.errors import UserError
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster


def _values(pipeline: Pipeline = Pipeline.training, **changed: Any) -> dict[str, Any]:
    defaults = pipeline.run.parameters(Cluster(volume_claim="work").defaults)
    return {parameter.name: parameter.default for parameter in defaults} | changed


@pytest.mark.parametrize("pipeline", Pipeline)
def test_the_defaults_pass(pipeline: Pipeline) -> None:
    check_parameters(_values(pipeline))


def test_numbers_may_be_written_as_kfp_writes_them() -> None:
    check_parameters(_values(epochs=16.0, min_accuracy=1, max_bad_share=0))


def test_every_fault_is_told_in_one_line() -> None:
    wrong = {"epochs": 2.5, "max_bad_share": 2, "tuner": "gird", "seed": -1, "gpu_count": "many"}
    with pytest.raises(UserError) as error:
        check_parameters(_values(**wrong, inference_service="a", registry=""))
    line = str(error.value)
    assert "\n" not in line
    for name, value in wrong.items():
        assert f"{name}: {value!r} is not allowed; it should " in line
    assert "inference_service: KServe reads models from a registry; set registry too" in line


def test_a_bound_on_other_sources_needs_some() -> None:
    asked = {"min_external_auroc": 0.8}
    with pytest.raises(UserError, match=r"^min_external_auroc: .* set validate_sources too$"):
        check_parameters(_values(**asked))
    check_parameters(_values(**asked, validate_sources="other.zip#labels=labels.csv"))
    check_parameters(_values(validate_sources='["a.zip", "b.zip#version=2"]'))
    with pytest.raises(UserError, match=r"^validate_sources: .*is given twice"):
        check_parameters(_values(validate_sources='["a.zip", "a.zip"]'))


def test_leaving_a_source_out_needs_several() -> None:
    values = _values(Pipeline.cross_validation, folds_by="source")
    check_parameters(values | {"source": '["a.zip", "b.zip"]'})
    with pytest.raises(
        UserError, match=r"^folds_by source: there is only one source; give several"
    ):
        check_parameters(values)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("registry", "s4://models", "begin with s3://, gs://, file://"),
        ("registry", "https://models.example", "a folder or begin with"),
        ("kubeflow_model_registry", "registry.example:8080", "like 'http://"),
        ("gpu_tolerations", [{"key": "a"}, "b"], "a mapping"),
        ("gpu_node_selector", {"zone": 3}, "a text"),
    ],
)
def test_what_would_fail_only_in_a_later_step(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(UserError, match=f"^{name}: .* is not allowed; it should .*{allowed}"):
        check_parameters(_values(**{name: value}))


@pytest.mark.parametrize("address", ["", "/mnt/models", "runs/registry", "S3://b/x", "gs://b"])
def test_registries_that_are_allowed(address: str) -> None:
    check_parameters(_values(registry=address))


def test_names_of_classes_are_checked_before_anything_runs() -> None:
    check_parameters(_values(class_folders="yes=Brain Tumor,no=Healthy,pred=none"))
    with pytest.raises(
        UserError, match=r"^class_folders: 'yes' cannot be read; .* yes=Brain Tumor"
    ):
        check_parameters(_values(class_folders="yes"))
