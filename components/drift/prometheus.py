"""Prometheus, asked for what the predictors counted; whatever answers is not believed."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

import httpx
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.shared.errors import UserError, first_fault, network_reason, one_line
from components.shared.model_folder.drift_reference import Quantity

TOKEN_VARIABLE = "PROMETHEUS_TOKEN"
COUNTED = "brain_tumor_drift_images_total"
HOUR = 3600
_MAX_BYTES = 64 * 2**20  # three months of a hundred series have 15 MB
_MAX_SERIES = 2000
_MAX_HOURS = 24 * 92
_MAX_COUNT = 1e9
_SECONDS = 60.0

_Text = Annotated[str, Field(max_length=1000)]


class _Series(BaseModel):
    model_config = ConfigDict(extra="ignore")

    metric: dict[_Text, _Text] = Field(max_length=100)
    values: list[tuple[float, _Text]] = Field(default=[], max_length=_MAX_HOURS + 1)


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore")

    result: list[_Series] = Field(max_length=_MAX_SERIES)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    status: Literal["success"]
    data: _Data


class _Refusal(BaseModel):
    model_config = ConfigDict(extra="ignore")

    error: str


class Prometheus:
    """A Prometheus, or what speaks its HTTP API, such as Thanos and Mimir."""

    def __init__(self, address: str) -> None:
        """Takes the address; a bearer token comes from PROMETHEUS_TOKEN, if it is set.

        Args:
            address: http:// or https://, with the path before `/api/v1`, if there is one.

        Raises:
            UserError: The address or the token cannot be used.
        """
        try:
            parts = urlsplit(address)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise UserError(
                f"prometheus: {one_line(address)!r} is not an address; give one such as "
                "http://prometheus.monitoring.svc:9090"
            )
        if parts.username is not None:
            raise UserError(
                f"prometheus: the address holds a user's name; put a token into {TOKEN_VARIABLE}"
            )
        self._address = address.rstrip("/")
        self._headers = {"Accept-Encoding": "identity", **_authorization()}

    def served(
        self, digest: str, quantities: Sequence[Quantity], end: datetime, hours: int
    ) -> dict[str, np.ndarray]:
        """Returns how many images the predictors of a version had in each bin, hour by hour.

        Args:
            digest: Of the version's files.
            quantities: Whose bins.
            end: When the last hour ends.
            hours: How many.

        Returns:
            By quantity, float64 [hours, bins]; Prometheus estimates, so they are no whole numbers.

        Raises:
            UserError: It cannot be reached or refuses, answers something else, or has no count of
                this version.
        """
        last = int(end.timestamp())
        found = self._ask(
            "query_range",
            query=f'sum by (quantity, bin) (increase({COUNTED}{{digest="{digest}"}}[1h]))',
            start=str(last - (hours - 1) * HOUR),
            end=str(last),
            step=str(HOUR),
        )
        if not found:
            raise UserError(
                f"{self._address} has no count of this version in the last {hours} hours; "
                f"{self._versions()}"
            )
        counts = {q.name: np.zeros((hours, len(q.bins))) for q in quantities}
        places = {(q.name, name): bin for q in quantities for bin, name in enumerate(q.bins)}
        for series in found:
            quantity = series.metric.get("quantity", "")
            place = places.get((quantity, series.metric.get("bin", "")))
            if place is None:
                raise self._unusable("counts in bins that the model does not have")
            for at, text in series.values:
                row = self._hour(at, last, hours)
                counts[quantity][row, place] = self._count(text)
        return counts

    def _hour(self, at: float, last: int, hours: int) -> int:
        row = hours - 1 - (last - at) / HOUR
        if not (0 <= row < hours and row == int(row)):
            raise self._unusable("counts of hours that were not asked for")
        return int(row)

    def _count(self, text: str) -> float:
        try:
            count = float(text)
        except ValueError:
            count = math.nan
        if not 0 <= count <= _MAX_COUNT:
            raise self._unusable(f"{one_line(text, 40)!r} as a count")
        return count

    def _versions(self) -> str:
        """Says which versions there are counts of."""
        found = self._ask("query", query=f"count by (version) ({COUNTED})")
        versions = sorted({one_line(series.metric.get("version", ""), 20) for series in found})
        if not versions:
            return (
                f"it has no {COUNTED} at all: let it scrape the predictor's /metrics, and serve a "
                "version that has drift.json"
            )
        return f"it has counts of version {', '.join(versions[:10])}"

    def _ask(self, what: str, **parameters: str) -> list[_Series]:
        content = self._get(f"/api/v1/{what}", parameters)
        try:
            return _Answer.model_validate_json(content).data.result
        except ValidationError as error:
            raise self._unusable(
                f"something else than its API does: {first_fault(error)}"
            ) from error

    def _get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """Returns the body of an answer, which is no larger and takes no longer than it may."""
        ends, content = time.monotonic() + _SECONDS, bytearray()
        try:
            with (
                httpx.Client(timeout=_SECONDS, headers=self._headers) as client,
                client.stream("GET", self._address + path, params=dict(parameters)) as response,
            ):
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise self._unusable("compressed, which was not asked for")
                for part in response.iter_raw():
                    content += part
                    if len(content) > _MAX_BYTES:
                        raise self._unusable(f"more than {_MAX_BYTES:,} bytes")
                    if time.monotonic() > ends:
                        raise self._unusable(f"too slowly: not whole in {_SECONDS:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise UserError(
                f"{self._address} cannot be reached: {network_reason(error)}; check the address of "
                "Prometheus"
            ) from error
        if response.status_code != httpx.codes.OK:
            raise self._refused(response.status_code, bytes(content))
        return bytes(content)

    def _refused(self, status: int, content: bytes) -> UserError:
        try:
            reason = f": {one_line(_Refusal.model_validate_json(content).error)}"
        except ValidationError:
            reason = ""
        advice = {
            401: f"; put a token into {TOKEN_VARIABLE}",
            403: f"; put a token into {TOKEN_VARIABLE}",
            404: "; check the path before /api/v1",
        }
        return UserError(f"{self._address} answers HTTP {status}{reason}{advice.get(status, '')}")

    def _unusable(self, what: str) -> UserError:
        return UserError(f"{self._address} answers {what}; check that it is Prometheus")


def _authorization() -> dict[str, str]:
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        return {}
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise UserError(f"{TOKEN_VARIABLE} holds characters that no token has")
    return {"Authorization": f"Bearer {token}"}
