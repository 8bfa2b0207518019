"""A version as a local run names it."""

from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.registry import Registry
from components.shared.registry.reference import pinned_version
from tests.shared.registry.versions import publish


def test_an_alias_becomes_the_number_that_it_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry.open(str(tmp_path / "models"))
    for number in (1, 2):
        publish(registry, tmp_path / str(number))
    registry.promote("1")
    monkeypatch.chdir(tmp_path)
    assert pinned_version("models#champion") == f"{tmp_path}/models#1"
    assert pinned_version(f"file://{tmp_path}/models#latest") == f"{tmp_path}/models#2"
    registry.promote("2")
    assert pinned_version("models#champion") == f"{tmp_path}/models#2"
    assert pinned_version("models/brain-tumor/1") == f"{tmp_path}/models/brain-tumor/1"
    assert pinned_version("") == ""
    with pytest.raises(UserError, match="9"):
        pinned_version("models#9")
