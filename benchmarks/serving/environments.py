"""Each peer's own virtual environment, made once from its pinned requirements."""

import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
_STAMP = "requirements.txt"


class InstallError(Exception):
    """An environment cannot be made; the message is what the installer said last."""


def default_folder() -> Path:
    """Returns where environments are kept from one run to the next."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "brain-tumor", "benchmarks")


def make_environment(name: str, folder: Path) -> Path:
    """Makes a virtual environment, or finds it as its requirements want it.

    Args:
        name: Of a file in `requirements/`.
        folder: Where environments are kept.

    Returns:
        Its Python.

    Raises:
        InstallError: The requirements cannot be resolved or installed.
    """
    requirements = (REQUIREMENTS / f"{name}.txt").read_text()
    environment = folder / f"{name}-py{sys.version_info.major}{sys.version_info.minor}"
    python, stamp = environment / "bin" / "python", environment / _STAMP
    if not stamp.is_file() or stamp.read_text() != requirements:
        print(f"installing {name} into {environment}", flush=True)
        _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(environment))
        _uv(
            "pip", "install", "--quiet", "--python", str(python),
            "--requirement", str(REQUIREMENTS / f"{name}.txt"),
        )  # fmt: skip
        stamp.write_text(requirements)  # last: an unfinished environment has none
    return python


def versions(python: Path) -> list[str]:
    """Returns what is installed beside an interpreter, as `name==version`."""
    return _uv("pip", "freeze", "--quiet", "--python", str(python)).splitlines()


def _uv(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InstallError(" ".join(done.stderr.split()[-60:]) or f"uv exited {done.returncode}")
    return done.stdout
