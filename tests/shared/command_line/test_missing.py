"""What a command says of a package that is not installed."""

import pytest

from components.shared.command_line import missing
from components.shared.command_line.missing import missing_package


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("minio", "the package minio, which is not installed here; run `make install` in a"),
        ("minio", "or install brain-tumor with the extra stores"),
        ("google.cloud", "the package google-cloud-storage,"),
        ("kserve", "with the extra serve"),
        ("numpy", "with the extras train and cpu"),
        ("tensorflow", "with the extras train and cpu"),
        ("PIL", "the package pillow,"),
        ("httpx", "with the extra deploy"),
        ("unheard_of", "the package unheard-of, which"),
    ],
)
def test_it_names_the_package_and_the_extra_that_brings_it(module: str, said: str) -> None:
    assert said in missing_package(ModuleNotFoundError("No module", name=module))


def test_a_command_may_know_its_extra() -> None:
    said = missing_package(ModuleNotFoundError("No module", name="uvicorn"), "serve")
    assert "the package uvicorn," in said
    assert said.endswith("with the extra serve")


def test_a_checkout_that_is_not_installed_is_told_of_make_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(_: str) -> None:
        raise missing.metadata.PackageNotFoundError

    monkeypatch.setattr(missing.metadata, "requires", absent)
    said = missing_package(ModuleNotFoundError(name="kserve"))
    assert said.endswith("run `make install` in a checkout")
