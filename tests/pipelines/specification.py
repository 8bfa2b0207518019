"""Looking into a compiled pipeline."""

from typing import Any

import yaml


def specification(text: str) -> dict[str, Any]:
    """Returns the pipeline's specification."""
    return next(iter(yaml.safe_load_all(text)))


def tasks_of(text: str) -> dict[str, dict[str, Any]]:
    """Returns the steps' tasks, those behind a condition and in a loop as well."""
    spec = specification(text)
    found = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        found |= component.get("dag", {}).get("tasks", {})
    inner = ("condition-", "for-loop-")
    return {name: task for name, task in found.items() if not name.startswith(inner)}


def containers_of(text: str) -> dict[str, dict[str, Any]]:
    """Returns the steps' containers."""
    executors = specification(text)["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): e["container"] for name, e in executors.items()}


def kubernetes_of(text: str) -> dict[str, dict[str, Any]]:
    """Returns the steps' Kubernetes settings."""
    *_, platform = yaml.safe_load_all(text)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): settings for name, settings in executors.items()}
