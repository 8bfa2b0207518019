"""OpenTelemetry traces, where they are turned on: a span for each request and for its stages.

OpenTelemetry's own variables say where they go and what is sampled, such as
OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME and OTEL_TRACES_SAMPLER.
"""

import os
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

from components.shared.errors import UserError

_END_SECONDS = 5
_NO_TEXTS = {"record_exception": False, "set_status_on_exception": False}  # they quote requests
_OFF: AbstractContextManager[None] = nullcontext()
_provider: Any = None
_tracer: Any = None


def start() -> None:
    """Turns traces on, for this process.

    Raises:
        UserError: The packages are not installed, or a variable of OpenTelemetry is not usable.
    """
    global _provider, _tracer
    protocol = os.environ.get(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    )
    package = {"http/protobuf": "http", "grpc": "grpc"}.get(protocol)
    if not package:
        raise UserError(f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is not http/protobuf or grpc")
    os.environ.setdefault("OTEL_SERVICE_NAME", "brain-tumor")
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporters = import_module(f"opentelemetry.exporter.otlp.proto.{package}.trace_exporter")
        _provider = TracerProvider(shutdown_on_exit=False)
        _provider.add_span_processor(BatchSpanProcessor(exporters.OTLPSpanExporter()))
    except ImportError as error:
        raise UserError("traces need the extra tracing; `make install` installs it") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"a variable of OpenTelemetry, OTEL_*, is not usable: {error}") from error
    _tracer = _provider.get_tracer("brain_tumor")


def stop() -> None:
    """Sends what is left, for a few seconds at most: the collector may be gone."""
    if _provider:
        sending = threading.Thread(target=_provider.shutdown, daemon=True)
        sending.start()
        sending.join(_END_SECONDS)


def request(name: str, given: Mapping[str, str]) -> AbstractContextManager[Any]:
    """Within it a request is answered.

    Args:
        name: Of the span, one of few.
        given: The headers of W3C's trace context that the client sent.

    Returns:
        A context manager, which yields the span, or None where traces are off.
    """
    if _tracer is None:
        return _OFF
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract(given, Context())
    return _tracer.start_as_current_span(name, parent, SpanKind.SERVER, **_NO_TEXTS)


def stage(name: str) -> AbstractContextManager[Any]:
    """Within it a stage of the current request goes on.

    Args:
        name: Of the stage.
    """
    return _OFF if _tracer is None else _tracer.start_as_current_span(name, **_NO_TEXTS)


def current_context() -> Any:
    """Returns what the current request is to `record_stage`; None where traces are off."""
    if _tracer is None:
        return None
    from opentelemetry.context import get_current

    return get_current()


def record_stage(name: str, of: Any, started: float, ended: float) -> None:
    """Tells of a stage that went on elsewhere.

    Args:
        name: Of the stage.
        of: What `current_context` returned.
        started: On the monotonic clock, seconds.
        ended: Likewise.
    """
    if of is not None:
        offset = time.time_ns() - time.monotonic_ns()
        span = _tracer.start_span(name, of, start_time=offset + int(started * 1e9))
        span.end(offset + int(ended * 1e9))
