"""Who may do and reach what."""

from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from pipelines.cluster import PROMETHEUS_SECRET, TOKEN_KEY, TOKEN_SECRET
from serving.settings import PREFIX, Settings
from tests.manifests.kustomize import MANIFESTS, Objects, objects
from tests.manifests.network import lets_in

METADATA_SERVICES = ("169.254.169.254", "169.254.169.252", "169.254.170.2", "169.254.0.1")
TEMPLATES = sorted((MANIFESTS / "secrets").glob("*.yaml"))
PUBLIC_KEYS = {"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"}


def _egress(found: Objects) -> list[dict[str, Any]]:
    policy = found.one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    rules: list[dict[str, Any]] = policy["egress"]
    return rules


def _reaches(block: dict[str, Any], address: str) -> bool:
    inside = ip_address(address) in ip_network(block["cidr"])
    return inside and not any(
        ip_address(address) in ip_network(part) for part in block.get("except", [])
    )


def test_no_pod_reaches_a_metadata_service(served: Objects) -> None:
    for rule in _egress(served):
        assert rule["to"], "an empty list means everyone"
        assert rule["ports"], "an empty list means every port"
        for peer in rule["to"]:
            for address in METADATA_SERVICES:
                assert "ipBlock" not in peer or not _reaches(peer["ipBlock"], address)


@pytest.mark.parametrize(
    ("name", "ports"), [("base", set()), ("s3", {8333}), ("gcs", {443}), ("local", set())]
)
def test_the_way_out_is_names_and_the_store(name: str, ports: set[int]) -> None:
    found = objects("base" if name == "base" else f"overlays/{name}")
    assert {p["port"] for rule in _egress(found) for p in rule["ports"]} == {53} | ports


def test_gcs_reaches_no_private_network() -> None:
    (block,) = [
        peer["ipBlock"]
        for rule in _egress(objects("overlays/gcs"))
        for peer in rule["to"]
        if "ipBlock" in peer and rule["ports"][0]["port"] == 443
    ]
    assert _reaches(block, "142.250.1.1")
    for address in ("10.96.0.1", "172.20.0.1", "192.168.1.1", "100.64.0.1"):
        assert not _reaches(block, address)


GATEWAYS = ("envoy-gateway-system", "istio-system", "kserve")
PORTS = (22, 8012, 8013, 8080, 8081, 8112, 9090, 9091, 10250)


def _gets_in(found: Objects, namespace: str) -> set[int]:
    """Returns the ports that pods of a namespace reach."""
    policy = found.one("NetworkPolicy")["spec"]
    labels = {"kubernetes.io/metadata.name": namespace, "team": "a"}
    return {port for port in PORTS if lets_in(policy, labels, {"app": "a"}, port)}


def test_gateways_the_pipeline_and_prometheus_get_in_and_nobody_else(served: Objects) -> None:
    ports = {entry["containerPort"] for entry in served.container["ports"]}
    knative = len(ports) == 1
    proxy = {8012, 8013, 8112, 9090} if knative else set()
    pipeline = objects("pipeline").one("ServiceAccount")["metadata"]["namespace"]
    for namespace in (*GATEWAYS, pipeline):
        assert _gets_in(served, namespace) == ports | proxy
    for namespace in ("knative-serving", "kourier-system"):
        assert _gets_in(served, namespace) == (ports | proxy if knative else set())
    assert _gets_in(served, "monitoring") == ({8080, 9091} if knative else {8080})
    for namespace in ("default", "kube-system", "brain-tumor", "istio", "a-kserve", ""):
        assert _gets_in(served, namespace) == set()


def test_other_namespaces_are_named_by_the_patches_that_the_documentation_shows() -> None:
    text = (MANIFESTS.parent / "docs" / "deploy.md").read_text()
    (block,) = [part for part in text.split("\n\n") if "path: /spec/ingress/" in part]
    found = objects("overlays/s3", **yaml.safe_load(block))
    assert _gets_in(found, "ingress-nginx") == {8080, 8081}
    assert _gets_in(found, "team-a") == {8080, 8081}
    assert _gets_in(found, "observability") == {8080}
    for namespace in (*GATEWAYS, "kubeflow", "monitoring"):
        assert _gets_in(found, namespace) == set()


def test_the_documentations_patch_for_traces_lets_out_to_the_collector_alone() -> None:
    text = (MANIFESTS.parent / "docs" / "deploy.md").read_text()
    (block,) = [part for part in text.split("\n\n") if "SERVE_TRACES" in part]
    found = objects("overlays/s3", **yaml.safe_load(block))
    environment = {entry["name"]: entry["value"] for entry in found.container["env"]}
    endpoint = urlsplit(environment["OTEL_EXPORTER_OTLP_ENDPOINT"])
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert {name for name in environment if not name.startswith("OTEL_")} <= known
    (rule,) = [rule for rule in _egress(found) if rule not in _egress(objects("overlays/s3"))]
    assert [entry["port"] for entry in rule["ports"]] == [endpoint.port]
    _, namespace, _ = str(endpoint.hostname).split(".")
    (peer,) = rule["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": namespace}


