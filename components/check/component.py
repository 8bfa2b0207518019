"""KFP interface of the check step, whose inputs are the parameters of the pipeline at hand."""

import linecache
from collections.abc import Mapping
from typing import Any

from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_channel import PipelineParameterChannel

from components.base import component

_SOURCE = '''\
def check({inputs}):
    """Checks every parameter of the run before anything takes time."""
    given = dict(locals())
    from components.step import step

    with step("check"):
        from components.check.parameters import check_parameters

        check_parameters(given)
'''
_TYPES = {
    "String": "str",
    "Integer": "int",
    "Float": "float",
    "Boolean": "bool",
    "Dict": "dict",
    "List": "list",
}


def check(names: Mapping[str, object]) -> PipelineTask:
    """Makes a pipeline's first task: it checks all parameters of the run.

    KFP copies the source of a lightweight component into the pipeline. This one's is made from the
    pipeline's own parameters, so that they need not be listed again.

    Args:
        names: `locals()` of the pipeline where it begins. What is no parameter is left out.

    Returns:
        The task; the ones that take time come after it.
    """
    given = {n: value for n, value in names.items() if isinstance(value, PipelineParameterChannel)}
    inputs = ", ".join(f"{name}: {_TYPES[channel.channel_type]}" for name, channel in given.items())
    source = _SOURCE.format(inputs=inputs)
    file = f"<check {inputs}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    made: dict[str, Any] = {}
    exec(compile(source, file, "exec"), made)
    return component(made["check"])(**given)
