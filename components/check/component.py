"""KFP interface of the check step, whose inputs are the parameters of the pipeline at hand."""

import linecache
from typing import Any, NamedTuple

from kfp.dsl import Artifact, Output, PipelineTask

from components.shared.run.kfp_component import component
from components.shared.run.parameters import Group

_SOURCE = '''\
def check(parameters: Output[Artifact], {inputs}) -> NamedTuple(
    "Outputs",
    [("ingest_workers", list[int]), ("train_workers", list[int]), ("gpu_count", str)],
):
    """Checks every parameter of the run before anything takes time.

    Args:
        parameters: All that were checked, as JSON.

    Returns:
        The numbers of the workers that ingest, and of those that train networks; and the GPUs
        of a pod, empty for none: KFP makes a request of 0, which a queue without GPUs refuses.
    """
    given = dict(locals())
    del given["parameters"]
    from components.shared.run.step import step

    with step("check", parameters):
        import json

        from components.check.logic import check_parameters, train_workers
        from components.shared.storage.files import write_atomically

        check_parameters(given)
        write_atomically(parameters.path, json.dumps(given, indent=1))
        gpus = gpu_count if int(gpu_count) else ""
        return list(range(1, ingest_workers + 1)), train_workers(given), gpus
'''


def check(run: Group) -> PipelineTask:
    """Makes a pipeline's first task: it checks all parameters of the run.

    KFP copies the source of a lightweight component into the pipeline. This one's is made from the
    run's model, so that the parameters need not be listed again.

    Args:
        run: The run; in place of its values stand KFP's channels.

    Returns:
        The task; the ones that take time come after it. Its outputs are the numbers, from 1,
        of the workers that ingest, and of those that train networks; and the GPUs of a pod that
        trains, empty for none.
    """
    inputs = ", ".join(f"{p.name}: {p.type.__name__}" for p in run.parameters())
    source = _SOURCE.format(inputs=inputs)
    file = f"<check {inputs}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    made: dict[str, Any] = {"Artifact": Artifact, "NamedTuple": NamedTuple, "Output": Output}
    exec(compile(source, file, "exec"), made)
    return component(made["check"])(**dict(run))
