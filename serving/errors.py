"""What can go wrong with a request: one table, the same on REST and gRPC."""

from typing import NamedTuple

from grpc import StatusCode
from grpc_interceptor.exceptions import GrpcException


class Fault(NamedTuple):
    """How a reason is told on the two protocols."""

    http: int
    grpc: StatusCode


FAULTS = {
    "malformed": Fault(400, StatusCode.INVALID_ARGUMENT),
    "image": Fault(400, StatusCode.INVALID_ARGUMENT),
    "unauthenticated": Fault(401, StatusCode.UNAUTHENTICATED),
    "url-refused": Fault(403, StatusCode.PERMISSION_DENIED),
    "closed": Fault(403, StatusCode.PERMISSION_DENIED),
    "not-found": Fault(404, StatusCode.NOT_FOUND),
    "method": Fault(405, StatusCode.UNIMPLEMENTED),
    "slow-body": Fault(408, StatusCode.DEADLINE_EXCEEDED),
    "body-size": Fault(413, StatusCode.RESOURCE_EXHAUSTED),
    "instances": Fault(413, StatusCode.RESOURCE_EXHAUSTED),
    "image-size": Fault(413, StatusCode.RESOURCE_EXHAUSTED),
    "url-size": Fault(414, StatusCode.RESOURCE_EXHAUSTED),
    "coding": Fault(415, StatusCode.UNIMPLEMENTED),
    "decode-time": Fault(422, StatusCode.FAILED_PRECONDITION),
    "url-failed": Fault(422, StatusCode.FAILED_PRECONDITION),
    "head-size": Fault(431, StatusCode.RESOURCE_EXHAUSTED),
    "internal": Fault(500, StatusCode.INTERNAL),
    "overloaded": Fault(503, StatusCode.UNAVAILABLE),
}
RETRY_AFTER_SECONDS = 1
_MAX_DETAILS = 500


class PredictorError(GrpcException):
    """A request that is not answered, with one line that says why.

    KServe's gRPC server turns this base class into the status it names; the routes of
    `serving.routes` turn it into the HTTP status.

    Attributes:
        reason: A key of `FAULTS`; also the label of the metric of rejected requests.
        details: The line.
    """

    def __init__(self, reason: str, details: str) -> None:
        """Args: reason: see the class; details: one line for the client, cut off if it is long."""
        if len(details) > _MAX_DETAILS:  # it may quote the request
            details = details[: _MAX_DETAILS - 3] + "..."
        super().__init__(details, FAULTS[reason].grpc)
        self.reason = reason

    @property
    def http(self) -> int:
        """The HTTP status."""
        return FAULTS[self.reason].http

    def of_instance(self, index: int) -> "PredictorError":
        """Returns the same error, naming the instance it is about."""
        return PredictorError(self.reason, f"instance {index}: {self.details}")

    def __str__(self) -> str:
        """Returns the line."""
        return str(self.details)
