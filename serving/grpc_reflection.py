"""gRPC's reflection service, imported when a client first asks for it."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

_SERVICE = "grpc.reflection.v1alpha.ServerReflection"


class Reflection(grpc.GenericRpcHandler):
    """Tells clients such as grpcurl which services there are.

    Few ever ask, and what gRPC's own needs for its answers takes 10 MB.
    """

    def __init__(self, services: Iterable[str]) -> None:
        """Args: services: that it tells of, beside itself."""
        self._services = (*services, _SERVICE)
        self._handlers: list[grpc.GenericRpcHandler] = []

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Finds what answers a call.

        Args:
            call: Of any service.

        Returns:
            What answers; None to a call of another service.
        """
        if not call.method.startswith(f"/{_SERVICE}/"):
            return None
        if not self._handlers:
            from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

            answering = reflection.aio.ReflectionServicer(self._services)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(answering, self)
        return next(filter(None, (handler.service(call) for handler in self._handlers)), None)

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Takes what gRPC's own service would give to a server."""
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Does nothing: these are the same handlers once more."""
