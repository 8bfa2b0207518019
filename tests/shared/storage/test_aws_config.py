"""Which endpoint of S3 AWS's shared config file names; each answer is what botocore 1.44.8 gave."""

from pathlib import Path

import pytest

from components.shared.storage import open_store
from components.shared.storage.s3 import S3Store
from tests.stores import refused, use

AWS = "https://s3.amazonaws.com"
SERVICES = """
[default]
region = eu-central-1
services = local
endpoint_url = http://profile:1

[profile bare]
output = json

[profile "with space"]
endpoint_url = http://space:2

[profile off]
endpoint_url = http://profile:1
ignore_configured_endpoint_urls = TRUE

[profile other]
endpoint_url = http://profile:1
services = no-s3

[services local]
dynamodb =
  endpoint_url = http://dynamo:3
s3 =
  addressing_style = path
  # of this machine
  endpoint_url = http://s3:4

[services no-s3]
dynamodb =
  endpoint_url = http://dynamo:3
"""


def endpoint(monkeypatch: pytest.MonkeyPatch, file: Path, **environment: str) -> str:
    use(monkeypatch, {"AWS_CONFIG_FILE": str(file), **environment})
    store = open_store("s3://models/x", "registry")
    assert isinstance(store, S3Store)
    return store.endpoint


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config"
    file.write_text(SERVICES)
    return file


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "http://s3:4"),
        ({"AWS_PROFILE": "bare"}, AWS),
        ({"AWS_PROFILE": "with space"}, "http://space:2"),
        ({"AWS_PROFILE": "off"}, AWS),
        ({"AWS_PROFILE": "other"}, "http://profile:1"),
        ({"AWS_ENDPOINT_URL": "http://any:5"}, "http://any:5"),
        ({"AWS_ENDPOINT_URL_S3": "http://mine:6"}, "http://mine:6"),
        ({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, AWS),
    ],
)
def test_the_endpoint_of_a_profile(
    monkeypatch: pytest.MonkeyPatch, config: Path, environment: dict[str, str], expected: str
) -> None:
    assert endpoint(monkeypatch, config, **environment) == expected


def test_the_file_lies_at_home(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    home = config.parent
    (home / ".aws").mkdir()
    config.rename(home / ".aws" / "config")
    monkeypatch.setenv("HOME", str(home))
    assert endpoint(monkeypatch, Path()) == AWS  # a folder is no file
    monkeypatch.delenv("AWS_CONFIG_FILE")
    store = open_store("s3://models/x", "registry")
    assert isinstance(store, S3Store)
    assert store.endpoint == "http://s3:4"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"endpoint_url = http://s3:4", "no section headers"),
        (b"[default]\nservices = gone", "no section [services gone]"),
        (b"[default]\nendpoint_url = s3:4", "give http://host:port"),
        (b"[default]\nendpoint_url = \xff", "utf-8"),
        (b"[profile 'x]\n", "quotation"),
    ],
)
def test_a_malformed_file_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, part: str
) -> None:
    (tmp_path / "config").write_bytes(content)
    refused(lambda: endpoint(monkeypatch, tmp_path / "config"), str(tmp_path / "config"), part)
