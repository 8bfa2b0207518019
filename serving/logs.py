"""What the process writes: lines for people or, as a setting, lines of JSON."""

import logging
import sys
import threading
from typing import Any

from kserve.errors import InvalidInput, ModelNotFound, ServerNotReady
from pythonjsonlogger.json import JsonFormatter

from serving.request_ids import ACCESS, CURRENT
from serving.settings import Settings

_CLIENT_ERRORS = (InvalidInput, ModelNotFound, ServerNotReady)
_QUIET = ("kserve", "kserve.trace", "uvicorn", "uvicorn.error", "httpx", "httpcore")
_log = logging.getLogger("brain_tumor")


def configure(settings: Settings) -> None:
    """Sends the lines of every library through one handler; may be called again.

    Written are a line at start and end, warnings, and a line for each request where that is wanted.

    Args:
        settings: Whether requests are logged, and whether as JSON.
    """
    handler = logging.StreamHandler()
    handler.addFilter(_add_ids)
    handler.setFormatter(_Json() if settings.json_logs else _Text())
    logging.root.handlers = [handler]
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers, logger.propagate = [], True
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    _log.setLevel(logging.INFO)
    logging.getLogger(ACCESS).setLevel(logging.INFO if settings.access_log else logging.WARNING)
    # KServe logs a traceback for each malformed gRPC request and each probe while it stops.
    handler.addFilter(_is_server_fault)
    if settings.json_logs:
        logging.captureWarnings(True)
        sys.excepthook = _end
        threading.excepthook = lambda failed: _end(
            failed.exc_type, failed.exc_value or failed.exc_type(), failed.exc_traceback
        )


def as_json() -> bool:
    """Tells whether lines are JSON."""
    return any(isinstance(handler.formatter, _Json) for handler in logging.root.handlers)


class _Text(logging.Formatter):
    """Time, level, message, and the ids of a request where the line is of one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        text = super().formatMessage(record)
        request, trace = getattr(record, "request_id", ""), getattr(record, "trace_id", "")
        return f"{text} request_id={request} trace_id={trace}" if request else text


class _Json(JsonFormatter):
    """One object a line; a traceback is its field `exc_info`."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s", timestamp=True)
        self.rename_fields = {"levelname": "level", "name": "logger"}


def _add_ids(record: logging.LogRecord) -> bool:
    ids = CURRENT.get()
    if ids:
        record.request_id, record.trace_id = ids.request, ids.trace
    return True


def _is_server_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if type(error).__name__ == "ExecuteBatchError":  # of gRPC: too large, or its client has gone
        return not record.name.startswith(("grpc", "kserve"))
    return not (record.name.startswith("kserve") and isinstance(error, _CLIENT_ERRORS))


def _end(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    _log.critical("%s was not expected", kind.__name__, exc_info=(kind, error, traceback))
