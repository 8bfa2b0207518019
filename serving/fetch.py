"""Guarded fetching of `image_url`: what a client names must not reach what it must not see."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import IPPROTO_TCP, SOCK_STREAM
from typing import Any

import httpcore
import httpx

from serving.errors import PredictorError
from serving.settings import Settings

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[Address]]]
Hold = Callable[[int], None]

_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_MAX_URL = 2048
# Images lie at unicast addresses that are given out to hosts. What IANA's registries of special
# purposes name is refused as a whole: of the blocks that are globally reachable, some carry an IPv4
# address of anyone's choice, and none holds images. So is IPv6 beyond 2000::/3, where nothing is
# given out: mapped, translated and compatible forms of IPv4 addresses lie there.
_IPV6_UNICAST = IPv6Network("2000::/3")
_SPECIAL = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3ffe::/16",
        "3fff::/20",
    )
)


async def resolve(host: str, port: int) -> list[Address]:
    """Returns all addresses of a host, in the resolver's order."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=SOCK_STREAM, proto=IPPROTO_TCP
    )
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class Fetcher:
    """Fetches images from hosts that the settings allow."""

    def __init__(self, settings: Settings, resolve: Resolve = resolve) -> None:
        """Args: settings: limits and allow-lists; resolve: host and port to addresses."""
        self._settings = settings
        self._network = _CheckedNetwork(resolve, settings.image_url_networks)
        self._tls = ssl.create_default_context()
        self._accepted = 0

    @contextmanager
    def accept(self, count: int) -> Iterator[None]:
        """Takes the places of some fetches.

        Args:
            count: How many.

        Raises:
            PredictorError: There are not so many places.
        """
        limit = self._settings.image_url_fetches
        if self._accepted + count > limit and count:
            raise PredictorError(
                "overloaded",
                f"{self._accepted} images are being fetched and at most {limit} may; "
                "try again shortly",
            )
        self._accepted += count
        try:
            yield
        finally:
            self._accepted -= count

    async def fetch(self, address: str, hold: Hold) -> bytes:
        """Fetches one file.

        Args:
            address: The URL.
            hold: Told the size of each part that comes; raises where too much is held.

        Returns:
            Its bytes.

        Raises:
            PredictorError: The URL, an address or a redirect is not allowed, a limit is passed,
                or the host does not answer as it should.
        """
        if not self._settings.image_url_hosts:
            raise PredictorError("url-refused", "image_url is turned off here; send the image")
        try:
            async with asyncio.timeout(self._settings.image_url_seconds):
                return await self._follow(address, hold)
        except TimeoutError as error:
            raise PredictorError(
                "url-failed",
                f"the image did not arrive within {self._settings.image_url_seconds:g} s",
            ) from error
        except (httpcore.ProtocolError, httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise PredictorError(
                "url-failed", f"the image could not be fetched ({type(error).__name__})"
            ) from error
        except (OSError, UnicodeError) as error:
            raise PredictorError("url-failed", "the host could not be reached") from error

    async def _follow(self, address: str, hold: Hold) -> bytes:
        # A pool of its own for each image: no connection, and so no check, is shared.
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._tls, network_backend=self._network, max_connections=1
        ) as pool:
            for _ in range(self._settings.image_url_redirects + 1):
                url = self._check(address)
                body, location = await self._get(pool, url, hold)
                if location is None:
                    return body
                try:
                    address = str(url.join(location))
                except httpx.InvalidURL as error:
                    raise PredictorError("url-failed", "the redirect is malformed") from error
        raise PredictorError(
            "url-failed", f"more than {self._settings.image_url_redirects} redirects"
        )

    def _check(self, address: str) -> httpx.URL:
        """Returns the URL if its scheme, host and form are allowed."""
        schemes = ("https", "http") if self._settings.image_url_http else ("https",)
        try:
            if len(address) > _MAX_URL:
                raise PredictorError("url-refused", f"image_url is over {_MAX_URL} characters")
            url = httpx.URL(address)
        except httpx.InvalidURL as error:
            raise PredictorError("malformed", "image_url is not a URL") from error
        if url.port is not None and not 0 < url.port < 65536:
            raise PredictorError("malformed", "the port of image_url is not within 0..65535")
        if url.scheme not in schemes or not url.host:
            raise PredictorError("url-refused", f"image_url has to be {' or '.join(schemes)}://...")
        if url.userinfo:
            raise PredictorError("url-refused", "image_url must not carry a user or password")
        host = url.host.rstrip(".").lower()
        if not any(fnmatchcase(host, pattern) for pattern in self._settings.image_url_hosts):
            raise PredictorError("url-refused", "image_url names a host that is not allowed here")
        return url

    async def _get(
        self, pool: httpcore.AsyncConnectionPool, url: httpx.URL, hold: Hold
    ) -> tuple[bytes, str | None]:
        """Returns the body, or where the host redirects to."""
        limit = self._settings.max_image_bytes
        target = httpcore.URL(
            scheme=url.raw_scheme,
            host=url.raw_host,
            port=url.port or _PORTS[url.scheme],
            target=url.raw_path,
        )
        headers = [
            (b"Host", url.netloc),
            (b"Accept", b"image/*, application/dicom, */*;q=0.5"),
            (b"Accept-Encoding", b"identity"),
        ]
        async with pool.stream("GET", target, headers=headers) as response:
            answer = {name.lower(): value for name, value in response.headers}
            if response.status in _REDIRECTS:
                return b"", answer.get(b"location", b"").decode("latin-1")
            if response.status != 200:
                raise PredictorError("url-failed", f"the host answered {response.status}")
            if answer.get(b"content-encoding", b"identity").lower() != b"identity":
                raise PredictorError("url-failed", "the host sent a compressed answer")
            too_large = PredictorError("image-size", f"more than {limit:,} bytes lie at image_url")
            declared = answer.get(b"content-length", b"0")
            if not declared.isdigit() or len(declared) > 20 or int(declared) > limit:
                raise too_large
            body = bytearray()
            async for part in response.aiter_stream():
                hold(len(part))
                body += part
                if len(body) > limit:
                    raise too_large
            return bytes(body), None


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the very address that was checked: a second look-up could answer otherwise."""

    def __init__(self, resolve: Resolve, allowed: Iterable[IPv4Network | IPv6Network]) -> None:
        self._resolve = resolve
        self._allowed = tuple(allowed)
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if not addresses or not all(self._permits(address) for address in addresses):
            raise PredictorError("url-refused", "image_url leads to an address that is not allowed")
        return await self._plain.connect_tcp(
            str(addresses[0]), port, timeout, local_address, socket_options
        )

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _permits(self, address: Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        if address.version == 6 and address not in _IPV6_UNICAST:
            return False
        return not any(address in block for block in _SPECIAL)
