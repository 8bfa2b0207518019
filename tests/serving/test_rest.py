"""Paths, methods and errors over REST, as curl and KServe's client ask for them."""

import asyncio
import gzip
import http.client
import re
import socket
import time
from typing import Any

import httpx
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

from tests.serving.test_predictor import EXPLAIN, INFER, LIGHT, PREDICT, refused, text

MODEL = "brain-tumor"


@pytest.fixture(scope="module")
def client(predictor: Any) -> Any:
    with httpx.Client(base_url=predictor.url) as found:
        yield found


def test_every_method_of_kserves_client(predictor: Any) -> None:
    async def ask() -> None:
        payload = {"instances": [{"b64": text(LIGHT)}]}
        async with InferenceRESTClient(RESTConfig(protocol="v1")) as v1:
            assert await v1.is_server_live(predictor.url)
            assert await v1.is_model_ready(predictor.url, MODEL)
            for ask in (v1.infer, v1.explain):
                answer = await ask(predictor.url, data=payload, model_name=MODEL)
                assert answer["predictions"][0]["label"] == "Healthy"
            with pytest.raises(httpx.HTTPStatusError, match="brain-tumor is served"):
                await v1.infer(predictor.url, payload, model_name="other")
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as v2:
            assert await v2.is_server_live(predictor.url)
            assert await v2.is_server_ready(predictor.url)
            assert await v2.is_model_ready(predictor.url, MODEL)
            tensor = InferInput("image_bytes", [1], "BYTES", [text(LIGHT)])
            answer = await v2.infer(predictor.url, InferRequest(MODEL, [tensor]), model_name=MODEL)
            assert answer.outputs[0].data == ["Healthy"]

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", {"status": "alive"}),
        ("/v1/models", {"models": [MODEL]}),
        (f"/v1/models/{MODEL}", {"name": MODEL, "ready": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models", {"models": [MODEL]}),
        (f"/v2/models/{MODEL}/ready", {"name": MODEL, "ready": True}),
        (f"/v2/models/{MODEL}/versions/7/ready", {"name": MODEL, "ready": True}),
    ],
)
def test_health_with_get_and_head(client: httpx.Client, path: str, answer: Any) -> None:
    response = client.get(path)
    assert response.json() == answer
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == response.headers["content-length"]


def test_the_server_says_what_it_is(client: httpx.Client) -> None:
    assert client.get("/v2").json()["name"] == "kserve"
    assert "brain_tumor_model_info" in client.get("/metrics").text
    assert client.head("/metrics").status_code == 200


def test_a_browser_gets_the_page(client: httpx.Client) -> None:
    response = client.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert response.text.startswith("<!doctype html>")
    assert response.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", PREDICT, "POST"),
        ("HEAD", EXPLAIN, "POST"),
        ("PUT", INFER, "POST"),
        ("DELETE", f"/v1/models/{MODEL}", "GET, HEAD"),
        ("POST", "/v2/health/ready", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("TRACE", "/metrics", "GET, HEAD"),
        ("PATCH", "/predict", "POST"),
    ],
)
def test_another_method_is_told_the_right_one(
    client: httpx.Client, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)
    assert set(response.headers["allow"].split(", ")) == set(allowed.split(", "))
    if method == "HEAD":
        assert (response.status_code, response.content) == (405, b"")
    else:
        refused(response, 405, "POST" if allowed == "POST" else "GET")
    options = client.options(path)
    assert options.status_code == 204
    assert set(options.headers["allow"].split(", ")) == set(allowed.split(", "))


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/v1", f"/v1/models/{MODEL}:train", "/v2/models/other", "/v1/models/other",
     f"/v2/models/{MODEL}/versions/8", "/web/nothing.js", "/web/../server.py", "/openai/v1/models",
     "/v2/repository/models/x", "/card/", "/web", "/web/%00"],
)  # fmt: skip
def test_what_there_is_not_is_404(client: httpx.Client, path: str) -> None:
    refused(client.get(path), 404, "no ")


@pytest.mark.parametrize("header", ["", "Content-Encoding: gzip\r\n"])
def test_a_client_that_goes_away_is_no_fault(
    predictor: Any, client: httpx.Client, header: str
) -> None:
    count = r'rejected_total{reason="gone"} (\d+)'
    before = re.findall(count, client.get("/metrics").text) or ["0"]
    with socket.create_connection(("127.0.0.1", predictor.port)) as connection:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: 99\r\n\r\n"
        connection.sendall(head.encode() + gzip.compress(b"{"))
        assert client.get("/").status_code == 200
    for _ in range(100):
        now = re.findall(count, client.get("/metrics").text)
        if now and int(now[0]) == int(before[0]) + 1:
            break
        time.sleep(0.1)
    else:
        pytest.fail("it was not noticed")
    assert "ClientDisconnect" not in predictor.log.read_text()


def test_errors_look_the_same_whoever_makes_them(predictor: Any) -> None:
    """Those of the HTTP parser too."""
    connection = http.client.HTTPConnection("127.0.0.1", predictor.port)
    connection.request("GET", "/" + "x" * 9000)
    response = connection.getresponse()
    assert response.status == 414
    assert response.getheader("content-type") == "application/json"
    assert response.read().startswith(b'{"error":"')
