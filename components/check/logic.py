"""Checks values against the models of a run's parameters, and says in one line what is wrong."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from typing_extensions import is_typeddict

from components.shared.data.sources import read_sources
from components.shared.errors import UserError, did_you_mean, fault_words
from components.shared.reports.text import printable
from components.shared.run.parameters import RUNS
from components.shared.run.rollout_plan import storage_uri

Checked = TypeVar("Checked", bound=BaseModel)


def check_parameters(values: Mapping[str, Any]) -> None:
    """Checks all parameters of a run.

    Args:
        values: By name; KFP has checked their types, but for whole numbers.

    Raises:
        UserError: Names every value that is not allowed, in one line.
    """
    run = next(run for run in RUNS if run.model_fields.keys() == values.keys())
    faults = []
    checks = (check_served_from, check_external_bounds, check_shared_state, check_sources_of_folds)
    for check in (partial(checked, run), *checks):
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


def check_external_bounds(values: Mapping[str, Any]) -> None:
    """Checks that there is another source where a bound is to be reached on some.

    Args:
        values: Of all parameters; only the training pipeline has such bounds.

    Raises:
        UserError: There is none.
    """
    asked = [name for name, value in values.items() if name.startswith("min_external_") and value]
    if asked and not values["validate_sources"]:
        raise UserError(f"{asked[0]}: is to be reached on other sources; set validate_sources too")


def check_shared_state(values: Mapping[str, Any]) -> None:
    """Checks that workers who share their results have a place for them.

    Args:
        values: Of all parameters; only the training pipeline has such workers.

    Raises:
        UserError: They have none.
    """
    several = [name for name in ("tune_workers", "train_workers") if values.get(name, 1) > 1]
    if several and not values["state_root"]:
        raise UserError(
            f"{several[0]}: the workers leave their results in state_root; set it to a folder "
            "that all pods share"
        )


def check_sources_of_folds(values: Mapping[str, Any]) -> None:
    """Checks that there are several sources where each is to be held out once.

    Args:
        values: Of all parameters; only the cross-validation has folds.

    Raises:
        UserError: There is only one.
    """
    if values.get("folds_by") == "source" and len(read_sources(values["source"])) < 2:
        raise UserError(
            "folds_by source: there is only one source; give several, or folds_by group"
        )


def train_workers(values: Mapping[str, Any]) -> list[int]:
    """Returns the numbers, from 1, of the workers that train the networks of an ensemble.

    Args:
        values: Of all parameters; only the training pipeline has such workers.

    Returns:
        No more than there are networks. None where there is one, which is the step that trains.
    """
    workers = min(values.get("train_workers", 1), values["ensemble"])
    return list(range(1, workers + 1)) if workers > 1 else []


def checked(
    model: type[Checked],
    given: Mapping[str, Any],
    said: Callable[[str, str], str] = lambda _, fault: fault,
) -> Checked:
    """Makes a settings object, or says in one line what is wrong.

    Args:
        model: Its type.
        given: Values by name.
        said: Puts a parameter's fault into the words of who gave the value.

    Raises:
        UserError: A name that is misspelt or a value that is not allowed, with what is.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = [(str(e["loc"][0]), _line(dict(e), model)) for e in error.errors()]
        raise UserError("; ".join(said(*fault) for fault in faults)) from error


def _line(error: dict[str, Any], model: type[BaseModel]) -> str:
    """Returns a pydantic error as a line that names the parameter and what it allows."""
    parameter, *inside = (str(part) for part in error["loc"])
    unknown = error["type"] in ("extra_forbidden", "invalid_key")
    if unknown and not inside:
        return f"{parameter!r} is not a parameter; {did_you_mean(parameter, model.model_fields)}"
    name = ": ".join(filter(None, (parameter, printable(".".join(inside)))))
    if unknown:
        *outer, word = error["loc"]
        known = _names_in(model, outer)
        return f"{name} is not known here" + (f"; {did_you_mean(word, known)}" if known else "")
    if error["type"] == "missing":
        return f"{name} is missing"
    said = f"{name}: {fault_words(error, [] if inside else _examples(model, parameter))}"
    if error["type"] == "literal_error":
        choices = re.findall("'([^']*)'", error["ctx"]["expected"])
        if (meant := did_you_mean(str(error["input"]), choices)).endswith("?"):
            said += f"; {meant}"
    return said


def _names_in(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Returns the names that a place inside a parameter has; none where it has no fixed ones."""
    kind: Any = model.model_fields[str(place[0])].annotation
    for step in place[1:]:
        inner = get_args(kind)[:1] if isinstance(step, int) else [_hints(kind).get(step)]
        kind = _plain(inner[0]) if inner else None
    return list(_hints(kind))


def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind) if is_typeddict(kind) else {}


def _plain(kind: Any) -> Any:
    """Returns a type without what pydantic checks beside it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _examples(model: type[BaseModel], name: str) -> list[str]:
    """Returns values that a parameter may have: its examples, or else its default."""
    field = model.model_fields.get(name)
    if field is None:
        return []
    return list(map(str, field.examples or filter(None, [field.default])))
