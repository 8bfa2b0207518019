"""Writes the templates of the Helm chart from what Kustomize builds.

    make chart

The chart's switches are the overlays and the components. A template is what Kustomize builds for
the overlay s3; where a switch changes a field, the template has the field once for each. Kustomize
itself marks the names: it builds with a prefix and a namespace that stand for the release's.
"""

import json
import subprocess
import sys
import tempfile
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parent
TEMPLATES = MANIFESTS / "chart" / "templates"
DEFAULT = ""
LOCAL = 'eq .Values.store "local"'
STORES = {"s3": DEFAULT, "local": LOCAL, "gcs": 'eq .Values.store "gcs"'}
# If two switches change one field, the first of them sets it.
COMPONENTS = {
    "knative": ".Values.knative",
    "canary": "and .Values.canary.storageUri (not .Values.knative)",
    "gpu": ".Values.gpu",
    "small": ".Values.small",
    "public-store": ".Values.publicStore",
    "monitoring": ".Values.monitoring.enabled",
    "tokens": ".Values.tokensSecret",
    "signed": ".Values.publicKeyConfigMap",
}
_NAMESPACE = "namespaceSelector.matchLabels.kubernetes.io/metadata.name"
# Fields that have a value of the chart. If it is empty, the field is as Kustomize builds it.
VALUES = {
    "InferenceService.spec.predictor.model.storageUri": "storageUri",
    "InferenceService.spec.predictor.minReplicas": "minReplicas",
    "InferenceService.spec.predictor.maxReplicas": "maxReplicas",
    "InferenceService.spec.predictor.volumes.0.projected.sources.0.configMap.name": (
        "publicKeyConfigMap"
    ),
    "InferenceService.spec.canary.0.trafficPercent": "canary.trafficPercent",
    "ServingRuntime.spec.containers.0.image": "image",
    "ServingRuntime.spec.containers.0.resources": "resources",
    "Pod.spec.containers.0.image": "image",
    "PersistentVolumeClaim.spec.resources.requests.storage": "volumeSize",
    "ServiceAccount.secrets.0.name": "storeSecret",
    "RoleBinding.subjects.0.namespace": "pipelineNamespace",
    "NetworkPolicy.spec.ingress.0.from.0.namespaceSelector.matchExpressions.0.values": "gateways",
    f"NetworkPolicy.spec.ingress.0.from.1.{_NAMESPACE}": "pipelineNamespace",
    f"NetworkPolicy.spec.ingress.1.from.0.{_NAMESPACE}": "monitoring.namespace",
    "ServingRuntime.spec.volumes.1.secret.secretName": "tokensSecret",
    "ServiceMonitor.spec.endpoints.0.authorization.credentials.name": "tokensSecret",
    "ServiceMonitor.metadata.labels.release": "monitoring.release",
    "PrometheusRule.metadata.labels.release": "monitoring.release",
}
NAME, NAMESPACE = "name-of-release", "namespace-of-release"
MARKS = {
    f"{NAME}-brain-tumor": '{{ include "brain-tumor.fullname" . }}',
    NAMESPACE: "{{ .Release.Namespace }}",
    "managed-by: kustomize": "managed-by: {{ .Release.Service }}",
    "s3://models/brain-tumor/2/": "{{ .Values.canary.storageUri | quote }}",
}
ABSENT = object()

Variants = dict[str, Any]  # the objects, by the condition of the switch
Branches = dict[str, list[str]]  # lines by condition


def templates() -> dict[str, str]:
    """Returns the text of each template by its file name."""
    stores = {condition: build(store) for store, condition in STORES.items()}
    on_s3 = {condition: build("s3", name) for name, condition in COMPONENTS.items()}
    on_local = {condition: build("local", name) for name, condition in COMPONENTS.items()}
    found = {}
    for key in {key for built in (*stores.values(), *on_s3.values()) for key in built}:
        if key in stores[DEFAULT]:
            home, builds = DEFAULT, on_s3 | stores
        elif key in stores[LOCAL]:
            home, builds = LOCAL, on_local | {DEFAULT: stores[LOCAL]}
        else:
            own, home = next((n, c) for n, c in COMPONENTS.items() if key in on_s3[c])
            others = {name: c for name, c in COMPONENTS.items() if name != own}
            builds = {c: build("s3", own, name) for name, c in others.items()}
            builds[DEFAULT] = on_s3[home]
        kind, _ = key
        lines = _merge({condition: built[key] for condition, built in builds.items()}, kind)
        text = "\n".join(lines if home == DEFAULT else _switch({home: lines, DEFAULT: []}))
        for mark, expression in MARKS.items():
            text = text.replace(mark, expression)
        found[f"{kind.lower()}.yaml"] = text + "\n"
    return found


