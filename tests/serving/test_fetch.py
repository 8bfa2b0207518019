"""Fetching from hosts that mean ill: real sockets, and a resolver that lies."""

import asyncio
import csv
import gzip
import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from serving.errors import PredictorError
from serving.fetch import Address, Fetcher, _CheckedNetwork
from serving.settings import Settings
from tests.serving.test_volumes import VOLUME

IMAGE = b"\x89PNG and the rest of it"
LOCAL = {"image_url_hosts": "*", "image_url_http": True, "image_url_networks": "127.0.0.0/8"}
PREDICT = "/v1/models/brain-tumor:predict"
Network = IPv4Network | IPv6Network
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _hold(size: int) -> None:
    """Holds as much as there is."""


def _fetch(url: str, resolve: Any = None, **settings: Any) -> bytes:
    fetcher = Fetcher(Settings(**settings), *([resolve] if resolve else []))
    return asyncio.run(fetcher.fetch(url, _hold))


def _refused(reason: str, url: str, resolve: Any = None, **settings: Any) -> str:
    with pytest.raises(PredictorError) as raised:
        _fetch(url, resolve, **settings)
    assert raised.value.reason == reason, str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@asynccontextmanager
async def _host(serve: Serve) -> Any:
    """A host on localhost that treats each connection as `serve` does."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            writer.request = request  # type: ignore[attr-defined]
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _fetch_from(
    answer: bytes | Serve, path: str = "/x.png", hold: Any = _hold, **settings: Any
) -> bytes:
    """Fetches from a host that gives this answer."""

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(answer, bytes)
        writer.write(answer)
        await writer.drain()

    async def run() -> bytes:
        async with _host(give if isinstance(answer, bytes) else answer) as port:
            fetcher = Fetcher(Settings(**(LOCAL | settings)))
            return await fetcher.fetch(f"http://127.0.0.1:{port}{path}", hold)

    return asyncio.run(run())


def _fails(reason: str, answer: bytes | Serve, **settings: Any) -> str:
    with pytest.raises(PredictorError) as raised:
        _fetch_from(answer, **settings)
    assert raised.value.reason == reason, str(raised.value)
    return str(raised.value)


def _ok(body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 200 OK", length, *headers, b"", body])


def test_an_image_is_fetched() -> None:
    assert _fetch_from(_ok(IMAGE)) == IMAGE


def test_it_is_off_unless_hosts_are_named() -> None:
    assert "turned off" in _refused("url-refused", "https://example.org/x.png")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[::127.0.0.1]",
        "[fe80::1]",
        "[fd00::1]",
        "[ff02::1]",
        "[fec0::1]",
        "[5f00::1]",
        "192.88.99.1",
        "[::ffff:0:127.0.0.1]",
    ],
)
def test_addresses_that_are_not_public_are_refused(host: str) -> None:
    says = _refused("url-refused", f"https://{host}/latest/meta-data", image_url_hosts="*")
    assert "address that is not allowed" in says


def _registry() -> list[tuple[Network, str]]:
    """Reads the blocks of IANA's two registries of special purposes."""
    lines = (Path(__file__).parent / "special_purpose.csv").read_text().splitlines()
    return [(ip_network(row["block"]), row["globally_reachable"]) for row in csv.DictReader(lines)]


def _is_refused(address: Address) -> bool:
    async def lookup(host: str, port: int) -> list[Address]:
        return [address]

    network = _CheckedNetwork(lookup, ())
    network._plain = httpcore.AsyncMockBackend([])  # type: ignore[assignment]
    try:
        asyncio.run(network.connect_tcp("example.org", 443))
    except PredictorError as error:
        return error.reason == "url-refused"
    return False


def _in_block(block: Network) -> st.SearchStrategy[Address]:
    return st.integers(0, block.num_addresses - 1).map(lambda offset: block[offset])


BLOCKS = [block for block, _ in _registry()] + [
    ip_network(block) for block in ("224.0.0.0/4", "ff00::/8", "fec0::/10", "::/96")
]


@given(st.sampled_from(BLOCKS).flatmap(_in_block))
def test_what_is_registered_for_a_special_purpose_is_refused(address: Address) -> None:
    assert _is_refused(address)


