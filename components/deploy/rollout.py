"""The rollout: claim, change, wait, ask, and go back where anything is wrong.

Of two rollouts the one that started later wins. Each writes its id into a Lease beside the
InferenceService and looks there before each change and while it waits: one that finds another's id
was overtaken, stops, and touches nothing more. Each change is made on the very object that was
read, before the Lease was, so none is made after another rollout's. The Lease also keeps where to
go back to until the rollout has ended, so a rollout after one that was killed goes back to what
served before that, and the same rollout again goes on.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from components.deploy.api import KubernetesAPI, Stale, Unavailable
from components.deploy.claim import Claim, claimed
from components.deploy.inference_service import InferenceService
from components.deploy.manifest import (
    DesiredState,
    applied,
    canary_name,
    canary_of,
    created,
    difference,
)
from components.deploy.served import Probe, ServedModel, canary_address, in_cluster_address
from components.deploy.soak import Tally, exceeds_error_budget, verdict
from components.deploy.workload import Patience, Problem, Progress, of_deployment, of_revision
from components.shared.errors import UserError
from components.shared.model_folder.smoke import SmokeImage
from components.shared.run.rollout_plan import Plan, version_of

_Changed = TypeVar("_Changed")

_SECONDS_BETWEEN_LOOKS = 2.0
_REFUSAL_SECONDS = 15.0  # KServe's status may still be of what was wanted before
_NEXT_TRY_SECONDS = 330.0  # the kubelet starts a container that crashed again within five minutes


class Superseded(UserError):  # noqa: N818  # what happened, as NotFound says it
    """Another rollout, or somebody by hand, changed what this one had set: it is theirs now."""


@dataclass(frozen=True)
class Outcome:
    """What became of a rollout that did not fail.

    Attributes:
        url: Where the model is served; empty after a dry run.
        changes: What differs now, or would, as a unified diff.
        canary: What the canary's probes found; empty where there was no canary.
    """

    url: str
    changes: str
    canary: str = ""


class Rollout:
    """One rollout.

    Attributes:
        id: Its version and something random.
    """

    def __init__(self, plan: Plan, api: KubernetesAPI, images: list[SmokeImage]) -> None:
        """Takes what is needed; nothing is asked yet.

        Args:
            plan: What to do.
            api: The InferenceService.
            images: What the model has to answer as it did when it was registered.
        """
        self.id = f"{plan.version}-{uuid.uuid4().hex[:8]}"
        self._plan = plan
        self._api = api
        self._images = images
        self._former = ""  # storageUri to go back to
        self._pods_before: set[str] = set()
        # What storageUri can be if no other hand was there; empty until this rollout changed it.
        self._known_uris: tuple[str, ...] = ()
        self._looked = 0.0

    def dry_run(self) -> Outcome:
        """Returns what would change, as the API server says.

        Raises:
            UserError: It refuses, or cannot be reached.
        """
        live = self._api.get()
        return Outcome("", self._difference(live))

    def run(self) -> Outcome:
        """Rolls out.

        Returns:
            Where the version is served now.

        Raises:
            Superseded: Another rollout has taken over; nothing was undone.
            UserError: It failed, and how it stands now.
        """
        live = self._api.get()
        changes = self._difference(live)  # refused here, nothing has changed yet
        self._claim()
        canary = ""
        try:
            if live is None:
                print(f"creating InferenceService {self._name}")
                self._create()
            else:
                if self._plan.canary_percent and self._former:
                    canary = self._soak(live)
                self._change(DesiredState(self._plan.storage_uri))
            live = self._wait(DesiredState(self._plan.storage_uri))
            self._verify(live, self._plan.version, check_numbers=True)
        except Superseded:
            self._release()
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise self._roll_back(error) from error
        self._release()
        return Outcome(live.status.url or self._address(live), changes, canary)

    def _difference(self, live: InferenceService | None) -> str:
        """Lets the API server try the changes without keeping them, and returns the difference."""
        if live is None:
            return difference(None, self._try_to_create().document)
        if live.spec.predictor.model is None:
            raise UserError(
                f"{self._name}: has no spec.predictor.model whose storageUri could be set; deploy "
                "to one whose predictor is a model"
            )
        if live.status.is_true("Stopped"):
            raise UserError(
                f"{self._name} is stopped by its annotation serving.kserve.io/stop; take it away "
                "and deploy again"
            )
        self._check_rights(live)
        if self._plan.canary_percent and live.standard:
            self._check_canary_name()
            desired_canary = DesiredState(live.storage_uri, canary=self._canary_entry(live))
            if not self._try(live, desired_canary).spec.canary:
                raise UserError(
                    f"{self._name}: this KServe drops spec.canary, which Standard mode needs for a "
                    "canary; install KServe 0.21 or newer, or set canary_percent to 0"
                )
        after = self._try(live, DesiredState(self._plan.storage_uri))
        if after.spec.canary or after.spec.predictor.canary_traffic_percent is not None:
            raise UserError(
                f"{self._name}: a canary that {' and '.join(after.other_owners())} set would stay; "
                "take canaryTrafficPercent and spec.canary out of what is applied there, the "
                "rollout sets and removes them itself"
            )
        return difference(live.document, after.document)

    def _check_rights(self, live: InferenceService) -> None:
        """Reads once all that the rollout will read, so that a missing right is found out now."""
        self._api.claim()
        self._progress(live, DesiredState(live.storage_uri))
        self._api.is_node_coming("")
        self._pods_before = {pod.metadata.name for pod in self._api.pods()}

    def _check_canary_name(self) -> None:
        """Checks that the canary's Deployment would not be another InferenceService's.

        `a` with a canary `v2` and an InferenceService `a-v2` have Deployments of one name.
        """
        name = f"{self._api.name}-{canary_name(self._plan.version)}"
        found = self._api.deployment(f"{name}-predictor")
        if found and not found.belongs_to(self._api.name):
            raise UserError(
                f"{self._name}: a canary of version {self._plan.version} would take the Deployment "
                f"of InferenceService {name}; rename that one, or set canary_percent to 0"
            )

    def _try(self, live: InferenceService, desired: DesiredState) -> InferenceService:
        document = applied(live, desired)
        del document["metadata"]["resourceVersion"]  # what is not kept cannot be too late
        try:
            return self._api.apply(document, force=self._may_force(live), dry_run=True)
        except Stale as error:
            raise UserError(f"{self._name} cannot be changed: {error}; deploy again") from error

    def _try_to_create(self) -> InferenceService:
        document = created(self._plan.inference_service, self._plan.storage_uri)
        try:
            return self._api.create(document, dry_run=True)
        except Stale as error:
            raise self._created_by_somebody() from error

    def _claim(self) -> None:
        """Takes the InferenceService, from a rollout that is on or was killed too."""

        def claim() -> str:
            before = self._api.claim()
            live = self._api.get()
            former = _served_before(before, live)
            if former == self._plan.storage_uri:
                former = ""
            self._api.write_claim(claimed(self._api.name, before, self.id, former))
            if before and before.holder:
                print(f"takes {self._name} over from rollout {before.holder}, which had not ended")
            return former

        self._former = self._until_fresh(claim)

    def _release(self) -> None:
        """Ends the rollout, unless another one has taken over meanwhile.

        That it cannot be written changes nothing of what serves, so it is only said.
        """

        def release() -> None:
            claim = self._api.claim()
            if claim and claim.holder == self.id:
                self._api.write_claim(claimed(self._api.name, claim, "", ""))

        try:
            self._until_fresh(release)
        except UserError as error:
            print(f"Lease {Claim.name_for(self._api.name)} still names this rollout: {error}")

    def _until_fresh(self, change: Callable[[], _Changed]) -> _Changed:
        """Makes a change, again where the object was changed after it was read."""
        try:
            return Retrying(
                retry=retry_if_exception_type(Stale),
                stop=stop_after_attempt(20),
                wait=wait_random(0, 0.2),
                reraise=True,
            )(change)
        except Stale as error:
            raise UserError(f"{self._name} changes too fast to be changed: {error}") from error

    def _create(self) -> None:
        try:
            self._api.create(created(self._plan.inference_service, self._plan.storage_uri))
        except Stale as error:
            live = self._look()
            if live.storage_uri != self._plan.storage_uri:  # else only the answer got lost
                raise self._created_by_somebody() from error
        self._known_uris = (self._plan.storage_uri,)

    def _created_by_somebody(self) -> Superseded:
        return Superseded(f"{self._name} was created by somebody else a moment ago; deploy again")

    def _soak(self, live: InferenceService) -> str:
        """Gives the version a share of the traffic and returns what the probes found.

        Raises:
            UserError: It did not do well.
        """
        plan = self._plan
        entry = self._canary_entry(live) if live.standard else None
        if entry:
            desired = DesiredState(self._former, canary=entry)
        else:
            desired = DesiredState(plan.storage_uri, plan.canary_percent)
        print(f"canary: {plan.canary_percent}% of the traffic to version {plan.version}")
        self._change(desired)
        live = self._wait(desired)
        address = self._address(live)
        if entry and not plan.address:
            # The address inside of the cluster leads past what splits the traffic.
            canary = str(entry["predictor"]["name"])
            address = canary_address(address, plan.inference_service, canary)
        tally = Tally(plan.version)
        model = self._model(address, live)
        for probe in self._probes(model, plan.soak_seconds):
            tally.add(probe)
            if exceeds_error_budget(tally, plan):
                break
        print(f"canary: {tally}")
        if reason := verdict(tally, plan):
            raise UserError(reason)
        return str(tally)

    def _roll_back(self, error: BaseException) -> UserError:
        """Lets the former version serve again and returns what to tell."""
        reason = str(error) or "interrupted"
        failed = f"version {self._plan.version} is not rolled out to {self._name}: {reason}"
        former = self._version_here(self._former)
        name = f"version {former}" if former else self._former
        try:
            live = self._api.get()
            if live is None and self._former:
                raise self._api.deleted_error()
            if live is None or self._is_as_before(live):
                self._release()
                return UserError(f"{failed}; nothing was changed")
            if not self._former:
                self._release()
                return UserError(
                    f"{failed}; no other version served before, so it is left as it is"
                )
            print(f"{failed}; going back to {self._former}", flush=True)
            live = self._serve_previous(self._look())
            if former:
                self._verify(live, former)
            self._release()
        except Superseded as superseded:
            return UserError(f"{failed}; {superseded}")
        except UserError as worse:
            return UserError(
                f"{failed}; and going back to {name} failed: {worse}; see 'kubectl describe "
                f"inferenceservice {self._api.name} --namespace {self._api.namespace}'"
            )
        return UserError(f"{failed}; {name} serves again")

    def _version_here(self, uri: str) -> int | None:
        """Returns the version that a storageUri of this registry names; None of another place."""
        here = self._plan.storage_uri.rstrip("/").rpartition("/")[0]
        return version_of(uri) if uri.rstrip("/").rpartition("/")[0] == here else None

    def _is_as_before(self, live: InferenceService) -> bool:
        """Returns whether no change of this rollout is in effect, such as one that was refused."""
        predictor = live.spec.predictor
        return (
            live.storage_uri == self._former
            and not live.spec.canary
            and predictor.canary_traffic_percent is None
        )

    def _serve_previous(self, live: InferenceService) -> InferenceService:
        if live.spec.predictor.canary_traffic_percent is not None:
            # Without a percentage Knative would send all traffic to the bad revision until the
            # good one is ready. With 0 it stays with the one that had all of it before.
            pinned = DesiredState(self._former, canary_percent=0)
            self._change(pinned)
            self._wait(pinned)
        self._change(DesiredState(self._former))
        return self._wait(DesiredState(self._former))

    def _change(self, desired: DesiredState) -> None:
        """Applies a desired state to the InferenceService as it is at that moment."""

        def change() -> None:
            live = self._look()
            self._api.apply(applied(live, desired), force=self._may_force(live))

        if self._known_uris:
            self._known_uris += (desired.storage_uri,)  # the answer to the change may get lost
        self._until_fresh(change)
        self._known_uris = (desired.storage_uri,)

    def _wait(self, desired: DesiredState) -> InferenceService:
        """Waits until a desired state is what runs, and nothing else.

        Raises:
            UserError: It will never be, or is not in time.
        """
        end, told = time.monotonic() + self._plan.timeout_seconds, ""
        patience = Patience()
        while True:
            try:
                live = self._look()
                progress = self._progress(live, desired)
                if not progress.waits_for:
                    return live
                self._check_certain(patience.lasting(progress.problems, self._looked))
                state = str(progress)
            except Unavailable as error:  # what runs goes on without the API server
                state = str(error)
            if state != told:
                print(f"waiting for {self._name}: {state}", flush=True)
            told = state
            if time.monotonic() >= end:
                raise UserError(f"not ready within {self._plan.timeout_seconds:g} s: {told}")
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _check_certain(self, problems: list[Problem]) -> None:
        """Raises `UserError` for a problem that has lasted, unless a node is on its way."""
        for problem in problems:
            if problem.pod is None or not self._api.is_node_coming(problem.pod.metadata.uid):
                raise UserError(problem.message)

    def _progress(self, live: InferenceService, desired: DesiredState) -> Progress:
        """Looks how far the cluster is with a desired state."""
        if not live.standard:
            newest = live.predictor.latest_created_revision
            revision = self._api.revision(newest) if newest else None
            progress = of_revision(
                live, revision, self._api.pods(), desired.storage_uri, desired.canary_percent
            )
        elif desired.canary:
            predictor = desired.canary["predictor"]
            deployment = self._api.deployment(f"{self._api.name}-{predictor['name']}-predictor")
            uri = str(predictor["model"]["storageUri"])
            progress = of_deployment(deployment, self._api.pods(), uri, 0)
        else:
            deployment = self._api.deployment(f"{self._api.name}-predictor")
            progress = of_deployment(
                deployment, self._api.pods(), desired.storage_uri, live.min_replicas
            )
        if not progress.waits_for:
            return progress if live.ready else Progress(live.reason)
        problems = [self._with_retry_time(problem) for problem in progress.problems]
        if live.refusal:
            problems.append(Problem(live.refusal, "KServe", _REFUSAL_SECONDS))
        return Progress(progress.waits_for, tuple(problems))

    def _with_retry_time(self, problem: Problem) -> Problem:
        """Gives a pod that was there before, and may be mended meanwhile, time for its next try."""
        if problem.about not in self._pods_before:
            return problem
        return replace(problem, seconds=max(problem.seconds, _NEXT_TRY_SECONDS))

    def _verify(self, live: InferenceService, version: int, check_numbers: bool = False) -> None:
        """Asks until only one version answers.

        Args:
            live: What serves it.
            version: The one that has to.
            check_numbers: Whether its answers have to be those that the images are kept with.
        """
        in_a_row, last = 0, "nobody was asked"
        model = self._model(self._address(live), live)
        for probe in self._probes(model, self._plan.timeout_seconds):
            if probe.version == version:
                if check_numbers and probe.mismatch:
                    raise UserError(f"version {version} answers wrongly: {probe.mismatch}")
                in_a_row += 1
                if in_a_row >= max(self._plan.answers_in_a_row, len(self._images)):
                    print(f"version {version} answers at {model.address}")
                    return
            else:
                in_a_row = 0
                last = probe.fault or f"version {probe.version} still answers"
        raise UserError(
            f"version {version} did not answer {self._plan.answers_in_a_row} times in a row "
            f"within {self._plan.timeout_seconds:g} s: {last}"
        )

    def _probes(self, model: ServedModel, seconds: float) -> Iterator[Probe]:
        """Asks for one image after the other, and looks now and then whether this rollout is on."""
        end = time.monotonic() + seconds
        for image in itertools.cycle(self._images):
            probe = model.ask(image)
            yield probe
            now = time.monotonic()
            if now >= end:
                return
            if now - self._looked > _SECONDS_BETWEEN_LOOKS:
                self._look()
            time.sleep(self._plan.probe_seconds)

    def _look(self) -> InferenceService:
        """Reads the InferenceService and checks that no other hand was there.

        The claim is read after it. So what is changed on the object that this returns is refused
        where another rollout claimed and changed it in between.
        """
        live = self._api.get()
        if live is None:
            raise self._api.deleted_error()
        claim = self._api.claim()
        self._looked = time.monotonic()
        if claim is None:  # deleted by hand
            self._claim_again()
        elif claim.holder != self.id:
            other = f"of version {claim.version}, which goes on" if claim.holder else "which ended"
            raise Superseded(f"overtaken by another rollout to {self._name}, {other}")
        if self._known_uris and live.storage_uri not in self._known_uris:
            raise Superseded(
                f"somebody else changed storageUri of {self._name} to {live.storage_uri} during "
                "the rollout; it is left so"
            )
        return live

    def _claim_again(self) -> None:
        try:
            self._api.write_claim(claimed(self._api.name, None, self.id, self._former))
        except Stale as error:
            raise Superseded(f"overtaken by another rollout to {self._name}") from error

    def _address(self, live: InferenceService) -> str:
        told = in_cluster_address(self._api.name, self._api.namespace, live.address)
        return self._plan.address or told

    def _model(self, address: str, live: InferenceService) -> ServedModel:
        """Returns the model behind an address; an ingress knows it by its host name."""
        host = urlsplit(live.status.url).netloc if self._plan.address else ""
        return ServedModel(address, self._plan.inference_service, host)

    def _may_force(self, live: InferenceService) -> bool:
        """Returns whether to take storageUri over; what this step created it may change."""
        return self._plan.force_conflicts or not live.other_owners()

    def _canary_entry(self, live: InferenceService) -> dict:
        plan = self._plan
        return canary_of(live, plan.version, plan.storage_uri, plan.canary_percent)

    @property
    def _name(self) -> str:
        return f"{self._api.namespace}/{self._api.name}"


def _served_before(claim: Claim | None, live: InferenceService | None) -> str:
    """Returns the storageUri to go back to: what served before a rollout that did not end.

    Its claim says so, as long as nobody has changed the InferenceService since. Otherwise what is
    wanted now counts.
    """
    if live is None:
        return ""
    is_of_claim = claim and (
        live.storage_uri == claim.former or version_of(live.storage_uri) == claim.version
    )
    return claim.former or live.storage_uri if claim and is_of_claim else live.storage_uri
