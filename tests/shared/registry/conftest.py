"""A local registry, and versions for it."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.registry import Registry
from tests.shared.registry.versions import publish


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty local registry."""
    return Registry.open(str(tmp_path / "registry"))


@pytest.fixture
def add(registry: Registry, tmp_path: Path) -> Callable[..., list[int]]:
    """Registers so many versions."""

    def added(count: int = 1) -> list[int]:
        return [publish(registry, tmp_path / uuid.uuid4().hex) for _ in range(count)]

    return added
