"""A registered model's folder, made by hand, and the predictor's real process that serves it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from components.shared.model_folder.smoke import write_smoke
from tests.browser import Watch
from tests.forked import Forked, run_module
from tests.model_folders import METADATA, describe

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
SAMPLES = (20, 60, 230, 250)  # brightness
DRIFT = {
    "images": 40,
    "groups": 2,
    "quantities": [
        {
            "name": name,
            "of": of,
            "bins": bins,
            "edges": edges,
            "blocks": [[20] + [0] * len(edges)] * 2,
        }
        for name, of, bins, edges in (
            ("outcome", "tumor_probability", ["Healthy", "Brain Tumor"], [0.25]),
            ("tumor_probability", "tumor_probability", ["1", "2", "3"], [0.4, 0.6]),
            ("flagged", "in_distribution_score", ["no", "yes"], [0.1 + 1e-9]),
            ("feature_8", "feature_8", ["1", "2"], [0.5]),
        )
    ],
}


def write_model(folder: Path, drift: dict[str, Any] | None = None, **changes: Any) -> None:
    """Writes a SavedModel that says P(Healthy) = brightness, of version 7 and threshold 0.25.

    Its heat map is the brightness of each ninth of the image's side, and its in-distribution score
    the greatest difference between two colour channels, 0..1. Its eight features are the red of a
    column's pixels, 18 rows apart, 0..1.
    """
    import tensorflow as tf

    module = tf.Module()
    module.scale = tf.Variable(1 / 255)
    signature = [tf.TensorSpec((None, 150, 150, 3), tf.uint8, name="images")]

    @tf.function(input_signature=signature)
    def answer(images: Any) -> dict[str, Any]:
        pixels = tf.cast(images, tf.float32) * module.scale
        colours = tf.reduce_mean(pixels, axis=(1, 2))
        return {
            "probability_healthy": tf.reduce_mean(pixels, axis=(1, 2, 3)),
            "in_distribution_score": tf.reduce_max(colours, -1) - tf.reduce_min(colours, -1),
            "features": pixels[:, : 8 * 18 : 18, 0, 0],
        }

    @tf.function(input_signature=signature)
    def explain(images: Any) -> dict[str, Any]:
        pixels = tf.cast(images, tf.float32) * module.scale
        grey = tf.reduce_mean(pixels, axis=-1, keepdims=True)
        heat = tf.nn.avg_pool2d(grey, 17, strides=17, padding="SAME")
        return {**answer(images), "heatmap": heat[..., 0]}

    signatures = {"serving_default": answer, "explain": explain}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    if drift:
        (folder / "drift.json").write_text(json.dumps(drift))
        images = np.stack([np.full((150, 150, 3), grey, np.uint8) for grey in SAMPLES])
        write_smoke(folder, images, np.array(SAMPLES) / 255, METADATA["threshold"])
    describe(folder, METADATA["classes"], METADATA | changes)


@pytest.fixture(scope="module", autouse=True)
def no_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each `httpx.get` reads the certificates of all authorities, 20 ms; no test needs any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("authorities")))
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `write_model`, without a limit of its in-distribution score."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    return folder


@pytest.fixture(scope="session")
def checked_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `write_model`, with all that a version may have beside it."""
    folder = tmp_path_factory.mktemp("checked-model")
    unsure = {"low": 0.22, "high": 0.6, "target_error": 0.02}
    write_model(folder, DRIFT, in_distribution={"score_limit": 0.1}, unsure=unsure)
    return folder


@dataclass
class Running:
    """A predictor's process that is ready."""

    process: subprocess.Popen[str] | Forked
    name: str
    port: int
    grpc_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def resident_bytes(self) -> int:
        """How much memory the process holds now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(
    folder: Path, log: Path, name: str = "brain-tumor", fresh: bool = False, **settings: Any
) -> Iterator[Running]:
    """Starts the predictor, waits until it is ready, and stops it at the end.

    Unless it is to be a fresh process, it is forked from one that has imported all it needs.
    """
    port, grpc_port = free_port(), free_port()
    changed = {f"BRAIN_TUMOR_SERVE_{k.upper()}": str(v) for k, v in settings.items()}
    ports = ("--port", str(port), "--grpc-port", str(grpc_port))
    process = launch(str(folder), "--name", name, *ports, log=log, fresh=fresh, **changed)
    server = Running(process, name, port, grpc_port, log)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def start_in_vain(tmp_path: Path) -> Callable[..., str]:
    """Returns a function that starts the predictor, expects status 2, and returns what it says.

    Its ports are free ones, unless the arguments name some.
    """

    def begin(*arguments: Path | str, **environment: str) -> str:
        log = tmp_path / "log"
        free = ("--port", "0", "--grpc-port", "0")
        process = launch(*free, *map(str, arguments), log=log, **environment)
        assert process.wait(120) == 2
        return log.read_text()

    return begin


def launch(
    *arguments: str, log: Path, fresh: bool = False, **environment: str
) -> subprocess.Popen[str] | Forked:
    """Starts `python -m serving`."""
    variables = os.environ | environment
    if not fresh:
        return Forked(run_module, "serving", *arguments, output=log, environment=variables)
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "serving", *arguments],
            cwd=ROOT,
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _wait_until_ready(server: Running) -> None:
    deadline = time.monotonic() + 120
    with httpx.Client() as client:
        while time.monotonic() < deadline:
            if server.process.poll() is not None:
                break
            try:
                if client.get(f"{server.url}/v2/models/{server.name}/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    status = server.process.poll()
    raise RuntimeError(f"not ready, exit status {status}:\n{server.log.read_text()}")


@pytest.fixture(scope="session")
def predictor(
    checked_model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A predictor with the default settings."""
    log = tmp_path_factory.mktemp("predictor") / "log"
    with running(checked_model_folder, log, fresh=True) as server:
        yield server


@pytest.fixture
def page(browser: "Browser", predictor: Running) -> Iterator["Page"]:
    """The page, loaded; what it asked for and what its console said is judged in the end."""
    context = browser.new_context()
    page = context.new_page()
    watch = Watch(page, expected=r"(:explain|:predict|/card|/samples)$")
    page.goto(predictor.url)
    yield page
    context.close()
    assert watch.complaints == []
    own = (predictor.url, "data:", "blob:")
    assert [url for url in watch.requests if not url.startswith(own)] == []


@pytest.fixture(scope="session")
def start(
    checked_model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Returns `running` for the checked model or another, with settings of the test's own."""

    def begin(folder: Path = checked_model_folder, **settings: Any) -> Any:
        return running(folder, tmp_path_factory.mktemp("predictor") / "log", **settings)

    return begin