@given(
    st.sampled_from([b for b in BLOCKS if b.version == 4]).flatmap(_in_block),
    st.integers(0, 2**48 - 1),
)
def test_an_address_inside_another_is_refused(inner: IPv4Address, rest: int) -> None:
    number = int(inner)
    for outer in (
        f"::{inner}",  # IPv4-compatible
        f"::ffff:{inner}",  # IPv4-mapped
        f"::ffff:0:{inner}",  # SIIT
        f"64:ff9b::{inner}",  # NAT64
        IPv6Address((0x64FF9B0001 << 88) | (rest << 32) | number),  # local NAT64
        IPv6Address((0x2002 << 112) | (number << 80) | rest),  # 6to4
        IPv6Address((0x20010000 << 96) | (rest << 32) | (number ^ 0xFFFFFFFF)),  # Teredo
    ):
        assert _is_refused(ip_address(outer)), outer


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.215.14",
        "172.32.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "223.255.255.254",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:830::200e",
        "2c0f:f248::1",
    ],
)
def test_public_addresses_are_connected_to(address: str) -> None:
    assert not _is_refused(ip_address(address))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org/x.png", "url-refused"),
        ("file:///etc/passwd", "url-refused"),
        ("ftp://example.org/x.png", "url-refused"),
        ("gopher://example.org:70/x", "url-refused"),
        ("//example.org/x.png", "url-refused"),
        ("https://", "url-refused"),
        ("", "url-refused"),
        ("https://user:word@example.org/x.png", "url-refused"),
        ("https://user@example.org/x.png", "url-refused"),
        ("https://[::1/x.png", "malformed"),
        ("https://0177.0.0.1/x.png", "malformed"),
        ("https://example.org:99999/", "malformed"),
        ("https://example.org/\n", "malformed"),
        ("https://example.org/" + "a" * 3000, "url-refused"),
        ("https://elsewhere.net/x.png", "url-refused"),
        ("https://example.org.elsewhere.net/x.png", "url-refused"),
        ("https://notexample.org/x.png", "url-refused"),
    ],
)
def test_only_plain_urls_of_allowed_hosts(url: str, reason: str) -> None:
    async def nowhere(host: str, port: int) -> list[Address]:
        raise AssertionError(f"looked {host} up")

    _refused(reason, url, nowhere, image_url_hosts="example.org,*.example.org")


@pytest.mark.parametrize("host", ["example.org", "EXAMPLE.org", "a.example.org", "example.org."])
def test_allowed_hosts_are_looked_up(host: str) -> None:
    asked = []

    async def private(name: str, port: int) -> list[Address]:
        asked.append(port)
        return [ip_address("10.0.0.1")]

    _refused(
        "url-refused", f"https://{host}/", private, image_url_hosts="example.org,*.example.org"
    )
    assert asked == [443]


def test_one_private_address_among_public_ones_is_enough() -> None:
    async def both(host: str, port: int) -> list[Address]:
        return [ip_address("93.184.215.14"), ip_address("127.0.0.1")]

    _refused("url-refused", "https://example.org/", both, image_url_hosts="*")


def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    """A name that answers otherwise the second time gains nothing: there is no second time."""
    asked = 0

    async def rebinding(host: str, port: int) -> list[Address]:
        nonlocal asked
        asked += 1
        return [ip_address("127.0.0.1" if asked == 1 else "127.0.0.2")]

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_ok(writer.get_extra_info("sockname")[0].encode()))
        await writer.drain()

    async def run() -> bytes:
        async with _host(give) as port:
            fetcher = Fetcher(Settings(**LOCAL), rebinding)
            return await fetcher.fetch(f"http://name.example:{port}/", _hold)

    assert asyncio.run(run()) == b"127.0.0.1"
    assert asked == 1


def test_a_redirect_is_followed_without_credentials() -> None:
    seen = []

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = writer.request  # type: ignore[attr-defined]
        seen.append(request)
        if b"GET /x.png" in request:
            writer.write(
                b"HTTP/1.1 302 Found\r\nLocation: /y.png\r\nSet-Cookie: a=b\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            )
        else:
            writer.write(_ok(IMAGE))
        await writer.drain()

    assert _fetch_from(redirect) == IMAGE
    assert len(seen) == 2
    for request in seen:
        assert b"cookie" not in request.lower()
        assert b"authorization" not in request.lower()


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (b"http://169.254.169.254/latest/meta-data", "url-refused"),
        (b"http://10.0.0.1/", "url-refused"),
        (b"http://[::ffff:10.0.0.1]/", "url-refused"),
        (b"file:///etc/passwd", "url-refused"),
        (b"http://user:word@127.0.0.1/", "url-refused"),
        (b"http://[::1/", "url-failed"),
    ],
)
def test_a_redirect_is_checked_like_the_url(location: bytes, reason: str) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location
    _fails(reason, answer)


