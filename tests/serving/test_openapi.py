"""What the predictor says of its interface: a running one is asked for all of it."""

import io
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from serving.openapi import openapi
from serving.routes import make_routes
from serving.settings import Settings

ROOT = Path(__file__).parents[2]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


def _file(kind: str, brightness: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (20, 20), brightness).save(file, kind)
    return file.getvalue()


# Half of the files are images; what is sent as a form or as JSON is made from the description.
for kind in ("jpeg", "png", "tiff"):
    files = st.builds(_file, st.just(kind.upper()), st.integers(0, 255))
    schemathesis.openapi.media_type(f"image/{kind}", files | st.binary(max_size=50))
schemathesis.openapi.media_type("application/dicom", st.binary(max_size=200))


INTERFACE = openapi("brain-tumor")


def test_the_description_is_one_of_openapi_and_of_this_version(predictor: Any) -> None:
    assert httpx.get(predictor.url + "/openapi.json").json() == INTERFACE
    schemathesis.openapi.from_dict(INTERFACE).validate()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert INTERFACE["info"]["version"] == project["version"]


def test_every_route_is_described() -> None:
    routes = make_routes(None, None, SimpleNamespace(name="brain-tumor"), Settings())  # type: ignore[arg-type]
    paths = {route.path.replace("{name}", "brain-tumor") for route in routes}
    of_no_use = {path for path in paths if "/versions/" in path or "/repository/" in path}
    assert paths - of_no_use - {"/web", "/docs", "/openapi.json"} == set(INTERFACE["paths"])


def _examples() -> list[Any]:
    return [
        pytest.param(path, kind, example["value"], id=f"{path} {kind}")
        for path, item in INTERFACE["paths"].items()
        for kind, body in item.get("post", {}).get("requestBody", {}).get("content", {}).items()
        for example in body.get("examples", {}).values()
    ]


@pytest.mark.parametrize(("path", "kind", "value"), _examples())
def test_every_example_is_answered(predictor: Any, path: str, kind: str, value: Any) -> None:
    response = httpx.post(predictor.url + path, json=value, headers={"content-type": kind})
    assert response.status_code == 200, response.text


@schemathesis.openapi.from_dict(INTERFACE).parametrize()
@settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
def test_a_running_predictor_does_what_it_says(case: schemathesis.Case, predictor: Any) -> None:
    case.call_and_validate(base_url=predictor.url, checks=CHECKS)
