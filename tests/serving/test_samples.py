"""The images that are kept with a version, and the predictors that its page may ask."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from components.shared.errors import UserError
from serving.settings import Settings
from tests.serving.conftest import SAMPLES


def test_samples_are_a_request_as_they_are(predictor: Any) -> None:
    samples = httpx.get(f"{predictor.url}/samples")
    brightness = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one["image_bytes"]["b64"])))).mean()
        for one in samples.json()["instances"]
    ]
    assert sorted(brightness) == list(SAMPLES)

    answer = httpx.post(f"{predictor.url}/v1/models/brain-tumor:predict", content=samples.content)
    assert [one["probabilities"]["Healthy"] for one in answer.json()["predictions"]] == (
        pytest.approx([value / 255 for value in brightness], abs=1e-4)
    )


def test_a_version_without_samples_has_none(start: Callable[..., Any], model_folder: Path) -> None:
    with start(model_folder) as server:
        assert httpx.get(f"{server.url}/samples").json() == {"instances": []}


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"host": "::"}, False),
        ({"host": "10.0.0.1"}, False),
        ({"host": "::", "tokens_file": "tokens"}, True),
        ({"host": "::", "samples": "true"}, True),
        ({"samples": "false"}, False),
    ],
)
def test_not_everyone_is_given_samples(settings: dict[str, str], given: bool) -> None:
    assert Settings.from_environment(**settings).gives_samples is given


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("", ()),
        ("/canary/,/other", ()),
        (
            "https://a.example/x, https://a.example, http://[::1]:8082/",
            ("https://a.example", "http://[::1]:8082"),
        ),
    ],
)
def test_each_other_origin_is_named_once(value: str, origins: tuple[str, ...]) -> None:
    assert Settings.from_environment(compare_with=value).compared_origins == origins


@pytest.mark.parametrize(
    "value",
    [
        "a.example",
        "//a.example/",
        "https://*",
        "https://a.example/; script-src *",
        "https://a.example/x y",
        "/../x?y",
        "javascript:alert(1)",
        "/a\n/b",
    ],
)
def test_what_is_no_address_is_refused(value: str) -> None:
    with pytest.raises(UserError, match="--compare_with: "):
        Settings.from_environment(compare_with=value)


def test_the_policy_names_the_others(start: Callable[..., Any]) -> None:
    with start(compare_with="https://b.example:8443/x/,/canary/") as server:
        policy = httpx.get(server.url, headers={"Accept": "text/html"}).headers[
            "content-security-policy"
        ]
        card = httpx.get(f"{server.url}/card").json()

    assert "connect-src 'self' https://b.example:8443; " in policy
    assert "unsafe" not in policy
    assert card["compare_with"] == ["https://b.example:8443/x/", "/canary/"]
