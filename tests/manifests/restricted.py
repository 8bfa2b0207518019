"""The restricted Pod Security Standard, written down anew for the tests."""

from collections.abc import Iterator
from typing import Any

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SECCOMP = ("RuntimeDefault", "Localhost")


def violations(pod: dict[str, Any]) -> Iterator[str]:
    """Yields what a pod does that the standard forbids."""
    security = pod.get("securityContext", {})
    containers = [
        container
        for group in ("initContainers", "containers", "ephemeralContainers")
        for container in pod.get(group, [])
    ]
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield field
    for volume in pod.get("volumes", []):
        yield from (f"volume {kind}" for kind in set(volume) - {"name"} - VOLUMES)
    if security.get("sysctls"):
        yield "sysctls"
    yield from _shared(security, "pod")
    for container in containers:
        yield from _of_container(container, security)


def _of_container(container: dict[str, Any], pod_security: dict[str, Any]) -> Iterator[str]:
    name, security = container["name"], container.get("securityContext", {})
    yield from _shared(security, name)
    if security.get("privileged"):
        yield f"{name}: privileged"
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation"
    if security.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    capabilities = security.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name}: capabilities.drop"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities.add"
    both = pod_security | security
    if both.get("runAsNonRoot") is not True:
        yield f"{name}: runAsNonRoot"
    if both.get("seccompProfile", {}).get("type") not in SECCOMP:
        yield f"{name}: seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{name}: hostPort"
    for hook in ("livenessProbe", "readinessProbe", "startupProbe"):
        if any("host" in action for action in container.get(hook, {}).values() if _is_map(action)):
            yield f"{name}: {hook}.host"


def _shared(security: dict[str, Any], name: str) -> Iterator[str]:
    """Yields what is forbidden to pods and containers alike."""
    if security.get("runAsUser") == 0:
        yield f"{name}: runAsUser"
    if security.get("runAsNonRoot") is False:
        yield f"{name}: runAsNonRoot"
    if security.get("seccompProfile", {"type": SECCOMP[0]}).get("type") not in SECCOMP:
        yield f"{name}: seccompProfile"
    for field in ("seLinuxOptions", "windowsOptions"):
        if field in security:
            yield f"{name}: {field}"
    if security.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield f"{name}: appArmorProfile"


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)
