"""The health service of gRPC (grpc.health.v1), which tells what readiness tells."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from serving.errors import PredictorError

_LOOK_SECONDS = 0.5


class Health(HealthServicer):
    """Answers for the server as a whole, which is the empty name, and for some by name."""

    def __init__(self, ready: Callable[[], Awaitable[bool]], *names: str) -> None:
        """Args: ready: whether requests are welcome; names: of services and models."""
        self._ready = ready
        self._names = {"", *names}

    async def Check(  # noqa: N802
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> HealthCheckResponse:
        """Answers once."""
        if request.service not in self._names:
            raise PredictorError("not-found", "no such service or model")
        return await self._status()

    async def Watch(  # noqa: N802
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> None:
        """Answers now and whenever it changes."""
        told = None
        while True:
            status = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
            if request.service in self._names:
                status = await self._status()
            if status != told:
                await context.write(status)
            told = status
            await asyncio.sleep(_LOOK_SECONDS)

    async def _status(self) -> HealthCheckResponse:
        ready = await self._ready()
        return HealthCheckResponse(
            status=HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
        )
