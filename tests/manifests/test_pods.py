"""Pods: the restricted standard, and updates that nobody notices."""

import copy
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.settings import Settings
from tests.manifests.kustomize import STORES, Objects, objects, pod_of
from tests.manifests.restricted import violations

POD = pod_of(objects("overlays/s3"))


def test_pods_pass_the_restricted_standard(served: Objects) -> None:
    assert list(violations(pod_of(served))) == []
    labels = served.one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_loader_passes_the_restricted_standard() -> None:
    assert list(violations(objects("overlays/local").one("Pod")["spec"])) == []


def test_the_loader_ends_when_it_is_asked_to() -> None:
    (container,) = objects("overlays/local").one("Pod")["spec"]["containers"]
    # As the first process of a container, which gets no signal that it does not handle.
    first = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*first, "true"], capture_output=True).returncode:
        pytest.skip("needs namespaces of processes and users")
    unshare = subprocess.Popen([*first, *container["command"]])
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    try:
        for _ in range(200):  # it may not handle signals yet
            if unshare.poll() is not None:
                return
            for child in children.read_text().split():
                os.kill(int(child), signal.SIGTERM)
            time.sleep(0.05)
        pytest.fail("SIGTERM does not end it")
    finally:
        unshare.kill()


def test_what_kserve_adds_does_not_pass_without_the_patch() -> None:
    pod = copy.deepcopy(POD)
    del pod["initContainers"][0]["securityContext"]
    assert set(violations(pod)) == {
        "storage-initializer: allowPrivilegeEscalation",
        "storage-initializer: capabilities.drop",
    }


def _security(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["containers"][0]["securityContext"]
    return found


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda pod: pod.update(hostNetwork=True), "hostNetwork"),
        (lambda pod: pod["volumes"].append({"name": "h", "hostPath": {}}), "volume hostPath"),
        (lambda pod: pod["securityContext"].update(runAsUser=0), "pod: runAsUser"),
        (lambda pod: pod["securityContext"].update(sysctls=[{"name": "a"}]), "sysctls"),
        (lambda pod: _security(pod).update(privileged=True), "privileged"),
        (lambda pod: _security(pod).pop("allowPrivilegeEscalation"), "allowPrivilegeEscalation"),
        (lambda pod: _security(pod).pop("capabilities"), "capabilities.drop"),
        (lambda pod: _security(pod)["capabilities"].update(add=["SYS_ADMIN"]), "capabilities.add"),
        (lambda pod: _security(pod).update(runAsNonRoot=False), "runAsNonRoot"),
        (lambda pod: _security(pod)["seccompProfile"].update(type="Unconfined"), "seccompProfile"),
        (lambda pod: _security(pod).update(procMount="Unmasked"), "procMount"),
        (lambda pod: pod["containers"][0]["ports"][0].update(hostPort=80), "hostPort"),
        (
            lambda pod: pod["containers"][0]["livenessProbe"]["httpGet"].update(host="10.0.0.1"),
            "livenessProbe.host",
        ),
    ],
)
def test_the_check_finds_what_is_forbidden(
    spoil: Callable[[dict[str, Any]], object], told: str
) -> None:
    pod = copy.deepcopy(POD)
    spoil(pod)
    assert any(told in line for line in violations(pod))


def test_the_root_file_system_is_read_only(served: Objects) -> None:
    assert served.container["securityContext"]["readOnlyRootFilesystem"] is True
    writable, *more = served.container["volumeMounts"]
    assert writable["mountPath"] == "/tmp"
    assert all(mount["readOnly"] for mount in more)


def test_no_pod_carries_a_token_of_the_api_server(served: Objects) -> None:
    assert served.predictor["automountServiceAccountToken"] is False
    assert served.one("ServiceAccount")["automountServiceAccountToken"] is False


def test_no_service_sets_variables_in_a_pod(served: Objects) -> None:
    assert served.predictor["enableServiceLinks"] is False


@pytest.mark.parametrize("name", STORES)
def test_a_new_pod_is_ready_before_an_old_one_goes(name: str) -> None:
    found = objects(f"overlays/{name}", components=("canary",))
    assert found.predictor["deploymentStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    given = {entry["name"]: entry["value"] for entry in found.container["env"]}
    drain = float(given.pop("BRAIN_TUMOR_SERVE_DRAIN_SECONDS"))
    assert not given
    assert drain > 0, "the ports would close while endpoints still name the pod"
    grace = Settings().grace_seconds
    assert found.predictor["terminationGracePeriodSeconds"] > drain + grace


def test_every_container_says_what_it_needs(served: Objects) -> None:
    resources = served.container["resources"]
    assert set(resources["requests"]) == set(resources["limits"]) >= {"cpu", "memory"}


def test_three_replicas_and_a_budget() -> None:
    found = objects("overlays/s3")
    assert found.predictor["minReplicas"] == 3
    assert found.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_kserve_does_not_take_the_budget_for_its_own(served: Objects) -> None:
    kserves = served.one("InferenceService")["metadata"]["name"] + "-predictor"
    assert served.one("PodDisruptionBudget")["metadata"]["name"] != kserves
