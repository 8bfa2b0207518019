"""What an operator sees of a request: its ids, lines of JSON, and traces at a real receiver."""

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.trace import INVALID_SPAN

from components.shared.errors import UserError
from serving import tracing
from serving.request_ids import ids_from_headers, ids_of
from tests.serving.pages import drawn
from tests.serving.test_volumes import FRAMES, NAME, VOLUME

ROOT = Path(__file__).parents[2]
PREDICT = "/v1/models/brain-tumor:predict"
PNG = {"Content-Type": "image/png"}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[0-3])")


class Receiver:
    """Receives OTLP over HTTP and gRPC, and keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.service = ""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None:
                pass

            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.keep(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()

        class Servicer(TraceServiceServicer):
            def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
                receiver.keep(request)
                return ExportTraceServiceResponse()

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.grpc = grpc.server(ThreadPoolExecutor(1))
        add_TraceServiceServicer_to_server(Servicer(), self.grpc)
        self.grpc_port = self.grpc.add_insecure_port("127.0.0.1:0")
        self.grpc.start()

    def keep(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            for attribute in resource.resource.attributes:
                if attribute.key == "service.name":
                    self.service = attribute.value.string_value
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def of(self, trace: str, count: int) -> dict[str, Any]:
        """Waits for so many spans of a trace, and returns them by name."""
        for _ in range(200):
            found = [s for s in self.spans if s.trace_id.hex() == trace]
            if len(found) >= count:
                break
            time.sleep(0.1)
        assert len(found) == count, [s.name for s in found]
        return {s.name: s for s in found}

    def stop(self) -> None:
        self.http.shutdown()
        self.grpc.stop(None)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture(scope="module")
def observed(start: Callable[..., Any], receiver: Receiver) -> Iterator[Any]:
    """A predictor whose log is JSON, and which sends its traces to the receiver."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.http.server_port}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        patch.setenv("OTEL_SERVICE_NAME", "a-predictor")
        with start(traces=True, json_logs=True, access_log=True) as server:
            yield server


def _lines(server: Any, **fields: Any) -> list[dict[str, Any]]:
    """Returns the lines of the log with these fields, once there is one."""
    for _ in range(100):
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        found = [line for line in lines if fields.items() <= line.items()]
        if found:
            return found
        time.sleep(0.1)
    return []


def _call(server: Any, metadata: list[Any], name: str = "brain-tumor") -> Any:
    """Calls ModelInfer; returns the call, whether it failed or not."""
    request = pb.ModelInferRequest(model_name=name)
    tensor = request.inputs.add(name="image_bytes", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(drawn())
    with grpc.insecure_channel(server.grpc) as channel:
        call = GRPCInferenceServiceStub(channel).ModelInfer.with_call
        try:
            return call(request, metadata=metadata)[1]
        except grpc.RpcError as error:
            return error


@pytest.mark.parametrize("which", ["predictor", "observed"])
def test_ids_come_back(which: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(which)
    given = {"X-Request-Id": "mine-1~!", "Traceparent": PARENT}
    for path, status in (("/v2/health/live", 200), ("/nowhere", 404)):
        answer = httpx.get(server.url + path, headers=given)
        assert answer.status_code == status
        assert answer.headers["x-request-id"] == "mine-1~!"
        trace, span, _ = TRACEPARENT.fullmatch(answer.headers["traceparent"]).groups()
        assert trace == TRACE
        assert span != SPAN
    answer = httpx.post(server.url + PREDICT, content=b"no image", headers=given | PNG)
    assert answer.status_code == 400
    assert answer.headers["x-request-id"] == "mine-1~!"
    codes = grpc.StatusCode
    for name, code in (("brain-tumor", codes.OK), ("another", codes.NOT_FOUND)):
        metadata = [(key.lower(), value) for key, value in given.items()]
        call = _call(server, metadata, name)
        assert call.code() is code
        trailing = dict(call.trailing_metadata())
        assert trailing["x-request-id"] == "mine-1~!"
        assert TRACEPARENT.fullmatch(trailing["traceparent"])[1] == TRACE


def test_without_ids_some_are_made(predictor: Any) -> None:
    def ids(answer: httpx.Response) -> tuple[str, str]:
        found = TRACEPARENT.fullmatch(answer.headers["traceparent"])
        return answer.headers["x-request-id"], found[1]

    wrong = [("X-Request-Id", "a"), ("X-Request-Id", "b"), ("Traceparent", "nothing")]
    answers = [httpx.get(predictor.url, headers=h) for h in ([], [], wrong)]
    requests, traces = zip(*map(ids, answers), strict=True)
    assert len(set(requests) - {"a", "b"}) == 3
    assert len(set(traces)) == 3
    trailing = dict(_call(predictor, []).trailing_metadata())
    assert re.fullmatch("[0-9a-f]{32}", trailing["x-request-id"])


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ("a\nb", False),
        ("a\x7f", False),
        ("é", False),
        ('{"a":1}', True),
    ],
)
def test_a_sane_request_id_is_taken(given: str, taken: bool) -> None:
    assert (ids_of({"x-request-id": given}).request == given) is taken


