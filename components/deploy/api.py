"""The Kubernetes API, as far as one InferenceService goes: what may pass is tried again."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.client import ApiException
from pydantic import BaseModel, ValidationError
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)
from urllib3.exceptions import HTTPError

from components.deploy.claim import Claim
from components.deploy.inference_service import MANAGER, InferenceService
from components.deploy.manifest import GROUP, PLURAL, VERSION
from components.deploy.workload import SERVICE_LABEL, Deployment, Pod, Revision
from components.shared.errors import UserError, first_fault, one_line

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT = (10, 30)  # seconds to connect, and for an answer
_PATIENCE = 60.0
_TRANSIENT = (429, 500, 502, 503, 504)
_ROLE = "the Role brain-tumor-pipeline of manifests/base"
# What autoscalers of nodes say of a pod for which they add one.
_SCALING_UP = ("TriggeredScaleUp", "Nominated")
_MAX_EVENTS = 100
_MAX_LINE = 400  # characters of a message
_PARTS = {GROUP: "KServe", "serving.knative.dev": "Knative Serving"}

_Read = TypeVar("_Read", bound=BaseModel)


@dataclass(frozen=True)
class _Kind:
    """A kind of object, as its address names it."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """Returns the address of one of a namespace's objects, or of all."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


_SERVICES = _Kind(GROUP, VERSION, PLURAL)
_DEPLOYMENTS = _Kind("apps", "v1", "deployments")
_REVISIONS = _Kind("serving.knative.dev", "v1", "revisions")
_PODS = _Kind("", "v1", "pods")
_EVENTS = _Kind("", "v1", "events")
_LEASES = _Kind("coordination.k8s.io", "v1", "leases")


class Stale(Exception):  # noqa: N818  # no error yet: it is read again and done again
    """The object is not what it was when it was read."""


class Unavailable(UserError):  # noqa: N818  # what it is, as NotFound says it
    """The API server does not answer, or not as it should, and may do so later."""


