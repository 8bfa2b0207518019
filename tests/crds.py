"""What an API server with CRDs would say of an object: fields unknown, missing or of another type.

The schemas are those of KServe (revision aaac4e2, between 0.20.0 and 0.21.0), of the Prometheus
operator (0.93.0), of Envoy Gateway (d32f282, after 1.9.0-rc.0) and of Istio's API (b8f8791, after
1.31.0-alpha.0), without descriptions. Newer ones are taken from their repositories with

    python -m tests.crds CRD.yaml...

which keeps the schemas of other kinds.
"""

import gzip
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

STORED = Path(__file__).with_suffix(".json.gz")


def faults(found: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a custom resource, each with the field's path.

    Raises:
        KeyError: The CRD is not among the stored ones.
    """
    errors = _validator(found["apiVersion"], found["kind"]).iter_errors(found)
    return sorted(f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors)


def has(found: dict[str, Any]) -> bool:
    """Whether the CRD of an object is among the stored ones."""
    return f"{found['apiVersion']}/{found['kind']}" in _schemas()


@cache
def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = json.loads(gzip.decompress(STORED.read_bytes()))
    return schemas


@cache
def _validator(api_version: str, kind: str) -> Draft202012Validator:
    schema = _closed(_schemas()[f"{api_version}/{kind}"])
    every = {"apiVersion": {}, "kind": {}, "metadata": {}}  # a CRD need not name them
    return Draft202012Validator(schema | {"properties": every | schema["properties"]})


def _closed(schema: Any) -> Any:
    """Forbids fields that a schema does not name, as the API server does unless told otherwise."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault(
            "additionalProperties", schema.get("x-kubernetes-preserve-unknown-fields", False)
        )
    return closed


def _without_descriptions(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_descriptions(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_descriptions(value)
        for key, value in schema.items()
        if key != "description" or not isinstance(value, str)
    }


def main(paths: list[str]) -> None:
    """Stores the schemas of CRDs."""
    schemas = dict(_schemas())
    for path in paths:
        spec = yaml.load(Path(path).read_text(), yaml.CSafeLoader)["spec"]
        for version in spec["versions"]:
            name = f"{spec['group']}/{version['name']}/{spec['names']['kind']}"
            schemas[name] = _without_descriptions(version["schema"]["openAPIV3Schema"])
    text = json.dumps(schemas, sort_keys=True, separators=(",", ":"))
    STORED.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main(sys.argv[1:])