@pytest.mark.parametrize(
    ("given", "taken"),
    [  # https://www.w3.org/TR/trace-context/#traceparent-header
        (PARENT, True),
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
        (f"cc-{TRACE}-{SPAN}-01.what", False),
        (f"00-{TRACE}-{SPAN}-01-what", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}", False),
        (f"{PARENT}\n", False),
    ],
)
def test_a_traceparent_is_taken_if_it_is_one(given: str, taken: bool) -> None:
    ids = ids_of(ids_from_headers([("traceparent", given)]))
    assert (ids.trace == TRACE) is taken
    assert TRACEPARENT.fullmatch(ids.traceparent)[1] == ids.trace


def test_every_line_is_json_and_has_the_ids(observed: Any) -> None:
    given = {"X-Request-Id": "a-request", "Traceparent": PARENT}
    httpx.get(observed.url + "/nowhere%0A?secret=1", headers=given)
    _call(observed, [("x-request-id", "a-call"), ("traceparent", PARENT)], "another")
    (line,) = _lines(observed, request_id="a-request")
    fields = {"method": "GET", "path": "/nowhere%0A", "status": 404, "trace_id": TRACE}
    assert fields.items() <= line.items()
    assert line["level"] == "INFO"
    assert line["seconds"] >= 0
    (line,) = _lines(observed, request_id="a-call")
    fields = {"client": "127.0.0.1", "method": "gRPC", "status": "NOT_FOUND", "trace_id": TRACE}
    assert fields.items() <= line.items()
    assert line["path"] == "/inference.GRPCInferenceService/ModelInfer"
    for line in _lines(observed):
        assert {"level", "logger", "message", "timestamp"} <= set(line)
        assert "secret" not in str(line)


@pytest.mark.parametrize("asked", ["rest", "grpc"])
def test_a_request_is_a_trace(asked: str, observed: Any, receiver: Receiver) -> None:
    trace = TRACE[:-1] + {"rest": "1", "grpc": "2"}[asked]
    parent = f"00-{trace}-{SPAN}-01"
    if asked == "rest":
        answer = httpx.post(
            observed.url + PREDICT, content=drawn(), headers=PNG | {"Traceparent": parent}
        )
        name, told = "POST predict", answer.headers["traceparent"]
    else:
        trailing = dict(_call(observed, [("traceparent", parent)]).trailing_metadata())
        name, told = "inference.GRPCInferenceService/ModelInfer", trailing["traceparent"]
    spans = receiver.of(trace, 4)
    assert set(spans) == {name, "decode", "queue", "inference"}
    assert receiver.service == "a-predictor"
    whole = spans.pop(name)
    assert whole.parent_span_id.hex() == SPAN
    assert told == f"00-{trace}-{whole.span_id.hex()}-01"
    assert whole.kind == whole.SPAN_KIND_SERVER
    for stage in spans.values():
        assert stage.parent_span_id == whole.span_id
        assert stage.start_time_unix_nano <= stage.end_time_unix_nano
    assert spans["queue"].start_time_unix_nano <= spans["inference"].end_time_unix_nano


