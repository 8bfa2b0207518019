"""Kubeflow Model Registry: where a registered version is recorded too, if there is one.

It is an index for people and tools of the cluster; the version itself, its aliases and its history
stay in this project's registry.
"""

import asyncio
import logging
import warnings
from collections.abc import Coroutine
from typing import Any

from components.shared.errors import UserError, one_line
from components.shared.model_folder.metadata import ModelMetadata
from components.shared.registry.history import author

_SECONDS = 30
_FORMAT = ("tensorflow", "2")  # a SavedModel


def record(address: str, metadata: ModelMetadata, uri: str) -> None:
    """Records a version: registered model, model version, and artifact with the storage URI.

    Args:
        address: Of the Model Registry's REST API, such as
            http://model-registry-service.kubeflow.svc.cluster.local:8080. With https:// the
            pod's service account token, or the file that KF_PIPELINES_SA_TOKEN_PATH names, is sent.
        metadata: What the version says of itself.
        uri: Where it lies, as KServe's `storageUri` takes it.

    Raises:
        UserError: The Model Registry cannot be reached, refuses, or has this version already.
    """
    try:
        _record(address, metadata, uri)
    except Exception as error:  # a second-rate record must not cost a registration
        raise UserError(f"Kubeflow Model Registry {address}: {_message(error)}") from error


def _record(address: str, metadata: ModelMetadata, uri: str) -> None:
    if not address.startswith(("http://", "https://")):
        raise ValueError("give an address that begins with http:// or https://")
    from model_registry import ModelRegistry

    with warnings.catch_warnings(action="ignore"):  # that there is no token, on http://
        client = ModelRegistry(
            address.rstrip("/"),
            author=author(),
            log_level=logging.ERROR,  # it has views on port numbers
            async_runner=_run,
        )
    client.register_model(
        metadata.name,
        uri,
        version=str(metadata.version),
        model_format_name=_FORMAT[0],
        model_format_version=_FORMAT[1],
        model_source_kind="pipelines" if metadata.pipeline_run else None,
        model_source_class="pipelinerun" if metadata.pipeline_run else None,
        model_source_id=metadata.pipeline_run or None,
        version_description="; ".join(metadata.gate.notes) or None,
        metadata=properties(metadata),
    )


def properties(metadata: ModelMetadata) -> dict[str, str | int | float]:
    """Returns a version's custom properties: its held-out metrics and its lineage."""
    held_out = metadata.metrics.held_out.model
    metrics = {name: getattr(held_out, name).value for name in type(held_out).model_fields}
    lineage = {
        "threshold": metadata.threshold,
        "split_strategy": metadata.data.split_strategy,
        "data_source": metadata.data.source,
        "data_digest": metadata.data.digest,
        "split_digest": metadata.data.split_digest,
        "git_revision": metadata.git_revision,
        "pipeline_run": metadata.pipeline_run,
        "compared_with_version": metadata.gate.champion_version or 0,
    }
    return metrics | lineage


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a request, and no longer than is worth waiting for."""
    return asyncio.run(asyncio.wait_for(coroutine, _SECONDS))


def _message(error: Exception) -> str:
    """Returns what a failure comes to, in one line."""
    if isinstance(error, TimeoutError):
        return f"no answer within {_SECONDS} s"
    status = getattr(error, "status", None)  # of an answer, which holds headers and body too
    return one_line(f"answers {status} {getattr(error, 'reason', '')}" if status else error)
