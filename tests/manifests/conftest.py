"""The manifests, as kubectl builds them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.kustomize import FOLDERS, MANIFESTS, SERVED, Objects, objects


@pytest.fixture(params=FOLDERS)
def every(request: pytest.FixtureRequest) -> Objects:
    """The objects of every kustomization, one after another."""
    return objects(MANIFESTS / request.param)


@pytest.fixture(params=SERVED)
def served(request: pytest.FixtureRequest) -> Objects:
    """The objects of every kustomization that serves."""
    return objects(MANIFESTS / request.param)


@pytest.fixture
def overlay() -> Callable[[str], Objects]:
    """Returns a function that builds one overlay."""
    return lambda name: objects(MANIFESTS / "overlays" / name)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Objects]:
    """Returns a function that builds a user's own kustomization over overlays of ours."""

    def build_over(*names: str, **fields: Any) -> Objects:
        # Kustomize takes neither absolute paths nor files outside, but folders that are.
        here = Path("../" * len(tmp_path.resolve().parts[1:]))
        overlays = MANIFESTS.relative_to("/") / "overlays"
        resources = [str(here / overlays / name) for name in names]
        content = {"resources": resources, **fields}
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return objects(tmp_path)

    return build_over
