"""A package that is not installed here, and which extra of ours brings it."""

import re
from importlib import metadata

_EXTRA = re.compile(r"""([\w.-]+).*;.*\bextra == ['"](\w+)['"]""")
_TRAINING = ("train", "cpu")  # neither works without the other
# Of packages that do not have their module's name.
_PACKAGES = {
    "grpc": "grpcio-health-checking",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "google": "google-cloud-storage",
    "markdown_it": "markdown-it-py",
    "opentelemetry": "opentelemetry-sdk",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "pythonjsonlogger": "python-json-logger",
    "sklearn": "scikit-learn",
}


def missing_package(error: ModuleNotFoundError, extra: str = "") -> str:
    """Returns a line for a package that a command lacks: what, and how to install it.

    Args:
        error: What its import raised.
        extra: The one that the command needs; empty takes the first that brings the package.
    """
    module = (error.name or "").partition(".")[0]
    package = _PACKAGES.get(module, module.replace("_", "-"))
    extra = extra or next((extra for name, extra in _offered() if name == package), "")
    if extra in _TRAINING:
        having = f", or install brain-tumor with the extras {' and '.join(_TRAINING)}"
    else:
        having = f", or install brain-tumor with the extra {extra}" if extra else ""
    return (
        f"this command needs the package {package}, which is not installed here; run "
        f"`make install` in a checkout{having}"
    )


def _offered() -> list[tuple[str, str]]:
    """Returns each package that an extra brings, with the extra."""
    try:
        required = metadata.requires("brain-tumor") or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return []
    return [(found[1], found[2]) for line in required if (found := _EXTRA.match(line))]
