"""The manifests, as kubectl builds them."""

import pytest

from tests.manifests.kustomize import FOLDERS, Objects, objects

SERVED = {
    "base": ("base",),
    "s3": ("overlays/s3",),
    "gcs": ("overlays/gcs",),
    "local": ("overlays/local",),
    "s3-gpu": ("overlays/s3", "gpu"),
    "gcs-canary": ("overlays/gcs", "canary"),
    "local-knative": ("overlays/local", "knative"),
    "s3-everything": (
        "overlays/s3",
        "gpu",
        "canary",
        "monitoring",
        "public-store",
        "tokens",
        "signed",
    ),
}


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> Objects:
    """The objects of every kustomization, one after another."""
    return objects(request.param)


@pytest.fixture(params=SERVED.values(), ids=SERVED)
def served(request: pytest.FixtureRequest) -> Objects:
    """The objects of every kustomization that serves, alone and with components."""
    store, *components = request.param
    return objects(store, components=tuple(components))
