"""A step that is cached here is known by the code that it imports."""

from pathlib import Path
from typing import Any

import pytest
from kfp.local.cache import LocalCache

from pipelines import compile as compiling
from pipelines import step_cache
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from tests.pipelines.specification import containers_of


@pytest.fixture(scope="module")
def text() -> str:
    return compiling.compiled(Pipeline.training, Cluster())


def test_only_a_step_whose_code_changed_has_another_key(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    containers = containers_of(text)

    def keys(changed: str) -> dict[str, str]:
        def digest(*modules: str) -> str:
            return str(any(module.startswith(changed) for module in modules))

        monkeypatch.setattr(step_cache, "code_digest", digest)
        cache: Any = LocalCache(str(tmp_path))
        with step_cache.cached_by_code():
            return {
                name: cache.compute_key(
                    component_name=name,
                    image=container["image"],
                    full_command=[*container["command"], *container["args"]],
                    arguments={},
                )
                for name, container in containers.items()
            }

    before = keys("nothing")
    assert keys("nothing") == before
    for changed, steps in (
        ("components.tune.tuner", {"tune"}),
        ("components.tune.", {"plan-search", "propose", "train-trial", "tune"}),
    ):
        after = keys(changed)
        assert {name for name in before if after[name] != before[name]} == steps


def test_kfp_is_left_as_it_was() -> None:
    of_kfp = LocalCache.compute_key
    with pytest.raises(KeyError), step_cache.cached_by_code():
        raise KeyError
    assert LocalCache.compute_key is of_kfp
