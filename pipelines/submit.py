"""Upload the pipeline as a version, and start a run of it."""

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kfp
from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError

from components.errors import UserError
from pipelines.cluster import Cluster
from pipelines.compile import compiled
from pipelines.training import NAME


@dataclass(frozen=True)
class Submission:
    """A run that was started.

    Attributes:
        pipeline_id: Of the pipeline.
        version_id: Of the version that runs.
        version: Its name, the git revision.
        run_id: Of the run.
    """

    pipeline_id: str
    version_id: str
    version: str
    run_id: str


def submit(
    endpoint: str,
    token: str,
    namespace: str,
    experiment: str,
    run_name: str,
    parameters: dict[str, Any],
    cluster: Cluster,
    caching: bool = True,
) -> Submission:
    """Uploads the pipeline as a version named by the git revision and starts a run.

    A version that is there already is used as it is, so submitting twice uploads once.

    Args:
        endpoint: Address of the KFP API, such as http://localhost:8080.
        token: Bearer token; empty for none.
        namespace: Of the user, in a multi-user KFP; empty otherwise.
        experiment: Made where missing.
        run_name: Name of the run; empty for one made from the version.
        parameters: Checked run parameters.
        cluster: What is compiled in.
        caching: Whether finished steps of earlier runs may be used.

    Returns:
        The identifiers.

    Raises:
        UserError: The endpoint cannot be reached or refuses.
    """
    revision = git_revision()
    package = compiled(cluster)
    version = version_name(revision, package, cluster)
    try:
        client = kfp.Client(
            host=endpoint, existing_token=token or None, namespace=namespace or "kubeflow"
        )
        pipeline_id, version_id = _upload(client, namespace, version, package)
        experiment_id = client.create_experiment(
            experiment, namespace=namespace or None
        ).experiment_id
        run = client.run_pipeline(
            experiment_id,
            run_name or f"{NAME} {version}",
            params={"git_revision": revision, **parameters},
            pipeline_id=pipeline_id,
            version_id=version_id,
            enable_caching=None if caching else False,
        )
    except ApiException as error:
        raise UserError(
            f"KFP at {endpoint} refused with HTTP {error.status}: {_reason(error)}; check the "
            "endpoint, --token and --namespace"
        ) from error
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"KFP at {endpoint} cannot be reached: {' '.join(str(error).split())[:200]}; check "
            "--endpoint or KFP_ENDPOINT"
        ) from error
    return Submission(pipeline_id, version_id, version, run.run_id)


def git_revision() -> str:
    """Returns the revision of the project's code: the short SHA, with `-dirty` if files changed.

    Raises:
        UserError: This is no git checkout.
    """
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"{here}: no git revision to name the version by; submit from a git checkout"
        ) from error
    return described.stdout.strip()


def version_name(revision: str, package: str, cluster: Cluster) -> str:
    """Returns the name of a pipeline version: the same name never stands for two packages.

    Args:
        revision: Git revision, with `-dirty` if files changed.
        package: The compiled pipeline.
        cluster: What was compiled in.

    Returns:
        The revision alone for a clean checkout with default settings, else with the package's
        digest behind it.
    """
    if cluster == Cluster() and not revision.endswith("-dirty"):
        return revision
    return f"{revision}-{hashlib.sha256(package.encode()).hexdigest()[:8]}"


def _upload(client: kfp.Client, namespace: str, version: str, package: str) -> tuple[str, str]:
    """Returns pipeline and version, uploading what is not there."""
    pipeline_id = client.get_pipeline_id(NAME)
    if pipeline_id:
        for known in _versions(client, pipeline_id):
            if known.display_name == version:
                return pipeline_id, known.pipeline_version_id
    with TemporaryDirectory() as folder:
        path = Path(folder, "training.yaml")
        path.write_text(package)
        if not pipeline_id:
            pipeline_id = client.upload_pipeline(
                str(path), pipeline_name=NAME, namespace=namespace or None
            ).pipeline_id
        uploaded = client.upload_pipeline_version(str(path), version, pipeline_id=pipeline_id)
    return pipeline_id, uploaded.pipeline_version_id


def _versions(client: kfp.Client, pipeline_id: str) -> Iterator[Any]:
    token = ""
    while True:
        page = client.list_pipeline_versions(pipeline_id, page_token=token, page_size=100)
        yield from page.pipeline_versions or []
        token = page.next_page_token
        if not token:
            return


def _reason(error: ApiException) -> str:
    return " ".join(str(error.body or error.reason).split())[:200]
