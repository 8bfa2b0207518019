"""Run configurations, checked before anything runs."""

from pathlib import Path
from typing import Any

import yaml

from components.check.logic import (
    check_external_bounds,
    check_served_from,
    check_shared_state,
    checked,
)
from components.shared.errors import UserError, one_line
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster

_MAX_CONFIG = 1_000_000  # characters


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
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot read the configuration: {one_line(reason)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a mapping of parameters to values, such as 'epochs: 20'")
    return content
