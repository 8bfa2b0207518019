"""Who may ask: over real sockets, with the clients that people have."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from playwright.sync_api import expect, sync_playwright

from components.shared.errors import UserError
from serving.errors import PredictorError
from serving.tokens import Tokens
from tests.browser import CHROMIUM, needs_browser
from tests.serving.pages import drawn

FIRST, SECOND = "first-token-0123456789", "second+token/0123456789=="
ANSWERED = ("/card", "/metrics", "/v2", "/v2/models/brain-tumor")
OPEN = (
    "/",
    "/web/app.js",
    "/docs",
    "/openapi.json",
    "/v1/models",
    "/v1/models/brain-tumor",
    "/v2/health/live",
)
PREDICT = "/v1/models/brain-tumor:predict"


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _mount(folder: Path, content: str) -> None:
    """Puts a file into a folder as the kubelet puts a Secret, all at once."""
    revision = folder / f"..{time.monotonic_ns()}"
    revision.mkdir(parents=True)
    (revision / "tokens").write_text(content)
    link = folder / "..data_tmp"
    link.symlink_to(revision.name)
    link.rename(folder / "..data")
    if not (folder / "tokens").is_symlink():
        (folder / "tokens").symlink_to("..data/tokens")


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secret")
    _mount(folder, f"# who asks\n{FIRST}  # the first\n\n{SECOND}\r\n")
    return folder


@pytest.fixture(scope="module")
def closed(start: Callable[..., Any], secret: Path) -> Iterator[Any]:
    """A predictor that answers those who have a token."""
    with start(tokens_file=secret / "tokens", access_log=True) as server:
        yield server


def _until(found: Callable[[], bool]) -> None:
    for _ in range(200):
        if found():
            return
        time.sleep(0.1)
    pytest.fail("it did not come in 20 s")


def test_rest_answers_who_has_a_token(closed: Any) -> None:
    with httpx.Client(base_url=closed.url) as client:
        for path in (*OPEN, f"/v2/models/{closed.name}/ready", "/v2/health/ready"):
            assert client.get(path).status_code == 200, path
        for path in ANSWERED:
            for token in (FIRST, SECOND):
                assert client.get(path, headers=_bearer(token)).status_code == 200, path
        image = {"Content-Type": "image/png"}
        for scheme in ("Bearer", "bearer", "BEARER  "):
            headers = image | {"Authorization": f"{scheme} {FIRST}"}
            assert client.post(PREDICT, content=drawn(), headers=headers).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        [],
        [FIRST],
        [f"Basic {FIRST}"],
        ["Bearer"],
        [f"Bearer {FIRST[:-1]}"],
        [f"Bearer {FIRST}x"],
        [f"Bearer {FIRST.upper()}"],
        [f"Bearer {FIRST},{SECOND}"],
        ["Bearer # who asks"],
        ["Bearer " + "x" * 30_000],
        [f"Bearer {FIRST}", f"Bearer {SECOND}"],
        [b"Bearer \xff\xfe\xe4"],
    ],
)
def test_rest_turns_others_away(closed: Any, authorization: list[Any]) -> None:
    headers = [("Content-Type", "image/png"), *(("Authorization", v) for v in authorization)]
    raw = [(k.encode(), v if isinstance(v, bytes) else v.encode()) for k, v in headers]
    with httpx.Client(base_url=closed.url) as client:
        for path in ANSWERED:
            response = client.get(path, headers=raw)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            (key,) = response.json()
            assert key == "error"
            assert "token" in response.json()["error"]
            assert FIRST not in response.text
        for path in (PREDICT, "/predict", "/v2/models/brain-tumor/infer", "/v2/health/live", "/x"):
            assert client.post(path, content=drawn(), headers=raw).status_code == 401
        assert client.get("/v1/models/brain-tumor:predict/x", headers=raw).status_code == 401
        assert client.get("/v2/health/live/../../../card", headers=raw).status_code == 401


def test_the_body_is_not_waited_for(closed: Any) -> None:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", closed.port)
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
        writer.write(head.encode())
        line = await asyncio.wait_for(reader.readline(), 20)
        writer.close()
        return line

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 401")


def test_grpc_answers_who_has_a_token(closed: Any) -> None:
    with grpc.insecure_channel(closed.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        assert stub.ModelReady(pb.ModelReadyRequest(name=closed.name)).ready
        assert HealthStub(channel).Check(HealthCheckRequest(service=closed.name)).status == 1
        reflection = ServerReflectionStub(channel).ServerReflectionInfo
        asked = ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as refused:
            next(reflection(iter([asked])))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        listed = next(reflection(iter([asked]), metadata=[("authorization", f"Bearer {FIRST}")]))
        assert listed.list_services_response.service
        request = pb.ModelInferRequest(model_name=closed.name)
        tensor = request.inputs.add(name="image_bytes", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(drawn())
        token = [("authorization", f"Bearer {SECOND}")]
        assert stub.ModelInfer(request, metadata=token).outputs
        assert stub.ModelMetadata(pb.ModelMetadataRequest(name=closed.name), metadata=token)
        for wrong in ([], [("authorization", "Bearer x")], [*token, *token]):
            for call in (
                lambda wrong=wrong: stub.ModelInfer(request, metadata=wrong),
                lambda wrong=wrong: stub.ServerMetadata(pb.ServerMetadataRequest(), metadata=wrong),
            ):
                with pytest.raises(grpc.RpcError) as refused:
                    call()
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
                assert "token" in refused.value.details()
        # What is no message at all is not looked at, nor is one that never comes waited for.
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            infer(b"\xff" * 1000)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        infer = channel.stream_stream("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            next(infer(iter(lambda: time.sleep(60), 1), timeout=20))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@needs_browser
def test_the_page_asks_for_a_token(closed: Any) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(closed.url)
        field = page.get_by_label("Token", exact=True)
        expect(field).to_be_focused(timeout=20_000)
        field.fill("no-token-0123456789")
        page.keyboard.press("Enter")
        expect(page.get_by_text("does not know this token")).to_be_visible()
        files = [{"name": "a.png", "mimeType": "image/png", "buffer": drawn()}]
        page.get_by_label("Choose images").set_input_files(files)
        expect(page.locator("#problem-title")).to_have_text("A token is needed")
        field.fill(SECOND)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#answer")).to_be_visible(timeout=20_000)
        expect(field).to_be_hidden()
        page.reload()
        expect(page.locator("#served")).to_contain_text("version 7")
        kept = "[{...sessionStorage}, {...localStorage}, document.cookie]"
        assert page.evaluate(kept) == [{"token": SECOND}, {}, ""]
        browser.close()


def test_the_file_is_read_again(closed: Any, secret: Path) -> None:
    def answers(token: str) -> bool:
        return httpx.get(f"{closed.url}/card", headers=_bearer(token)).status_code == 200

    third = "third-token-0123456789"
    _mount(secret, f"{SECOND}\n{third}\n")
    _until(lambda: answers(third))
    assert answers(SECOND)
    assert not answers(FIRST)
    _mount(secret, "short\n")
    _until(lambda: "at least 16 characters" in closed.log.read_text())
    assert answers(third)
    _mount(secret, FIRST)
    _until(lambda: answers(FIRST))
    log = closed.log.read_text()
    assert log.count("the tokens read before stay") == 1
    metrics = httpx.get(f"{closed.url}/metrics", headers=_bearer(FIRST)).text
    assert 'brain_tumor_rejected_total{reason="unauthenticated"}' in metrics
    for text in (log, metrics):
        assert not [token for token in (FIRST, SECOND, third, "short\n") if token in text]


def _write(folder: Path, content: bytes | None) -> Path:
    path = folder / "tokens"
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "no token"),
        (b"# nothing\n \n", "no token"),
        (b"0123456789abcde", "line 1: a token needs at least 16 characters"),
        (f"{FIRST}\nshort".encode(), "line 2: a token needs at least 16 characters"),
        (b"two words of a token", "line 1: a token is letters"),
        ("tökentökentökentöken".encode(), "line 1: a token is letters"),
        (b"\xff\xfe" * 20, "not text"),
        (b"x" * (2**16 + 1), "more than 65,536 bytes"),
    ],
)
def test_a_file_that_is_not_usable_is_refused(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    with pytest.raises(UserError, match=says) as refused:
        Tokens(_write(tmp_path, content))
    assert "short" not in str(refused.value)


def test_no_pipe_device_or_folder_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(2**30)
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), sparse):
        with pytest.raises(UserError, match=r"cannot be read: (it|Is) "):
            Tokens(path)


def test_an_editors_file_is_read(tmp_path: Path) -> None:
    tokens = Tokens(_write(tmp_path, b"\xef\xbb\xbf" + FIRST.encode() + b"\r\n"))
    tokens.check([f"Bearer {FIRST}"])
    with pytest.raises(PredictorError):
        tokens.check([f"Bearer \ufeff{FIRST}"])


def test_without_tokens_it_does_not_start(
    checked_model_folder: Path, tmp_path: Path, start_in_vain: Callable[..., str]
) -> None:
    tokens = str(tmp_path / "none")
    said = start_in_vain(checked_model_folder, BRAIN_TUMOR_SERVE_TOKENS_FILE=tokens)
    (line,) = said.strip().splitlines()
    assert line.startswith("error: ")
    assert "the tokens cannot be read" in line
