"""The fake cluster answers as the real one did: recorded requests, and what came back."""

import copy
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.conftest import BASE, NAME, Cluster
from tests.deploy.kube_api import KubeAPI, serve

FOLDER = Path(__file__).parent / "recorded"
EXCHANGES = json.loads((FOLDER / "api.json").read_text())["exchanges"]
KSERVE = json.loads((FOLDER / "kserve.json").read_text())
BEFORE = ("get a missing InferenceService", "get a missing Lease", "create, dry run")


@pytest.fixture(scope="module")
def answers() -> dict[str, httpx.Response]:
    """What the fake API server answers to the recorded requests, in their order."""
    api = KubeAPI()
    api.knative, api.unbound = False, "default"
    server = serve(api)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    found = {}
    for exchange in EXCHANGES:
        if exchange["what"] not in BEFORE and NAME not in api.names("models"):
            base = yaml.safe_load(BASE.read_text())
            base["spec"]["predictor"]["model"]["storageUri"] = "s3://models/registry/brain-tumor/5/"
            api.kubectl_apply(base)
        found[exchange["what"]] = httpx.request(
            exchange["method"],
            url + exchange["path"],
            content=json.dumps(_current(exchange["request"], api)),
            headers={"Content-Type": exchange["content_type"]},
        )
    server.shutdown()
    server.server_close()
    return found


def _current(document: Any, api: KubeAPI) -> Any:
    """Puts the resourceVersion of this server into a request that had the real one's."""
    document = copy.deepcopy(document)
    if document and document["metadata"].get("resourceVersion", "1") != "1":
        lease = document["kind"] == "Lease"
        held = api.others("leases").get(f"{NAME}-rollout") if lease else api[NAME]
        assert held
        document["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"]
    return document


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["what"])
def test_the_api_server(exchange: dict[str, Any], answers: dict[str, httpx.Response]) -> None:
    answer, expected = answers[exchange["what"]], exchange["answer"]
    assert answer.status_code == exchange["status"]
    if isinstance(expected, str):
        assert answer.text == expected
    elif expected["kind"] == "Status":
        found = answer.json()
        for name in ("status", "code", "reason", "message"):
            assert found.get(name) == expected.get(name), name
        for name, value in expected.get("details", {}).items():
            assert found["details"][name] == value, name
    else:
        assert answer.json()["metadata"]["name"] == expected["metadata"]["name"]
        assert expected["spec"].items() <= answer.json()["spec"].items()


def test_kserves_status_and_deployment(cluster: Cluster) -> None:
    cluster.start_with()
    cluster.kserve.begin(cluster.api[NAME])
    live, real = cluster.api[NAME], KSERVE["inference_service"]
    assert set(live["status"]) <= set(real["status"]) | {"url", "address"}
    deployment = cluster.api.others("deployments")[f"{NAME}-predictor"]
    wanted = KSERVE["deployment"]
    assert live["status"]["observedGeneration"] == deployment["metadata"]["generation"]
    assert real["status"]["observedGeneration"] == wanted["metadata"]["generation"]
    assert deployment["spec"]["selector"] == wanted["spec"]["selector"]
    annotations = wanted["spec"]["template"]["metadata"]["annotations"]
    assert set(deployment["spec"]["template"]["metadata"]["annotations"]) == set(annotations)
    assert set(deployment["status"]) <= set(wanted["status"]) | {"availableReplicas"}
    new = KSERVE["pods"][-1]["metadata"]
    pod = next(p for name, p in cluster.api.others("pods").items() if name.endswith("-0"))
    assert pod["metadata"]["labels"].items() <= new["labels"].items()
    assert set(pod["metadata"]["annotations"]) <= set(new["annotations"])