@pytest.mark.parametrize(
    ("ingress", "gets_in"),
    [  # https://kubernetes.io/docs/concepts/services-networking/network-policies/
        ([{}], True),  # allow all ingress traffic
        ([], False),  # deny all ingress traffic
        ([{"from": [{"namespaceSelector": {}}]}], True),
        ([{"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]}], False),
        ([{"from": [{"namespaceSelector": {"matchLabels": {"user": "alice"}}}]}], True),
        ([{"from": [{"namespaceSelector": {"matchLabels": {"user": "bob"}}}]}], False),
        (
            [
                {
                    "from": [
                        {
                            "namespaceSelector": {"matchLabels": {"user": "alice"}},
                            "podSelector": {"matchLabels": {"role": "server"}},
                        }
                    ]
                }
            ],
            False,
        ),
        ([{"ports": [{"port": 32000, "endPort": 32768}]}], False),
        ([{"ports": [{"port": 8080}]}], True),
        ([{"ports": [{"port": 8080, "protocol": "UDP"}]}], False),
    ],
)
def test_the_evaluator_follows_the_documentation(ingress: list[Any], gets_in: bool) -> None:
    policy = {"policyTypes": ["Ingress"], "ingress": ingress}
    assert lets_in(policy, {"user": "alice"}, {"role": "client"}, 8080) is gets_in


def test_the_tokens_are_where_the_predictor_and_prometheus_look() -> None:
    found = objects("overlays/s3", components=("monitoring", "tokens"))
    template = yaml.safe_load((MANIFESTS / "secrets" / "predictor-tokens.yaml").read_text())
    name, keys = template["metadata"]["name"], set(template["stringData"])
    (volume,) = [v for v in found.one("ServingRuntime")["spec"]["volumes"] if "secret" in v]
    (item,) = volume["secret"]["items"]
    (mount,) = [m for m in found.container["volumeMounts"] if m["name"] == volume["name"]]
    environment = {entry["name"]: entry["value"] for entry in found.container["env"]}
    path = f"{mount['mountPath']}/{item['path']}"
    assert environment["BRAIN_TUMOR_SERVE_TOKENS_FILE"] == path
    assert "subPath" not in mount, "Kubernetes would not replace it"
    assert volume["secret"]["secretName"] == name
    assert not volume["secret"].get("optional")
    (endpoint,) = found.one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"]["name"] == name
    assert {item["key"], endpoint["authorization"]["credentials"]["key"]} == keys
    assert template["metadata"]["namespace"] == found.one("Namespace")["metadata"]["name"]


def test_the_pipeline_may_do_what_its_deploy_step_does_and_no_more(served: Objects) -> None:
    rules = served.one("Role")["rules"]
    assert all(len(rule["apiGroups"]) == 1 for rule in rules)
    allowed = {
        (rule["apiGroups"][0], resource): set(rule["verbs"])
        for rule in rules
        for resource in rule["resources"]
    }
    assert allowed == {
        ("serving.kserve.io", "inferenceservices"): {"get", "create", "patch"},
        ("coordination.k8s.io", "leases"): {"get", "create", "update"},
        ("apps", "deployments"): {"get"},
        ("serving.knative.dev", "revisions"): {"get"},
        ("", "pods"): {"list"},
        ("", "events"): {"list"},
    }


def test_the_role_is_bound_to_the_pipelines_account_alone(served: Objects) -> None:
    account = objects("pipeline").one("ServiceAccount")["metadata"]
    assert served.one("RoleBinding")["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]


def test_no_overlay_holds_a_secret(served: Objects) -> None:
    assert served.of("Secret") == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_holds_no_value(path: Any) -> None:
    secret = yaml.safe_load(path.read_text())
    for key, value in secret["stringData"].items():
        assert value == "REPLACE" or key in PUBLIC_KEYS


@pytest.mark.parametrize("name", ["s3", "gcs"])
def test_the_template_makes_the_secret_that_the_account_names(name: str) -> None:
    account = objects(f"overlays/{name}").one("ServiceAccount")
    template = yaml.safe_load((MANIFESTS / "secrets" / f"predictor-{name}.yaml").read_text())
    assert account["secrets"] == [{"name": template["metadata"]["name"]}]
    assert account["metadata"]["namespace"] == template["metadata"]["namespace"]


def test_secrets_have_the_keys_that_their_readers_know() -> None:
    from pipelines.cluster import GCS_KEY, STORE_VARIABLES, Cluster

    found = {path.stem: yaml.safe_load(path.read_text()) for path in TEMPLATES}
    for name in ("predictor-gcs", "pipeline-gcs"):
        assert set(found[name]["stringData"]) == {GCS_KEY.rpartition("/")[2]}
    kserve = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert set(found["predictor-s3"]["stringData"]) == kserve
    assert set(found["predictor-s3"]["metadata"]["annotations"]) == {
        f"serving.kserve.io/s3-{name}" for name in ("endpoint", "usehttps", "region")
    }
    assert kserve < set(found["pipeline-s3"]["stringData"]) <= set(STORE_VARIABLES)
    assert found["pipeline-s3"]["metadata"]["name"] == Cluster().store_secret
    assert found["pipeline-token"]["metadata"]["name"] == TOKEN_SECRET
    assert set(found["pipeline-token"]["stringData"]) == {TOKEN_KEY}
    assert found["pipeline-prometheus"]["metadata"]["name"] == PROMETHEUS_SECRET
    assert set(found["pipeline-prometheus"]["stringData"]) == {TOKEN_KEY}
    assert set(found["pipeline-kaggle"]["stringData"]) == {"username", "key"}
    assert found["pipeline-kaggle"]["metadata"]["name"] == Cluster().kaggle_secret
