"""Rollouts on the real KServe, run in the cluster by the account that the Role is bound to."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import CLAIM, NAME, SOURCE, Cluster, Object, ServedNamespace, until
from tests.cluster.models import BROKEN


def names(served: ServedNamespace) -> set[str]:
    return {pod["metadata"]["name"] for pod in served.pods()}


def wanted(served: ServedNamespace) -> str:
    """The storageUri that the InferenceService names."""
    service = served.cluster.get("inferenceservice", NAME, served.name)
    return str(service["spec"]["predictor"]["model"]["storageUri"])


def holder(served: ServedNamespace) -> str:
    lease = served.cluster.get("lease", f"{NAME}-rollout", served.name)
    return str(lease["spec"].get("holderIdentity", ""))


def fails(served: ServedNamespace, version: int, *options: str, **more: Any) -> str:
    """Deploys what must fail; version 1 serves again, and nothing is left of the rollout.

    Returns:
        The last line that it prints.
    """
    status, said = served.deploy(version, *options, **more)
    assert status == 2, said
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"error: version {version} is not rolled out to {served.name}/{NAME}: ")
    assert last.endswith("; version 1 serves again")
    served.wait_for(1)
    assert wanted(served) == f"pvc://{CLAIM}/{NAME}/1"
    assert not holder(served)
    return last


def test_versions_replace_each_other_with_one_restart_each(served: ServedNamespace) -> None:
    before = served.deployment["metadata"]["generation"]
    for number, version in enumerate((2, 1, 3), 1):  # on, back and on
        status, said = served.deploy(version)
        assert status == 0, said
        assert f"version {version} serves at http" in said
        served.wait_for(version)
        assert served.deployment["metadata"]["generation"] == before + number
    pods = names(served)
    status, said = served.deploy(3)  # it sees that this is done
    assert status == 0, said
    assert names(served) == pods


def test_a_field_of_another_manager_is_left_to_it(served: ServedNamespace) -> None:
    command = ("brain-tumor", "deploy", "2", "--registry", "/registry")
    status, said = served.ended(served.start(*command, "--served-from", f"pvc://{CLAIM}"))
    assert status == 2
    assert 'conflict with "kubectl": .spec.predictor.model.storageUri' in said
    assert wanted(served).endswith("/1")


def test_a_dry_run_shows_the_difference_and_changes_nothing(served: ServedNamespace) -> None:
    status, said = served.deploy(2, "--dry-run")
    assert status == 0, said
    assert f"+      storageUri: pvc://{CLAIM}/{NAME}/2" in said
    assert wanted(served).endswith("/1")


def test_many_edits_of_the_inference_service_do_not_hold_a_rollout_up(
    served: ServedNamespace,
) -> None:
    for target in range(50, 70):  # generations of the InferenceService, but of no Deployment
        patch = json.dumps({"spec": {"predictor": {"scaleTarget": target}}})
        served.kubectl("patch", "inferenceservice", NAME, "--type", "merge", "--patch", patch)
    service = served.cluster.get("inferenceservice", NAME, served.name)
    assert service["metadata"]["generation"] > 20
    status, said = served.deploy(3)
    assert status == 0, said
    served.wait_for(3)


def test_a_predictor_that_crashes(served: ServedNamespace) -> None:
    pods = names(served)
    line = fails(served, BROKEN)
    assert "kserve-container crashes again and again: exit status 2: error: /mnt/models" in line
    assert names(served) == pods  # the old pod served all the time


def test_a_model_that_is_not_where_kserve_looks(served: ServedNamespace) -> None:
    line = fails(served, 2, path="/elsewhere")
    assert "kserve-container crashes again and again: exit status 2: error: /mnt/models" in line
    assert "SHA256SUMS" in line


def test_an_image_that_cannot_be_pulled(served: ServedNamespace) -> None:
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "localhost/nowhere:1"}]
    # KServe would roll a changed runtime out at once; it looks at this one with the next version.
    served.kubectl("annotate", "inferenceservice", NAME, "serving.kserve.io/auto-update=false")
    served.wait_for(1)
    served.kubectl("patch", "servingruntime", NAME, "--type", "json", "--patch", json.dumps(image))
    status, said = served.deploy(2)
    assert status == 2
    assert "kserve-container cannot start: " in said
    assert "localhost/nowhere:1" in said


def half_of_the_room(cluster: Cluster) -> str:
    """Returns a request of CPU that the only node grants once, but not twice."""
    (node,) = cluster.list("nodes")
    pods = [p for p in cluster.list("pods") if p["status"]["phase"] in ("Running", "Pending")]
    taken = sum(
        cpu(container.get("resources", {}).get("requests", {}).get("cpu", "0"))
        for pod in pods
        for container in pod["spec"]["containers"]
    )
    return f"{(cpu(node['status']['allocatable']['cpu']) - taken) * 6 // 10}m"


def cpu(quantity: str) -> int:
    """Returns a quantity of CPU in thousandths."""
    return int(quantity[:-1]) if quantity.endswith("m") else round(float(quantity) * 1000)


def test_a_pod_that_no_node_takes(
    cluster: Cluster, namespace: str, registry: Path, tmp_path: Path
) -> None:
    if len(cluster.list("nodes")) > 1:
        pytest.skip("needs a cluster of one node, to fill it")
    resources = {"requests": {"cpu": half_of_the_room(cluster), "memory": "768Mi"}}
    operation = {"op": "replace", "path": "/spec/containers/0/resources", "value": resources}
    patch = {"target": {"kind": "ServingRuntime"}, "patch": yaml.safe_dump([operation])}
    served = ServedNamespace.made(cluster, namespace, registry, tmp_path, [patch])
    pods = names(served)
    line = fails(served, 2)
    assert "no node takes pod" in line
    assert "Insufficient cpu" in line
    assert names(served) == pods


def test_pods_that_a_quota_forbids(served: ServedNamespace) -> None:
    quota: Object = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": served.name},
        "spec": {"hard": {"limits.memory": "2560Mi"}},  # a predictor and the command, but not two
    }
    served.cluster.apply(quota)
    line = fails(served, 2)
    assert "Kubernetes cannot create the pods: FailedCreate: " in line
    assert "exceeded quota: small" in line


def test_a_rollout_that_is_killed_is_taken_up_by_the_same_again(served: ServedNamespace) -> None:
    first = served.start_deploy(BROKEN)
    until(lambda: wanted(served).endswith(f"/{BROKEN}"), "the first rollout changes it")
    served.kubectl("delete", "pod", first, "--grace-period", "0", "--force")
    assert holder(served).startswith(f"{BROKEN}-")
    fails(served, BROKEN)  # goes back beyond what the killed one left
    second = served.start_deploy(2)
    until(lambda: wanted(served).endswith("/2"), "the second rollout changes it")
    served.kubectl("delete", "pod", second, "--grace-period", "0", "--force")
    status, said = served.deploy(2)
    assert status == 0, said
    assert "which had not ended" in said
    served.wait_for(2)


def test_of_two_rollouts_the_later_one_wins(served: ServedNamespace) -> None:
    earlier = served.start_deploy(2)
    until(lambda: wanted(served).endswith("/2"), "the earlier rollout changes it")
    status, said = served.deploy(3)
    assert status == 0, said
    status, said = served.ended(earlier)
    assert status == 2
    assert f"overtaken by another rollout to {served.name}/{NAME}, of version 3" in said
    served.wait_for(3)


def test_two_rollouts_at_once_leave_one_version(served: ServedNamespace) -> None:
    pods = {version: served.start_deploy(version) for version in (2, 3)}
    ended = {version: served.ended(pod) for version, pod in pods.items()}
    winners = [version for version, (status, _) in ended.items() if status == 0]
    assert winners, ended
    served.wait_for(int(wanted(served).rsplit("/", 1)[1]))
    assert not holder(served)
    for status, said in ended.values():
        assert status == 0 or "overtaken" in said


def test_it_is_created_where_there_is_none(served: ServedNamespace) -> None:
    served.kubectl("delete", "inferenceservice", NAME)
    until(lambda: not served.pods(), "the pods end")
    started = served.start_deploy(2)
    until(lambda: served.cluster.list("inferenceservices", served.name), "it is created")
    # As manifests/base has it: three replicas, of which the HPA makes two more than KServe.
    status, said = served.ended(started)
    assert status == 0, said
    assert len([pod for pod in served.pods() if served.is_ready(pod)]) == 3


CANARY = ("--canary-percent", "50", "--soak-seconds", "20", "--max-latency-seconds", "10")


def knows_canaries(cluster: Cluster) -> bool:
    """Returns whether this KServe has spec.canary, which came after 0.20."""
    found = cluster.kubectl("explain", "inferenceservice.spec.canary", check=False)
    return "does not exist" not in found


def test_a_canary_is_promoted_and_restarts_nothing_beside_it(served: ServedNamespace) -> None:
    if not knows_canaries(served.cluster):
        pytest.skip("this KServe has no spec.canary")
    before, pods = served.deployment["metadata"]["generation"], names(served)
    started = served.start_deploy(2, *CANARY)
    canary = f"{NAME}-v2-predictor"
    until(lambda: any(canary in name for name in names(served)), "the canary's pod is there")
    until(lambda: not any(canary in name for name in names(served)), "the canary is promoted")
    status, said = served.ended(started)
    assert status == 0, said
    assert "probes of version 2, 0.0% failed" in said
    served.wait_for(2)
    assert served.deployment["metadata"]["generation"] == before + 1
    assert not pods & names(served)


def test_a_canary_that_crashes_is_taken_back(served: ServedNamespace) -> None:
    if not knows_canaries(served.cluster):
        pytest.skip("this KServe has no spec.canary")
    pods = names(served)
    line = fails(served, BROKEN, *CANARY)
    assert f"pod {NAME}-v{BROKEN}-predictor" in line
    assert "kserve-container crashes again and again" in line
    assert names(served) == pods


@pytest.fixture
def knative(cluster: Cluster, namespace: str, registry: Path, tmp_path: Path) -> ServedNamespace:
    """The same in Knative mode."""
    if "NotFound" in cluster.kubectl("get", "crd", "revisions.serving.knative.dev", check=False):
        pytest.skip("needs Knative Serving")
    return ServedNamespace.made(cluster, namespace, registry, tmp_path, components=("knative",))


def newest_revision(served: ServedNamespace) -> Object:
    """Returns the revision that is ready, and has all traffic."""
    service = served.cluster.get("inferenceservice", NAME, served.name)
    component = service["status"]["components"]["predictor"]
    assert [t["percent"] for t in component["traffic"]] == [100]
    return served.cluster.get("revision", component["latestReadyRevision"], served.name)


def test_knative_revisions_replace_each_other(knative: ServedNamespace) -> None:
    status, said = knative.deploy(2)
    assert status == 0, said
    status, said = knative.deploy(3, *CANARY)
    assert status == 0, said
    assert "probes of version 3, 0.0% failed" in said
    assert newest_revision(knative)["metadata"]["annotations"][SOURCE].endswith("/3")


def test_a_knative_revision_that_crashes(knative: ServedNamespace) -> None:
    status, said = knative.deploy(BROKEN)
    assert status == 2, said
    last = said.strip().splitlines()[-1]
    assert "kserve-container crashes again and again" in last
    assert last.endswith("; version 1 serves again")
    assert newest_revision(knative)["metadata"]["annotations"][SOURCE].endswith("/1")
