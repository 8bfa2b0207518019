"""Tests of reaching a KFP API: logins, certificates, and errors in one line."""

import json
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kfp_server_api as api
import pytest

from components.shared.errors import UserError
from pipelines.kfp_client import connected
from tests.pipelines.exchanges import Answer, Request, serving

NOTHING = Answer(200, b"{}")
LOGIN = "https://kubeflow.example/dex/auth/local?req=secret-word"


def _list(endpoint: str, **access: Any) -> None:
    with connected(endpoint, (5.0, 5.0), **access) as client:
        api.PipelineServiceApi(client).pipeline_service_list_pipelines()


def _told(answer: Answer, **access: Any) -> str:
    with serving(lambda _: answer) as address, pytest.raises(UserError) as error:
        _list(address, **access)
    line = str(error.value).replace(address, "HERE")
    assert "\n" not in line
    return line


def _guarded(header: str, value: str) -> Callable[[Request], Answer]:
    """Lets in who sends a header, as Istio and oauth2-proxy do, and others to the login page."""

    def answer(request: Request) -> Answer:
        known = request.headers.get(header) == value
        return NOTHING if known else Answer(302, b"<a>Found</a>", "text/html", location=LOGIN)

    return answer


def test_a_token() -> None:
    with serving(_guarded("Authorization", "Bearer abc.def-ghi")) as address:
        _list(address, token="abc.def-ghi\n")


@pytest.mark.parametrize(
    "cookie", ["authservice_session=MTY4", "oauth2_proxy_0=a; oauth2_proxy_1=b"]
)
def test_a_cookie_of_a_session(cookie: str) -> None:
    with serving(_guarded("Cookie", cookie)) as address:
        _list(address, cookie=f"{cookie}\n")


def test_no_session() -> None:
    with serving(_guarded("Cookie", "session=right")) as address, pytest.raises(UserError) as error:
        _list(address, cookie="session=wrong")
    line = str(error.value)
    assert f"KFP at {address} wants a login at https://kubeflow.example/dex/auth/local; " in line
    assert "KFP_COOKIE" in line
    assert "KFP_TOKEN" in line
    assert "wrong" not in line
    assert "secret-word" not in line


def test_an_endpoint_that_has_moved() -> None:
    def answer(request: Request) -> Answer:
        return Answer(308, b"", location=f"https://kubeflow.example:8443{request.target}")

    with serving(answer) as address, pytest.raises(UserError) as error:
        _list(f"{address}/pipeline")
    moved = "has moved; give --endpoint https://kubeflow.example:8443/pipeline"
    assert str(error.value) == f"KFP at {address}/pipeline {moved}"


@pytest.mark.parametrize(
    "location", ["/login", "//", "http://x/a\u0008b", "https://u:secret-word@x/"]
)
def test_a_redirect_to_anywhere(location: str) -> None:
    line = _told(Answer(302, b"", location=location))
    assert "wants a login" in line
    assert "secret-word" not in line


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (
            "application/json",
            b'{"code":5,"message":"Failed:\\n not\\u001b[31m found"}',
            "Failed: not[31m found",
        ),
        (
            "text/plain",
            b'{"error_message":"Failed to read","error_details":"..."}',
            "Failed to read",
        ),
        ("application/json", b'{"error":"unauthenticated"}', "unauthenticated"),
        ("text/plain; charset=utf-8", b"RBAC: access\n denied", "RBAC: access denied"),
        ("text/plain", b"", "Conflict"),
        ("text/html", b"<html>no</html>", "Conflict"),
        ("text/html", b"\xff\xfe", "Conflict"),
        ("application/json", b"[1]", "Conflict"),
        ("application/json", b'{"code": 1}', "Conflict"),
    ],
)
def test_what_a_server_says_is_shown(kind: str, body: bytes, said: str) -> None:
    assert _told(Answer(409, body, kind)) == f"KFP at HERE refused with HTTP 409: {said}"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, ""),
        (401, "; check --token and --cookie, or KFP_TOKEN and KFP_COOKIE"),
        (403, "; check --token, --cookie and --namespace"),
        (404, "; check --endpoint"),
        (409, ""),
        (500, ""),
        (503, ""),
    ],
)
def test_advice_is_given_where_it_may_help(status: int, advice: str) -> None:
    line = _told(Answer(status, b'{"message": "No."}'))
    assert line == f"KFP at HERE refused with HTTP {status}: No.{advice}"


