"""What whoever runs the predictor may set: environment variables `BRAIN_TUMOR_SERVE_*`."""

import os
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from components.shared.errors import UserError, first_fault
from components.shared.images.slices import MAX_SLICES
from components.shared.model_folder.signing import Trust

PREFIX = "BRAIN_TUMOR_SERVE_"
_HOST = r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d+)?"  # as browsers write an origin
_ORIGIN = rf"^(\*|{_HOST})$"
_OTHER = rf"^({_HOST})?(/[\w.~-]+)*/?$"  # nothing that could end a directive of a policy
_ORIGIN_OF = re.compile(_HOST)
_MAX_CHARACTERS = 4096  # of an address


class Settings(BaseSettings):
    """Limits and ports, each with a safe default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: IPv4Address | IPv6Address = Field(
        IPv4Address("127.0.0.1"), description="address to listen at; :: for all, of IPv4 too"
    )
    http_port: int = Field(8080, ge=0, le=65535, description="REST and the page")
    grpc_port: int = Field(8081, ge=0, le=65535, description="Open Inference over gRPC")

    max_connections: int = Field(
        1000, ge=1, description="connections of a port; where more come, an idle one is closed"
    )
    max_head_bytes: int = Field(
        64 * 2**10, ge=1024, description="the head of one HTTP request, and its trailers"
    )
    head_seconds: float = Field(10, gt=0, description="for the head to arrive, once it may")
    keep_alive_seconds: int = Field(65, ge=1, description="an idle connection is kept")
    write_seconds: float = Field(
        30, gt=0, description="a client may read nothing of its answer, before it is cut off"
    )
    max_body_bytes: int = Field(16 * 2**20, ge=1, description="one REST request")
    max_grpc_bytes: int = Field(
        4 * 2**20, ge=1, description="one gRPC request; this is gRPC's own default"
    )
    max_json_values: int = Field(
        1_100_000,
        ge=1,
        description="values in JSON, a list as three, or typed ones in gRPC; eight nested images",
    )
    max_held_bytes: int = Field(
        128 * 2**20, ge=1, description="bodies of all requests that are not yet answered"
    )
    body_seconds: float = Field(30, gt=0, description="for a request's body to arrive")
    max_instances: int = Field(32, ge=1, description="images in one request")
    max_image_bytes: int = Field(8 * 2**20, ge=1, description="one encoded image")
    max_pixels: int = Field(
        20_000_000,
        ge=1,
        description="width x height of one image, or of a volume's slices together",
    )
    max_slices: int = Field(MAX_SLICES, ge=1, description="slices that are read of a volume")
    decode_seconds: float = Field(5, gt=0, description="for one image to be decoded")

    public_key: Path | None = Field(
        None, description="file of the public key that the model has to be signed with"
    )
    signer_identity: str = Field(
        "", description="instead of a key, the identity that Sigstore certified for the signer"
    )
    signer_issuer: str = Field("", description="the OpenID Connect issuer of that identity")
    sigstore: Path | None = Field(
        None, description="file of Sigstore's trust configuration; none fetches the public one"
    )
    storage_uri_file: Path | None = Field(
        None,
        description="file that says where the model was fetched from; a signed model has to be "
        "the version that its end names",
    )

    largest_batch: int = Field(16, ge=1, le=256, description="images through the model at once")
    batch_wait_seconds: float = Field(
        0.005, ge=0, le=1, description="wait for a batch to fill; a lone client never waits"
    )
    queue_length: int = Field(256, ge=1, description="images accepted and not yet answered")
    drain_seconds: float = Field(
        0, ge=0, description="from SIGTERM, when readiness drops, to the closing of the ports"
    )
    grace_seconds: int = Field(30, ge=1, description="for accepted requests, after that")
    access_log: bool = Field(False, description="a line for each request")
    traces: bool = Field(False, description="OpenTelemetry traces, as its own variables say")
    json_logs: bool = Field(False, description="each line of the log is a JSON object")
    tokens_file: Path | None = Field(
        None, description="file of bearer tokens, one a line; who has none of them is turned away"
    )

    cors_origins: Annotated[tuple[Annotated[str, Field(pattern=_ORIGIN)], ...], NoDecode] = Field(
        (),
        description="origins whose pages may ask, comma-separated: https://app.example, or * for "
        "any; empty for this predictor's own page alone",
    )

    samples: bool | None = Field(
        None,
        description="give out the images that are kept with the version; if not set, where only "
        "this machine reaches the predictor or tokens are on",
    )
    compare_with: Annotated[tuple[Annotated[str, Field(pattern=_OTHER)], ...], NoDecode] = Field(
        (),
        description="addresses of predictors that the page may compare this one with, "
        "comma-separated: https://canary.example, or /canary/ of this host",
    )

    image_url_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="hosts that image_url may name, comma-separated: host, *.domain, or * for "
        "any; empty turns image_url off",
    )
    image_url_http: bool = Field(False, description="allow http:// beside https://")
    image_url_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (), description="networks that are not public but allowed, such as 10.1.0.0/16"
    )
    image_url_redirects: int = Field(3, ge=0, le=20, description="followed at most")
    image_url_fetches: int = Field(64, ge=1, description="images fetched at once")
    image_url_seconds: float = Field(10, gt=0, description="for one image, redirects included")

    @field_validator("public_key", "sigstore", "storage_uri_file", "samples", mode="before")
    @classmethod
    def _unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator(
        "cors_origins", "compare_with", "image_url_hosts", "image_url_networks", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def gives_samples(self) -> bool:
        """Whether the images that are kept with the version are given out.

        They are of the data that the model was measured on, so not everyone gets them unasked.
        """
        if self.samples is None:
            return self.host.is_loopback or self.tokens_file is not None
        return self.samples

    @property
    def compared_origins(self) -> tuple[str, ...]:
        """Origins other than its own that the page may ask, each once."""
        found = map(_ORIGIN_OF.match, self.compare_with)
        return tuple(dict.fromkeys(match[0] for match in found if match))

    @classmethod
    def from_environment(cls, **given: object) -> "Settings":
        """Reads the environment.

        Args:
            given: Values that win over it.

        Returns:
            The settings.

        Raises:
            UserError: A value is not allowed, or a variable of the prefix names no setting.
        """
        for name in _service_links():
            del os.environ[name]
        known = {PREFIX + name.upper() for name in cls.model_fields}
        for name in sorted(os.environ):
            if name.upper().startswith(PREFIX) and name.upper() not in known:
                raise UserError(f"{name}: no such setting; there are {', '.join(sorted(known))}")
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            raise UserError(f"{PREFIX}*: {first_fault(error)}") from error

    def trust(self) -> Trust | None:
        """Returns the signer that the model needs; None takes every model.

        Raises:
            UserError: The key cannot be used, or the settings contradict each other.
        """
        own = Trust.of(self.public_key, self.signer_identity, self.signer_issuer, self.sigstore)
        return own or Trust.from_environment()

    def storage_uri(self) -> str:
        """Returns where the model was fetched from; empty if unknown.

        Raises:
            UserError: The file that says so cannot be read.
        """
        if not self.storage_uri_file:
            return ""
        try:
            with open(self.storage_uri_file, encoding="utf-8") as file:
                return file.read(_MAX_CHARACTERS).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self.storage_uri_file}: cannot read: {error}") from error


def _service_links() -> list[str]:
    """Finds what Kubernetes sets for a Service whose name begins as our settings do.

    A Service `brain-tumor-serve` is BRAIN_TUMOR_SERVE_PORT=tcp://10.0.0.1:80 and some more in each
    pod of its namespace.
    """
    services = [
        name.removesuffix("_SERVICE_HOST")
        for name in os.environ
        if name.startswith(PREFIX) and name.endswith("_SERVICE_HOST")
    ]
    parts = tuple(f"{service}_{part}_" for service in services for part in ("SERVICE", "PORT"))
    ports = [f"{service}_PORT" for service in services]
    return [
        name
        for name, value in os.environ.items()
        if name.startswith(parts) or (name in ports and "://" in value)
    ]
