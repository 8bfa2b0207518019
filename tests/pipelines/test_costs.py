"""The costs of a local run's steps, by kfp.local itself and two small steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl, local
from kfp.dsl import Artifact, Metrics, Output
from kfp.local import executor_output_utils
from kfp.local.cache import LocalCache

from components.shared.run.kfp_component import component
from pipelines.costs import StepCost, step_costs


@component
def numbers(product: Output[Artifact], others: Output[Metrics]) -> list[int]:
    """Stands in for a step that several of the next wait for."""
    from pathlib import Path

    for artifact in (product, others):
        Path(artifact.path).write_text("{}")
    others.metadata["seconds"] = 99
    product.metadata.update(step="numbers", seconds=1.25, peak_memory_bytes=123_456_789_012)
    return [1, 2]


@component
def fold(number: int, result: Output[Artifact]) -> None:
    """Stands in for a step of a loop."""
    from pathlib import Path

    Path(result.path).write_text("")
    result.metadata.update(step=f"fold-{number}", seconds=number / 4, peak_memory_bytes=1)


@dsl.pipeline
def both() -> None:
    """A step, and a loop over what it gives back."""
    numbers_task = numbers()
    with dsl.ParallelFor(numbers_task.outputs["Output"], parallelism=1) as number:
        fold(number=number).set_caching_options(False)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[None]:
    kept: Any = local.config.LocalExecutionConfig.instance
    local.init(
        local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path), enable_caching=True
    )
    yield
    local.config.LocalExecutionConfig.instance = kept


@pytest.mark.usefixtures("runner")
def test_each_step_is_counted_with_what_it_wrote() -> None:
    folds = [StepCost("fold-1", 0.25, 1), StepCost("fold-2", 0.5, 1)]
    with step_costs() as first:
        both()
    assert first == [StepCost("numbers", 1.25, 123_456_789_012), *folds]
    with step_costs() as again:
        both()
    assert again == [StepCost("numbers", 1.25, 123_456_789_012, cached=True), *folds]


def test_kfp_is_left_as_it_was() -> None:
    of_kfp = executor_output_utils.get_outputs_for_task, LocalCache.get
    with pytest.raises(KeyError), step_costs():
        raise KeyError
    assert (executor_output_utils.get_outputs_for_task, LocalCache.get) == of_kfp
