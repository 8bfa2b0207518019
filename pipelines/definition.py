"""How a pipeline is defined: a function that reads a run's parameters from their models."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from components.shared.run.parameters import Group, Parameter
from pipelines.cluster import Cluster

Run = TypeVar("Run", bound=Group)


def pipeline(
    name: str, display_name: str, run: type[Run], cluster: Cluster
) -> Callable[[Callable[[Run], Any]], GraphComponent]:
    """Makes a KFP pipeline of a function whose only argument is the run.

    KFP reads a function's signature, annotations and docstring. Here all three are made from the
    run's model, so that a parameter is written in `components/shared/run/parameters.py` alone.

    Args:
        name: In KFP.
        display_name: For people.
        run: Model of the run's parameters.
        cluster: What is compiled in; its volume changes some defaults.
    """
    parameters = run.parameters(cluster.defaults)

    def decorated(function: Callable[[Run], Any]) -> GraphComponent:
        def define(*channels: Any) -> Any:  # KFP's stand-ins for the values, in their order
            given = dict(zip((p.name for p in parameters), channels, strict=True))
            return function(cast(Run, run.model_construct(**given)))  # unchecked: no values yet

        returned = inspect.signature(function).return_annotation
        define.__name__ = function.__name__
        define.__doc__ = _documented(function, parameters)
        define.__annotations__ = {p.name: p.type for p in parameters} | {"return": returned}
        define.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    parameter.name,
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=parameter.default,
                    annotation=parameter.type,
                )
                for parameter in parameters
            ],
            return_annotation=returned,
        )
        return dsl.pipeline(define, name=name, display_name=display_name)

    return decorated


def _documented(function: Callable[..., Any], parameters: list[Parameter]) -> str:
    """Returns the function's docstring with a line for each parameter; KFP's UI shows them."""
    described = (f"    {parameter.name}: {parameter.description}" for parameter in parameters)
    return "\n".join([inspect.getdoc(function) or "", "", "Args:", *described])
