"""Upload a pipeline as a version, and start a run of it, once or again and again."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kfp_server_api as api
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineInfo

from components.shared.errors import UserError
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster, check_namespace
from pipelines.compile import compiled
from pipelines.kfp_client import connected
from pipelines.settings import check_together
from pipelines.version import git_revision, version_name

TIMEOUT = (10.0, 60.0)  # seconds to connect, and for an answer
LOOKS, LOOK_AGAIN = 5, 1.0  # how often to look for what another submit makes, seconds between
MAX_EXPERIMENT = 128  # bytes
MAX_VERSION = 127  # bytes
MAX_RUN = 255  # characters; KFP starts a longer one before its database refuses it


@dataclass(frozen=True)
class Submission:
    """A run that was started, or planned.

    Attributes:
        pipeline_id: Of the pipeline.
        version_id: Of the version that runs.
        version: Its name, the git revision.
        run_id: Of the run, or of the recurring run.
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
    cookie: str = "",
    ca_file: Path | None = None,
    cron: str = "",
) -> Submission:
    """Uploads a pipeline as a version named by the git revision and starts a run.

    What is there already is used as it is, so submitting twice, or two at once, uploads once.

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
        cookie: Cookies of a session, where a login stands before KFP; empty for none.
        ca_file: Certificates of the authorities to trust; None for the well-known ones.
        cron: When to start a run, again and again, as cron has it: minute, hour, day of the month,
            month, day of the week. It replaces the recurring run of that name in the experiment.
            Empty starts one run, now.

    Returns:
        The identifiers.

    Raises:
        UserError: The endpoint cannot be reached or refuses, or a name is too long.
    """
    check_together(parameters, cluster)
    revision = git_revision()
    package = compiled(pipeline, cluster)
    version = version_name(revision, package, cluster)
    info = pipeline.info
    run_name = run_name or (info.name if cron else f"{info.name} {version}")
    if cron:
        _check_cron(cron)
    if namespace:
        check_namespace(namespace)
    _check_name("--experiment", experiment, MAX_EXPERIMENT)
    _check_name("version", version, MAX_VERSION)
    _check_name("--run-name", run_name, MAX_RUN, "characters")
    for name, value in parameters.items():
        _check_text(name, value)
    with connected(endpoint, TIMEOUT, token, cookie, ca_file) as client:
        # The experiment first: where the namespace is wrong, nothing has been uploaded yet.
        experiment_id = _experiment(client, namespace, experiment)
        pipeline_id = _pipeline(client, info, namespace)
        version_id = _version(client, pipeline_id, version, info.description, package)
        run = {
            "experiment_id": experiment_id,
            "display_name": run_name,
            "service_account": service_account or None,
            "pipeline_version_reference": api.V2beta1PipelineVersionReference(
                pipeline_id=pipeline_id, pipeline_version_id=version_id
            ),
            "runtime_config": api.V2beta1RuntimeConfig(
                parameters={"git_revision": revision, **parameters}
            ),
        }
        run_id = _recurring(client, run, cron) if cron else _started(client, run)
        return Submission(pipeline_id, version_id, version, run_id)


def _started(client: api.ApiClient, run: dict[str, Any]) -> str:
    """Starts a run and returns its id."""
    return _id(api.RunServiceApi(client).run_service_create_run(api.V2beta1Run(**run)).run_id)


def _recurring(client: api.ApiClient, run: dict[str, Any], cron: str) -> str:
    """Makes a recurring run, then deletes those that it replaces; returns its id."""
    recurring = api.RecurringRunServiceApi(client)
    replaced = list(_recurring_runs(recurring, run["experiment_id"], run["display_name"]))
    made = recurring.recurring_run_service_create_recurring_run(
        api.V2beta1RecurringRun(
            **run,
            trigger=api.V2beta1Trigger(
                cron_schedule=api.V2beta1CronSchedule(cron=f"0 {cron}")  # KFP's begins with seconds
            ),
            mode=api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,  # what was missed is not made up for
        )
    )
    made_id = _id(made.recurring_run_id)
    for former in replaced:
        recurring.recurring_run_service_delete_recurring_run(former)
    return made_id


def _recurring_runs(
    recurring: api.RecurringRunServiceApi, experiment_id: str, name: str
) -> Iterator[str]:
    """Yields the ids of the recurring runs of a name in an experiment."""
    token = ""
    while True:
        page = recurring.recurring_run_service_list_recurring_runs(
            experiment_id=experiment_id,
            page_token=token,
            page_size=100,
            filter=_filter("display_name", name),
        )
        for known in page.recurring_runs or []:
            if known.display_name == name:
                yield _id(known.recurring_run_id)
        token = page.next_page_token
        if not token:
            return


