"""Run configurations, checked before anything runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from components.check.logic import (
    check_external_bounds,
    check_served_from,
    check_shared_state,
    check_sources_of_folds,
    checked,
)
from components.shared.errors import UserError, one_line
from components.shared.run.parameters import Group
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster

Settings = TypeVar("Settings", bound=Group)

_MAX_CONFIG = 1_000_000  # characters


class _Loader(yaml.SafeLoader):
    """PyYAML's, but a key that is given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Makes a dict.

        Raises:
            ConstructorError: A key is given twice.
        """
        known = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in known:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} is given twice", key.start_mark
                    )
                known.add(key.value)
        return super().construct_mapping(node, deep)


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
    return checked(pipeline.run, given).model_dump(include=set(given))


def check_given(
    model: type[Settings], options: Mapping[str, Any], config: Path | None = None
) -> Settings:
    """Makes a settings object of what a command was given.

    Args:
        model: Its type.
        options: Values of the command's options, by parameter name.
        config: YAML file of more values; an option wins over it.

    Raises:
        UserError: Names each value that is not allowed by its option, or by the file and its name.
    """
    of_file = {n: v for n, v in read_config(config).items() if n not in options} if config else {}

    def said(name: str, fault: str) -> str:
        if name not in options:
            return f"{config}: {fault}"
        option = f"--{name.replace('_', '-')}"
        known = name in model.model_fields
        return option + (fault.removeprefix(name) if known else " is not of this pipeline")

    values = of_file | dict(options)
    for parameter in model.parameters():
        name = parameter.name
        if parameter.type in (dict, list) and isinstance(values.get(name), str):
            try:
                values[name] = json.loads(values[name])
            except json.JSONDecodeError as error:
                fault = f"{name}: {values[name]!r} is not JSON: {error}"
                raise UserError(said(name, fault)) from error
    return checked(model, values, said)


def check_together(given: dict[str, Any], cluster: Cluster) -> None:
    """Checks parameters that depend on each other, as the check step does.

    Args:
        given: Checked run parameters; only the training pipeline has such.
        cluster: What is compiled in.

    Raises:
        UserError: One lacks another; better said now than after the training.
    """
    defaults = {p.name: p.default for p in Pipeline.training.run.parameters(cluster.defaults)}
    check_served_from(defaults | given)
    check_external_bounds(defaults | given)
    check_shared_state(defaults | given)
    check_sources_of_folds(defaults | given)


def read_config(path: Path) -> dict[str, Any]:
    """Reads run parameters from a YAML file.

    Args:
        path: A mapping of parameter names to values.

    Returns:
        The mapping, unchecked.

    Raises:
        UserError: The file cannot be read or is not a mapping.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_CONFIG + 1)
        if len(text) > _MAX_CONFIG:
            raise UserError(
                f"{path}: has more than {_MAX_CONFIG:,} characters; it is not a YAML file"
            )
        content = yaml.load(text, _Loader)  # a safe one too
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}, line {mark.line + 1}" if mark else path
        raise UserError(f"{where}: cannot read it as YAML: {one_line(error.problem)}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot read the configuration: {one_line(reason)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a mapping of parameters to values, such as 'epochs: 20'")
    return content
