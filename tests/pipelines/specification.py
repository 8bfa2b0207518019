"""Looking into a compiled pipeline."""

from typing import Any

import yaml


def specification(text: str) -> dict[str, Any]:
    """Returns the pipeline's specification."""
    return next(iter(yaml.load_all(text, yaml.CSafeLoader)))


def tasks_of(text: str) -> dict[str, dict[str, Any]]:
    """Returns the steps' tasks, those behind a condition and in a loop as well, by component."""
    spec = specification(text)
    components = spec["components"]
    dags = [spec["root"]["dag"], *(c["dag"] for c in components.values() if "dag" in c)]
    found = {task["componentRef"]["name"]: task for dag in dags for task in dag["tasks"].values()}
    return {
        name.removeprefix("comp-"): task
        for name, task in found.items()
        if "dag" not in components[name]
    }


def containers_of(text: str) -> dict[str, dict[str, Any]]:
    """Returns the steps' containers."""
    executors = specification(text)["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): e["container"] for name, e in executors.items()}


def kubernetes_of(text: str) -> dict[str, dict[str, Any]]:
    """Returns the steps' Kubernetes settings."""
    *_, platform = yaml.load_all(text, yaml.CSafeLoader)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): settings for name, settings in executors.items()}
