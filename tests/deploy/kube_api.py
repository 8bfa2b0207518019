"""A small API server: InferenceServices with server-side apply, and what runs of them to read.

`test_recorded.py` holds its answers to those of a real API server: field managers and their
conflicts, resourceVersions, generations, dry runs, roles and refusals.
"""

import copy
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests import crds

GROUP, PLURAL = "serving.kserve.io", "inferenceservices"
GROUPS = {
    PLURAL: GROUP,
    "deployments": "apps",
    "leases": "coordination.k8s.io",
    "revisions": "serving.knative.dev",
    "pods": "",
    "events": "",
}
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
        knative: Whether it knows revisions.
        unbound: A namespace in which nobody has bound the Role; empty for none.
        knows_canary: Whether their schema has spec.canary; without, the field is dropped.
        namespaces: That exist.
        denial: What an admission webhook says against every change; empty for nothing.
        requests: The verbs that were asked for, in order, such as `patch`; of dry runs with
            `?dryRun` behind, and of other kinds with the kind, such as `get leases`.
        faults: By verb, what befalls the next requests of it: an HTTP status, `cut` for a
            connection that breaks before the request is read, `lost` for one that breaks after.
    """

    def __init__(self, role: Path = ROLE) -> None:
        self.rules = yaml.safe_load(role.read_text())["rules"]
        self.installed = True
        self.knative = True
        self.unbound = ""
        self.knows_canary = True
        self.namespaces = {"models"}
        self.denial = ""
        self.requests: list[str] = []
        self.faults: dict[str, list[int | str]] = {}
        self.on_request: Callable[[str], None] = lambda verb: None
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._others: dict[tuple[str, str], dict[str, Any]] = {}  # by kind and name
        self._version = 100
        self.changed = threading.RLock()

    # What a test, or a controller, does to the cluster.

    def __getitem__(self, name: str) -> dict[str, Any]:
        with self.changed:
            return copy.deepcopy(self._objects["models", name])

    def names(self, namespace: str) -> list[str]:
        """The names of a namespace's InferenceServices."""
        return [name for where, name in self._objects if where == namespace]

    def kubectl_apply(self, document: dict[str, Any], manager: str = "kubectl") -> None:
        """Applies a document as somebody else would."""
        with self.changed:
            key = "models", document["metadata"]["name"]
            if key in self._objects:
                self._store(key, self._applied(key, copy.deepcopy(document), manager, True))
            else:
                self._store(key, _owned(document, manager, "Apply"))

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
            del self._objects["models", name]

    def put(self, plural: str, document: dict[str, Any]) -> None:
        """Writes an object of another kind, as its controller would."""
        with self.changed:
            self._version += 1
            document["metadata"]["resourceVersion"] = str(self._version)
            self._others[plural, document["metadata"]["name"]] = copy.deepcopy(document)

    def remove(self, plural: str, name: str) -> None:
        with self.changed:
            self._others.pop((plural, name), None)

    def others(self, plural: str) -> dict[str, dict[str, Any]]:
        """The objects of another kind, by name."""
        with self.changed:
            found = {name: o for (kind, name), o in self._others.items() if kind == plural}
            return copy.deepcopy(found)

    # What the server does.

    def authorise(self, verb: str, plural: str, namespace: str, name: str) -> None:
        group = GROUPS[plural]
        for rule in self.rules if namespace != self.unbound else ():
            if group in rule["apiGroups"] and plural in rule["resources"] and verb in rule["verbs"]:
                return
        told = f'{_full(plural)} "{name}"' if name else _full(plural)
        user = f'User "system:serviceaccount:models:runner" cannot {verb} resource "{plural}"'
        where = f'in API group "{group}" in the namespace "{namespace}"'
        about = _about(plural) | ({"name": name} if name else {})
        raise Refused(403, "Forbidden", f"{told} is forbidden: {user} {where}", **about)

    def get(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        with self.changed:
            held = self._others if plural != PLURAL else self._objects
            key = (plural if plural != PLURAL else namespace), name
            if key not in held:
                raise _missing(plural, name)
            return copy.deepcopy(held[key])

    def list(self, plural: str, query: dict[str, str]) -> dict[str, Any]:
        labels = dict(p.split("=") for p in query.get("labelSelector", "").split(",") if p)
        uid = query.get("fieldSelector", "").removeprefix("involvedObject.uid=")
        items = [
            found
            for found in self.others(plural).values()
            if labels.items() <= found["metadata"].get("labels", {}).items()
            and (not uid or found.get("involvedObject", {}).get("uid") == uid)
        ]
        return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}

    def create_other(self, plural: str, document: dict[str, Any]) -> dict[str, Any]:
        with self.changed:
            name = document["metadata"]["name"]
            if (plural, name) in self._others:
                raise _exists(plural, name)
            self.put(plural, document)
            return self.others(plural)[name]

    def update(self, plural: str, name: str, document: dict[str, Any]) -> dict[str, Any]:
        with self.changed:
            if (plural, name) not in self._others:  # as the real one does with a Lease
                return self.create_other(plural, document) | {"made": True}
            held = self.get(plural, "models", name)
            if document["metadata"]["resourceVersion"] != held["metadata"]["resourceVersion"]:
                raise _modified(plural, name)
            self.put(plural, document)
            return self.others(plural)[name]

    def create(self, namespace: str, document: dict[str, Any], manager: str, dry: bool) -> Any:
        with self.changed:
            key = namespace, document["metadata"]["name"]
            self._admit(namespace)
            if key in self._objects:
                raise _exists(PLURAL, key[1])
            new = self._checked(self._pruned(_owned(document, manager, "Update")))
            return new if dry else self._store(key, new)

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
                raise _missing(PLURAL, key[1])
            expected = document["metadata"].get("resourceVersion")
            if expected and expected != self._objects[key]["metadata"]["resourceVersion"]:
                raise _modified(PLURAL, key[1])
            new = self._checked(self._applied(key, self._pruned(document), manager, force))
            return self._bumped(key, new) if dry else self._store(key, new)

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

    def _checked(self, document: dict[str, Any]) -> dict[str, Any]:
        """Fills in what KServe's webhook does, and holds the object to the CRD's schema."""
        for canary in document["spec"].get("canary", ()):
            canary["predictor"]["model"].setdefault("name", "")
        if faults := crds.faults(document):
            told = f'InferenceService.{GROUP} "{document["metadata"]["name"]}" is invalid: '
            raise Refused(422, "Invalid", told + "; ".join(faults))
        return document

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
                    "message": f'conflict with "{e["manager"]}"',
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

    def _store(self, key: tuple[str, str], new: dict[str, Any]) -> dict[str, Any]:
        new = self._bumped(key, copy.deepcopy(new))
        if new == self._objects.get(key):
            return new
        self._version += 1
        new["metadata"]["resourceVersion"] = str(self._version)
        self._objects[key] = new
        return copy.deepcopy(new)


