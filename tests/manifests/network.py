"""What a NetworkPolicy lets in, by the rules of Kubernetes' API reference."""

from typing import Any

Labels = dict[str, str]


def lets_in(policy: dict[str, Any], namespace: Labels, pod: Labels, port: int) -> bool:
    """Tells whether a pod of another namespace gets through to a TCP port of the policy's pods.

    Args:
        policy: The object's spec.
        namespace: Labels of the pod's namespace.
        pod: Labels of the pod.
        port: Its number.
    """
    if "Ingress" not in policy["policyTypes"]:
        return True
    return any(
        _peers(rule.get("from"), namespace, pod) and _ports(rule.get("ports"), port)
        for rule in policy.get("ingress", [])
    )


def _peers(peers: Any, namespace: Labels, pod: Labels) -> bool:
    if not peers:  # "empty or missing, matches all sources"
        return True
    for peer in peers:
        assert set(peer) <= {"namespaceSelector", "podSelector"}
    # Without a namespaceSelector the policy's own namespace is meant.
    return any(
        "namespaceSelector" in peer
        and _selects(peer["namespaceSelector"], namespace)
        and _selects(peer.get("podSelector", {}), pod)
        for peer in peers
    )


def _ports(ports: Any, port: int) -> bool:
    if not ports:  # "empty or missing, matches all ports"
        return True
    return any(
        entry.get("protocol", "TCP") == "TCP"
        and entry.get("port", port) <= port <= entry.get("endPort", entry.get("port", port))
        for entry in ports
    )


def _selects(selector: dict[str, Any], labels: Labels) -> bool:
    """Tells whether a label selector takes labels; an empty one takes all."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    return all(_holds(entry, labels) for entry in selector.get("matchExpressions", []))


def _holds(entry: dict[str, Any], labels: Labels) -> bool:
    key, values = entry["key"], entry.get("values", [])
    return {
        "In": key in labels and labels[key] in values,
        "NotIn": key not in labels or labels[key] not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[entry["operator"]]