def test_redirects_end() -> None:
    answer = (
        b"HTTP/1.1 302 Found\r\nLocation: /x.png\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    assert "more than 3 redirects" in _fails("url-failed", answer)


def test_a_redirect_to_nowhere_ends() -> None:
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    _fails("url-failed", answer)


def test_a_slow_drip_is_cut_off() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    assert "within 0.5 s" in _fails("url-failed", drip, image_url_seconds=0.5)


def test_a_silent_host_is_cut_off() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    assert "within 0.3 s" in _fails("url-failed", silent, image_url_seconds=0.3)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_ok(bytes(1001)), "image-size"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\nabc", "image-size"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nabc", "url-failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc", "url-failed"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(5000), "image-size"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + bytes(2000),
            "image-size",
        ),
        (_ok(gzip.compress(bytes(10**6))[:900], b"Content-Encoding: gzip"), "url-failed"),
        (_ok(b"abc", b"Content-Encoding: br"), "url-failed"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "url-failed"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "url-failed"),
        (b"this is no HTTP\r\n\r\n", "url-failed"),
        (b"", "url-failed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000 + b"\r\n\r\n", "url-failed"),
    ],
)
def test_answers_that_lie_or_swell_are_refused(answer: bytes, reason: str) -> None:
    _fails(reason, answer, max_image_bytes=1000)


def test_a_closed_port_is_one_line() -> None:
    _refused("url-failed", "http://127.0.0.1:1/", **LOCAL)


def test_a_name_that_is_none_is_one_line() -> None:
    async def unknown(host: str, port: int) -> list[Address]:
        raise OSError("Name or service not known")

    _refused("url-failed", "https://no.such.example/", unknown, image_url_hosts="*")


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert _fetch_from(_ok(IMAGE)) == IMAGE


def test_what_comes_is_held() -> None:
    held: list[int] = []
    assert _fetch_from(_ok(IMAGE), hold=held.append) == IMAGE
    assert sum(held) == len(IMAGE)

    def refuse(size: int) -> None:
        raise PredictorError("overloaded", "too much")

    with pytest.raises(PredictorError, match="too much"):
        _fetch_from(_ok(IMAGE), hold=refuse)


@pytest.fixture(scope="module")
def fetching(start: Callable[..., Any]) -> Iterator[Any]:
    """A predictor that fetches as many images at once as its queue is long."""
    with start(**LOCAL, image_url_fetches=32, queue_length=32) as server:
        yield server


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (30, 30), 51).save(file, "PNG")
    return file.getvalue()


def test_the_predictor_answers_the_clients_of_the_reference(fetching: Any) -> None:
    async def ask() -> None:
        async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            wants_volume = b"scan.nii" in writer.request  # type: ignore[attr-defined]
            writer.write(_ok(VOLUME if wants_volume else _png()))
            await writer.drain()

        async with _host(give) as port, httpx.AsyncClient(base_url=fetching.url) as client:
            volume = {"image_url": f"http://127.0.0.1:{port}/scan.nii.gz"}
            response = await client.post(PREDICT, json={"instances": [volume]})
            assert len(response.json()["predictions"][0]["slices"]) == 16
            url = f"http://127.0.0.1:{port}/scan.png"
            response = await client.post("/predict", json={"image_url": url})
            assert response.json() == {"prediction": "Brain Tumor"}
            both = {"instances": [{"image_url": url}, {"image_url": "http://10.0.0.1/"}]}
            response = await client.post(PREDICT, json=both)
            assert response.status_code == 403
            assert response.json()["error"].startswith("instance 1: image_url leads")

    asyncio.run(ask())


def test_slow_hosts_hold_up_no_upload(fetching: Any) -> None:
    async def ask() -> None:
        asked, gate = 0, asyncio.Event()

        async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += 1
            await gate.wait()
            writer.write(_ok(_png()))
            await writer.drain()

        async with _host(give) as port, httpx.AsyncClient(base_url=fetching.url) as client:
            slow = {"image_url": f"http://127.0.0.1:{port}/scan.png"}
            all_places = asyncio.create_task(client.post(PREDICT, json={"instances": [slow] * 32}))
            while asked < 32:
                await asyncio.sleep(0.01)
            upload = await client.post(
                PREDICT, content=_png(), headers={"Content-Type": "image/png"}
            )
            one_more = await client.post(PREDICT, json={"instances": [slow]})
            gate.set()
            assert upload.status_code == 200
            assert one_more.status_code == 503
            assert one_more.headers["Retry-After"] == "1"
            assert "32 images are being fetched" in one_more.json()["error"]
            assert len((await all_places).json()["predictions"]) == 32
            assert (await client.post(PREDICT, json={"instances": [slow]})).status_code == 200

    asyncio.run(ask())
