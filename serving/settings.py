"""The predictor's settings: environment variables that start with `BRAIN_TUMOR_SERVE_`."""

import os
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from components.shared.errors import UserError, did_you_mean, fault_words, reason
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
        IPv4Address("127.0.0.1"),
        description="Address to listen at. :: listens at all addresses, IPv6 and IPv4.",
    )
    http_port: int = Field(8080, ge=0, le=65535, description="Port of REST and of the page.")
    grpc_port: int = Field(8081, ge=0, le=65535, description="Port of Open Inference over gRPC.")

    max_connections: int = Field(
        1000,
        ge=1,
        description="Maximum connections of each port. If more come, the server closes the one "
        "that has been idle for longest.",
    )
    max_head_bytes: int = Field(
        64 * 2**10,
        ge=1024,
        description="Maximum size of the URL, headers and trailers of a REST request.",
    )
    head_seconds: float = Field(
        10, gt=0, description="Maximum time for the URL and headers of a request to arrive."
    )
    keep_alive_seconds: int = Field(
        65, ge=1, description="How long the server keeps an idle connection."
    )
    write_seconds: float = Field(
        30,
        gt=0,
        description="How long a client may read nothing of its answer. Then the server closes the "
        "connection.",
    )
    max_body_bytes: int = Field(16 * 2**20, ge=1, description="Maximum size of a REST request.")
    max_grpc_bytes: int = Field(
        4 * 2**20, ge=1, description="Maximum size of a gRPC request. The default is gRPC's own."
    )
    max_json_values: int = Field(
        1_100_000,
        ge=1,
        description="Maximum values in a JSON request (a list counts as three), or numbers in a "
        "gRPC request. The default is enough for eight images as nested numbers.",
    )
    max_held_bytes: int = Field(
        128 * 2**20, ge=1, description="Maximum size of all unanswered requests together."
    )
    body_seconds: float = Field(
        30, gt=0, description="Maximum time for the body of a request to arrive."
    )
    max_instances: int = Field(32, ge=1, description="Maximum images in a request.")
    max_image_bytes: int = Field(
        8 * 2**20, ge=1, description="Maximum size of an encoded image, such as a JPEG file."
    )
    max_pixels: int = Field(
        20_000_000,
        ge=1,
        description="Maximum width x height of an image, or of all slices that are read of a "
        "volume.",
    )
    max_slices: int = Field(
        MAX_SLICES, ge=1, description="Maximum slices that the server reads of a volume."
    )
    decode_seconds: float = Field(5, gt=0, description="Maximum time to decode an image.")

    public_key: Path | None = Field(
        None,
        description="File of a public key. The server refuses a model that is not signed with it.",
    )
    signer_identity: str = Field(
        "",
        description="The signer's identity in Sigstore, instead of a key, for example "
        "release@example.com.",
    )
    signer_issuer: str = Field(
        "",
        description="OpenID Connect issuer of that identity, for example "
        "https://accounts.google.com.",
    )
    sigstore: Path | None = Field(
        None,
        description="File of Sigstore's trust configuration. Without it the server fetches that "
        "of the public instance.",
    )
    storage_uri_file: Path | None = Field(
        None,
        description="File that says where the model was fetched from. The server refuses a signed "
        "model of another version than the address ends with.",
    )

    largest_batch: int = Field(
        16,
        ge=1,
        le=256,
        description="Maximum images in a batch. OpenVINO takes at most 4, whatever is set here.",
    )
    batch_wait_seconds: float = Field(
        0.005,
        ge=0,
        le=1,
        description="How long the server waits for a batch to fill. A single client never waits.",
    )
    queue_length: int = Field(
        256, ge=1, description="Maximum images that are accepted and not yet answered."
    )
    drain_seconds: float = Field(
        0,
        ge=0,
        description="How long the ports stay open after SIGTERM. Readiness drops at once.",
    )
    grace_seconds: int = Field(
        30, ge=1, description="How long accepted requests may take after the ports have closed."
    )
    access_log: bool = Field(False, description="Log a line for each request.")
    traces: bool = Field(
        False, description="Send OpenTelemetry traces. The variables OTEL_* say where."
    )
    json_logs: bool = Field(False, description="Write each line of the log as a JSON object.")
    tokens_file: Path | None = Field(
        None,
        description="File of bearer tokens, one a line. The server refuses a request without one "
        "of them.",
    )

    cors_origins: Annotated[tuple[Annotated[str, Field(pattern=_ORIGIN)], ...], NoDecode] = Field(
        (),
        description="Origins whose pages may send requests, separated by commas, for example "
        "https://app.example; * allows any. Empty allows only this server's own page.",
        examples=["https://app.example"],
    )

    samples: bool | None = Field(
        None,
        description="Whether to give out the sample images of the version. If not set, only where "
        "this machine alone reaches the server, or where tokens are on.",
    )
    compare_with: Annotated[tuple[Annotated[str, Field(pattern=_OTHER)], ...], NoDecode] = Field(
        (),
        description="Servers that the page may compare this one with, separated by commas, for "
        "example https://canary.example, or /canary/ of the same host.",
        examples=["https://canary.example"],
    )

    image_url_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts that image_url may name, separated by commas, for example "
        "scans.example or *.example; * allows any. Empty turns image_url off.",
    )
    image_url_http: bool = Field(
        False, description="Whether image_url may begin with http:// too, not only https://."
    )
    image_url_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (),
        description="Private networks that image_url may reach, separated by commas, for example "
        "10.1.0.0/16.",
        examples=["10.1.0.0/16"],
    )
    image_url_redirects: int = Field(
        3, ge=0, le=20, description="Maximum redirects that the server follows for an image."
    )
    image_url_fetches: int = Field(
        64, ge=1, description="Maximum images that the server fetches at the same time."
    )
    image_url_seconds: float = Field(
        10, gt=0, description="Maximum time to fetch an image, redirects included."
    )

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
                raise UserError(f"{name} is not a setting; {_meant(name, cls.model_fields)}")
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            fault = error.errors()[0]
            field = str(fault["loc"][0])
            where = f"--{field}" if field in given else PREFIX + field.upper()
            examples = cls.model_fields[field].examples or []
            raise UserError(f"{where}: {fault_words(fault, examples)}") from error

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
            raise UserError(f"{self.storage_uri_file}: cannot read: {reason(error)}") from error


def _meant(name: str, fields: Iterable[str]) -> str:
    """Returns what a variable that is no setting may be meant to be, or where the settings are."""
    # Without the prefix: it would make all names alike.
    meant = did_you_mean(name[len(PREFIX) :], [field.upper() for field in fields])
    if not meant.endswith("?"):
        return "docs/serving.md lists the settings"
    return meant.replace("'", f"'{PREFIX}", 1)


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
