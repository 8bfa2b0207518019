"""A client of a KFP API: who it says it is, and what goes wrong as one line."""

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import kfp_server_api as api
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from components.shared.errors import UserError, network_reason, one_line

MAX_REASON = 2000  # characters; what names a missing permission has about 600
LOG_IN = "set KFP_COOKIE to the cookie of a session, or KFP_TOKEN to a token"
ADVICE = {
    401: "check --token and --cookie, or KFP_TOKEN and KFP_COOKIE",
    403: "check --token, --cookie and --namespace",
    404: "check --endpoint",
}
# What a multi-user KFP says where a request names none.
NO_NAMESPACE = re.compile(r"empty namespace|namespace (is required|cannot be empty)", re.IGNORECASE)


@contextmanager
def connected(
    endpoint: str,
    timeout: tuple[float, float],
    token: str = "",
    cookie: str = "",
    ca_file: Path | None = None,
) -> Iterator[api.ApiClient]:
    """Yields a client; each refusal and each failure of its requests becomes a `UserError`.

    No message names the token or the cookie.

    Args:
        endpoint: Address of the KFP API, such as http://localhost:8080.
        timeout: Seconds to connect, and for an answer.
        token: Bearer token; empty for none.
        cookie: Cookies, such as `oauth2_proxy_kubeflow=VALUE`; empty for none.
        ca_file: Certificates, as PEM, of the authorities to trust; None for the well-known ones.

    Raises:
        UserError: The endpoint cannot be reached or refuses; or an argument cannot be used.
    """
    endpoint = _checked_endpoint(endpoint)
    token = _checked_header("--token", token)
    cookie = _checked_header("--cookie", cookie)
    try:
        yield _Client(endpoint, timeout, token, cookie, _checked_authorities(ca_file))
    except api.ApiException as error:
        told = _refusal(error, [token, *_cookie_values(cookie)])
        raise UserError(f"KFP at {endpoint} refused with HTTP {error.status}: {told}") from error
    except (HTTPError, OSError) as error:
        reason = network_reason(error)
        raise UserError(
            f"KFP at {endpoint} cannot be reached: {reason}; {_network_advice(reason)}"
        ) from error
    except (ValueError, LookupError) as error:  # LookupError: in an encoding nobody knows
        raise UserError(
            f"{endpoint} gave an answer that is not of KFP's API: {one_line(error)}; check "
            f"--endpoint; if it is a login page, {LOG_IN}"
        ) from error


class _Client(api.ApiClient):
    """KFP's own client of its API, with a time limit, to which only JSON is an answer.

    It reads a login page as an empty list, and a run that was never started as one without a name.
    """

    def __init__(
        self,
        endpoint: str,
        timeout: tuple[float, float],
        token: str,
        cookie: str,
        ca_file: Path | None,
    ) -> None:
        configuration = api.Configuration(host=endpoint)
        # To follow a redirect is to read a login page, or to repeat a POST as a GET.
        configuration.retries = Retry(3, redirect=False)
        configuration.ssl_ca_cert = str(ca_file) if ca_file else None
        if token:
            configuration.api_key["authorization"] = token
            configuration.api_key_prefix["authorization"] = "Bearer"
        super().__init__(configuration, cookie=cookie or None)
        self._timeout = timeout

    def request(self, method: str, url: str, **options: Any) -> api.rest.RESTResponse:
        """Sends one request.

        Raises:
            UserError: The server sends elsewhere.
            ValueError: The answer is not a JSON object.
            OSError: TLS failed.
        """
        try:
            response = super().request(method, url, **options | {"_request_timeout": self._timeout})
        except api.ApiException as error:
            if not error.status:
                raise OSError(error.reason) from error
            if location := (error.headers or {}).get("Location"):
                raise UserError(_moved(self.configuration.host, url, location)) from error
            error.body = (error.body or b"").decode(errors="replace").encode()
            raise
        if not isinstance(json.loads(response.data), dict):
            raise ValueError("it is not a JSON object")
        return response

    def deserialize(self, response: api.rest.RESTResponse, response_type: str) -> Any:
        """Makes an object of an answer.

        Raises:
            ValueError: It is no such object.
        """
        try:
            return super().deserialize(response, response_type)
        except (TypeError, AttributeError, api.ApiException) as error:
            raise ValueError(f"it is not a {response_type}") from error


def _checked_endpoint(endpoint: str) -> str:
    """Returns the address of a KFP API without a slash at its end."""
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise UserError(
            f"--endpoint: {endpoint!r} is not the address of an API; give one such as "
            "http://localhost:8080"
        )
    if parts.username is not None:
        raise UserError(f"--endpoint: it holds a user's name; {LOG_IN} instead")
    return endpoint.rstrip("/")


def _checked_header(option: str, value: str) -> str:
    """Returns a value for a header, without the line end that a file leaves."""
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        raise UserError(f"{option}: it holds characters that no HTTP header can carry")
    return value


def _checked_authorities(path: Path | None) -> Path | None:
    try:
        if path:
            ssl.create_default_context(cafile=str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"--ca-file: {path} holds no certificates: {one_line(error)}") from error
    return path


def _cookie_values(cookie: str) -> list[str]:
    return [part.partition("=")[2].strip() or part for part in cookie.split(";")]


def _refusal(error: api.ApiException, secrets: list[str]) -> str:
    """Returns what the server said, and what can be done about it."""
    said = str(_reason(error))
    for secret in filter(None, secrets):
        said = said.replace(secret, "***")  # a proxy may quote what it was sent
    reason = one_line(said, MAX_REASON)
    advice = ADVICE.get(error.status)
    if error.status == 400 and NO_NAMESPACE.search(reason):
        advice = "give yours with --namespace or KFP_NAMESPACE"
    return f"{reason}; {advice}" if advice else reason


def _reason(error: api.ApiException) -> object:
    """Returns KFP's own message, or HTTP's where a proxy answered with a page."""
    try:
        answer = json.loads(error.body)
        return answer.get("message") or answer.get("error_message") or answer["error"]
    except (ValueError, TypeError, KeyError, AttributeError):
        kind = (error.headers or {}).get("Content-Type", "")
        return error.body if kind.startswith("text/plain") and error.body else error.reason


def _moved(endpoint: str, url: str, location: str) -> str:
    """Returns what to do where a request is sent elsewhere: to a login, or to a new address."""
    there = urlsplit(urljoin(url, location))
    host = there.netloc.rpartition("@")[2]
    shown = one_line(urlunsplit((there.scheme, host, there.path, "", "")))  # the rest may be secret
    path = url.removeprefix(endpoint)
    if shown.endswith(path) and shown != url:
        return f"KFP at {endpoint} has moved; give --endpoint {shown.removesuffix(path)}"
    return f"KFP at {endpoint} wants a login at {shown}; {LOG_IN}"


def _network_advice(reason: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in reason and "mismatch" not in reason:
        return "give the authority that signed its certificate with --ca-file or KFP_CA_FILE"
    return "check --endpoint or KFP_ENDPOINT"
