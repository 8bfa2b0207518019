"""Which rollout has an InferenceService, and where it would go back to: a Lease beside it.

It does not stand in the InferenceService's annotations, because KServe copies those into the pods'
template, and each change of one restarts every pod.
"""

from datetime import UTC, datetime
from typing import Any

from components.deploy.documents import Metadata, Read

FORMER = "brain-tumor/former-storage-uri"


class _Spec(Read):
    holder_identity: str = ""


class Claim(Read):
    """A Lease: `kubectl get lease` shows the rollout that holds it.

    Attributes:
        metadata: As Kubernetes has it.
        spec: Who holds it.
    """

    metadata: Metadata
    spec: _Spec = _Spec()

    @staticmethod
    def name_for(inference_service: str) -> str:
        """Returns the name of the Lease beside an InferenceService."""
        return f"{inference_service}-rollout"

    @property
    def holder(self) -> str:
        """The id of the rollout that has not ended; empty where each has ended."""
        return self.spec.holder_identity

    @property
    def version(self) -> int:
        """The version of the rollout that has not ended; 0 where each has ended."""
        number = self.holder.partition("-")[0]
        return int(number) if number.isdecimal() and len(number) < 10 else 0

    @property
    def former(self) -> str:
        """The storageUri that a rollout which has not ended would go back to; empty if none."""
        return self.metadata.annotations.get(FORMER, "")


def claimed(inference_service: str, before: Claim | None, holder: str, former: str) -> dict:
    """Returns the Lease by which a rollout takes an InferenceService.

    Args:
        inference_service: Its name.
        before: What was claimed until now; the API server refuses this one where that has changed.
        holder: Id of the rollout; empty to end it.
        former: The storageUri to go back to; empty where there is none.
    """
    metadata: dict[str, Any] = {"name": Claim.name_for(inference_service)}
    if before:
        metadata["resourceVersion"] = before.metadata.resource_version
    if former:
        metadata["annotations"] = {FORMER: former}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "acquireTime": now} if holder else {}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": spec,
    }
