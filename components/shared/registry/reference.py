"""A version of a model as people name it: a folder, or a registry and which of its versions."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from components.shared.errors import UserError
from components.shared.model_folder.contract import NAME
from components.shared.registry.registry import Registry
from components.shared.storage import read_location
from components.shared.storage.near import path_near


def split_reference(given: str, registry: str = "") -> tuple[str, str]:
    """Returns the registry and the version that a reference names.

    Args:
        given: REGISTRY#VERSION, or VERSION alone, such as `3` and `#3`.
        registry: The registry of a version alone.
    """
    named, _, version = given.rpartition("#")
    return named or registry, version


@contextmanager
def version_folder(given: str) -> Iterator[Path]:
    """Lends the folder of a version.

    Args:
        given: The folder, such as `runs/registry/brain-tumor/3`, or REGISTRY#VERSION, such as
            `runs/registry#champion` and `s3://bucket/models#3`. VERSION is a number, `latest` or an
            alias.

    Yields:
        The folder, until the context ends; that of a registry was fetched and verified, another is
        as it is.

    Raises:
        UserError: There is no such folder, registry or version.
    """
    registry, reference = split_reference(given)
    if os.path.isdir(given):
        if os.path.isdir(os.path.join(given, NAME)):
            raise UserError(
                f"model {given}: a registry; say which version of it, such as {given}#champion"
            )
        yield Path(given)
        return
    if not registry:
        raise UserError(
            f"model {given}: there is no such folder; give that of a version, or REGISTRY#VERSION, "
            f"such as runs/registry#champion{path_near(given, Path.is_dir)}"
        )
    models = Registry.open(registry)
    version = models.resolve(reference)
    with TemporaryDirectory(prefix="model-") as temporary:
        folder = Path(temporary, str(version))
        models.fetch(version, folder)
        yield folder


def pinned_version(given: str) -> str:
    """Returns a version as a run on this machine names it, so that an alias that moves is noticed.

    Args:
        given: As `version_folder` takes it, or empty.

    Returns:
        The folder's absolute path, or REGISTRY#NUMBER; empty where nothing is given.

    Raises:
        UserError: There is no such registry or version.
    """
    registry, reference = split_reference(given)
    if not registry or os.path.isdir(given):
        return os.path.abspath(given) if given else ""
    models = Registry.open(registry)
    return f"{read_location(registry)}#{models.resolve(reference)}"
