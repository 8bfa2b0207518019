"""The predictor's process: load, check, warm, then open the ports."""

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from kserve.model_server import ModelServer
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from prometheus_client import REGISTRY

from components.shared.errors import UserError
from serving import logs, metrics, tracing
from serving.cgroup import available_cpus
from serving.classifier import Classifier
from serving.errors import PredictorError
from serving.grpc_server import GrpcServer
from serving.intake import Intake
from serving.ports import bind_error, take
from serving.predictor import Predictor
from serving.protocol import Connection, close_overdue
from serving.rest import application
from serving.settings import Settings
from serving.tokens import Tokens

_COLLECT_AFTER = 50_000
_BACKLOG = 2048
_FILES = 65_536
_STOPPING = (signal.SIGTERM, signal.SIGINT)
_AGAIN_SECONDS = 1.0
_log = logging.getLogger("brain_tumor")


def serve(folder: str | Path, name: str, settings: Settings) -> None:
    """Serves a model until SIGTERM or SIGINT, and returns when all that was accepted is answered.

    Args:
        folder: The version's folder.
        name: To serve it under; empty for the model's own.
        settings: Limits and ports.

    Raises:
        UserError: The model is not what its digests say, not signed as it has to be, or cannot be
            loaded; a port is taken; or the file of tokens is not usable.
    """
    with _ended_by_signals():
        _serve(folder, name, settings)


def _serve(folder: str | Path, name: str, settings: Settings) -> None:
    logs.configure(settings)
    if settings.traces:
        tracing.start()
    tokens = Tokens(settings.tokens_file) if settings.tokens_file else None
    if settings.http_port == settings.grpc_port != 0:
        raise UserError(
            f"port {settings.http_port} is given for REST and for gRPC; "
            "choose another one with --port or --grpc-port"
        )
    listener = take(settings.host, settings.http_port)
    take(settings.host, settings.grpc_port).close()  # gRPC wants to open it itself
    classifier = Classifier(folder, available_cpus(), settings.trust(), settings.storage_uri())
    intake = Intake(settings.max_held_bytes)
    predictor = Predictor(name or classifier.model.name, classifier, intake, settings)
    _describe(predictor)
    gc.collect()
    gc.freeze()  # what lives now lives on: no collection needs to look at it again
    gc.set_threshold(_COLLECT_AFTER)  # nor at every few hundred values of a parsed body
    _allow_connections()
    _Server(predictor, intake, settings, tokens, listener).start([predictor])
    tracing.stop()
    _log.info("stopped")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within it, a signal ends the process by an exception, raised again until it gets through.

    It is swallowed where the signal comes during a destructor or a callback of C code. Process 1 of
    a container hears no signal that has no handler.
    """

    def end(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        sys.exit()

    for number in (*_STOPPING, signal.SIGALRM):
        signal.signal(number, end)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class _DataPlane(DataPlane):
    """KServe's, with a true readiness and complete metadata."""

    def __init__(self, predictor: Predictor, **named: Any) -> None:
        super().__init__(**named)
        self._predictor = predictor

    async def ready(self) -> bool:
        return await self._predictor.healthy()

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), "extensions": ["binary_tensor_data"]}

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        version = str(self._predictor.classifier.model.version)
        metadata = await super().model_metadata(model_name)
        return metadata | {"versions": [version], "platform": "tensorflow_savedmodel"}


class _ClosedRepository(ModelRepositoryExtension):
    """Refuses what would let anyone take the model away."""

    async def load(self, model_name: str) -> None:
        raise PredictorError("closed", "models are not loaded or unloaded over the network")

    async def unload(self, model_name: str) -> None:
        raise PredictorError("closed", "models are not loaded or unloaded over the network")


class _Rest(uvicorn.Server):
    """Uvicorn's server, which leaves signals to this project's."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()  # Uvicorn's own kills the process with the signal at the end


class _Server(ModelServer):
    """KServe's server with this predictor's guards and an orderly end."""

    def __init__(
        self,
        predictor: Predictor,
        intake: Intake,
        settings: Settings,
        tokens: Tokens | None,
        listener: socket.socket,
    ) -> None:
        super().__init__(
            enable_grpc=False,  # KServe's own; this project's stands in its place
            enable_latency_logging=False,
        )
        logs.configure(settings)  # KServe and TensorFlow have set up theirs
        self._predictor = predictor
        self._settings = settings
        self._tokens = tokens
        self._listener = listener
        self.dataplane = _DataPlane(predictor, model_registry=self.registered_models)
        self.model_repository_extension = _ClosedRepository(self.registered_models)
        app = application(
            dataplane=self.dataplane,
            repository=self.model_repository_extension,
            predictor=predictor,
            intake=intake,
            settings=settings,
            tokens=tokens,
        )
        self._grpc = GrpcServer(
            predictor=predictor,
            dataplane=self.dataplane,
            repository=self.model_repository_extension,
            intake=intake,
            settings=settings,
            tokens=tokens,
        )
        self._rest = _Rest(
            uvicorn.Config(
                app,
                http=partial(Connection, settings),  # type: ignore[arg-type]
                ws="none",
                log_config=None,
                access_log=False,  # ours has the ids of the request
                timeout_keep_alive=settings.keep_alive_seconds,
                timeout_graceful_shutdown=settings.grace_seconds,
            )
        )

    def start(self, models: list[Any]) -> None:
        self._register_and_check_atleast_one_model_is_ready(models)
        uvloop.run(self._serve())

    async def _serve(self) -> None:
        self.setup_event_loop()
        told = asyncio.Event()
        for number in _STOPPING:  # before the ports open, since then it counts as ready
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        try:
            self._listener.listen(_BACKLOG)
        except OSError as error:  # someone else has begun to, in the meantime
            raise bind_error(self._settings.host, self._settings.http_port, error) from error
        watching = [asyncio.create_task(close_overdue(self._rest.server_state.connections))]
        if self._tokens:
            watching.append(asyncio.create_task(self._tokens.watch()))
        try:
            await asyncio.gather(
                self._rest.serve([self._listener]), self._grpc.start(), self._stop_when(told)
            )
        finally:
            for task in watching:
                task.cancel()
            self._predictor.decoders.stop()

    async def _stop_when(self, told: asyncio.Event) -> None:
        """Drops readiness, waits, then closes the ports and lets accepted requests end."""
        while not self._rest.started:
            await asyncio.sleep(0.01)
        _log.info(
            "%s, version %d, is served at http://localhost:%d, over gRPC at localhost:%d",
            self._predictor.name,
            self._predictor.classifier.model.version,
            self._listener.getsockname()[1],
            self._grpc.port,
        )
        await told.wait()
        self._predictor.draining = True
        _log.info("stopping")
        await asyncio.sleep(self._settings.drain_seconds)
        self._rest.should_exit = True
        await self._grpc.stop()


def _allow_connections() -> None:
    """Raises the number of files this process may have open, which is often 1,024."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard_limit == resource.RLIM_INFINITY else min(hard_limit, _FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard_limit))


def _describe(predictor: Predictor) -> None:
    model = predictor.classifier.model
    metrics.MODEL.info(
        {"name": predictor.name, "version": str(model.version), "digest": model.digest}
    )
    for label in model.classes:
        metrics.PREDICTIONS.labels(label)
    REGISTRY.register(predictor.drift)
