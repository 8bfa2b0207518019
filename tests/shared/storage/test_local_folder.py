"""Which URIs lead to a local folder."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.errors import UserError
from components.shared.storage import local_folder


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/models", "/models"),
        ("file:///models/a%20b", "/models/a b"),
        ("file://localhost/models", "/models"),
        ("FILE:///models", "/models"),
    ],
)
def test_absolute(uri: str, path: str) -> None:
    assert local_folder(uri, "registry") == Path(path)


def test_relative_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert local_folder("models", "registry") == tmp_path / "models"
    assert local_folder("~/models", "registry") == Path("/home/somebody/models")


@pytest.mark.parametrize(
    ("uri", "part"),
    [
        ("s3://bucket/models", "s3:// is not supported"),
        ("gs://bucket", "gs:// is not supported"),
        ("s3//bucket/models", "s3:// with a colon and two slashes"),
        ("", "is not a path"),
        ("file://elsewhere/models", "another machine"),
        ("s3:/bucket/models", "write s3:// with a colon and two slashes"),
        ("S3:bucket/models", "write s3:// with a colon and two slashes"),
        ("gs//bucket/models", "write gs:// with a colon and two slashes"),
        ("file:///models?x=1", "%3F"),
        ("file:///a%00b", "is not a path"),
        ("~nobody-has-this-name/models", "home"),
    ],
)
def test_refused_in_one_line(uri: str, part: str) -> None:
    with pytest.raises(UserError, match="registry") as caught:
        local_folder(uri, "registry")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_any_text_is_a_path_or_a_user_error(uri: str) -> None:
    with contextlib.suppress(UserError):
        assert local_folder(uri, "registry").is_absolute()
