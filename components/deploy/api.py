"""The Kubernetes API, as far as one InferenceService goes: what may pass is tried again."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import client, config, watch
from kubernetes.client import ApiException
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)
from urllib3.exceptions import HTTPError

from components.deploy.inference_service import MANAGER, InferenceService
from components.deploy.manifest import GROUP, PLURAL, VERSION
from components.errors import UserError

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT = (10, 30)  # seconds to connect, and for an answer
_PATIENCE = 60.0
_WATCH_SECONDS = 60.0
_PASSING = (429, 500, 502, 503, 504)
_GONE = 410
_ROLE = "the Role brain-tumor-pipeline of manifests/base"

_Answer = TypeVar("_Answer")


class Stale(Exception):  # noqa: N818  # no error yet: it is read again and done again
    """The InferenceService is not what it was when it was read."""


class KubernetesAPI:
    """One InferenceService in a cluster.

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
        self._objects = client.CustomObjectsApi(api_client)
        self._patience = patience

    def get(self) -> InferenceService | None:
        """Returns it as it is now, or None where there is none."""
        return self._list()[0]

    def create(self, document: dict[str, Any], dry_run: bool = False) -> InferenceService:
        """Creates it.

        Args:
            document: The whole of it.
            dry_run: Let the API server check all and keep nothing.

        Raises:
            Stale: There is one meanwhile.
            UserError: The API server refuses or cannot be reached.
        """
        return InferenceService.of(
            self._call(
                "create",
                lambda: self._objects.create_namespaced_custom_object(
                    GROUP,
                    VERSION,
                    self.namespace,
                    PLURAL,
                    document,
                    field_manager=MANAGER,
                    _request_timeout=_TIMEOUT,
                    **_dry(dry_run),
                ),
            )
        )

    def apply(
        self, document: dict[str, Any], force: bool = False, dry_run: bool = False
    ) -> InferenceService:
        """Applies the fields of a document and touches no other.

        Args:
            document: With the resourceVersion that it was made for.
            force: Take fields over from other managers.
            dry_run: Let the API server check all and keep nothing.

        Raises:
            Stale: It has changed since that resourceVersion.
            UserError: The API server refuses or cannot be reached.
        """
        query = {"fieldManager": MANAGER, "force": str(force).lower()} | (
            {"dryRun": "All"} if dry_run else {}
        )
        # The client's own method for this sends a merge patch, which owns nothing.
        return InferenceService.of(
            self._call(
                "patch",
                lambda: self._client.call_api(
                    "/apis/{group}/{version}/namespaces/{namespace}/{plural}/{name}",
                    "PATCH",
                    path_params={
                        "group": GROUP,
                        "version": VERSION,
                        "namespace": self.namespace,
                        "plural": PLURAL,
                        "name": self.name,
                    },
                    query_params=list(query.items()),
                    header_params={
                        "Accept": "application/json",
                        "Content-Type": "application/apply-patch+yaml",
                    },
                    body=document,
                    response_type="object",
                    auth_settings=["BearerToken"],
                    _return_http_data_only=True,
                    _request_timeout=_TIMEOUT,
                ),
            )
        )

    def changes(self, seconds: float) -> Iterator[InferenceService]:
        """Yields it as it is now and after each change, until the time is up.

        A watch that ends, breaks or is told that its place in history is gone starts anew.

        Args:
            seconds: How long.

        Raises:
            UserError: It is gone, or the API server refuses or cannot be reached.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            live, position = self._list()
            if live is None:
                raise self.gone()
            yield live
            # No longer than this, so that a connection that died unnoticed is not waited for.
            yield from self._watch(position, min(left, _WATCH_SECONDS))

    def gone(self) -> UserError:
        """Returns what to say of one that was there a moment ago."""
        return UserError(
            f"InferenceService {self.namespace}/{self.name} was deleted during the rollout; "
            "deploy again to create it"
        )

    def _watch(self, position: str, seconds: float) -> Iterator[InferenceService]:
        stream = watch.Watch().stream(
            self._objects.list_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            PLURAL,
            field_selector=f"metadata.name={self.name}",
            resource_version=position,
            timeout_seconds=max(1, round(seconds)),
            _request_timeout=(_TIMEOUT[0], max(seconds, 0.01)),
        )
        try:
            for event in stream:
                if event["type"] == "DELETED":
                    raise self.gone()
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield InferenceService.of(event["raw_object"])
        except ApiException as error:
            if error.status != _GONE and error.status not in _PASSING:
                raise self._refusal("watch", error) from error
        except (HTTPError, OSError, ValueError, KeyError):
            time.sleep(0.1)  # cut off in the middle; what comes next says whether it is serious

    def _list(self) -> tuple[InferenceService | None, str]:
        """Returns it, if there is one, and the place in history to watch from."""
        found = self._call(
            "list",
            lambda: self._objects.list_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                PLURAL,
                field_selector=f"metadata.name={self.name}",
                _request_timeout=_TIMEOUT,
            ),
        )
        try:
            position = str(found["metadata"]["resourceVersion"])
            items = [i for i in found["items"] if i["metadata"]["name"] == self.name]
        except (KeyError, TypeError) as error:
            raise UserError(
                "the API server's answer is no list of InferenceServices; check the kubeconfig"
            ) from error
        return (InferenceService.of(items[0]) if items else None), position

    def _call(self, verb: str, send: Callable[[], _Answer]) -> _Answer:
        try:
            return Retrying(
                stop=stop_after_delay(self._patience),
                wait=wait_random_exponential(multiplier=0.2, max=10),
                retry=retry_if_exception(_may_pass),
                reraise=True,
            )(send)
        except ApiException as error:
            raise self._refusal(verb, error) from error
        except (HTTPError, OSError) as error:
            raise self._unreachable(getattr(error, "reason", None) or error) from error

    def _refusal(self, verb: str, error: ApiException) -> Exception:
        """Returns what a refusal means."""
        if not error.status:  # TLS failed
            return self._unreachable(error.reason)
        told = _status(error)
        message = _one_line(told.get("message") or error.reason)
        kind = (told.get("details") or {}).get("kind", "")
        here = f"{PLURAL} of namespace {self.namespace}"
        if error.status == 409:
            causes = (told.get("details") or {}).get("causes") or ()
            if any(cause.get("reason") == "FieldManagerConflict" for cause in causes):
                return UserError(
                    f"InferenceService {self.namespace}/{self.name}: {message}; leave the field "
                    "out of what that manager applies, or take it over once with force_conflicts"
                )
            return Stale(message)
        if error.status == 404 and kind == "namespaces":
            return UserError(f"there is no namespace {self.namespace}; create it or name another")
        if error.status == 404 and kind == PLURAL:
            return self.gone()
        if error.status == 404:
            return UserError(
                f"the cluster knows no {PLURAL}.{GROUP}: KServe is not installed there; install "
                "it, or check the kubeconfig's context"
            )
        if error.status == 401:
            return UserError("the API server takes the credentials for nobody's; log in again")
        if error.status == 403 and "admission webhook" not in message:
            return UserError(
                f"not allowed to {verb} {here} ({message}); bind {_ROLE} to who runs this"
            )
        return UserError(f"the API server refused to {verb} {here}: HTTP {error.status}: {message}")

    def _unreachable(self, reason: object) -> UserError:
        return UserError(
            f"the Kubernetes API at {self._client.configuration.host} cannot be reached: "
            f"{_one_line(reason)}; check the kubeconfig and the network"
        )


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
                f"no Kubernetes cluster to deploy to: {_one_line(error)}; set KUBECONFIG"
            ) from error
        here = context["context"].get("namespace") or "default"
    settings.retries = False
    return KubernetesAPI(client.ApiClient(settings), name, namespace or here, _PATIENCE)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dry_run": "All"} if dry_run else {}


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ApiException):
        return error.status in _PASSING
    return isinstance(error, HTTPError | OSError)


def _status(error: ApiException) -> dict[str, Any]:
    """Returns the API server's Status; empty where something else answered."""
    try:
        told = json.loads(error.body or "")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:400]
