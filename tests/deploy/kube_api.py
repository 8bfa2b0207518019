"""A small API server for InferenceServices: server-side apply, watches, dry runs, roles, refusals.

It keeps to what the Kubernetes documentation says of them: field managers and their conflicts,
resourceVersions, generations, 410 for places in history that are gone, and Status documents.
"""

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

GROUP, PLURAL = "serving.kserve.io", "inferenceservices"
ROLE = Path(__file__).parents[2] / "manifests" / "base" / "role.yaml"

Path_ = tuple[str, ...]
_IDENTITY = {("apiVersion",), ("kind",)} | {
    ("metadata", name)
    for name in (
        *("name", "namespace", "resourceVersion", "generation", "uid"),
        *("creationTimestamp", "managedFields"),
    )
}


class Refused(Exception):  # noqa: N818
    """An answer that is an error."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
            "details": details,
        }


class KubeAPI:
    """The objects of a cluster, and what is to go wrong.

    Attributes:
        installed: Whether the cluster knows InferenceServices.
        knows_canary: Whether their schema has spec.canary; without, the field is dropped.
        namespaces: That exist.
        denial: What an admission webhook says against every change; empty for nothing.
        requests: The verbs that were asked for, in order; of dry runs with `?dryRun` behind.
        faults: By verb, what befalls the next requests of it: an HTTP status, `cut` for a
            connection that breaks before the request is read, `lost` for one that breaks after.
    """

    def __init__(self, role: Path = ROLE) -> None:
        self.rules = yaml.safe_load(role.read_text())["rules"]
        self.installed = True
        self.knows_canary = True
        self.namespaces = {"models"}
        self.denial = ""
        self.requests: list[str] = []
        self.faults: dict[str, list[int | str]] = {}
        self.on_request: Callable[[str], None] = lambda verb: None
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._version = 100
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._forgotten = 0
        self.changed = threading.Condition(threading.RLock())

    # What a test, or a controller, does to the cluster.

    def __getitem__(self, name: str) -> dict[str, Any]:
        with self.changed:
            return copy.deepcopy(self._objects["models", name])

    def kubectl_apply(self, document: dict[str, Any], manager: str = "kubectl") -> None:
        """Applies a document as somebody else would."""
        with self.changed:
            key = "models", document["metadata"]["name"]
            if key in self._objects:
                self._store(key, self._applied(key, copy.deepcopy(document), manager, True))
            else:
                self._store(key, _owned(document, manager, "Apply"), "ADDED")

    def edit(self, name: str, manager: str = "kubectl-edit", **predictor_model: Any) -> None:
        """Changes fields of spec.predictor.model, as an update."""
        with self.changed:
            new = self[name]
            new["spec"]["predictor"]["model"] |= predictor_model
            paths = {("spec", "predictor", "model", field) for field in predictor_model}
            _disown(new, paths)
            new["metadata"]["managedFields"].append(_entry(manager, "Update", paths))
            self._store(("models", name), new)

    def annotate(self, name: str, **annotations: str) -> None:
        with self.changed:
            new = self[name]
            new["metadata"]["annotations"] |= annotations
            self._store(("models", name), new)

    def set_status(self, name: str, status: dict[str, Any]) -> None:
        with self.changed:
            new = self[name]
            new["status"] = status
            self._store(("models", name), new)

    def delete(self, name: str) -> None:
        with self.changed:
            old = self._objects.pop(("models", name))
            self._version += 1
            self._events.append((self._version, "DELETED", old))
            self.changed.notify_all()

    def forget(self) -> None:
        """Compacts the history: watches from before now are told 410."""
        with self.changed:
            self._version += 1
            self._forgotten = self._version
            self.changed.notify_all()

    # What the server does.

    def authorise(self, verb: str, namespace: str) -> None:
        for rule in self.rules:
            if GROUP in rule["apiGroups"] and PLURAL in rule["resources"] and verb in rule["verbs"]:
                return
        raise Refused(
            403,
            "Forbidden",
            f'{PLURAL}.{GROUP} is forbidden: User "system:serviceaccount:{namespace}:runner" '
            f'cannot {verb} resource "{PLURAL}" in API group "{GROUP}" in the namespace '
            f'"{namespace}"',
            group=GROUP,
            kind=PLURAL,
        )

    def list(self, namespace: str, name: str) -> dict[str, Any]:
        with self.changed:
            items = [
                copy.deepcopy(o)
                for (where, called), o in self._objects.items()
                if where == namespace and name in ("", called)
            ]
            return {
                "apiVersion": f"{GROUP}/v1beta1",
                "kind": "InferenceServiceList",
                "metadata": {"resourceVersion": str(self._version)},
                "items": items,
            }

    def create(self, namespace: str, document: dict[str, Any], manager: str, dry: bool) -> Any:
        with self.changed:
            key = namespace, document["metadata"]["name"]
            self._admit(namespace)
            if key in self._objects:
                raise Refused(
                    409,
                    "AlreadyExists",
                    f'{PLURAL}.{GROUP} "{key[1]}" already exists',
                    name=key[1],
                    kind=PLURAL,
                )
            new = self._pruned(_owned(document, manager, "Update"))
            return new if dry else self._store(key, new, "ADDED")

    def apply(
        self,
        key: tuple[str, str],
        document: dict[str, Any],
        manager: str,
        force: bool,
        dry: bool,
    ) -> Any:
        with self.changed:
            self._admit(key[0])
            if key not in self._objects:
                raise Refused(
                    404,
                    "NotFound",
                    f'{PLURAL}.{GROUP} "{key[1]}" not found',
                    name=key[1],
                    kind=PLURAL,
                )
            expected = document["metadata"].get("resourceVersion")
            if expected and expected != self._objects[key]["metadata"]["resourceVersion"]:
                raise Refused(
                    409,
                    "Conflict",
                    f'Operation cannot be fulfilled on {PLURAL}.{GROUP} "{key[1]}": the object has '
                    "been modified; please apply your changes to the latest version and try again",
                    name=key[1],
                    kind=PLURAL,
                )
            new = self._applied(key, self._pruned(document), manager, force)
            return self._bumped(key, new) if dry else self._store(key, new)

    def watch(
        self, namespace: str, name: str, since: int, seconds: float
    ) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + seconds
        while True:
            with self.changed:
                if since < self._forgotten:
                    gone = Refused(410, "Expired", f"too old resource version: {since}")
                    yield {"type": "ERROR", "object": gone.status}
                    return
                news = [e for e in self._events if e[0] > since]
                if not news and not self.changed.wait(min(0.05, end - time.monotonic())):
                    if time.monotonic() >= end:
                        return
                    continue
            for version, kind, found in news:
                since = version
                if (found["metadata"]["namespace"], found["metadata"]["name"]) == (namespace, name):
                    yield {"type": kind, "object": found}

    def _admit(self, namespace: str) -> None:
        if namespace not in self.namespaces:
            raise Refused(
                404,
                "NotFound",
                f'namespaces "{namespace}" not found',
                name=namespace,
                kind="namespaces",
            )
        if self.denial:
            raise Refused(
                403,
                "Forbidden",
                'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the '
                f"request: {self.denial}",
            )

    def _pruned(self, document: dict[str, Any]) -> dict[str, Any]:
        if not self.knows_canary:
            document["spec"].pop("canary", None)
        return document

    def _applied(
        self, key: tuple[str, str], wanted: dict[str, Any], manager: str, force: bool
    ) -> dict[str, Any]:
        """Merges as server-side apply does."""
        new = copy.deepcopy(self._objects[key])
        paths = _leaves(wanted)
        entries = new["metadata"]["managedFields"]
        mine = next(
            (e for e in entries if (e["manager"], e["operation"]) == (manager, "Apply")), None
        )
        others = [e for e in entries if e is not mine]
        differing = {p for p in paths if _get(new, p) != _get(wanted, p)}
        disputed = {p: e for e in others for p in differing & _paths(e["fieldsV1"])}
        if disputed and not force:
            causes = [
                {
                    "reason": "FieldManagerConflict",
                    "message": f'conflict with "{e["manager"]}" using {GROUP}/v1beta1',
                    "field": "." + ".".join(p),
                }
                for p, e in disputed.items()
            ]
            count = len(causes)
            told = ", ".join(f"{c['message']}: {c['field']}" for c in causes)
            raise Refused(
                409,
                "Conflict",
                f"Apply failed with {count} conflict{'s' * (count > 1)}: {told}",
                causes=causes,
            )
        new["metadata"]["managedFields"] = others
        _disown(new, set(disputed))
        for path in paths:
            _set(new, path, copy.deepcopy(_get(wanted, path)))
        held = {p for e in others for p in _paths(e["fieldsV1"])}
        for path in (_paths(mine["fieldsV1"]) if mine else set()) - paths - held:
            _remove(new, path)
        new["metadata"]["managedFields"].append(_entry(manager, "Apply", paths))
        return new

    def _bumped(self, key: tuple[str, str], new: dict[str, Any]) -> dict[str, Any]:
        old = self._objects.get(key, {"spec": None, "metadata": {"generation": 0}})
        generation = old["metadata"]["generation"] + (old["spec"] != new["spec"])
        new["metadata"] |= {"generation": generation, "namespace": key[0], "uid": "0-1"}
        return new

    def _store(
        self, key: tuple[str, str], new: dict[str, Any], kind: str = "MODIFIED"
    ) -> dict[str, Any]:
        new = self._bumped(key, copy.deepcopy(new))
        if new == self._objects.get(key):
            return new
        self._version += 1
        new["metadata"]["resourceVersion"] = str(self._version)
        self._objects[key] = new
        self._events.append((self._version, kind, copy.deepcopy(new)))
        self.changed.notify_all()
        return copy.deepcopy(new)


def _owned(document: dict[str, Any], manager: str, operation: str) -> dict[str, Any]:
    new = copy.deepcopy(document)
    new["metadata"]["managedFields"] = [_entry(manager, operation, _leaves(document))]
    return new


def _entry(manager: str, operation: str, paths: set[Path_]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for path in sorted(paths):
        at = fields
        for name in path:
            at = at.setdefault(f"f:{name}", {})
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": f"{GROUP}/v1beta1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _leaves(document: Any, at: Path_ = ()) -> set[Path_]:
    if at in _IDENTITY:
        return set()
    if isinstance(document, dict) and document:
        return {p for name, value in document.items() for p in _leaves(value, (*at, name))}
    return {at}


def _paths(fields: dict[str, Any], at: Path_ = ()) -> set[Path_]:
    if not fields:
        return {at}
    return {p for f, inner in fields.items() for p in _paths(inner, (*at, f.removeprefix("f:")))}


def _disown(document: dict[str, Any], paths: set[Path_]) -> None:
    entries = document["metadata"]["managedFields"]
    for entry in entries:
        left = _paths(entry["fieldsV1"]) - paths
        entry["fieldsV1"] = _entry("", "", left)["fieldsV1"]
    document["metadata"]["managedFields"] = [e for e in entries if e["fieldsV1"]]


def _get(document: Any, path: Path_) -> Any:
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return None
        document = document[name]
    return document


def _set(document: dict[str, Any], path: Path_, value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = value


def _remove(document: dict[str, Any], path: Path_) -> None:
    holder = _get(document, path[:-1])
    if isinstance(holder, dict):
        holder.pop(path[-1], None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: KubeAPI

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PATCH = do_GET  # noqa: N815

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        prefix = ["", "apis", GROUP, "v1beta1", "namespaces"]
        names = parts.path.split("/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.api.installed or names[:5] != prefix or names[6] != PLURAL:
            self._send(404, b"404 page not found\n", "text/plain")
            return
        namespace, name = names[5], names[7] if len(names) > 7 else ""
        verb = {"POST": "create", "PATCH": "patch"}.get(self.command) or (
            "watch" if query.get("watch") in ("true", "True") else "get" if name else "list"
        )
        self.api.requests.append(verb + ("?dryRun" if "dryRun" in query else ""))
        self.api.on_request(self.api.requests[-1])
        queue = self.api.faults.get(self.api.requests[-1], [])
        fault = queue.pop(0) if queue else None
        try:
            if fault == "cut":
                raise ConnectionError
            if isinstance(fault, int):
                raise Refused(fault, "ServiceUnavailable", "the server is currently unable")
            self.api.authorise(verb, namespace)
            if verb == "watch":
                self._stream(namespace, query, fault == "lost")
                return
            answer = self._done(verb, namespace, name, query, json.loads(body) if body else None)
            if fault == "lost":
                raise ConnectionError
            self._send(200, json.dumps(answer).encode())
        except Refused as refused:
            self._send(refused.code, json.dumps(refused.status).encode())
        except ConnectionError:
            self.close_connection = True
            self.connection.close()

    def _done(
        self, verb: str, namespace: str, name: str, query: dict[str, str], document: Any
    ) -> Any:
        dry = query.get("dryRun") == "All"
        if verb == "create":
            assert query["fieldManager"]
            return self.api.create(namespace, document, query["fieldManager"], dry)
        if verb == "patch":
            assert self.headers["Content-Type"] == "application/apply-patch+yaml"
            force = query.get("force") == "true"
            key = namespace, name
            return self.api.apply(key, document, query["fieldManager"], force, dry)
        return self.api.list(namespace, _selected(query))

    def _stream(self, namespace: str, query: dict[str, str], cut: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if cut:
            raise ConnectionError
        try:
            for event in self.api.watch(
                namespace,
                _selected(query),
                int(query["resourceVersion"]),
                float(query["timeoutSeconds"]),
            ):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # whoever watched has gone
            self.close_connection = True

    def _send(self, code: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _selected(query: dict[str, str]) -> str:
    return query.get("fieldSelector", "").removeprefix("metadata.name=")


def serve(api: KubeAPI) -> ThreadingHTTPServer:
    """Starts the server; `shutdown` ends it."""
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def write_kubeconfig(path: Path, server: str) -> None:
    """Writes a kubeconfig whose only context is of a server and of the namespace models."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {"token": "t"}}],
        "contexts": [
            {
                "name": "test",
                "context": {"cluster": "test", "user": "test", "namespace": "models"},
            }
        ],
    }
    path.write_text(yaml.safe_dump(content))
