"""Rollouts onto a small cluster: all that can go wrong ends with the former version serving."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from components.deploy import rollout as rollout_module
from components.deploy.claim import FORMER
from components.deploy.inference_service import MANAGER
from components.deploy.rollout import Superseded
from components.shared.errors import UserError
from tests.deploy.conftest import BASE, NAME, Cluster, Pod, until, uri

MODES = pytest.mark.parametrize("mode", ["Standard", "Knative"])


def fails(cluster: Cluster, version: int = 6, **changes: Any) -> str:
    """Rolls out what must fail, and returns the one line that says why."""
    with pytest.raises(UserError) as caught:
        cluster.rollout(version, **changes).run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def serves_again(cluster: Cluster, version: int = 5) -> None:
    """Checks that a version serves, alone, and that the rollout has ended."""
    assert cluster.serving() == [version]
    assert cluster.wanted["predictor"]["model"]["storageUri"] == uri(version)
    assert "canary" not in cluster.wanted
    assert "canaryTrafficPercent" not in cluster.wanted["predictor"]
    assert cluster.claim == {}


@MODES
def test_a_version_replaces_another(cluster: Cluster, mode: str) -> None:
    cluster.start_with(5, mode)
    before = cluster.api[NAME]
    outcome = cluster.rollout().run()
    assert outcome.url == f"http://{NAME}.example.org"
    assert f"+      storageUri: {uri(6)}" in outcome.changes
    serves_again(cluster, 6)

    after = cluster.api[NAME]  # and nothing else was touched
    after["spec"]["predictor"]["model"]["storageUri"] = uri(5)
    assert after["spec"] == before["spec"]
    for name in ("labels", "annotations"):
        assert after["metadata"][name] == before["metadata"][name]


def test_the_step_owns_its_fields_and_no_other(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.rollout().run()
    entries = cluster.api[NAME]["metadata"]["managedFields"]
    (own,) = (entry["fieldsV1"] for entry in entries if entry["manager"] == MANAGER)
    assert own == {
        "f:spec": {"f:predictor": {"f:model": {"f:storageUri": {}}}},
    }


def test_it_is_created_where_there_is_none_and_then_changed(cluster: Cluster) -> None:
    assert cluster.rollout(1).run().url
    assert cluster.serving() == [1]
    assert cluster.wanted["predictor"]["model"]["runtime"] == "brain-tumor"
    cluster.rollout(2).run()
    cluster.rollout(3, canary_percent=10).run()
    serves_again(cluster, 3)
    assert cluster.wanted["predictor"]["model"]["runtime"] == "brain-tumor"


def test_the_same_version_again_changes_nothing(cluster: Cluster) -> None:
    cluster.start_with()
    generation = cluster.api[NAME]["metadata"]["generation"]
    cluster.rollout(5, canary_percent=10).run()
    assert cluster.api[NAME]["metadata"]["generation"] == generation


def test_a_dry_run_shows_the_difference_and_changes_nothing(cluster: Cluster) -> None:
    new = cluster.rollout(1).dry_run().changes
    assert f"+      storageUri: {uri(1)}" in new
    cluster.start_with()
    before = cluster.api[NAME]
    for percent in (0, 10):
        lines = cluster.rollout(canary_percent=percent).dry_run().changes.splitlines()
        assert f"-      storageUri: {uri(5)}" in lines
        assert f"+      storageUri: {uri(6)}" in lines
        assert len([line for line in lines if line[0] in "+-"]) == 4  # names, URIs
    assert cluster.api[NAME] == before
    assert not {"create", "patch"} & set(cluster.api.requests)


def never_ready(live: dict[str, Any], cluster: Cluster) -> None:
    cluster.kserve.begin(live)


def test_one_that_never_gets_ready(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.kserve.script[6] = lambda live: never_ready(live, cluster)
    line = fails(cluster, timeout_seconds=2)
    assert line.startswith("version 6 is not rolled out to models/brain-tumor: not ready within")
    assert line.endswith("0 of 3 pods are ready; version 5 serves again")
    serves_again(cluster)


def test_what_kserve_refuses_is_not_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_module, "_REFUSAL_SECONDS", 0.1)
    cluster.start_with()
    info = {"reason": "NoSupportingRuntime", "message": "no runtime for brain-tumor"}
    cluster.kserve.script[6] = lambda live: cluster.kserve.say(
        live, "False", modelStatus={"transitionStatus": "InvalidSpec", "lastFailureInfo": info}
    )
    line = fails(cluster, timeout_seconds=60)
    assert "KServe refuses it: NoSupportingRuntime: no runtime for brain-tumor" in line
    serves_again(cluster)


def test_one_that_flaps_is_waited_for(cluster: Cluster) -> None:
    cluster.start_with()
    asked = len(cluster.pods.hosts)

    def flap(live: dict[str, Any]) -> None:
        kserve = cluster.kserve
        kserve.succeed(live)
        kserve.pods.services = {}  # rolled out, it said
        until(lambda: len(cluster.pods.hosts) > asked + 2)
        kserve.pods.services = {f"{NAME}-predictor": [Pod(6), Pod(6, status=503)]}
        until(lambda: len(cluster.pods.hosts) > asked + 8)
        kserve.succeed(live)

    cluster.kserve.script[6] = flap
    cluster.rollout().run()
    serves_again(cluster, 6)


def test_old_pods_that_still_answer_are_waited_for(cluster: Cluster) -> None:
    cluster.start_with()

    def linger(live: dict[str, Any]) -> None:
        asked = len(cluster.pods.hosts)
        cluster.kserve.succeed(live)
        cluster.pods.services = {f"{NAME}-predictor": [Pod(6), Pod(6), Pod(5)]}
        until(lambda: len(cluster.pods.hosts) > asked + 20)
        cluster.kserve.succeed(live)

    cluster.kserve.script[6] = linger
    cluster.rollout().run()
    serves_again(cluster, 6)


def test_an_old_pod_that_never_goes(cluster: Cluster) -> None:
    cluster.start_with()

    def linger(live: dict[str, Any]) -> None:
        cluster.kserve.succeed(live)
        cluster.pods.services = {f"{NAME}-predictor": [Pod(6), Pod(6), Pod(5)]}

    cluster.kserve.script[6] = linger
    line = fails(cluster, timeout_seconds=2)
    assert "version 6 did not answer 6 times in a row within 2 s: version 5 still answers" in line
    serves_again(cluster)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Pod(6, off_by=0.01), r"P\(Healthy\) is off by 0\.01"),
        (Pod(6, label="Healthy"), "it answers 'Healthy' for an image that it called 'Brain Tumor'"),
        (Pod(6, status=500), "HTTP 500"),
        (Pod(6, body=b"<html>"), "not of Open Inference"),
        (Pod(6, body=b'{"model_version": "x", "outputs": []}'), "invalid literal"),
        (Pod(6, body=b" " * 2**21), "more than 1,048,576 bytes"),
        (Pod(6, probabilities=["a", "b"]), "could not convert string to float"),
    ],
    ids=["number", "label", "500", "no JSON", "no version", "huge", "texts"],
)
def test_one_that_answers_wrongly(cluster: Cluster, bad: Pod, reason: str) -> None:
    cluster.start_with()
    cluster.kserve.pod = lambda version: bad if version == 6 else Pod(version)
    with pytest.raises(UserError, match=reason) as caught:
        cluster.rollout(timeout_seconds=2).run()
    assert str(caught.value).endswith("version 5 serves again")
    serves_again(cluster)


def test_rounding_is_allowed(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.kserve.pod = lambda version: Pod(version, off_by=0.0009)
    cluster.rollout().run()
    serves_again(cluster, 6)


def test_going_back_can_fail_too(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.kserve.script[6] = lambda live: never_ready(live, cluster)
    cluster.kserve.script[5] = lambda live: never_ready(live, cluster)
    line = fails(cluster, timeout_seconds=2)
    assert "; and going back to version 5 failed: not ready within 2 s" in line
    assert "kubectl describe inferenceservice brain-tumor --namespace models" in line
    assert cluster.wanted["predictor"]["model"]["storageUri"] == uri(5)
    assert cluster.claim[FORMER] == uri(5)  # the next rollout knows where to go back to


def test_without_a_former_version_there_is_nothing_to_go_back_to(cluster: Cluster) -> None:
    cluster.kserve.script[1] = lambda live: never_ready(live, cluster)
    line = fails(cluster, 1, timeout_seconds=2)
    assert line.endswith("no other version served before, so it is left as it is")


def test_a_controller_that_is_down(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.kserve.down = True
    line = fails(cluster, timeout_seconds=0.3)
    assert "KServe has not begun yet" in line


def test_it_is_deleted_meanwhile(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.kserve.script[6] = lambda live: cluster.api.delete(NAME)
    assert "InferenceService models/brain-tumor was deleted during the rollout" in fails(cluster)


def test_it_is_interrupted(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.start_with()

    def interrupt(live: dict[str, Any]) -> None:
        cluster.kserve.succeed(live)
        assert cluster.claim[FORMER] == uri(5)

    cluster.kserve.script[6] = interrupt
    verify = rollout_module.Rollout._verify

    def pressed(self: Any, live: Any, version: int, check_numbers: bool = False) -> None:
        if version == 6:
            raise KeyboardInterrupt
        verify(self, live, version, check_numbers)

    monkeypatch.setattr(rollout_module.Rollout, "_verify", pressed)
    assert fails(cluster).endswith("interrupted; version 5 serves again")
    serves_again(cluster)


def test_the_address_of_an_ingress_gets_the_host_it_knows(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.rollout(address=f"http://127.0.0.1:{cluster.kserve.port}").run()
    assert set(cluster.pods.hosts[-6:]) == {f"{NAME}.example.org"}


# Other hands.


def test_a_field_that_another_manager_holds_is_left_to_it(cluster: Cluster) -> None:
    cluster.start_with(manager="argocd-controller")
    before = cluster.api[NAME]
    line = fails(cluster)
    assert 'conflict with "argocd-controller"' in line
    assert "storageUri" in line
    assert "force_conflicts" in line
    assert cluster.api[NAME] == before
    cluster.rollout(force_conflicts=True).run()
    serves_again(cluster, 6)
    cluster.rollout(7).run()  # once is enough


def test_a_change_by_hand_during_the_rollout_stays(cluster: Cluster) -> None:
    cluster.start_with()

    def meddle(live: dict[str, Any]) -> None:
        cluster.api.edit(NAME, storageUri=uri(3))

    cluster.kserve.script[6] = meddle
    with pytest.raises(Superseded, match="somebody else changed storageUri") as caught:
        cluster.rollout().run()
    assert uri(3) in str(caught.value)
    assert cluster.wanted["predictor"]["model"]["storageUri"] == uri(3)


@pytest.mark.parametrize("percent", [0, 20])
@MODES
def test_of_two_rollouts_the_later_one_wins(cluster: Cluster, mode: str, percent: int) -> None:
    cluster.start_with(5, mode)
    started = threading.Event()

    def wait_forever(live: dict[str, Any]) -> None:
        cluster.kserve.say(live, "Unknown")
        started.set()

    cluster.kserve.script[6] = wait_forever
    errors: list[BaseException] = []

    def earlier() -> None:
        try:
            cluster.rollout(timeout_seconds=30, canary_percent=percent).run()
        except UserError as error:
            errors.append(error)

    thread = threading.Thread(target=earlier)
    thread.start()
    assert started.wait(20)
    cluster.rollout(7, canary_percent=percent).run()
    thread.join(20)
    assert isinstance(errors[0], Superseded)
    assert "overtaken by another rollout to models/brain-tumor, of version 7" in str(errors[0])
    serves_again(cluster, 7)


def test_a_rollout_that_claims_before_the_first_change_wins(cluster: Cluster) -> None:
    cluster.start_with()

    def claim(verb: str) -> None:
        if verb == "patch":
            cluster.leave_claim("7-other", uri(5))
            cluster.api.edit(NAME, manager=MANAGER, storageUri=uri(7))

    cluster.api.on_request = claim
    with pytest.raises(Superseded, match="another rollout to models/brain-tumor, of version 7"):
        cluster.rollout().run()
    assert cluster.wanted["predictor"]["model"]["storageUri"] == uri(7)
    assert cluster.claim["holderIdentity"] == "7-other"


def test_a_change_of_the_one_that_was_overtaken_is_undone_by_the_later_one(
    cluster: Cluster,
) -> None:
    cluster.start_with()
    cluster.leave_claim("6-earlier", uri(5))

    def change(verb: str) -> None:  # before it notices
        if verb == "patch" and cluster.api.requests.count("patch") == 1:
            cluster.api.edit(NAME, manager=MANAGER, storageUri=uri(6))

    cluster.api.on_request = change
    cluster.rollout(7).run()
    serves_again(cluster, 7)


def test_many_rollouts_at_once_leave_one_version_serving(cluster: Cluster) -> None:
    cluster.start_with()
    results: dict[int, str] = {}

    def roll(version: int) -> None:
        try:
            cluster.rollout(version, timeout_seconds=30).run()
            results[version] = ""
        except UserError as error:
            results[version] = str(error)

    threads = [threading.Thread(target=roll, args=(version,)) for version in range(6, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all("overtaken" in told for told in results.values() if told), results
    (last,) = cluster.serving()
    assert results[last] == ""  # one may have ended before the next began
    serves_again(cluster, last)


def test_a_rollout_after_a_killed_one_goes_back_beyond_it(cluster: Cluster) -> None:
    cluster.start_with()
    # What a rollout of version 6 leaves that is killed before it knows whether 6 is good.
    cluster.api.edit(NAME, manager=MANAGER, storageUri=uri(6))
    cluster.leave_claim("6-dead", uri(5))
    cluster.kserve.script[7] = lambda live: never_ready(live, cluster)
    assert fails(cluster, 7, timeout_seconds=2).endswith("; version 5 serves again")
    assert cluster.serving() == [5]


# Canaries.


@MODES
def test_a_good_canary_is_promoted(cluster: Cluster, mode: str) -> None:
    cluster.start_with(5, mode)
    seen: list[dict[str, Any]] = []
    succeed = cluster.kserve.succeed

    def record(live: dict[str, Any]) -> None:
        seen.append(live["spec"])
        succeed(live)

    cluster.kserve.succeed = record  # type: ignore[method-assign]
    outcome = cluster.rollout(canary_percent=20).run()
    assert "probes of version 6, 0.0% failed" in outcome.canary
    serves_again(cluster, 6)
    first = seen[0]
    if mode == "Knative":
        assert first["predictor"]["canaryTrafficPercent"] == 20
        assert first["predictor"]["model"]["storageUri"] == uri(6)
        assert "canary" not in first
    else:
        assert "canaryTrafficPercent" not in first["predictor"]
        assert first["predictor"]["model"]["storageUri"] == uri(5)
        (canary,) = first["canary"]
        assert canary == {
            "trafficPercent": 20,
            "predictor": {
                "name": "v6",
                "model": {
                    "name": "",  # KServe's webhook fills it in
                    "modelFormat": {"name": "brain-tumor"},
                    "runtime": "brain-tumor",
                    "protocolVersion": "v2",
                    "storageUri": uri(6),
                },
            },
        }
        assert f"{NAME}-v6-predictor.models.svc.cluster.local" in "".join(cluster.pods.hosts)


@pytest.mark.parametrize(
    ("bad", "limits", "reason"),
    [
        (Pod(6, status=500), {}, r"100\.0% of the canary's \d+ probes failed, .*HTTP 500"),
        (Pod(6, off_by=0.2), {}, r"probes failed, at most 1\.0% may; the last: its P\(Healthy\)"),
        (Pod(6, seconds=0.02), {"max_latency_seconds": 0.01}, r"take up to 0\.0\d+ s, more than"),
    ],
    ids=["errors", "wrong", "slow"],
)
@MODES
def test_a_bad_canary_is_taken_back(
    cluster: Cluster, mode: str, bad: Pod, limits: dict[str, Any], reason: str
) -> None:
    cluster.start_with(5, mode)
    cluster.kserve.pod = lambda version: bad if version == 6 else Pod(version)
    with pytest.raises(UserError, match=reason if mode == "Standard" else reason[10:]) as caught:
        cluster.rollout(canary_percent=20, **limits).run()
    assert str(caught.value).endswith("; version 5 serves again")
    serves_again(cluster)
    assert 6 not in cluster.serving()


def test_knative_pins_the_former_revision_before_it_goes_back(cluster: Cluster) -> None:
    cluster.start_with(5, "Knative")
    percents = []
    succeed = cluster.kserve.succeed

    def record(live: dict[str, Any]) -> None:
        predictor = live["spec"]["predictor"]
        percents.append((predictor["model"]["storageUri"], predictor.get("canaryTrafficPercent")))
        succeed(live)

    cluster.kserve.succeed = record  # type: ignore[method-assign]
    cluster.kserve.pod = lambda version: Pod(version, status=500 if version == 6 else 200)
    fails(cluster, canary_percent=20)
    assert percents == [(uri(6), 20), (uri(5), 0), (uri(5), None)]


def test_a_canary_that_gets_no_traffic_proves_nothing(cluster: Cluster) -> None:
    cluster.start_with(5, "Knative")

    def stay(live: dict[str, Any]) -> None:
        before = cluster.pods.services
        cluster.kserve.succeed(live)
        cluster.pods.services = before

    cluster.kserve.script[6] = stay
    line = fails(cluster, canary_percent=20)
    assert "the canary answered 0 of" in line
    assert line.endswith("; version 5 serves again")


def test_a_canary_that_never_gets_ready(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.kserve.script[6] = lambda live: cluster.kserve.begin(live)
    line = fails(cluster, canary_percent=20, timeout_seconds=2)
    assert "0 of 1 pods are ready; version 5 serves again" in line
    serves_again(cluster)


def test_a_kserve_without_canaries_in_standard_mode(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.api.knows_canary = False
    before = cluster.api[NAME]
    line = fails(cluster, canary_percent=20)
    assert "this KServe drops spec.canary" in line
    assert cluster.api[NAME] == before


@pytest.mark.parametrize("percent", [0, 20])
def test_a_canary_of_another_hand_is_in_the_way(cluster: Cluster, percent: int) -> None:
    cluster.start_with(5, "Knative")
    document: dict[str, Any] = {"metadata": {"name": NAME}, "spec": {"predictor": {}}}
    document["spec"]["predictor"]["canaryTrafficPercent"] = 20
    cluster.api.kubectl_apply(document, "flux")
    before = cluster.api[NAME]["spec"]
    line = fails(cluster, canary_percent=percent, force_conflicts=True)
    assert "a canary that flux set would stay" in line
    assert cluster.api[NAME]["spec"] == before


def test_each_address_of_a_headless_service_is_asked(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def two(host: str, *arguments: Any, **named: Any) -> Any:
        found = resolve("127.0.0.1", *arguments, **named)
        if not host.endswith(".cluster.local"):
            return resolve(host, *arguments, **named)
        (family, kind, protocol, name, (_, port)), *_ = found
        deleted_error = (family, kind, protocol, name, ("127.0.0.9", 9))  # a pod that has ended
        return [(family, kind, protocol, name, ("127.0.0.1", port)), deleted_error]

    cluster.start_with()
    monkeypatch.setattr(socket, "getaddrinfo", two)
    line = fails(cluster, timeout_seconds=2)
    assert "did not answer 6 times in a row" in line
    assert "ConnectError" in line


def test_a_canary_behind_an_ingress_is_told_by_its_version(cluster: Cluster) -> None:
    cluster.start_with()
    address = f"http://127.0.0.1:{cluster.kserve.port}"
    outcome = cluster.rollout(canary_percent=20, address=address, soak_seconds=3).run()
    assert not outcome.canary.endswith(" 0 answers of another version")
    serves_again(cluster, 6)


def test_a_predictor_that_is_no_model(cluster: Cluster) -> None:
    cluster.start_with()
    document = cluster.api[NAME]
    document["metadata"]["name"] = "custom"
    document["spec"]["predictor"] = {"containers": [{"name": "kserve-container"}]}
    document["metadata"].pop("managedFields")
    cluster.api.kubectl_apply(document)
    cluster.client.name = "custom"
    assert "has no spec.predictor.model whose storageUri could be set" in fails(cluster)


def test_a_model_without_storage_uri_gets_it(cluster: Cluster) -> None:
    document = yaml.safe_load(BASE.read_text())
    del document["spec"]["predictor"]["model"]["storageUri"]
    cluster.kserve.down = True
    cluster.api.kubectl_apply(document, "flux")
    rollout = cluster.rollout(1, canary_percent=20)

    def wake(verb: str) -> None:
        if verb == "get deployments" and "patch" in cluster.api.requests:
            cluster.kserve.down = False

    cluster.api.on_request = wake
    rollout.run()
    assert cluster.serving() == [1]
    cluster.api.kubectl_apply(document, "flux")
    assert cluster.wanted["predictor"]["model"]["storageUri"] == uri(1)


def test_a_canary_that_would_take_the_deployment_of_another(cluster: Cluster) -> None:
    cluster.start_with()
    labels = {"serving.kserve.io/inferenceservice": f"{NAME}-v6"}
    other = {"metadata": {"name": f"{NAME}-v6-predictor", "labels": labels}, "spec": {}}
    cluster.api.put("deployments", other)
    before = cluster.api[NAME]
    line = fails(cluster, canary_percent=20)
    assert f"would take the Deployment of InferenceService {NAME}-v6" in line
    assert cluster.api[NAME] == before


def test_a_former_version_is_what_serves_where_somebody_changed_it_since(cluster: Cluster) -> None:
    cluster.start_with(4)
    cluster.leave_claim("6-dead", uri(5))  # 4 was set by hand after it was killed
    cluster.kserve.script[7] = lambda live: never_ready(live, cluster)
    assert fails(cluster, 7, timeout_seconds=2).endswith("; version 4 serves again")
    assert cluster.serving() == [4]


def test_one_that_is_stopped(cluster: Cluster) -> None:
    cluster.start_with()
    live = cluster.api[NAME]
    stopped = [{"type": "Stopped", "status": "True", "reason": "Stopped"}]
    cluster.api.set_status(NAME, live["status"] | {"conditions": stopped})
    assert "is stopped by its annotation serving.kserve.io/stop" in fails(cluster)
    assert cluster.wanted["predictor"]["model"]["storageUri"] == uri(5)


def test_pods_that_crashed_before_get_time_for_their_next_try(cluster: Cluster) -> None:
    cluster.start_with()
    ended = {"terminated": {"exitCode": 2, "reason": "Error", "message": "no such bucket"}}
    crash = {
        "name": "kserve-container",
        "restartCount": 5,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": ended,
    }
    cluster.kserve.begin(cluster.api[NAME], containerStatuses=[crash])
    line = fails_again(cluster)
    assert "not ready within 2 s" in line  # and not at once
    assert "crashes again and again: exit status 2: no such bucket" in line


def fails_again(cluster: Cluster) -> str:
    with pytest.raises(UserError) as caught:
        cluster.rollout(5, timeout_seconds=2).run()
    return str(caught.value)


def test_a_lease_that_is_deleted_is_written_again(cluster: Cluster) -> None:
    cluster.start_with()

    def lose(live: dict[str, Any]) -> None:
        cluster.api.remove("leases", f"{NAME}-rollout")
        until(lambda: f"{NAME}-rollout" in cluster.api.others("leases"))
        cluster.kserve.succeed(live)

    cluster.kserve.script[6] = lose
    cluster.rollout().run()
    serves_again(cluster, 6)


def test_a_lease_that_cannot_be_ended_undoes_nothing(
    cluster: Cluster, capsys: pytest.CaptureFixture
) -> None:
    cluster.start_with()
    cluster.leave_claim("", "")
    cluster.api.faults["update leases"] = ["", *[503] * 1000]
    assert cluster.rollout().run().url
    assert cluster.serving() == [6]
    assert "still names this rollout: the API server refused" in capsys.readouterr().out


def test_a_former_model_of_another_place_is_asked_for_no_version(cluster: Cluster) -> None:
    cluster.start_with()
    other = "s3://others/models/2024"
    cluster.api.edit(NAME, manager=MANAGER, storageUri=other)
    until(cluster.ready)
    cluster.kserve.pod = lambda version: Pod(1 if version == 2024 else version, status=200)
    cluster.kserve.script[6] = lambda live: never_ready(live, cluster)
    assert fails(cluster, timeout_seconds=2).endswith(f"; {other} serves again")


# The API server has its moods.


def test_an_outage_while_it_waits_is_waited_for(cluster: Cluster) -> None:
    cluster.start_with()
    begun = threading.Event()

    def outage(verb: str) -> None:
        if begun.is_set() and not cluster.api.faults.get("get deployments"):
            cluster.api.faults["get deployments"] = [503] * 12  # longer than the client's patience
            begun.clear()

    def begin(live: dict[str, Any]) -> None:
        begun.set()
        cluster.kserve.succeed(live)

    cluster.kserve.script[6] = begin
    cluster.api.on_request = outage
    cluster.rollout(timeout_seconds=60).run()
    serves_again(cluster, 6)


@pytest.mark.parametrize("fault", [429, "cut", "lost"])
@pytest.mark.parametrize(
    "request_", ["get", "patch", "patch?dryRun", "get deployments", "list pods", "update leases"]
)
def test_what_passes_is_tried_again(cluster: Cluster, request_: str, fault: int | str) -> None:
    cluster.start_with()
    cluster.leave_claim("", "")
    cluster.api.faults[request_] = [fault, 503]
    cluster.rollout(canary_percent=20).run()
    assert cluster.api.faults[request_] == []
    serves_again(cluster, 6)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_answer_that_gets_lost_is_not_taken_for_another_hand(cluster: Cluster, nth: int) -> None:
    cluster.start_with()
    cluster.api.faults["patch"] = ["", "", ""]
    cluster.api.faults["patch"][nth - 1] = "lost"
    cluster.rollout(canary_percent=20).run()
    serves_again(cluster, 6)


def test_a_creation_of_which_the_answer_gets_lost(cluster: Cluster) -> None:
    cluster.api.faults["create"] = ["lost"]
    cluster.rollout(1).run()
    assert cluster.serving() == [1]


def test_an_object_that_keeps_changing_is_read_again(cluster: Cluster) -> None:
    cluster.start_with()
    count = iter(range(1000))

    def touch(verb: str) -> None:
        if verb == "patch" and next(count) < 5:
            cluster.api.annotate(NAME, touched=str(next(count)))

    cluster.api.on_request = touch
    cluster.rollout().run()
    serves_again(cluster, 6)


@pytest.fixture
def without(cluster: Cluster) -> Callable[[str, str], None]:
    """Takes a verb for a kind out of the Role."""

    def take(verb: str, plural: str) -> None:
        for rule in list(cluster.api.rules):
            if plural in rule["resources"]:
                rule["resources"].remove(plural)
                verbs = [v for v in rule["verbs"] if v != verb]
                cluster.api.rules.append(rule | {"resources": [plural], "verbs": verbs})

    return take


@pytest.mark.parametrize(
    ("verb", "plural"),
    [
        ("get", "inferenceservices"),
        ("patch", "inferenceservices"),
        ("get", "leases"),
        ("create", "leases"),
        ("get", "deployments"),
        ("list", "pods"),
        ("list", "events"),
    ],
)
def test_a_role_that_is_too_narrow_is_told(
    cluster: Cluster, without: Callable[[str, str], None], verb: str, plural: str
) -> None:
    cluster.start_with()
    without(verb, plural)
    line = fails(cluster, timeout_seconds=1)
    assert f"not allowed to {verb} {plural} of namespace models" in line
    assert "bind the Role brain-tumor-pipeline" in line
    assert "patch" not in cluster.api.requests  # found out before anything was changed
    assert cluster.wanted["predictor"]["model"]["storageUri"] == uri(5)


def test_creating_without_the_right_to(
    cluster: Cluster, without: Callable[[str, str], None]
) -> None:
    without("create", "inferenceservices")
    assert "not allowed to create inferenceservices of namespace models" in fails(cluster, 1)


def test_what_an_admission_webhook_says_is_told(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.api.denial = "storageUri has an unknown scheme"
    line = fails(cluster)
    assert "HTTP 403: admission webhook" in line
    assert "storageUri has an unknown scheme" in line


def test_a_cluster_without_kserve(cluster: Cluster) -> None:
    cluster.api.installed = False
    assert "KServe is not installed there" in fails(cluster)


def test_a_namespace_that_is_missing(cluster: Cluster) -> None:
    cluster.api.namespaces = set()
    assert "there is no namespace models; create it or name another" in fails(cluster)


def test_an_api_server_that_stays_away(cluster: Cluster) -> None:
    cluster.api.faults["get"] = ["cut"] * 1000
    assert "cannot be reached" in fails(cluster)
    cluster.api.faults["get"] = [503] * 1000
    assert "refused to get inferenceservices of namespace models: HTTP 503" in fails(cluster)


def test_one_that_is_created_by_two_at_once(cluster: Cluster) -> None:
    def faster(verb: str) -> None:
        if verb == "create" and cluster.api.requests.count("create") == 1:
            cluster.start_with(3)

    cluster.api.on_request = faster
    with pytest.raises(Superseded, match="was created by somebody else a moment ago"):
        cluster.rollout(1).run()
    assert cluster.serving() == [3]
