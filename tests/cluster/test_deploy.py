"""Rollouts on the real KServe, run in the cluster by the account that the Role is bound to."""

from tests.cluster.cluster import NAME, ServedNamespace
from tests.cluster.models import BROKEN


def test_a_version_replaces_another_with_one_restart(served: ServedNamespace) -> None:
    status, said = served.deploy(2)
    assert status == 2  # kubectl has applied version 1
    assert 'conflict with "kubectl": .spec.predictor.model.storageUri' in said
    before = served.deployment["metadata"]["generation"]
    status, said = served.deploy(2, "--force-conflicts")
    assert status == 0, said
    assert "version 2 serves at http" in said
    served.wait_for(2)
    assert served.deployment["metadata"]["generation"] == before + 1
    pods = {pod["metadata"]["name"] for pod in served.pods()}
    status, said = served.deploy(2)  # it sees that this is done
    assert status == 0, said
    assert {pod["metadata"]["name"] for pod in served.pods()} == pods


def test_a_version_that_crashes_is_found_out_by_its_pods(served: ServedNamespace) -> None:
    status, said = served.deploy(BROKEN, "--force-conflicts")
    assert status == 2, said
    last = said.strip().splitlines()[-1]
    assert "kserve-container crashes again and again" in last
    assert "exit status 2: error: /mnt/models" in last
    assert last.endswith("version 1 serves again")
    served.wait_for(1)
    lease = served.cluster.get("lease", f"{NAME}-rollout", served.name)
    assert "holderIdentity" not in lease["spec"]


def test_an_edit_of_no_pod_does_not_hold_a_rollout_up(served: ServedNamespace) -> None:
    for target in range(50, 70):  # generations of the InferenceService, but of no Deployment
        patch = f'{{"spec": {{"predictor": {{"scaleTarget": {target}}}}}}}'
        served.kubectl("patch", "inferenceservice", NAME, "--type", "merge", "--patch", patch)
    service = served.cluster.get("inferenceservice", NAME, served.name)
    assert service["metadata"]["generation"] > 20
    status, said = served.deploy(3, "--force-conflicts")
    assert status == 0, said
    served.wait_for(3)
