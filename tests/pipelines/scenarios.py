"""What submit meets. Tests play it against recordings, `make cluster-test` against a real KFP."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineInfo

from components.shared.errors import UserError
from pipelines import compile as compiling
from pipelines import submit as submitting
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from pipelines.submit import Submission, submit

REVISION = "0123456789ab"
SAME = "00000000"  # in recordings, for the part of a name that each test has of its own
USER = "alice"  # in recordings, the namespace of who asks
INFO = Pipeline.training.info
TEXTS = {INFO.display_name: "A pipeline", INFO.description: "Of a test."}  # likewise
# Where KFP keeps pipelines, or that it has many users.
DATABASE, KUBERNETES, MULTI_USER = KINDS = ("database", "kubernetes", "multi_user")


@dataclass(frozen=True)
class Scenario:
    """What submit meets.

    Attributes:
        kinds: Of KFP, that it may meet it in.
        before: What was done to KFP: "submitted", "archived", "applied" by kubectl.
        race: Whether another makes each thing just before submit does.
        path: Behind the endpoint.
        options: Of submit.
        patched: Of the module submit.
        told: What the error message holds; empty where a run starts.
    """

    kinds: tuple[str, ...] = KINDS
    before: tuple[str, ...] = ()
    race: bool = False
    path: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    patched: dict[str, Any] = field(default_factory=dict)
    told: str = ""


SCENARIOS = {
    "first": Scenario(),
    "again": Scenario(before=("submitted",)),
    "at_once": Scenario(race=True),
    "applied": Scenario(kinds=(KUBERNETES,), before=("applied",)),
    "archived": Scenario(
        kinds=(DATABASE,), before=("submitted", "archived"), told="is archived; restore it"
    ),
    "type": Scenario(
        kinds=(DATABASE,),
        options={"parameters": {"epochs": "many"}},
        told="input parameter epochs requires type double or integer",
    ),
    "parameter": Scenario(
        kinds=(DATABASE,),
        options={"parameters": {"epoch": 3}},
        told="not required by pipeline: epoch",
    ),
    "package": Scenario(
        kinds=(DATABASE,),
        patched={"compiled": lambda *_: "no: pipeline"},
        told="refused with HTTP 400: unknown template format",
    ),
    "version": Scenario(
        kinds=(DATABASE,),
        patched={"MAX_VERSION": 1000, "version_name": lambda *_: "v" * 128},
        told="PipelineVersion.Name length cannot exceed 127",
    ),
    "nowhere": Scenario(
        kinds=(DATABASE,), path="/nowhere", told="HTTP 404: 404 page not found; check --endpoint"
    ),
    "no_namespace": Scenario(
        kinds=(MULTI_USER,),
        options={"namespace": ""},
        told="in multi-user mode; give yours with --namespace or KFP_NAMESPACE",
    ),
    "foreign_namespace": Scenario(
        kinds=(MULTI_USER,),
        options={"namespace": "kube-system"},
        told="Namespace:kube-system,Verb:list,Group:pipelines.kubeflow.org,Version:v1beta1,"
        "Resource:experiments",
    ),
    "no_token": Scenario(kinds=(MULTI_USER,), options={"token": ""}, told="refused with HTTP 401"),
    "wrong_token": Scenario(
        kinds=(MULTI_USER,), options={"token": "wrong-word"}, told="invalid bearer token"
    ),
}
MET = [(kind, name) for name, scenario in SCENARIOS.items() for kind in scenario.kinds]


def names(suffix: str) -> tuple[str, str]:
    """Returns the names of pipeline and experiment of a test, of which other tests know nothing."""
    return f"pipeline-{suffix}", f"experiment-{suffix}"


@contextmanager
def named(suffix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Gives the training pipeline, and its code, names of a test's own."""
    info = PipelineInfo()
    info.CopyFrom(INFO)
    info.name = names(suffix)[0]
    package = compiling.compiled(Pipeline.training, Cluster())
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "info", property(lambda _: info))
        patch.setattr(submitting, "compiled", lambda *_: package)
        for module in (submitting, compiling):
            patch.setattr(module, "git_revision", lambda: REVISION)
        yield patch


def play(
    scenario: Scenario, endpoint: str, suffix: str, monkeypatch: pytest.MonkeyPatch, **user: str
) -> Submission | str:
    """Submits, as a scenario has it.

    Returns:
        What was submitted, or what the user is told instead.
    """
    with named(suffix, monkeypatch) as patch:
        for name, value in scenario.patched.items():
            patch.setattr(submitting, name, value)
        try:
            return attempt(endpoint + scenario.path, suffix, **user | scenario.options)
        except UserError as error:
            line = str(error)
            assert "\n" not in line
            return line


def attempt(endpoint: str, suffix: str, **options: Any) -> Submission:
    """Submits the training pipeline."""
    arguments: dict[str, Any] = {
        "pipeline": Pipeline.training,
        "endpoint": endpoint,
        "token": "",
        "namespace": "",
        "experiment": names(suffix)[1],
        "run_name": "",
        "parameters": {},
        "cluster": Cluster(),
    }
    return submit(**arguments | options)
