"""What the steps of a local run cost, as they wrote it into the metadata of what they made."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kfp import dsl
from kfp.local import executor_output_utils
from kfp.local.cache import LocalCache


@dataclass(frozen=True)
class StepCost:
    """What a step cost when it ran.

    Attributes:
        step: Its name, such as `cross-validate-2`.
        seconds: Wall time.
        peak_memory_bytes: Peak resident memory.
        cached: Whether it ran in an earlier run, and this one took its result.
        outputs: What it made, by the names of its outputs: values, and artifacts with a `path`.
    """

    step: str
    seconds: float
    peak_memory_bytes: int
    cached: bool = False
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@contextmanager
def step_costs() -> Iterator[list[StepCost]]:
    """Yields a list that gets the cost of each step that kfp.local runs or takes from its cache.

    kfp.local hands no outputs on but the pipeline's own. So this looks on where it reads a step's,
    from the file that the step wrote or from the cache.
    """
    costs: list[StepCost] = []
    of_kfp = executor_output_utils.get_outputs_for_task, LocalCache.get

    def get_outputs_for_task(*args: Any, **kwargs: Any) -> dict[str, Any]:
        outputs: dict[str, Any] = of_kfp[0](*args, **kwargs)
        costs.append(_cost(outputs, cached=False))
        return outputs

    def get(self: LocalCache, key: str) -> dict[str, Any] | None:
        outputs: dict[str, Any] | None = of_kfp[1](self, key)
        if outputs is not None:
            costs.append(_cost(outputs, cached=True))
        return outputs

    executor_output_utils.get_outputs_for_task, LocalCache.get = get_outputs_for_task, get
    try:
        yield costs
    finally:
        executor_output_utils.get_outputs_for_task, LocalCache.get = of_kfp


def _cost(outputs: Mapping[str, Any], cached: bool) -> StepCost:
    """Returns what the step wrote into the metadata of one of its outputs."""
    metadata = next(
        output.metadata
        for output in outputs.values()
        if isinstance(output, dsl.Artifact) and "peak_memory_bytes" in output.metadata
    )
    memory = int(metadata["peak_memory_bytes"])  # KFP makes every number a float
    return StepCost(metadata["step"], metadata["seconds"], memory, cached, outputs)