def _full(plural: str) -> str:
    return f"{plural}.{GROUPS[plural]}".rstrip(".")


def _about(plural: str) -> dict[str, str]:
    return {"kind": plural} | ({"group": GROUPS[plural]} if GROUPS[plural] else {})


def _missing(plural: str, name: str) -> Refused:
    told = f'{_full(plural)} "{name}" not found'
    return Refused(404, "NotFound", told, name=name, **_about(plural))


def _exists(plural: str, name: str) -> Refused:
    told = f'{_full(plural)} "{name}" already exists'
    return Refused(409, "AlreadyExists", told, name=name, **_about(plural))


def _modified(plural: str, name: str) -> Refused:
    told = (
        f'Operation cannot be fulfilled on {_full(plural)} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    return Refused(409, "Conflict", told, name=name, **_about(plural))


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
    # An answer is one packet, or each waits 40 ms for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = 2**16
    api: KubeAPI

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        before, _, after = parts.path.partition("/namespaces/")
        names = after.split("/")
        plural = names[1] if len(names) > 1 else ""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        group = before.split("/")[2] if before.startswith("/apis/") else ""
        known = {PLURAL: self.api.installed, "revisions": self.api.knative}
        if GROUPS.get(plural) != group or not known.get(plural, True):
            self._send(404, b"404 page not found\n", "text/plain")
            return
        namespace, name = names[0], names[2] if len(names) > 2 else ""
        changes = {"POST": "create", "PATCH": "patch", "PUT": "update"}
        verb = changes.get(self.command) or ("get" if name else "list")
        request = verb + ("?dryRun" if "dryRun" in query else "")
        request += f" {plural}" if plural != PLURAL else ""
        self.api.requests.append(request)
        self.api.on_request(request)
        queue = self.api.faults.get(request, [])
        fault = queue.pop(0) if queue else None
        try:
            if fault == "cut":
                raise ConnectionError
            if isinstance(fault, int):
                raise Refused(fault, "ServiceUnavailable", "the server is currently unable")
            self.api.authorise(verb, plural, namespace, name)
            document = json.loads(body) if body else None
            answer = self._done(verb, plural, namespace, name, query, document)
            if fault == "lost":
                raise ConnectionError
            made = verb == "create" or (verb == "update" and answer.pop("made", False))
            self._send(201 if made else 200, json.dumps(answer).encode())
        except Refused as refused:
            self._send(refused.code, json.dumps(refused.status).encode())
        except ConnectionError:
            self.close_connection = True
            self.connection.close()

    def _done(
        self,
        verb: str,
        plural: str,
        namespace: str,
        name: str,
        query: dict[str, str],
        document: Any,
    ) -> Any:
        dry = query.get("dryRun") == "All"
        if verb == "get":
            return self.api.get(plural, namespace, name)
        if verb == "list":
            return self.api.list(plural, query)
        assert query["fieldManager"]
        if verb == "update":
            return self.api.update(plural, name, document)
        if verb == "create" and plural != PLURAL:
            return self.api.create_other(plural, document)
        if verb == "create":
            return self.api.create(namespace, document, query["fieldManager"], dry)
        assert self.headers["Content-Type"] == "application/apply-patch+yaml"
        force = query.get("force") == "true"
        return self.api.apply((namespace, name), document, query["fieldManager"], force, dry)

    def _send(self, code: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


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
