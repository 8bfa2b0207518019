"""Pages of other origins: what a browser asks beforehand, and what it lets them read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.shared.errors import UserError
from serving.settings import Settings
from tests.serving.test_predictor import LIGHT, PREDICT, refused

APP, OTHER = "https://app.example", "http://localhost:3000"
TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def client(start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Of a predictor that lets two origins ask, and wants a token."""
    tokens: Path = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(TOKEN)
    with (
        start(cors_origins=f"{APP}, {OTHER}", tokens_file=tokens) as server,
        httpx.Client(base_url=server.url) as found,
    ):
        yield found


def _preflight(client: httpx.Client, origin: str, method: str = "POST") -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    return client.options(PREDICT, headers=headers)


@pytest.mark.parametrize("origin", [APP, OTHER])
def test_a_page_of_an_allowed_origin_may_ask(client: httpx.Client, origin: str) -> None:
    before = _preflight(client, origin)
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == origin
    assert before.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "POST" in before.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in before.headers
    headers = {"Origin": origin, "Authorization": f"Bearer {TOKEN}"}
    answer = client.post(PREDICT, content=LIGHT, headers=headers)
    assert answer.json()["predictions"][0]["label"] == "Healthy"
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (PREDICT, b"{", 400, "not JSON"),
        (PREDICT, bytes(17 * 2**20), 413, "more than"),
        ("/nothing", b"", 404, "no such path"),
        ("/card", b"", 405, "GET"),
    ],
)
def test_it_may_read_errors(
    client: httpx.Client, path: str, body: bytes, status: int, says: str
) -> None:
    headers = {"Origin": APP, "Authorization": f"Bearer {TOKEN}"}
    response = client.post(path, content=body, headers=headers)
    refused(response, status, says)
    assert response.headers["access-control-allow-origin"] == APP
    unknown = client.post(path, headers={"Origin": APP})
    refused(unknown, 401, "a token is needed")
    assert unknown.headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil"])
def test_no_other_origin_may(client: httpx.Client, origin: str) -> None:
    refused(_preflight(client, origin), 403, "disallowed cors origin")
    answer = client.get("/v2/health/live", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    refused(_preflight(client, APP, "DELETE"), 403, "method")


def test_it_is_off_by_default(predictor: Any) -> None:
    answer = httpx.get(predictor.url + "/v2/health/live", headers={"Origin": APP})
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize("value", ["app.example", "https://app.example/", "https://*", "null"])
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BRAIN_TUMOR_SERVE_CORS_ORIGINS", value)
    with pytest.raises(UserError, match=r"SERVE_CORS_ORIGINS: .* like 'https://app.example'"):
        Settings.from_environment()


@pytest.mark.parametrize("value", ["", "*", "http://[::1]:8080,https://a.example"])
def test_what_is_an_origin_is_taken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BRAIN_TUMOR_SERVE_CORS_ORIGINS", value)
    assert Settings.from_environment().cors_origins == tuple(filter(None, value.split(",")))