class KubernetesAPI:
    """One InferenceService in a cluster, and what runs of it.

    Attributes:
        name: Its name.
        namespace: Its namespace.
    """

    def __init__(
        self, api_client: client.ApiClient, name: str, namespace: str, patience: float
    ) -> None:
        """Takes a client that knows its cluster.

        Args:
            api_client: It must not retry by itself.
            name: Of the InferenceService.
            namespace: Of the InferenceService.
            patience: Seconds to go on trying while the API server does not answer as it should.
        """
        self.name = name
        self.namespace = namespace
        self._client = api_client
        self._patience = patience

    def get(self) -> InferenceService | None:
        """Returns the InferenceService as it is now, or None where there is none."""
        found = self._find(_SERVICES, self.name)
        return InferenceService.of(found) if found else None

    def create(self, document: dict[str, Any], dry_run: bool = False) -> InferenceService:
        """Creates the InferenceService.

        Args:
            document: The whole of it.
            dry_run: Let the API server check all and keep nothing.

        Raises:
            Stale: There is one meanwhile.
            UserError: The API server refuses or cannot be reached.
        """
        return InferenceService.of(self._create(_SERVICES, document, _dry_run_query(dry_run)))

    def apply(
        self, document: dict[str, Any], force: bool = False, dry_run: bool = False
    ) -> InferenceService:
        """Applies the fields of a document to the InferenceService and touches no other.

        Args:
            document: With the resourceVersion that it was made for.
            force: Take fields over from other managers.
            dry_run: Let the API server check all and keep nothing.

        Raises:
            Stale: It has changed since that resourceVersion.
            UserError: The API server refuses or cannot be reached.
        """
        query = {"fieldManager": MANAGER, "force": str(force).lower()} | _dry_run_query(dry_run)
        try:
            return InferenceService.of(
                self._call("patch", _SERVICES, "PATCH", name=self.name, query=query, body=document)
            )
        except _Missing as error:
            raise self.deleted_error() from error

    def deployment(self, name: str) -> Deployment | None:
        """Returns a Deployment as it is now, or None where there is none."""
        return self._read(_DEPLOYMENTS, name, Deployment)

    def revision(self, name: str) -> Revision | None:
        """Returns a revision as it is now, or None where there is none."""
        return self._read(_REVISIONS, name, Revision)

    def pods(self) -> list[Pod]:
        """Returns the pods of the InferenceService, those of a canary too."""
        selector = f"{SERVICE_LABEL}={self.name},component=predictor"
        return [_parsed(Pod, d) for d in self._list(_PODS, {"labelSelector": selector})]

    def is_node_coming(self, uid: str) -> bool:
        """Returns whether an autoscaler of nodes says that it adds one for a pod of a uid."""
        about = {"fieldSelector": f"involvedObject.uid={uid}", "limit": _MAX_EVENTS}
        return any(event.get("reason") in _SCALING_UP for event in self._list(_EVENTS, about))

    def claim(self) -> Claim | None:
        """Returns which rollout has the InferenceService, or None where there was none yet."""
        return self._read(_LEASES, Claim.name_for(self.name), Claim)

    def write_claim(self, document: dict[str, Any]) -> Claim:
        """Writes which rollout has the InferenceService.

        Args:
            document: A Lease; with the resourceVersion that it was made for, or none where it is
                the first.

        Raises:
            Stale: Another one was written meanwhile.
            UserError: The API server refuses or cannot be reached.
        """
        if "resourceVersion" not in document["metadata"]:
            return _parsed(Claim, self._create(_LEASES, document, {}))
        try:
            name, query = document["metadata"]["name"], {"fieldManager": MANAGER}
            updated = self._call("update", _LEASES, "PUT", name=name, query=query, body=document)
            return _parsed(Claim, updated)
        except _Missing as error:
            raise Stale("the Lease was deleted") from error

    def deleted_error(self) -> UserError:
        """Returns what to say of an InferenceService that was there a moment ago."""
        return UserError(
            f"InferenceService {self.namespace}/{self.name} was deleted during the rollout; "
            "deploy again to create it"
        )

    def _read(self, kind: _Kind, name: str, model: type[_Read]) -> _Read | None:
        found = self._find(kind, name)
        return _parsed(model, found) if found else None

    def _find(self, kind: _Kind, name: str) -> dict[str, Any] | None:
        try:
            return self._call("get", kind, "GET", name=name)
        except _Missing:
            return None

    def _list(self, kind: _Kind, query: dict[str, Any]) -> list[dict[str, Any]]:
        items = self._call("list", kind, "GET", query=query).get("items")
        return items if isinstance(items, list) else []

    def _create(
        self, kind: _Kind, document: dict[str, Any], query: dict[str, str]
    ) -> dict[str, Any]:
        query = {"fieldManager": MANAGER} | query
        return self._call("create", kind, "POST", query=query, body=document)

    def _call(
        self,
        verb: str,
        kind: _Kind,
        method: str,
        *,
        name: str = "",
        query: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Sends a request until it is answered, and returns the answer.

        The client's own methods send a merge patch instead of applying, and know no custom objects
        by their kind, so this is its one method below them.
        """
        content = "application/apply-patch+yaml" if method == "PATCH" else "application/json"

        def send() -> Any:
            return self._client.call_api(
                kind.path(self.namespace, name),
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT,
            )

        answer = self._with_retries(send, verb, kind)
        if not isinstance(answer, dict):
            raise UserError(
                f"{self._client.configuration.host} gives an answer that is not of Kubernetes; "
                "check the kubeconfig"
            )
        return answer

    def _with_retries(self, send: Callable[[], Any], verb: str, kind: _Kind) -> Any:
        try:
            return Retrying(
                stop=stop_after_delay(self._patience),
                wait=wait_random_exponential(multiplier=0.2, max=10),
                retry=retry_if_exception(_is_transient),
                reraise=True,
            )(send)
        except ApiException as error:
            raise self._refusal(verb, kind, error) from error
        except (HTTPError, OSError) as error:
            raise self._unreachable(getattr(error, "reason", None) or error) from error
        except ValueError as error:  # no JSON
            raise self._unreachable(error) from error

    def _refusal(self, verb: str, kind: _Kind, error: ApiException) -> Exception:
        """Returns what a refusal means."""
        if not error.status:  # TLS failed
            return self._unreachable(error.reason)
        told = _status(error)
        message = one_line(told.get("message") or error.reason, _MAX_LINE)
        missing = (told.get("details") or {}).get("kind", "")
        here = f"{kind.plural} of namespace {self.namespace}"
        if error.status == 409 and verb in ("create", "patch", "update"):
            causes = (told.get("details") or {}).get("causes") or ()
            if any(cause.get("reason") == "FieldManagerConflict" for cause in causes):
                return UserError(
                    f"InferenceService {self.namespace}/{self.name}: {message}; leave the field "
                    "out of what that manager applies, or take it over once with force_conflicts "
                    "(--force-conflicts in a shell)"
                )
            return Stale(message)
        if error.status == 404 and missing == "namespaces":
            return UserError(f"there is no namespace {self.namespace}; create it or name another")
        if error.status == 404 and missing == kind.plural:
            return _Missing(message)
        if error.status == 404:
            part = _PARTS.get(kind.group, "Kubernetes")
            return UserError(
                f"the cluster knows no {kind.plural}: {part} is not installed there; install it, "
                "or check the kubeconfig's context"
            )
        if error.status == 401:
            return UserError("the API server does not accept the credentials; log in again")
        if error.status == 403 and "admission webhook" not in message:
            return UserError(
                f"not allowed to {verb} {here} ({message}); bind {_ROLE} to who runs this"
            )
        if "failed calling webhook" in message:
            return UserError(
                f"KServe's webhook does not answer, so its controller may be down: {message}; see "
                "'kubectl get pods --namespace kserve' and deploy again"
            )
        kind_of = Unavailable if error.status in _TRANSIENT else UserError
        return kind_of(f"the API server refused to {verb} {here}: HTTP {error.status}: {message}")

    def _unreachable(self, reason: object) -> Unavailable:
        return Unavailable(
            f"the Kubernetes API at {self._client.configuration.host} cannot be reached: "
            f"{one_line(reason, _MAX_LINE)}; check the kubeconfig and the network"
        )


class _Missing(Exception):  # noqa: N818  # an answer, not an error
    """There is no object of that name."""


def open_api(name: str, namespace: str) -> KubernetesAPI:
    """Finds the cluster: the pod's own in a pod, that of the kubeconfig elsewhere.

    Args:
        name: Of the InferenceService.
        namespace: Of the InferenceService; empty for that of the pod or of the kubeconfig.

    Raises:
        UserError: There is no cluster to be found.
    """
    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
        here = _NAMESPACE.read_text(encoding="utf-8").strip()
    except (config.ConfigException, OSError):
        try:
            config.load_kube_config(client_configuration=settings)
            _, context = config.list_kube_config_contexts()
        except (config.ConfigException, OSError, ValueError) as error:
            raise UserError(
                f"no Kubernetes cluster to deploy to: {one_line(error, _MAX_LINE)}; set KUBECONFIG"
            ) from error
        here = context["context"].get("namespace") or "default"
    settings.retries = False
    return KubernetesAPI(client.ApiClient(settings), name, namespace or here, _PATIENCE)


def _parsed(model: type[_Read], document: dict[str, Any]) -> _Read:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise UserError(f"the API server's {model.__name__}: {first_fault(error)}") from error


def _dry_run_query(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, ApiException):
        return error.status in _TRANSIENT
    return isinstance(error, HTTPError | OSError)


def _status(error: ApiException) -> dict[str, Any]:
    """Returns the API server's Status; empty where something else answered."""
    try:
        told = json.loads(error.body or "")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
