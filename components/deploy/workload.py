"""What runs of an InferenceService: KServe's Deployment or Knative's revision, and the pods.

They say what the InferenceService's own status does not: whether the wanted model is rolled out,
and why a pod of it will not start.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pydantic import Field

from components.deploy.documents import Conditions, Metadata, Read, line
from components.deploy.inference_service import InferenceService

SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
REVISION_LABEL = "serving.knative.dev/revision"

# A pod in such a state may still come out of it; it is certain only after so many seconds.
_SETTLING = 15.0
_SCHEDULING = 30.0
_MAKING_ROOM = 120.0  # an old pod ends, or one of less priority
_CANNOT_START = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)


@dataclass(frozen=True)
class Problem:
    """Why a pod will not start.

    Attributes:
        message: In one line.
        about: Name of what has it; the words may change while it lasts.
        seconds: How long it has to last to be certain.
        pod: The pod that no node takes; None where it is something else.
    """

    message: str
    about: str
    seconds: float = 0.0
    pod: "Pod | None" = None


@dataclass(frozen=True)
class Progress:
    """How far a rollout is.

    Attributes:
        waits_for: What is waited for, in one line; empty when it is done.
        problems: What may keep it from ever being done.
    """

    waits_for: str = ""
    problems: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        """Returns what is waited for and why it may never come, in one line."""
        first = [problem.message for problem in self.problems[:1]]
        more = len(self.problems) - 1
        return "; ".join([self.waits_for, *first, *([f"{more} more like it"] if more > 0 else [])])


@dataclass
class Patience:
    """Remembers how long problems have lasted.

    Attributes:
        since: When each was seen first, in seconds of a clock that only grows. Problems of one pod
            that take as long to be certain are one.
    """

    since: dict[tuple[str, float], float] = field(default_factory=dict)

    def lasting(self, problems: Sequence[Problem], now: float) -> list[Problem]:
        """Returns the problems that have lasted long enough to be certain.

        Args:
            problems: Those of this moment; a problem that is left out has ended.
            now: The clock's time.
        """
        keys = [(problem.about, problem.seconds) for problem in problems]
        self.since = {key: self.since.get(key, now) for key in keys}
        return [
            problem
            for key, problem in zip(keys, problems, strict=True)
            if now - self.since[key] >= problem.seconds
        ]


class _Ended(Read):
    reason: str = ""
    exit_code: int = 0
    message: str = ""


class _Waiting(Read):
    reason: str = ""
    message: str = ""


class _Running(Read):
    pass


class _State(Read):
    waiting: _Waiting | None = None
    running: _Running | None = None
    terminated: _Ended | None = None


class _Container(Read):
    name: str
    restart_count: int = 0
    state: _State = _State()
    last_state: _State = _State()

    def problem(self) -> tuple[str, float]:
        """Returns why it does not start, empty where it does, and when that is certain."""
        if self.state.running:
            return "", 0  # what it died of before does not keep it from running now
        waiting, ended = self.state.waiting, self.state.terminated or self.last_state.terminated
        if ended and ended.reason == "OOMKilled":
            return f"{self.name} needs more memory than its limit (OOMKilled)", 0
        if waiting and waiting.reason in _CANNOT_START:
            return line(f"{self.name} cannot start", waiting.reason, waiting.message), _SETTLING
        looping = waiting and waiting.reason == "CrashLoopBackOff"
        again = self.restart_count and self.state.terminated and self.state.terminated.exit_code
        if looping or again:
            status = f"exit status {ended.exit_code}" if ended else ""
            return line(
                f"{self.name} crashes again and again", status, _termination_message(ended)
            ), 0
        return "", 0


class _PodStatus(Conditions):
    phase: str = ""
    nominated_node_name: str = ""
    init_container_statuses: tuple[_Container, ...] = ()
    container_statuses: tuple[_Container, ...] = ()


class Pod(Read):
    """A pod of an InferenceService."""

    metadata: Metadata
    status: _PodStatus = _PodStatus()

    @property
    def source(self) -> str:
        """The storageUri of its model."""
        return self.metadata.annotations.get(SOURCE, "")

    @property
    def ends(self) -> bool:
        """Whether it was told to end; no new requests are sent to it."""
        return bool(self.metadata.deletion_timestamp)

    @property
    def ready(self) -> bool:
        """Whether it can answer requests."""
        return self.status.is_true("Ready")

    def problem(self) -> Problem | None:
        """Returns why it will not start, if something keeps it from it."""
        if self.ends or self.ready or self.status.phase in ("Failed", "Succeeded"):
            return None  # of one that ends, its successor counts
        name = self.metadata.name
        scheduled = self.status.condition("PodScheduled")
        if scheduled and scheduled.reason == "Unschedulable":
            message = line(f"no node takes pod {name}", scheduled.message)
            making_room = self.status.nominated_node_name
            return Problem(message, name, _MAKING_ROOM if making_room else _SCHEDULING, self)
        for container in (*self.status.init_container_statuses, *self.status.container_statuses):
            message, seconds = container.problem()
            if message:
                return Problem(f"pod {name}: {message}", name, seconds)
        return None


class _Labels(Read):
    match_labels: dict[str, str] = Field({})


class _Template(Read):
    class Annotated(Read):
        """Metadata without a name."""

        annotations: dict[str, str] = Field({})

    metadata: Annotated = Annotated()


class _DeploymentSpec(Read):
    replicas: int = 1
    selector: _Labels = _Labels()
    template: _Template = _Template()


class _DeploymentStatus(Conditions):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0


class Deployment(Read):
    """The Deployment that KServe makes of a predictor in Standard mode."""

    metadata: Metadata
    spec: _DeploymentSpec
    status: _DeploymentStatus = _DeploymentStatus()

    @property
    def source(self) -> str:
        """The storageUri that its pods have or will have."""
        return self.spec.template.metadata.annotations.get(SOURCE, "")

    def belongs_to(self, inference_service: str) -> bool:
        """Returns whether KServe made it for an InferenceService."""
        return self.metadata.labels.get(SERVICE_LABEL) == inference_service

    def owns(self, pod: Pod) -> bool:
        """Returns whether a pod is one of its own."""
        return self.spec.selector.match_labels.items() <= pod.metadata.labels.items()


class Revision(Read):
    """The revision that Knative makes of a predictor."""

    metadata: Metadata
    status: Conditions = Conditions()

    @property
    def source(self) -> str:
        """The storageUri that its pods have."""
        return self.metadata.annotations.get(SOURCE, "")

    def owns(self, pod: Pod) -> bool:
        """Returns whether a pod is one of its own."""
        return pod.metadata.labels.get(REVISION_LABEL) == self.metadata.name


def of_deployment(
    deployment: Deployment | None, pods: Sequence[Pod], storage_uri: str, min_replicas: int
) -> Progress:
    """Tells how far a Deployment is with a model.

    It is done when all replicas serve the model and none of another one is left. Replicas that the
    autoscaler adds on top of its least number may still start.

    Args:
        deployment: As it is now; None where KServe has not made it yet.
        pods: Of the InferenceService.
        storage_uri: Of the model.
        min_replicas: How many KServe's autoscaler makes at least; 0 where there is none.
    """
    if deployment is None or deployment.source != storage_uri:
        return Progress("KServe has not begun yet")
    status, name = deployment.status, deployment.metadata.name
    if status.observed_generation < deployment.metadata.generation:
        return Progress(f"Kubernetes has not looked at Deployment {name} yet")
    own = [pod for pod in pods if deployment.owns(pod)]
    wanted = min_replicas or deployment.spec.replicas
    if not wanted:
        return Progress(
            "no pod", (Problem(f"Deployment {name} is scaled to 0", name, _SCHEDULING),)
        )
    old = status.replicas - status.updated_replicas
    if old or min(status.updated_replicas, status.available_replicas) < wanted:
        new = [pod for pod in own if pod.source == storage_uri]
        ready = sum(pod.ready for pod in new)
        problems = (*_problems(new, pods), *_not_created(deployment))
        return Progress(f"{ready} of {wanted} pods are ready", problems)
    if any(pod.ready and not pod.ends and pod.source != storage_uri for pod in own):
        return Progress("pods of another version still answer")
    return Progress()


def of_revision(
    live: InferenceService,
    revision: Revision | None,
    pods: Sequence[Pod],
    storage_uri: str,
    percent: int | None,
) -> Progress:
    """Tells how far Knative is with a model.

    It is done when the newest revision serves the model and has its share of the traffic.

    Args:
        live: The InferenceService.
        revision: The newest that KServe knows; None where there is none yet.
        pods: Of the InferenceService.
        storage_uri: Of the model.
        percent: The share, 0..100; None for all.
    """
    if revision is None or revision.source != storage_uri:
        return Progress("KServe has not begun yet")
    name = revision.metadata.name
    if live.predictor.latest_ready_revision != name:
        condition = revision.status.condition("Ready")
        problems = _problems([pod for pod in pods if revision.owns(pod)], pods)
        if condition and condition.status == "False":
            message = line(f"revision {name} failed", condition.reason, condition.message)
            problems += (Problem(message, name, _SETTLING),)
        return Progress(f"revision {name} is not ready", problems)
    share = sum(t.percent or 0 for t in live.predictor.traffic if t.revision_name == name)
    wanted = 100 if percent is None else percent
    if share != wanted:
        return Progress(f"revision {name} has {share}% of the traffic, not {wanted}%")
    return Progress()


def _problems(new: Sequence[Pod], pods: Sequence[Pod]) -> tuple[Problem, ...]:
    """Returns the problems of new pods; while an old pod ends, its node may still take one."""
    found = tuple(problem for problem in (pod.problem() for pod in new) if problem)
    if not any(pod.ends for pod in pods):
        return found
    return tuple(replace(t, seconds=_MAKING_ROOM) if t.pod else t for t in found)


def _not_created(deployment: Deployment) -> tuple[Problem, ...]:
    """Returns why Kubernetes cannot make the pods at all, such as a quota."""
    condition = deployment.status.condition("ReplicaFailure")
    if condition is None or condition.status != "True":
        return ()
    message = line("Kubernetes cannot create the pods", condition.reason, condition.message)
    return (Problem(message, deployment.metadata.name, _SETTLING),)


def _termination_message(ended: _Ended | None) -> str:
    """Returns the last line that a container left; its log's, where it wrote no message."""
    lines = [text for text in (ended.message if ended else "").splitlines() if text.strip()]
    return lines[-1] if lines else ""
