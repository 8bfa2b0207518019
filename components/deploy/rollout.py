"""The rollout: claim, change, wait, ask, and go back where anything is wrong.

Of two rollouts the one that started later wins. Each writes its id into an annotation together with
its change, and each change is made on the very object that was read: who finds another's id there
was overtaken, stops, and touches nothing more. Of two that begin in the same moment, the one that
writes first goes on. A second annotation keeps where to go back to until the rollout has ended, so
a rollout after one that was killed goes back to what served before that.
"""

import itertools
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from components.deploy.api import KubernetesAPI, Stale
from components.deploy.inference_service import InferenceService
from components.deploy.manifest import Wish, applied, canary_of, created, difference
from components.deploy.plan import Plan, version_of
from components.deploy.served import Probe, ServedModel, canary_address, in_cluster_address
from components.deploy.soak import Tally, hopeless, verdict
from components.errors import UserError
from components.register.smoke import SmokeImage

_SECONDS_BETWEEN_LOOKS = 5.0


class Overtaken(UserError):  # noqa: N818  # what happened, as NotFound says it
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
        # What the annotation and storageUri can be if no other hand was there.
        self._known_ids: tuple[str, ...] = ()
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
            Overtaken: Another rollout has taken over; nothing was undone.
            UserError: It failed, and how it stands now.
        """
        live = self._api.get()
        changes = self._difference(live)  # refused here, nothing has changed yet
        if live:
            self._known_ids, self._known_uris = (live.rollout,), (live.storage_uri,)
            self._former = live.former or live.storage_uri
            if self._former == self._plan.storage_uri:
                self._former = ""
        canary = ""
        try:
            if live is None:
                print(f"creating InferenceService {self._name}")
                live = self._create()
                self._known_ids, self._known_uris = (self.id,), (self._plan.storage_uri,)
            else:
                if self._plan.canary_percent and self._former:
                    canary = self._soak(live)
                live = self._change(Wish(self._plan.storage_uri, self.id, self._former))
            live = self._wait(live)
            self._verify(live, self._plan.version, check_numbers=True)
        except Overtaken:
            raise
        except (UserError, KeyboardInterrupt) as error:
            raise self._go_back(error) from error
        self._change(Wish(self._plan.storage_uri, self.id))
        return Outcome(live.status.url or self._address(live), changes, canary)

    def _difference(self, live: InferenceService | None) -> str:
        """Lets the API server try the changes without keeping them, and returns the difference."""
        wish = Wish(self._plan.storage_uri, self.id)
        if live is None:
            return difference(None, self._create(dry_run=True).document)
        if live.spec.predictor.model is None:
            raise UserError(
                f"{self._name}: has no spec.predictor.model whose storageUri could be set; deploy "
                "to one whose predictor is a model"
            )
        if self._plan.canary_percent and live.standard:
            wish_canary = Wish(live.storage_uri, self.id, canary=self._canary_entry(live))
            if not self._try(live, wish_canary).spec.canary:
                raise UserError(
                    f"{self._name}: this KServe drops spec.canary, which Standard mode needs for a "
                    "canary; install KServe 0.20 or newer, or set canary_percent to 0"
                )
        after = self._try(live, wish)
        if after.spec.canary or after.spec.predictor.canary_traffic_percent is not None:
            raise UserError(
                f"{self._name}: a canary that {' and '.join(after.other_owners())} set would stay; "
                "take canaryTrafficPercent and spec.canary out of what is applied there, the "
                "rollout sets and removes them itself"
            )
        return difference(live.document, after.document)

    def _try(self, live: InferenceService, wish: Wish) -> InferenceService:
        document = applied(live, wish)
        del document["metadata"]["resourceVersion"]  # what is not kept cannot be too late
        return self._api.apply(document, force=self._may_force(live), dry_run=True)

    def _create(self, dry_run: bool = False) -> InferenceService:
        wish = Wish(self._plan.storage_uri, self.id)
        try:
            return self._api.create(created(self._plan.inference_service, wish), dry_run)
        except Stale as error:
            live = self._api.get()
            if live and live.rollout == self.id:  # its answer got lost
                return live
            raise Overtaken(
                f"{self._name} was created by somebody else a moment ago; deploy again"
            ) from error

    def _soak(self, live: InferenceService) -> str:
        """Gives the version a share of the traffic and returns what the probes found.

        Raises:
            UserError: It did not do well.
        """
        plan = self._plan
        entry = self._canary_entry(live) if live.standard else None
        if entry:
            wish = Wish(self._former, self.id, self._former, canary=entry)
        else:
            wish = Wish(plan.storage_uri, self.id, self._former, plan.canary_percent)
        print(f"canary: {plan.canary_percent}% of the traffic to version {plan.version}")
        canary = str(entry["predictor"]["name"]) if entry else ""
        live = self._wait(self._change(wish), canary)
        address = self._address(live)
        if canary and not plan.address:
            # The address inside of the cluster leads past what splits the traffic.
            address = canary_address(address, plan.inference_service, canary)
        tally = Tally(plan.version)
        model = self._model(address, live)
        for probe in self._probes(model, plan.soak_seconds):
            tally.add(probe)
            if hopeless(tally, plan):
                break
        print(f"canary: {tally}")
        if reason := verdict(tally, plan):
            raise UserError(reason)
        return str(tally)

    def _go_back(self, error: BaseException) -> UserError:
        """Lets the former version serve again and returns what to tell."""
        reason = str(error) or "interrupted"
        failed = f"version {self._plan.version} is not rolled out to {self._name}: {reason}"
        if self._known_ids != (self.id,):
            return UserError(f"{failed}; nothing was changed")
        if not self._former:
            return UserError(f"{failed}; no other version served before, so it is left as it is")
        print(f"{failed}; going back to {self._former}", flush=True)
        former = version_of(self._former)
        name = f"version {former}" if former else self._former
        try:
            live = self._serve_former()
            if former:
                self._verify(live, former)
            self._change(Wish(self._former, self.id))
        except Overtaken as overtaken:
            return UserError(f"{failed}; {overtaken}")
        except UserError as worse:
            return UserError(
                f"{failed}; and going back to {name} failed: {worse}; see 'kubectl describe "
                f"inferenceservice {self._api.name} --namespace {self._api.namespace}'"
            )
        return UserError(f"{failed}; {name} serves again")

    def _serve_former(self) -> InferenceService:
        if self._look().spec.predictor.canary_traffic_percent is not None:
            # Without a percentage Knative would send all traffic to the bad revision until the
            # good one is ready. With 0 it stays with the one that had all of it before.
            pinned = Wish(self._former, self.id, self._former, canary_percent=0)
            self._wait(self._change(pinned))
        return self._wait(self._change(Wish(self._former, self.id, self._former)))

    def _change(self, wish: Wish) -> InferenceService:
        """Applies a wish to the InferenceService as it is at that moment."""

        def change() -> InferenceService:
            live = self._look()
            return self._api.apply(applied(live, wish), force=self._may_force(live))

        self._known_ids += (self.id,)  # the change can be made and its answer get lost
        self._known_uris += (wish.storage_uri,)
        try:
            live = Retrying(
                retry=retry_if_exception_type(Stale),
                stop=stop_after_attempt(20),
                wait=wait_random(0, 0.2),
                reraise=True,
            )(change)
        except Stale as error:
            raise UserError(f"{self._name} changes too fast to be changed: {error}") from error
        self._known_ids, self._known_uris = (self.id,), (wish.storage_uri,)
        return live

    def _wait(self, live: InferenceService, canary: str = "") -> InferenceService:
        """Waits until what was applied is ready.

        Args:
            live: The answer to the change.
            canary: Name of a canary that has to be ready too.
        """
        generation, told = live.metadata.generation, ""
        for live in self._api.changes(self._plan.timeout_seconds):
            self._check_untouched(live)
            if live.ready(generation, canary):
                return live
            reason = live.reason(generation)
            if live.refused(generation):
                raise UserError(f"KServe refuses it: {reason}")
            if reason != told:
                print(f"waiting for {self._name}: {reason}", flush=True)
            told = reason
        raise UserError(f"not ready within {self._plan.timeout_seconds:g} s: {told}")

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
        """Reads the InferenceService and checks that no other hand was there."""
        live = self._api.get()
        if live is None:
            raise self._api.gone()
        self._looked = time.monotonic()
        self._check_untouched(live)
        return live

    def _check_untouched(self, live: InferenceService) -> None:
        if live.rollout not in self._known_ids:
            version = live.rollout.split("-")[0] or "unknown"
            raise Overtaken(
                f"overtaken by another rollout to {self._name}, of version {version}, which goes on"
            )
        if live.storage_uri not in self._known_uris:
            raise Overtaken(
                f"somebody else changed storageUri of {self._name} to {live.storage_uri} during "
                "the rollout; it is left so"
            )

    def _address(self, live: InferenceService) -> str:
        told = live.status.address.url
        return self._plan.address or in_cluster_address(self._api.name, self._api.namespace, told)

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