def test_a_redirect_to_nowhere() -> None:
    assert _told(Answer(302, b"", "text/html")) == "KFP at HERE refused with HTTP 302: Found"


def test_a_long_reason_is_bounded() -> None:
    line = _told(Answer(403, b'{"message": "' + b"no " * 10**6 + b'"}'))
    assert 1000 < len(line) < 3000


@pytest.mark.parametrize("before", ["", "x" * 1990])
def test_no_secret_is_told_that_a_server_repeats(before: str) -> None:
    said = f"{before}no such token: secret-word; nor a=secret-a, but secret-b"
    answer = Answer(401, json.dumps({"message": said}).encode())
    line = _told(answer, token="secret-word", cookie="a=secret-a; b=secret-b")
    assert "no such" in line
    assert "secret" not in line


@pytest.mark.parametrize("secret", ["a\nb", "a\r\nHost: x", "ä", "a\x00", "a\ud800"])
def test_a_secret_that_no_header_can_carry(secret: str) -> None:
    for option, access in (("--token", {"token": secret}), ("--cookie", {"cookie": secret})):
        with pytest.raises(UserError) as error:
            _list("http://127.0.0.1:9", **access)
        told = f"{option}: it holds characters that no HTTP header can carry"
        assert str(error.value) == told


def test_no_user_and_password_in_the_address() -> None:
    with pytest.raises(UserError) as error:
        _list("https://user:secret-word@127.0.0.1:9")
    assert "secret-word" not in str(error.value)
    assert str(error.value).startswith("--endpoint: ")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>please log in</html>"),
        ("application/json", b"<html>please log in</html>"),
        ("application/json", b""),
        ("application/json", b"[1, 2]"),
        ("application/json", b'{"pipelines": 5}'),
        ("application/json", b'{"pipelines": [{"created_at": "never"}]}'),
        ("application/json; charset=martian", b"{}"),
        ("application/octet-stream", b"\xff\xfe\x00"),
    ],
)
def test_another_server_answers(kind: str, body: bytes) -> None:
    line = _told(Answer(200, body, kind))
    assert "HERE gave an answer that is not of KFP's API" in line
    assert "KFP_COOKIE" in line


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that nobody knows, and a server's end of TLS that has it."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("authority")
    certificate, key = folder / "ca.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
    name = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*make, *name, "-out", certificate, "-keyout", key], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


def test_a_private_authority(authority: tuple[Path, ssl.SSLContext]) -> None:
    certificate, context = authority
    with serving(lambda _: NOTHING, tls=context) as address:
        _list(address, ca_file=certificate)
        with pytest.raises(UserError, match=r"cannot be reached: .*; give .* --ca-file or KFP_CA"):
            _list(address)
        with pytest.raises(UserError, match=r"mismatch.*; check --endpoint"):
            _list(address.replace("127.0.0.1", "localhost"), ca_file=certificate)


def test_a_file_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    for path in (tmp_path / "empty.pem", tmp_path / "none.pem", tmp_path):
        with pytest.raises(UserError, match=f"--ca-file: {path} holds no certificates: "):
            _list("https://127.0.0.1:9", ca_file=path)


def test_https_where_there_is_none() -> None:
    with serving(lambda _: NOTHING) as address, pytest.raises(UserError, match="cannot be reached"):
        _list(address.replace("http:", "https:"))
