"""Run configurations, checked against a pipeline's own signature before anything runs."""

import difflib
import inspect
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from docstring_parser import parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from components.deploy.plan import storage_uri
from components.errors import UserError
from components.hyperparameters import Architecture
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster

Checked = TypeVar("Checked", bound=BaseModel)
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Bound = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]
_PLAIN = Cluster()
_ARCHITECTURES = "|".join(get_args(Architecture))
_SOME_ARCHITECTURES = rf"^({_ARCHITECTURES})( *, *({_ARCHITECTURES}))*$"

# What the signatures' types leave open. Names, types, defaults and descriptions stand there.
ALLOWED: dict[str, Any] = {
    "source": Annotated[str, Field(min_length=1)],
    "max_bad_share": Bound,
    "split_strategy": Literal["grouped", "by-name"],
    "held_out_share": Share,
    "validation_share": Share,
    "folds": Annotated[int, Field(ge=2, le=100)],
    "architectures": Annotated[str, Field(pattern=_SOME_ARCHITECTURES)],
    "architecture": Architecture,
    "learning_rate": Annotated[float, Field(gt=0, allow_inf_nan=False)],
    "dropout": Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)],
    "dense": Annotated[int, Field(ge=2, le=100_000)],
    "tuner": Literal["random", "bayesian", "hyperband", "grid"],
    "max_trials": Count,
    "tune_epochs": Count,
    "executions_per_trial": Count,
    "epochs": Count,
    "ensemble": Annotated[int, Field(ge=1, le=20)],
    "patience": Annotated[int, Field(ge=0)],
    "bootstrap_samples": Annotated[int, Field(ge=100, le=100_000)],
    "target_sensitivity": Bound,
    "min_accuracy": Bound,
    "min_sensitivity": Bound,
    "min_specificity": Bound,
    "champion_margin": Bound,
    "inference_service": Annotated[str, Field(pattern=r"^([a-z]([-a-z0-9]{0,38}[a-z0-9])?)?$")],
    "serving_namespace": Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$")],
    "served_from": Annotated[str, Field(pattern=r"^((pvc|s3|gs)://.+)?$")],
    "canary_percent": Annotated[int, Field(ge=0, le=99)],
    "canary_soak_seconds": Annotated[int, Field(ge=1, le=86_400)],
    "canary_max_error_rate": Bound,
    "canary_max_latency_seconds": Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)],
    "seed": Annotated[int, Field(ge=0, lt=2**31)],
    "gpu_count": Annotated[str, Field(pattern=r"^\d{1,2}$")],
    "gpu_type": Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")],
    "gpu_node_selector": dict[str, str],
    "gpu_tolerations": list[dict[str, Any]],
}


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


def checked(model: type[Checked], given: dict[str, Any]) -> Checked:
    """Makes a settings object, or says in one line what is wrong.

    Args:
        model: Its type.
        given: Values by name.

    Raises:
        UserError: A name that is misspelt or a value that is not allowed, with what is.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UserError("; ".join(_line(dict(e), model) for e in error.errors())) from error


def check_deploy(given: dict[str, Any], cluster: Cluster) -> None:
    """Checks that KServe can read what a run registers, if the run is to deploy it.

    Args:
        given: Checked run parameters; only the training pipeline has those that ask for it.
        cluster: What is compiled in.

    Raises:
        UserError: It cannot; better said now than after the training.
    """
    values = {p.name: p.default for p in parameters(Pipeline.training, cluster)} | given
    if values["inference_service"] and not values["registry"]:
        raise UserError("inference_service: KServe reads models from a registry; set registry too")
    if values["inference_service"]:
        storage_uri(values["registry"], values["served_from"])


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


def _line(error: dict[str, Any], model: type[BaseModel]) -> str:
    """Returns a pydantic error as a line that names the parameter and what it allows."""
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        hint = (
            f"did you mean '{near[0]}'?" if near else f"there are {', '.join(model.model_fields)}"
        )
        return f"{name!r} is no parameter; {hint}"
    what = re.sub(r"^(Input|String) should ", "it should ", error["msg"])
    return f"{name}: {error['input']!r} is not allowed; {what}"
