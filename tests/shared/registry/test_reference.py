"""A version is named by its folder, or by a registry and a number or alias."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.model_folder.metadata import read_metadata
from components.shared.registry import Registry
from components.shared.registry.reference import version_folder


def test_a_version_is_named_by_its_folder_or_by_its_registry(
    registry: Registry, add: Callable[..., list[int]]
) -> None:
    add(2)
    registry.promote("1")
    address = registry.uri.removeprefix("file://")
    for given, version in (
        (f"{address}#champion", 1),
        (f"{registry.uri}#latest", 2),
        (f"{address}#2", 2),
    ):
        with version_folder(given) as folder:
            assert read_metadata(folder).version == version
            assert folder.name == str(version)
        assert not folder.exists()  # a copy, that goes again
    with version_folder(f"{address}/brain-tumor/1") as folder:
        assert read_metadata(folder).version == 1
    assert folder.exists()


@pytest.mark.parametrize("given", ["nowhere", "#3", "", "no/registry#champion", "{registry}#9"])
def test_what_is_no_version_is_one_line(
    registry: Registry, add: Callable[..., list[int]], given: str
) -> None:
    add()
    given = given.format(registry=registry.uri)
    with pytest.raises(UserError) as caught, version_folder(given):
        pass
    assert "\n" not in str(caught.value)


def test_a_folder_may_have_a_hash_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "models#3").mkdir()
    with version_folder(str(tmp_path / "models#3")) as folder:
        assert folder == tmp_path / "models#3"


def test_a_registry_alone_is_told_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "registry" / "brain-tumor").mkdir(parents=True)
    given = f"{tmp_path}/registry"
    with (
        pytest.raises(UserError, match=f"model {given}: a registry; .* {given}#champion$"),
        version_folder(given),
    ):
        pass
