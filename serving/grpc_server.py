"""KServe's gRPC server within bounds, with gRPC's health service and reflection beside it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from kserve.errors import InvalidInput
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from serving import metrics
from serving.errors import PredictorError
from serving.grpc_connections import close_longest_idle
from serving.grpc_health import Health
from serving.grpc_reader import Reader
from serving.grpc_reflection import Reflection
from serving.intake import Intake
from serving.ports import bind_error
from serving.predictor import Predictor
from serving.request_ids import RequestInterceptor
from serving.settings import Settings
from serving.tokens import TokenInterceptor, Tokens

_SERVICE = "inference.GRPCInferenceService"
_SERVICES = (_SERVICE, "grpc.health.v1.Health")
_MAX_METADATA = 8 * 2**10  # gRPC's own default, which it lets some of pass
_MAX_AGE = 300_000  # of a connection, ms
_MAX_CALL = 120_000  # ms
_CHANNEL_AGE = 450  # ms for a second of draining: with gRPC's jitter of 10%, under half of it


class _Servicer(InferenceServicer):
    """KServe's, which neither looks at versions nor bounds what it quotes of a request."""

    def __init__(
        self, predictor: Predictor, dataplane: DataPlane, repository: ModelRepositoryExtension
    ) -> None:
        super().__init__(dataplane, repository)
        self._predictor = predictor

    async def ModelReady(  # noqa: N802
        self, request: pb.ModelReadyRequest, context: grpc.aio.ServicerContext
    ) -> pb.ModelReadyResponse:
        self._predictor.check_served(request.name, request.version)
        return await super().ModelReady(request, context)

    async def ModelMetadata(  # noqa: N802
        self, request: pb.ModelMetadataRequest, context: grpc.aio.ServicerContext
    ) -> pb.ModelMetadataResponse:
        self._predictor.check_served(request.name, request.version)
        answer = await super().ModelMetadata(request, context)
        answer.versions.append(str(self._predictor.classifier.model.version))
        return answer

    async def ModelInfer(  # noqa: N802
        self, request: pb.ModelInferRequest, context: grpc.aio.ServicerContext
    ) -> pb.ModelInferResponse:
        try:
            self._predictor.check_served(request.model_name, request.model_version)
            self.validate_grpc_request(request)
        except PredictorError as error:
            metrics.count_refused_call(error.reason, error.status_code.name)
            raise
        return await super().ModelInfer(request, context)

    @classmethod
    def validate_grpc_request(cls, request: pb.ModelInferRequest) -> None:
        try:
            super().validate_grpc_request(request)
        except InvalidInput as error:
            raise PredictorError(
                "malformed",
                "each input has to have its contents, or else one of raw_input_contents",
            ) from error


class GrpcServer:
    """Open Inference over gRPC.

    Attributes:
        port: That it listens at.
    """

    def __init__(
        self,
        *,
        predictor: Predictor,
        dataplane: DataPlane,
        repository: ModelRepositoryExtension,
        intake: Intake,
        settings: Settings,
        tokens: Tokens | None,
    ) -> None:
        """Takes what answers.

        Args:
            predictor: The model that is served.
            dataplane: Answers.
            repository: Answers what is asked of models as such.
            intake: Shared with REST.
            settings: Port and limits.
            tokens: Of which a call needs one; None where it needs none.
        """
        self._servicer = _Servicer(predictor, dataplane, repository)
        self._health = Health(dataplane.ready, _SERVICE, predictor.name)
        self._reader = Reader(intake, settings)
        self._settings = settings
        self._interceptors: list[grpc.aio.ServerInterceptor] = [
            RequestInterceptor(),
            *([TokenInterceptor(tokens)] if tokens else []),
            ExceptionToStatusInterceptor(),
            self._reader,
        ]
        self._server: grpc.aio.Server | None = None
        self.port = settings.grpc_port

    async def start(self) -> None:
        """Opens the port, and returns when the server has stopped.

        Raises:
            UserError: The port is taken.
        """
        self._server = grpc.aio.server(
            ThreadPoolExecutor(1),
            interceptors=self._interceptors,
            options=_options(self._settings),
        )
        add_GRPCInferenceServiceServicer_to_server(self._servicer, self._server)
        add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers((Reflection(_SERVICES),))
        host = self._settings.host
        address = f"[{host}]" if host.version == 6 else str(host)
        try:
            self.port = self._server.add_insecure_port(f"{address}:{self.port}")
        except RuntimeError as error:
            raise bind_error(host, self.port, OSError("cannot be opened")) from error
        await self._server.start()
        watching = asyncio.create_task(
            close_longest_idle(self.port, self._settings.max_connections)
        )
        try:
            await self._server.wait_for_termination()
        finally:
            watching.cancel()

    async def stop(self, number: int | None = None) -> None:
        """Closes the port and lets accepted requests end.

        Args:
            number: Of a signal; not looked at.
        """
        if self._server:
            self._reader.end_streams()
            await self._server.stop(self._settings.grace_seconds)


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Returns the options of gRPC's core."""
    age = settings.drain_seconds * _CHANNEL_AGE if settings.drain_seconds else _MAX_AGE
    return [
        ("grpc.max_receive_message_length", settings.max_grpc_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # a second server would take part of the calls
        # Beyond these it refuses new ones, until the longest idle have been closed.
        ("grpc.max_allowed_incoming_connections", 4 * settings.max_connections),
        ("grpc.server_handshake_timeout_ms", int(settings.head_seconds * 1000)),
        ("grpc.max_connection_idle_ms", settings.keep_alive_seconds * 1000),
        # Stopping cancels calls that reach the server before its GOAWAY reaches the client. The one
        # for age loses none, so each channel is told at least once to connect elsewhere.
        ("grpc.max_connection_age_ms", int(age)),
        ("grpc.max_connection_age_grace_ms", _MAX_CALL),
        ("grpc.keepalive_time_ms", settings.keep_alive_seconds * 1000),
        ("grpc.keepalive_timeout_ms", int(settings.write_seconds * 1000)),
        # Of one channel; gRPC's own clients exceed it, and what is beyond it fails.
        ("grpc.max_concurrent_streams", 128),
        ("grpc.max_metadata_size", _MAX_METADATA),
        ("grpc.absolute_max_metadata_size", _MAX_METADATA),
        # What a client may send of a message before it is asked for.
        ("grpc.http2.lookahead_bytes", 64 * 2**10),
        ("grpc.http2.bdp_probe", 0),
    ]
