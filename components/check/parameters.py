"""What a run's parameters may be: the only place of their ranges.

Names, types, defaults and descriptions stand in the pipelines' signatures.
"""

import difflib
import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, create_model

from components.deploy.plan import storage_uri
from components.errors import UserError
from components.hyperparameters import Architecture

Checked = TypeVar("Checked", bound=BaseModel)
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Bound = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]


def _scheme(*known: str) -> AfterValidator:
    """Checks what an address begins with, where it is no path."""

    def check(address: str) -> str:
        scheme, found, _ = address.partition("://")
        if found and scheme.lower() not in known:
            raise ValueError(f"it should be a folder or begin with {'://, '.join(known)}://")
        return address

    return AfterValidator(check)


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
    "registry": Annotated[str, _scheme("s3", "gs", "file")],
    "kubeflow_model_registry": Annotated[str, Field(pattern=r"^(https?://.+)?$")],
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


def check_parameters(values: Mapping[str, Any]) -> None:
    """Checks all parameters of a run.

    Args:
        values: By name; KFP has checked their types, but for whole numbers.

    Raises:
        UserError: Names every value that is not allowed, in one line.
    """
    fields: Any = {name: (ALLOWED.get(name, Any), ...) for name in values}
    faults = []
    for check in (partial(checked, create_model("Run", **fields)), check_served_from):
        try:
            check(values)
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError("; ".join(faults))


def check_served_from(values: Mapping[str, Any]) -> None:
    """Checks that KServe can read what a run registers, if the run is to deploy it.

    Args:
        values: Of all parameters; only the training pipeline has those that ask for it.

    Raises:
        UserError: It cannot.
    """
    if not values.get("inference_service"):
        return
    if not values["registry"]:
        raise UserError("inference_service: KServe reads models from a registry; set registry too")
    storage_uri(values["registry"], values["served_from"])


def checked(model: type[Checked], given: Mapping[str, Any]) -> Checked:
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
    what = what.removeprefix("Value error, ")
    return f"{name}: {error['input']!r} is not allowed; {what}"
