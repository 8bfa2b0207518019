"""What a module's compiled `text` holds."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from kfp.dsl import pipeline_task

from tests.pipelines.specification import containers_of, kubernetes_of, specification, tasks_of


def _callers() -> list[tuple[str, ...]]:
    """Returns all that KFP reads of `inspect.stack()`: the name of its caller's caller."""
    return [(), ("", "", "", sys._getframe(2).f_code.co_name)]


# It asks 52 times a pipeline. In pytest's deep stack Python would look for the source of every
# caller among thousands of modules, which takes 3 s of CPU a pipeline.
pytest.MonkeyPatch().setattr(pipeline_task, "inspect", SimpleNamespace(stack=_callers))


@pytest.fixture(scope="module")
def spec(text: str) -> dict[str, Any]:
    return specification(text)


@pytest.fixture(scope="module")
def containers(text: str) -> dict[str, dict[str, Any]]:
    return containers_of(text)


@pytest.fixture(scope="module")
def tasks(text: str) -> dict[str, dict[str, Any]]:
    return tasks_of(text)


@pytest.fixture(scope="module")
def kubernetes(text: str) -> dict[str, dict[str, Any]]:
    return kubernetes_of(text)
