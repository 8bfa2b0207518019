"""The deploy step: a registered version is fetched, checked, rolled out and made champion."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.deploy.api import open_api
from components.deploy.rollout import Rollout
from components.shared.errors import UserError
from components.shared.model_folder.smoke import SmokeImage, read_smoke
from components.shared.registry import Registry
from components.shared.run.rollout_plan import checked_plan, storage_uri


@dataclass(frozen=True)
class Deployment:
    """What became of a version that was to be deployed.

    Attributes:
        version: Its number.
        url: Where it is served; empty after a dry run.
        changes: What was or would be changed, as a unified diff.
        summary: The same for people, in Markdown.
    """

    version: int
    url: str
    changes: str
    summary: str


def deploy(
    registry_uri: str,
    reference: str,
    served_from: str = "",
    dry_run: bool = False,
    run_id: str = "",
    **settings: Any,
) -> Deployment:
    """Rolls a registered version out, and makes it champion when it serves.

    Args:
        registry_uri: The registry.
        reference: The version: its number, `latest`, `champion` or `candidate`.
        served_from: The registry's address as KServe sees it, where the registry is a folder.
        dry_run: Only say what would change.
        run_id: Of the pipeline run, for the registry's history; empty where there is none.
        **settings: The other fields of `Plan`.

    Returns:
        What became of it.

    Raises:
        UserError: It is not deployed; how it stands is said.
    """
    if not registry_uri:
        raise UserError("registry is empty; KServe reads models from one, so register there first")
    registry = Registry.open(registry_uri)
    version = registry.resolve(reference)
    uri = storage_uri(registry.address(version), served_from)
    plan = checked_plan(version=version, storage_uri=uri, **settings)
    api = open_api(plan.inference_service, plan.namespace)
    images = _smoke_images(registry, version)
    rollout = Rollout(plan, api, images)
    name = f"{api.namespace}/{api.name}"
    if dry_run:
        changes = rollout.dry_run().changes
        return Deployment(version, "", changes, _summary(f"Dry run: {name}", {}, changes))
    outcome = rollout.run()
    _promote(registry, version, f"serves as {name}" + (f", run {run_id}" if run_id else ""))
    facts = {"InferenceService": name, "URL": outcome.url, "storageUri": uri}
    if outcome.canary:
        facts["canary"] = outcome.canary
    summary = _summary(f"Version {version} serves", facts, outcome.changes)
    return Deployment(version, outcome.url, outcome.changes, summary)


def _smoke_images(registry: Registry, version: int) -> list[SmokeImage]:
    """Fetches a version, which checks all of it, and returns the images that it is kept with."""
    with TemporaryDirectory(prefix="deploy-") as temporary:
        folder = Path(temporary, str(version))
        registry.fetch(version, folder)
        return read_smoke(folder)


def _promote(registry: Registry, version: int, reason: str) -> None:
    try:
        registry.promote(str(version), reason=reason)
    except UserError as error:
        raise UserError(
            f"version {version} serves, but is not champion in the registry: {error}; "
            f"then run 'brain-tumor models promote {version}'"
        ) from error


def _summary(title: str, facts: Mapping[str, str], changes: str) -> str:
    lines = [f"# {title}", "", *(f"- {name}: `{value}`" for name, value in facts.items())]
    return "\n".join([*lines, "", "```diff", changes or "nothing would change", "```", ""])
