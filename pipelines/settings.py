"""Run configurations, checked against a pipeline's own signature before anything runs."""

import inspect
from pathlib import Path
from typing import Any

import yaml
from docstring_parser import parse
from pydantic import BaseModel, ConfigDict, Field, create_model

from components.check.parameters import ALLOWED, check_served_from, checked
from components.errors import UserError
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster

_PLAIN = Cluster()


class Parameter(BaseModel):
    """A parameter of a pipeline, as its signature and docstring have it."""

    name: str
    type: type
    default: Any
    description: str


def parameters(pipeline: Pipeline, cluster: Cluster = _PLAIN) -> list[Parameter]:
    """Returns a pipeline's parameters for a cluster, in the order of its signature."""
    function = pipeline.define(cluster).pipeline_func
    described = {p.arg_name: p.description or "" for p in parse(function.__doc__ or "").params}
    return [
        Parameter(name=p.name, type=p.annotation, default=p.default, description=described[p.name])
        for p in inspect.signature(function).parameters.values()
    ]


def run_model(pipeline: Pipeline) -> type[BaseModel]:
    """Returns the pydantic model of a run configuration, made from a pipeline's signature."""
    fields: Any = {
        p.name: (ALLOWED.get(p.name, p.type), Field(p.default, description=p.description))
        for p in parameters(pipeline)
    }
    return create_model("Run", __config__=ConfigDict(extra="forbid"), **fields)


def check_run(pipeline: Pipeline, given: dict[str, Any]) -> dict[str, Any]:
    """Checks run parameters.

    Args:
        pipeline: What is to run.
        given: Values by parameter name; what is left out keeps the pipeline's default.

    Returns:
        The given values, converted to the parameters' types.

    Raises:
        UserError: A name that is misspelt or a value that is not allowed, with what is.
    """
    return checked(run_model(pipeline), given).model_dump(include=set(given))


def check_deploy(given: dict[str, Any], cluster: Cluster) -> None:
    """Checks that KServe can read what a run registers, if the run is to deploy it.

    Args:
        given: Checked run parameters; only the training pipeline has those that ask for it.
        cluster: What is compiled in.

    Raises:
        UserError: It cannot; better said now than after the training.
    """
    defaults = {p.name: p.default for p in parameters(Pipeline.training, cluster)}
    check_served_from(defaults | given)


def read_config(path: Path) -> dict[str, Any]:
    """Reads run parameters from a YAML file.

    Args:
        path: A mapping of parameter names to values.

    Returns:
        The mapping, unchecked.

    Raises:
        UserError: The file cannot be read or is no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"{path}: cannot read the configuration: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no mapping of parameters to values, such as 'epochs: 20'")
    return content