def _check_cron(cron: str) -> None:
    """Checks a schedule; KFP would take six fields, and five of them for others than they are.

    Raises:
        UserError: It has not five fields.
    """
    if not re.fullmatch(r"[0-9A-Za-z*/,?-]+( [0-9A-Za-z*/,?-]+){4}", cron):
        raise UserError(
            f"--cron: {cron!r} does not have the five fields minute, hour, day of the month, "
            "month and day of the week; give one such as '0 6 * * 1', Mondays at six"
        )


def _check_name(what: str, name: str, limit: int, unit: str = "bytes") -> None:
    """Checks a name that KFP refuses only after it has made other things.

    Raises:
        UserError: It is empty, too long or not printable.
    """
    if not name or not name.isprintable():
        raise UserError(f"{what} {name!r} is not a name; give one of printable characters")
    _check_text(what, name)
    length = len(name.encode() if unit == "bytes" else name)
    if length > limit:
        raise UserError(f"{what} {name[:20]}… has {length} {unit}; KFP takes {limit} at most")


def _check_text(what: str, value: object) -> None:
    """Checks a value that KFP stores, in three bytes a character, when it has started the run.

    Raises:
        UserError: A character takes four bytes.
    """
    beyond = next((char for char in str(value) if char > "\uffff"), "")
    if beyond:
        raise UserError(f"{what}: KFP cannot store the character {beyond!r}; leave it out")


def _found_or_made(look: Callable[[], str | None], make: Callable[[], str | None]) -> str:
    """Returns the id of what is there, or else of what is made.

    Another submit may make it in between. KFP answers 409 then, and lists it a moment later.
    """
    if found := look():
        return found
    try:
        return _id(make())
    except api.ApiException as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        for _ in range(LOOKS):
            if found := look():
                return found
            time.sleep(LOOK_AGAIN)
        raise


def _experiment(client: api.ApiClient, namespace: str, name: str) -> str:
    """Returns the experiment's id, making it where it is missing."""
    experiments = api.ExperimentServiceApi(client)

    def look() -> str | None:
        found = experiments.experiment_service_list_experiments(
            namespace=namespace, filter=_filter("display_name", name)
        )
        for experiment in found.experiments or []:
            if experiment.display_name == name:
                if experiment.storage_state == "ARCHIVED":
                    raise UserError(
                        f"experiment {name!r} is archived; restore it in KFP's UI under "
                        "Experiments, Archived, or give another --experiment"
                    )
                return _id(experiment.experiment_id)
        return None

    def make() -> str | None:
        made = experiments.experiment_service_create_experiment(
            api.V2beta1Experiment(display_name=name, namespace=namespace)
        )
        return made.experiment_id

    return _found_or_made(look, make)


def _pipeline(client: api.ApiClient, info: PipelineInfo, namespace: str) -> str:
    """Returns the pipeline's id, making it, still without a version, where it is missing."""
    pipelines = api.PipelineServiceApi(client)

    def look() -> str | None:
        found = pipelines.pipeline_service_list_pipelines(
            namespace=namespace, filter=_filter("name", info.name)
        )
        ids = [known.pipeline_id for known in found.pipelines or [] if known.name == info.name]
        return _id(ids[0]) if ids else None

    def make() -> str | None:
        made = pipelines.pipeline_service_create_pipeline(
            api.V2beta1Pipeline(
                name=info.name,
                display_name=info.display_name,
                description=info.description,
                namespace=namespace,
            )
        )
        return made.pipeline_id

    return _found_or_made(look, make)


def _version(
    client: api.ApiClient, pipeline_id: str, version: str, description: str, package: str
) -> str:
    """Returns the version's id, uploading it where it is missing."""

    def look() -> str | None:
        # One that kubectl applied has the object's name, and the version as its display name.
        for key in ("name", "display_name"):
            for known in _versions(client, pipeline_id, _filter(key, version)):
                if version in (known.name, known.display_name):
                    return _id(known.pipeline_version_id)
        return None

    def make() -> str | None:
        with _file(package) as path:
            made = api.PipelineUploadServiceApi(client).upload_pipeline_version(
                path, name=version, pipelineid=pipeline_id, description=description
            )
        return made.pipeline_version_id

    return _found_or_made(look, make)


def _versions(
    client: api.ApiClient, pipeline_id: str, wanted: str
) -> Iterator[api.V2beta1PipelineVersion]:
    pipelines = api.PipelineServiceApi(client)
    token = ""
    while True:
        page = pipelines.pipeline_service_list_pipeline_versions(
            pipeline_id, page_token=token, page_size=100, filter=wanted
        )
        yield from page.pipeline_versions or []
        token = page.next_page_token
        if not token:
            return


def _id(value: str | None) -> str:
    """Returns an identifier that KFP gave.

    Raises:
        ValueError: It gave none, so it is not KFP that answers.
    """
    if not value:
        raise ValueError("it names no id")
    return value


def _filter(key: str, value: str) -> str:
    """Returns the API's filter for what has this value."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


@contextmanager
def _file(package: str) -> Iterator[str]:
    """Puts a package into a file for as long as it is uploaded."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        path.write_text(package)
        yield str(path)
