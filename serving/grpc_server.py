"""KServe's gRPC server, its requests read in turns and counted before they are unpacked.

KServe makes a Python object of each number in a request before anything of ours sees it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from serving import metrics
from serving.errors import PredictorError
from serving.intake import Intake
from serving.ports import cannot_take
from serving.request_ids import RequestInterceptor
from serving.settings import Settings
from serving.tokens import TokenInterceptor, Tokens
from serving.wire import check_request

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_TURN_SECONDS = 0.05
_COPY_SECONDS = 5e-9  # for a byte of a message
_CHANNEL_AGE = 450  # ms for a second of draining: with gRPC's jitter of 10%, under half of it


class GrpcServer:
    """Open Inference over gRPC.

    Attributes:
        port: That it listens at.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        repository: ModelRepositoryExtension,
        intake: Intake,
        settings: Settings,
        tokens: Tokens | None,
    ) -> None:
        """Takes what answers.

        Args:
            dataplane: Answers.
            repository: Answers what is asked of models as such.
            intake: Shared with REST.
            settings: Port and limits.
            tokens: Of which a call needs one; None where it needs none.
        """
        self._servicer = InferenceServicer(dataplane, repository)
        self._reader = _Reader(intake, settings.max_json_values)
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
        host = self._settings.host
        address = f"[{host}]" if host.version == 6 else str(host)
        try:
            self.port = self._server.add_insecure_port(f"{address}:{self.port}")
        except RuntimeError as error:
            raise cannot_take(host, self.port, OSError("cannot be opened")) from error
        await self._server.start()
        await self._server.wait_for_termination()

    async def stop(self, number: int | None = None) -> None:
        """Closes the port and lets accepted requests end.

        Args:
            number: Of a signal; not looked at.
        """
        if self._server:
            await self._server.stop(self._settings.grace_seconds)


class _Reader(grpc.aio.ServerInterceptor):
    """Receives inference requests one after another, and parses them itself.

    gRPC copies each message into a Python object, and those that have come together all in one
    round of the event loop. This is asked before a message is received, so here they queue: until
    the one before has come, or has not in a twentieth of a second.
    """

    def __init__(self, intake: Intake, most_values: int) -> None:
        self._intake = intake
        self._most_values = most_values
        self._receiving = asyncio.Semaphore(1)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(handler_call_details)
        if handler_call_details.method != _INFER:
            return handler
        end_turn = await self._turn()
        loop = asyncio.get_running_loop()

        async def infer(body: bytes, context: grpc.aio.ServicerContext) -> Any:
            loop.call_later(len(body) * _COPY_SECONDS, end_turn)  # a pause as long as the copying
            try:
                try:
                    self._intake.hold(len(body))
                    async with self._intake.parsing(len(body)):
                        check_request(body, self._most_values)
                        request = _parse(body)
                except PredictorError as error:  # the predictor counts those that reach it
                    metrics.REJECTED.labels(error.reason).inc()
                    metrics.RESPONSES.labels("grpc", "infer", error.status_code.name).inc()
                    raise
                return await handler.unary_unary(request, context)
            finally:
                self._intake.release(len(body))

        return grpc.unary_unary_rpc_method_handler(
            infer, response_serializer=handler.response_serializer
        )

    async def _turn(self) -> Callable[[], None]:
        """Waits for the turn to receive; returns what ends it, which time does too."""
        await self._receiving.acquire()
        over = False

        def end() -> None:
            nonlocal over
            if not over:
                over = True
                self._receiving.release()

        asyncio.get_running_loop().call_later(_TURN_SECONDS, end)
        return end


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Returns the options of gRPC's core."""
    options = [
        ("grpc.max_receive_message_length", settings.max_grpc_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # a second server would take part of the calls
    ]
    if settings.drain_seconds:
        # Stopping cancels calls that reach the server before its GOAWAY reaches the client. The one
        # for age loses none, so each channel is told at least once to connect elsewhere.
        options.append(("grpc.max_connection_age_ms", int(settings.drain_seconds * _CHANNEL_AGE)))
    return options


def _parse(body: bytes) -> messages.ModelInferRequest:
    try:
        return messages.ModelInferRequest.FromString(body)
    except DecodeError as error:
        raise PredictorError("malformed", "the message is no ModelInferRequest") from error
