"""The endpoint of S3 in the shared config file of the AWS SDKs."""

import configparser
import os
import shlex
from collections.abc import Mapping

from components.shared.errors import UserError, one_line

_Sections = Mapping[tuple[str, ...], Mapping[str, str]]


def configured_endpoint() -> tuple[str, str] | None:
    """Returns where the profile in use finds S3.

    The profile is `AWS_PROFILE` or `default`, in `AWS_CONFIG_FILE` or `~/.aws/config`. What its
    `services` section says of `s3` is before its own `endpoint_url`.

    Returns:
        The file and the URL; None where the profile names none.

    Raises:
        UserError: The file is malformed.
    """
    file = os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config"
    file = os.path.expanduser(os.path.expandvars(file))
    try:
        sections = _sections(file)
        url = _endpoint(sections, os.environ.get("AWS_PROFILE") or "default")
    except (configparser.Error, ValueError) as error:
        raise UserError(
            f"{file}: {one_line(error)}; mend it, or set AWS_ENDPOINT_URL_S3"
        ) from error
    return (f"endpoint_url in {file}", url) if url else None


def _sections(file: str) -> _Sections:
    """Reads a file; one that is not there has no sections."""
    parser = configparser.RawConfigParser()
    parser.read(file, encoding="utf-8")
    return {tuple(shlex.split(name)): parser[name] for name in parser.sections()}


def _endpoint(sections: _Sections, name: str) -> str:
    """Returns a profile's URL; empty where it has none.

    Raises:
        ValueError: The profile names services that are not there.
    """
    default = sections.get(("default",), {}) if name == "default" else {}
    profile = sections.get(("profile", name), default)
    if profile.get("ignore_configured_endpoint_urls", "").lower() == "true":
        return ""
    services: Mapping[str, str] = {}
    if "services" in profile:
        services = sections.get(("services", profile["services"]), {})
        if not services:
            raise ValueError(f"there is no section [services {profile['services']}]")
    return _nested(services.get("s3", "")).get("endpoint_url") or profile.get("endpoint_url", "")


def _nested(text: str) -> dict[str, str]:
    """Reads the indented lines of `key = value` below a key."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
