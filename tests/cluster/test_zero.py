"""Scale to zero and back on Knative: nothing is lost, and a rollout takes it as it is."""

import time
from pathlib import Path

import pytest

from tests.cluster.cluster import NAME, Cluster, ServedNamespace
from tests.cluster.models import BROKEN
from tests.cluster.test_deploy import newest_revision, wanted
from tests.cluster.zero import SECONDS, answers, scaled_to_zero, start_asking, wait_for_zero

AT_ONCE = 4


@pytest.fixture
def sleeper(cluster: Cluster, namespace: str, registry: Path, tmp_path: Path) -> ServedNamespace:
    """A namespace whose predictor has just been scaled to zero."""
    if "NotFound" in cluster.kubectl("get", "crd", "revisions.serving.knative.dev", check=False):
        pytest.skip("needs Knative Serving")
    served = scaled_to_zero(cluster, namespace, registry, tmp_path)
    wait_for_zero(served)
    return served


def test_nothing_is_lost_on_the_way_to_zero_and_back(sleeper: ServedNamespace) -> None:
    # Each pause ends a little later than the one before: while the pod is still up, while it is
    # told to end, while it ends, and when it has gone.
    pauses = [SECONDS - 1 + step for step in range(14)]
    client = start_asking(sleeper, AT_ONCE, *pauses)
    pods: set[str] = set()
    phase = ""
    while phase not in ("Succeeded", "Failed"):
        pods |= {pod["metadata"]["name"] for pod in sleeper.pods()}
        phase = sleeper.cluster.get("pod", client, sleeper.name)["status"]["phase"]
        time.sleep(0.5)
    asked = answers(sleeper, client)
    assert [request for request in asked if request["status"] != 200] == []
    assert len(asked) == AT_ONCE * (1 + len(pauses))
    assert len(pods) > 3  # it went to zero and came back more than once


def test_a_rollout_begins_and_ends_at_zero(sleeper: ServedNamespace) -> None:
    get = ("get", "inferenceservice", NAME, "--output")
    ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    assert sleeper.kubectl(*get, ready) == "True"
    status, said = sleeper.deploy(2)
    assert status == 0, said
    assert "version 2 serves at http" in said
    wait_for_zero(sleeper)
    status, said = sleeper.deploy(2)  # it sees that this is done, and wakes it to ask
    assert status == 0, said
    wait_for_zero(sleeper)
    status, said = sleeper.deploy(BROKEN)
    assert status == 2, said
    last = said.strip().splitlines()[-1]
    assert "kserve-container crashes again and again" in last
    assert last.endswith("; version 2 serves again")
    assert wanted(sleeper).endswith("/2")
    assert newest_revision(sleeper)