@cache
def build(store: str, *components: str) -> dict[tuple[str, str], Any]:
    """Returns the objects of an overlay with components, by kind and name."""
    with tempfile.TemporaryDirectory() as folder:
        up = "../" * (len(Path(folder).resolve().parts) - 1)  # absolute paths are not taken
        here = Path(up, *MANIFESTS.resolve().parts[1:])
        content = {
            "resources": [str(here / "overlays" / store)],
            "components": [str(here / "components" / name) for name in components],
            "namePrefix": f"{NAME}-",
            "namespace": NAMESPACE,
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(content))
        kubectl = Path(sys.executable).with_name("kubectl")
        built = subprocess.run([kubectl, "kustomize", folder], capture_output=True, check=True)
    found = list(yaml.safe_load_all(built.stdout))
    # Helm makes the namespace, if it is asked to.
    return {(o["kind"], o["metadata"]["name"]): o for o in found if o["kind"] != "Namespace"}


def _merge(variants: Variants, path: str) -> list[str]:
    """Returns the lines of mappings, or of lists."""
    default = variants[DEFAULT]
    keys: list[Any]
    if isinstance(default, dict):
        keys = sorted({key for variant in variants.values() for key in variant})
    else:
        keys = list(range(max(map(len, variants.values()))))
    entries = [_entry(key, {c: _get(v, key) for c, v in variants.items()}, path) for key in keys]
    lines: list[str] = []
    for conditions, group in groupby(entries, key=list):
        together = list(group)
        lines += _switch({c: [line for entry in together for line in entry[c]] for c in conditions})
    return lines


def _get(collection: Any, key: Any) -> Any:
    there = key in collection if isinstance(collection, dict) else key < len(collection)
    return collection[key] if there else ABSENT


def _entry(key: Any, variants: Variants, path: str) -> Branches:
    """Returns the lines of an entry of a mapping or a list, for each switch that changes it."""
    path = f"{path}.{key}"
    differing = {c: v for c, v in variants.items() if c == DEFAULT or v != variants[DEFAULT]}
    for kind in (dict, list):
        if all(isinstance(value, kind) for value in differing.values()):
            return {DEFAULT: _lines(key, differing, path)}
    return {c: _lines(key, {DEFAULT: v}, path) for c, v in differing.items()}


def _lines(key: Any, variants: Variants, path: str) -> list[str]:
    """Returns the lines of an entry, with the value of the chart that VALUES names for it."""
    default, value = variants[DEFAULT], VALUES.get(path)
    if default is ABSENT:
        return []
    nested = isinstance(default, dict | list)
    if value and not nested and NAME not in str(default):
        quoted = " | quote" if isinstance(default, str) else ""
        return [f"{key}: {{{{ .Values.{value} | default {json.dumps(default)}{quoted} }}}}"]
    lines = _nested(key, _merge(variants, path)) if nested and default else _leaf(key, default)
    if value:
        given = f"{key}: {{{{ toJson . }}}}"
        return [f"{{{{- with .Values.{value} }}}}", given, "{{- else }}", *lines, "{{- end }}"]
    return lines


def _nested(key: Any, lines: list[str]) -> list[str]:
    if isinstance(key, str):
        return [f"{key}:", *_indented(lines)]
    if lines[0].startswith("{{-"):
        return ["-", *_indented(lines)]
    return [f"- {lines[0]}", *_indented(lines[1:])]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" if line else line for line in lines]


def _leaf(key: Any, value: Any) -> list[str]:
    entry = {key: value} if isinstance(key, str) else [value]
    text = yaml.dump(entry, Dumper=_Dumper, width=100)
    # KServe, Prometheus and Grafana have templates of their own.
    return text.replace("{{", "{{ `{{` }}").splitlines()


def _switch(branches: Branches) -> list[str]:
    """Returns the lines of branches as one if."""
    branches = dict(branches)
    otherwise = branches.pop(DEFAULT)
    if len(branches) == 1 and not any(branches.values()):
        (condition,) = branches
        condition = f"({condition})" if " " in condition else condition
        branches, otherwise = {f"not {condition}": otherwise}, []
    lines: list[str] = []
    for condition, branch in branches.items():
        lines += [f"{{{{- {'else ' if lines else ''}if {condition} }}}}", *branch]
    if not branches:
        return otherwise
    return [*lines, *(["{{- else }}", *otherwise] if otherwise else []), "{{- end }}"]


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as it is."""

    def represent_text(self, text: str) -> yaml.Node:
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)


def main() -> None:
    """Writes the templates, and nothing else ending in .yaml stays beside them."""
    found = templates()
    for path in TEMPLATES.glob("*.yaml"):
        path.unlink()
    for name, text in found.items():
        (TEMPLATES / name).write_text(text)


if __name__ == "__main__":
    main()