def test_what_is_not_sampled_is_not_sent(observed: Any, receiver: Receiver) -> None:
    off, on = TRACE[:-1] + "a", TRACE[:-1] + "b"
    for trace, flags in ((off, "00"), (on, "01")):
        headers = PNG | {"Traceparent": f"00-{trace}-{SPAN}-{flags}"}
        httpx.post(observed.url + PREDICT, content=b"no image", headers=headers)
    receiver.of(on, 2)
    receiver.of(off, 0)
    spans = [s for s in receiver.spans if s.trace_id.hex() == on]
    assert not [s for s in spans if s.events or "image" in s.status.message]


def test_no_name_of_a_patient_is_in_a_log_or_trace(observed: Any, receiver: Receiver) -> None:
    for number, (file, spans) in enumerate([(FRAMES, 34), (VOLUME, 34), (FRAMES[:-1], 2)]):
        trace = f"{number:02x}{TRACE[2:]}"
        headers = {"Traceparent": f"00-{trace}-{SPAN}-01", "Content-Type": "application/dicom"}
        httpx.post(observed.url + PREDICT, content=file, headers=headers)
        receiver.of(trace, spans)  # two of them for each of 16 slices
        assert _lines(observed, trace_id=trace)
    assert NAME.split("^")[0] not in observed.log.read_text() + str(receiver.spans)


def test_collectors_over_grpc_are_served(receiver: Receiver) -> None:
    code = (
        "from serving import tracing\n"
        "tracing.start()\n"
        f"with tracing.request('POST predict', {{'traceparent': '{PARENT[:-4]}c-01'}}): pass\n"
        "tracing.stop()\n"
    )
    environment = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.grpc_port}",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
    (span,) = [s for s in receiver.spans if s.parent_span_id.hex() == SPAN[:-1] + "c"]
    assert span.name == "POST predict"


def test_a_protocol_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(UserError, match="OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not"):
        tracing.start()


def test_a_span_of_a_disabled_sdk_has_no_ids_to_take() -> None:
    ids = ids_of({"traceparent": PARENT}, INVALID_SPAN)
    assert ids.trace == TRACE


FAILING = """
import logging, threading, warnings
from serving import logs
from opentelemetry.trace import INVALID_SPAN

from components.shared.errors import UserError
from serving import tracing
from serving.request_ids import CURRENT, ids_of
from serving.settings import Settings

def fail():
    raise RuntimeError("of two\\nlines")

logs.configure(Settings(json_logs=True))
token = CURRENT.set(ids_of({"x-request-id": "mine"}))
try:
    fail()
except RuntimeError:
    logging.getLogger("brain_tumor").exception("predict failed")
CURRENT.reset(token)
logging.getLogger("kserve").warning("kserve's")
logging.getLogger("uvicorn.error").warning("uvicorn's")
warnings.warn("a library's")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""


def test_warnings_and_tracebacks_are_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    messages = [line["message"] for line in lines]
    assert messages[:3] == ["predict failed", "kserve's", "uvicorn's"]
    assert "UserWarning: a library's" in messages[3]
    assert len(lines) == 6
    assert lines[0]["request_id"] == "mine"
    for line in (lines[0], *lines[4:]):
        assert line["exc_info"].startswith("Traceback")
        assert line["exc_info"].endswith("RuntimeError: of two\nlines")


def test_why_it_does_not_start_is_json_too(
    checked_model_folder: Path, start_in_vain: Callable[..., str]
) -> None:
    settings = {"JSON_LOGS": "1", "TOKENS_FILE": "/nowhere"}
    environment = {f"BRAIN_TUMOR_SERVE_{name}": value for name, value in settings.items()}
    said = start_in_vain(checked_model_folder, **environment)
    (line,) = map(json.loads, said.splitlines())
    assert "the tokens cannot be read" in line["message"]
