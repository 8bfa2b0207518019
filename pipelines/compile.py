"""Pipelines -> YAML, the same bytes each time."""

from itertools import dropwhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from kfp.compiler import Compiler, KubernetesManifestOptions
from kfp.compiler.pipeline_spec_builder import extract_comments_from_pipeline_spec

from components.shared.errors import UserError
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster, check_namespace
from pipelines.version import git_revision, version_name


def compiled(pipeline: Pipeline, cluster: Cluster) -> str:
    """Returns a pipeline as KFP YAML: a comment, the specification and the Kubernetes settings."""
    lines = _compile(pipeline, cluster).splitlines(keepends=True)
    text = "".join(dropwhile(lambda line: line.startswith("#"), lines))
    # KFP's own comment shows the keys of a default in an order that differs from run to run. The
    # specification below it has its keys in order, so KFP's comment on that one is always the same.
    specification = next(yaml.safe_load_all(text))
    description = specification["pipelineInfo"].get("description", "")
    return extract_comments_from_pipeline_spec(specification, description) + text


def manifest(pipeline: Pipeline, cluster: Cluster, namespace: str) -> str:
    """Returns a pipeline as Kubernetes objects, for a KFP that keeps its pipelines there.

    Args:
        pipeline: Which.
        cluster: What is compiled in.
        namespace: Of KFP, or of the user in a multi-user one.

    Returns:
        A Pipeline and a PipelineVersion, which is named by the git revision, as YAML.

    Raises:
        UserError: This is no git checkout, or no namespace has that name.
    """
    check_namespace(namespace)
    version = version_name(git_revision(), compiled(pipeline, cluster), cluster)
    options = KubernetesManifestOptions(
        pipeline_name=pipeline.info.name,
        pipeline_display_name=pipeline.info.display_name,
        pipeline_version_name=f"{pipeline.info.name}-{version}",
        pipeline_version_display_name=version,
        namespace=namespace,
        include_pipeline_manifest=True,
    )
    return _compile(
        pipeline, cluster, kubernetes_manifest_format=True, kubernetes_manifest_options=options
    )


def _compile(pipeline: Pipeline, cluster: Cluster, **options: Any) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        Compiler().compile(pipeline.define(cluster), str(path), **options)
        return path.read_text()


def check(path: Path, text: str) -> None:
    """Compares a committed file with what the code compiles to.

    Args:
        path: The file.
        text: What `compiled` or `manifest` returns.

    Raises:
        UserError: The file is missing or differs.
    """
    if not path.exists() or path.read_text() != text:
        raise UserError(
            f"{path} is not what the code compiles to; run 'make compile' and commit it"
        )
