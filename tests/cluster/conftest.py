"""Scenarios on a real cluster: the one that KUBECONFIG names.

`make cluster-test` runs them. They need KServe in the cluster, and the two images where its nodes
find them: SERVE_IMAGE and IMAGE name them. Scenarios of pipelines need KFP_ENDPOINT as well.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, ServedNamespace
from tests.cluster.kfp import Kfp
from tests.cluster.models import write_registry

HERE = Path(__file__).parent
NEEDED = {
    "KUBECONFIG": "the cluster",
    "SERVE_IMAGE": "the predictor's image",
    "IMAGE": "the image of the steps",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what lies here, and skips it unless it is asked for: it changes the cluster."""
    asked = "cluster" in config.getoption("markexpr")
    missing = [f"{name} ({what})" for name, what in NEEDED.items() if not os.environ.get(name)]
    reason = f"set {', '.join(missing)}" if asked and missing else "'make cluster-test' runs it"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(1800))
            if missing or not asked:
                item.add_marker(pytest.mark.skip(reason=f"needs a cluster: {reason}"))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster that KUBECONFIG names."""
    return Cluster()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A name for a namespace of the test's own, which is deleted afterwards."""
    name = f"brain-tumor-test-{uuid.uuid4().hex[:8]}"
    yield name
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of small models, each of which says how bright an image is.

    Versions 1, 2 and 3 are good. The graph of version 4 is none, so its predictor does not start.
    """
    return write_registry(tmp_path_factory.mktemp("registry"))


@pytest.fixture
def served(cluster: Cluster, namespace: str, registry: Path, tmp_path: Path) -> ServedNamespace:
    """A namespace as docs/deploy.md makes one on a laptop: version 1 serves from a volume."""
    return ServedNamespace.made(cluster, namespace, registry, tmp_path)


@pytest.fixture(scope="module")
def kfp() -> Iterator[Kfp]:
    """KFP, without what the tests of a file made in it, once they have ended."""
    kfp = Kfp()
    yield kfp
    kfp.clear()
