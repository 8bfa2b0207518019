"""What pods and Deployments of a real cluster say of a rollout, as they were recorded."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from components.deploy.workload import Deployment, Patience, Pod, Problem, of_deployment

RECORDED = json.loads((Path(__file__).parent / "recorded" / "pods.json").read_text())
URI = "s3://models/brain-tumor/2/"
OLD = "s3://models/brain-tumor/1/"


def pod(name: str) -> Pod:
    return Pod.model_validate(RECORDED["pods"][name])


@pytest.mark.parametrize(
    ("name", "message", "seconds"),
    [
        ("crash", "crashes again and again: exit status 2: error: /mnt/models: there is no", 0),
        ("crash-ended", "crashes again and again: exit status 2: error: /mnt/models: there", 0),
        ("probe", "kserve-container crashes again and again: exit status 137", 0),
        ("download", "storage-initializer crashes again and again: exit status 1: ", 0),
        ("download-ended", "storage-initializer crashes again and again: exit status 1: ", 0),
        ("memory", "kserve-container needs more memory than its limit (OOMKilled)", 0),
        ("image", "kserve-container cannot start: ErrImagePull: failed to pull", 15),
        ("image-back-off", "kserve-container cannot start: ImagePullBackOff: Back-off", 15),
        ("never", "cannot start: ErrImageNeverPull: Container image", 15),
        ("name", "cannot start: InvalidImageName: Failed to apply default image tag", 15),
        ("secret", 'cannot start: CreateContainerConfigError: secret "nowhere" not found', 15),
        ("command", "cannot start: RunContainerError: failed to create containerd task", 15),
        ("room", "no node takes pod room: 0/1 nodes are available: 1 Insufficient cpu", 30),
        (
            "claim",
            'no node takes pod claim: 0/1 nodes are available: persistentvolumeclaim "now',
            30,
        ),
    ],
)
def test_why_a_pod_will_not_start(name: str, message: str, seconds: float) -> None:
    problem = pod(name).problem()
    assert problem
    assert message in problem.message
    assert "\n" not in problem.message
    assert problem.seconds == seconds


@pytest.mark.parametrize("name", ["good", "mount"])
def test_a_pod_that_may_still_start(name: str) -> None:
    assert pod(name).problem() is None


def deployment(**status: int) -> Deployment:
    document = copy.deepcopy(RECORDED["deployment"])
    document["spec"]["selector"]["matchLabels"] = {"app": "isvc.brain-tumor-predictor"}
    document["status"] |= {"conditions": [], "observedGeneration": 1} | status
    return Deployment.model_validate(document)


def ready(source: str, **metadata: Any) -> Pod:
    document = copy.deepcopy(RECORDED["pods"]["good"])
    document["metadata"]["annotations"] = dict.fromkeys(document["metadata"]["annotations"], source)
    document["metadata"] |= metadata
    return Pod.model_validate(document)


FULL = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


def test_it_is_done_when_every_replica_is_new_and_available() -> None:
    assert not of_deployment(deployment(**FULL), [ready(URI)], URI, 1).waits_for


@pytest.mark.parametrize(
    ("found", "pods", "uri", "least", "waits_for"),
    [
        (None, [], URI, 1, "KServe has not begun yet"),
        (deployment(**FULL), [ready(OLD)], OLD, 1, "KServe has not begun yet"),
        (deployment(**FULL, observedGeneration=0), [], URI, 1, "Kubernetes has not looked at"),
        (deployment(**FULL), [ready(URI)], URI, 3, "1 of 3 pods are ready"),
        (deployment(replicas=2, updatedReplicas=1, availableReplicas=2), [], URI, 1, "0 of 1"),
        (deployment(**FULL), [ready(URI), ready(OLD)], URI, 1, "pods of another version still"),
    ],
    ids=["none", "before", "unseen", "autoscaler", "surge", "old"],
)
def test_it_is_not_done(
    found: Deployment | None, pods: list[Pod], uri: str, least: int, waits_for: str
) -> None:
    assert waits_for in of_deployment(found, pods, uri, least).waits_for


def test_pods_that_cannot_be_created_at_all() -> None:
    found = Deployment.model_validate(RECORDED["deployment"])
    (problem,) = of_deployment(found, [], URI, 1).problems
    assert "Kubernetes cannot create the pods: FailedCreate: pods" in problem.message
    assert "exceeded quota: small, requested: requests.cpu=5" in problem.message


def test_the_problems_are_those_of_its_new_pods() -> None:
    other = Pod.model_validate(
        copy.deepcopy(RECORDED["pods"]["crash"]) | {"metadata": {"name": "x", "labels": {}}}
    )
    found = of_deployment(deployment(), [pod("crash"), ready(OLD), other], URI, 1)
    assert [problem.about for problem in found.problems] == ["crash"]


def test_a_node_that_an_old_pod_still_fills_may_soon_take_the_new_one() -> None:
    ends = ready(OLD, deletionTimestamp="2026-11-26T08:00:00Z")
    for pods, seconds in (([pod("room")], 30), ([pod("room"), ends], 120)):
        (problem,) = of_deployment(deployment(), pods, URI, 1).problems
        assert problem.seconds == seconds
    nominated = copy.deepcopy(RECORDED["pods"]["room"])
    nominated["status"]["nominatedNodeName"] = "a-node"
    problem = Pod.model_validate(nominated).problem()
    assert problem
    assert problem.seconds == 120


def test_a_container_that_runs_again_has_no_problem() -> None:
    document = copy.deepcopy(RECORDED["pods"]["good"])
    (container,) = document["status"]["containerStatuses"]
    container["restartCount"] = 1
    container["lastState"] = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    assert Pod.model_validate(document).problem() is None
    document["status"]["conditions"] = []  # not ready yet
    assert Pod.model_validate(document).problem() is None


def test_a_deployment_that_is_scaled_to_nothing() -> None:
    document = copy.deepcopy(RECORDED["deployment"])
    document["spec"]["replicas"] = 0
    document["status"] = {"observedGeneration": 1}
    (problem,) = of_deployment(Deployment.model_validate(document), [], URI, 0).problems
    assert problem.message == "Deployment brain-tumor-predictor is scaled to 0"


def test_replicas_on_top_of_the_least_may_still_start() -> None:
    more = deployment(replicas=6, updatedReplicas=6, availableReplicas=5)
    assert not of_deployment(more, [ready(URI), pod("room")], URI, 3).waits_for


def test_an_old_pod_that_ends_gets_no_more_requests() -> None:
    ends = ready(OLD, deletionTimestamp="2026-11-26T08:00:00Z")
    assert not of_deployment(deployment(**FULL), [ready(URI), ends], URI, 1).waits_for


def test_nulls_are_absent_fields() -> None:
    document = {"name": "x", "labels": None, "annotations": None, "deletionTimestamp": None}
    found = Pod.model_validate({"metadata": document, "status": {"conditions": None}})
    assert (found.source, found.ready, found.ends) == ("", False, False)


def test_what_is_told_is_one_short_line_without_control_characters() -> None:
    document = copy.deepcopy(RECORDED["pods"]["crash"])
    (container,) = document["status"]["containerStatuses"]
    container["lastState"]["terminated"]["message"] = "\x1b[31mno\u202e " + "x" * 9999
    bad = Pod.model_validate(document)
    progress = of_deployment(deployment(), [bad] * 200, URI, 1)
    assert str(progress).isprintable()
    assert len(str(progress)) < 1000
    assert str(progress).endswith("; 199 more like it")


def test_a_problem_is_certain_when_it_lasts() -> None:
    patience = Patience()
    pulls = [Problem("ErrImagePull", "a", 15)]
    backs_off = [Problem("ImagePullBackOff", "a", 15)]
    assert patience.lasting(pulls, 100) == []
    assert patience.lasting(backs_off, 110) == []
    assert patience.lasting(pulls, 115) == pulls
    assert patience.lasting([], 116) == []
    assert patience.lasting(pulls, 117) == []
    assert patience.lasting([Problem("no node", "a", 30)], 117.5) == []
    assert patience.lasting(pulls, 140) == []  # another problem than before, of the same pod
    crash = [Problem("crashes", "b")]
    assert patience.lasting(crash, 141) == crash
