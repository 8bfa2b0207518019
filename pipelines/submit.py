"""Upload a pipeline as a version, and start a run of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import kfp_server_api as api
from urllib3.exceptions import HTTPError

from components.errors import UserError
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from pipelines.compile import compiled
from pipelines.settings import check_deploy
from pipelines.version import git_revision, version_name

TIMEOUT = (10.0, 60.0)  # seconds to connect, and for an answer


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
    pipeline: Pipeline,
    endpoint: str,
    token: str,
    namespace: str,
    experiment: str,
    run_name: str,
    parameters: dict[str, Any],
    cluster: Cluster,
    service_account: str = "",
) -> Submission:
    """Uploads a pipeline as a version named by the git revision and starts a run.

    A version that is there already is used as it is, so submitting twice uploads once.

    Args:
        pipeline: Which.
        endpoint: Address of the KFP API, such as http://localhost:8080.
        token: Bearer token; empty for none.
        namespace: Of the user, in a multi-user KFP; empty otherwise.
        experiment: Made where missing.
        run_name: Name of the run; empty for one made from the version.
        parameters: Checked run parameters.
        cluster: What is compiled in.
        service_account: Of the steps' pods; empty for KFP's own.

    Returns:
        The identifiers.

    Raises:
        UserError: The endpoint cannot be reached or refuses.
    """
    endpoint = checked_endpoint(endpoint)
    check_deploy(parameters, cluster)
    revision = git_revision()
    package = compiled(pipeline, cluster)
    version = version_name(revision, package, cluster)
    client = _client(endpoint, token)
    try:
        pipeline_id = _pipeline(client, pipeline.kfp_name, namespace, package)
        version_id = _version(client, pipeline_id, version, package)
        experiment_id = _experiment(client, namespace, experiment)
        run = api.RunServiceApi(client).run_service_create_run(
            api.V2beta1Run(
                experiment_id=experiment_id,
                display_name=run_name or f"{pipeline.kfp_name} {version}",
                service_account=service_account or None,
                pipeline_version_reference=api.V2beta1PipelineVersionReference(
                    pipeline_id=pipeline_id, pipeline_version_id=version_id
                ),
                runtime_config=api.V2beta1RuntimeConfig(
                    parameters={"git_revision": revision, **parameters}
                ),
            )
        )
        run_id = _id(run.run_id)
    except api.ApiException as error:
        raise UserError(
            f"KFP at {endpoint} refused with HTTP {error.status}: {_reason(error)}; check the "
            "endpoint, --token and --namespace"
        ) from error
    except (HTTPError, OSError) as error:
        reason = getattr(error, "reason", None) or error  # urllib3 tells of its retries as well
        raise UserError(
            f"KFP at {endpoint} cannot be reached: {_one_line(reason)}; check --endpoint or "
            "KFP_ENDPOINT"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{endpoint} gave an answer that is not of KFP's API: {_one_line(error)}; check "
            "--endpoint, and that no login page stands before it"
        ) from error
    return Submission(pipeline_id, version_id, version, run_id)


def checked_endpoint(endpoint: str) -> str:
    """Returns the address of a KFP API without a slash at its end.

    Raises:
        UserError: It is no http address.
    """
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise UserError(
            f"--endpoint: {endpoint!r} is no address of an API; give one such as "
            "http://localhost:8080"
        )
    return endpoint.rstrip("/")


class _Client(api.ApiClient):
    """KFP's own client of its API, with a time limit, to which only JSON is an answer.

    It reads a login page as an empty list, and a run that was never started as one without a name.
    """

    def request(self, method: str, url: str, **options: Any) -> api.rest.RESTResponse:
        """Sends one request.

        Raises:
            ValueError: The answer is not JSON.
            OSError: TLS failed.
        """
        try:
            response = super().request(method, url, **options | {"_request_timeout": TIMEOUT})
        except api.ApiException as error:
            if error.status:
                raise
            raise OSError(error.reason) from error
        json.loads(response.data)
        return response


def _client(endpoint: str, token: str) -> _Client:
    configuration = api.Configuration(host=endpoint)
    if token:
        configuration.api_key["authorization"] = token
        configuration.api_key_prefix["authorization"] = "Bearer"
    return _Client(configuration)


def _pipeline(client: _Client, name: str, namespace: str, package: str) -> str:
    """Returns the pipeline's id, uploading it where it is missing."""
    found = api.PipelineServiceApi(client).pipeline_service_list_pipelines(
        namespace=namespace, filter=_named(name)
    )
    for pipeline in found.pipelines or []:
        if pipeline.display_name == name:
            return _id(pipeline.pipeline_id)
    with _file(package) as path:
        uploaded = api.PipelineUploadServiceApi(client).upload_pipeline(
            path, name=name, namespace=namespace
        )
    return _id(uploaded.pipeline_id)


def _version(client: _Client, pipeline_id: str, version: str, package: str) -> str:
    """Returns the version's id, uploading it where it is missing."""
    for known in _versions(client, pipeline_id):
        if known.display_name == version:
            return _id(known.pipeline_version_id)
    with _file(package) as path:
        uploaded = api.PipelineUploadServiceApi(client).upload_pipeline_version(
            path, name=version, pipelineid=pipeline_id
        )
    return _id(uploaded.pipeline_version_id)


def _versions(client: _Client, pipeline_id: str) -> Iterator[api.V2beta1PipelineVersion]:
    pipelines = api.PipelineServiceApi(client)
    token = ""
    while True:
        page = pipelines.pipeline_service_list_pipeline_versions(
            pipeline_id, page_token=token, page_size=100
        )
        yield from page.pipeline_versions or []
        token = page.next_page_token
        if not token:
            return


def _experiment(client: _Client, namespace: str, name: str) -> str:
    """Returns the experiment's id, making it where it is missing."""
    experiments = api.ExperimentServiceApi(client)
    found = experiments.experiment_service_list_experiments(
        namespace=namespace, filter=_named(name)
    )
    for experiment in found.experiments or []:
        if experiment.display_name == name:
            return _id(experiment.experiment_id)
    made = experiments.experiment_service_create_experiment(
        api.V2beta1Experiment(display_name=name, namespace=namespace)
    )
    return _id(made.experiment_id)


def _id(value: str | None) -> str:
    """Returns an identifier that KFP gave.

    Raises:
        ValueError: It gave none, so it is not KFP that answers.
    """
    if not value:
        raise ValueError("it names no id")
    return value


def _named(name: str) -> str:
    """Returns the API's filter for things of this name."""
    return json.dumps(
        {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
    )


@contextmanager
def _file(package: str) -> Iterator[str]:
    """Puts a package into a file for as long as it is uploaded."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        path.write_text(package)
        yield str(path)


def _reason(error: api.ApiException) -> str:
    """Returns KFP's own message, or HTTP's where a proxy answered with a page."""
    try:
        answer = json.loads(error.body)
        return _one_line(answer.get("message") or answer["error"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return _one_line(error.reason)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
