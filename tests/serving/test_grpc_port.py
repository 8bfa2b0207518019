"""What hostile and what ordinary clients do at the gRPC port, over real sockets."""

import io
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image

from benchmarks.hostile import over_grpc
from serving.grpc_connections import make_room
from serving.grpc_reader import MAX_STREAMS

SERVICE = "inference.GRPCInferenceService"
MIB = 2**20
CODE = grpc.StatusCode


def _request() -> pb.ModelInferRequest:
    file = io.BytesIO()
    Image.new("L", (30, 30), 204).save(file, "PNG")
    request = pb.ModelInferRequest(
        model_name="brain-tumor",
        inputs=[{"name": "image_bytes", "datatype": "BYTES", "shape": [1]}],
    )
    request.inputs[0].contents.bytes_contents.append(file.getvalue())
    return request


REQUEST = _request()


@contextmanager
def _channel(server: Any) -> Iterator[grpc.Channel]:
    """A connection of its own."""
    with grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


@contextmanager
def _attacked(server: Any, attack: Callable[..., int], **options: Any) -> Iterator[None]:
    stop = threading.Event()
    arguments = ("127.0.0.1", server.grpc_port, stop)
    thread = threading.Thread(target=attack, args=arguments, kwargs=options)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def strict(start: Callable[..., Any]) -> Iterator[Any]:
    """A predictor with little patience, that receives two slow messages at once."""
    with start(
        max_connections=40,
        keep_alive_seconds=2,
        head_seconds=1,
        body_seconds=3,
        max_held_bytes=8 * MIB,
    ) as server:
        yield server


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        (over_grpc.small_headers, {}),
        (over_grpc.header_frames, {}),
        (over_grpc.header_frames, {"size": 200}),
        (over_grpc.bad_headers, {}),
        (over_grpc.rapid_reset, {}),
        (over_grpc.many_streams, {}),
        (over_grpc.control_frames, {}),
        (over_grpc.compressed_bombs, {"mib": 64}),
        (over_grpc.unfinished_calls, {}),
        (over_grpc.unfinished_calls, {"path": f"/{SERVICE}/ServerLive"}),
        (over_grpc.unread_grpc_answers, {"request": REQUEST.SerializeToString(), "count": 2}),
    ],
)
def test_honest_calls_are_answered_meanwhile(
    predictor: Any, attack: Callable[..., int], options: dict[str, Any]
) -> None:
    before, lines = predictor.resident_bytes(), predictor.log.read_text().count("\n")
    with _attacked(predictor, attack, **options), _channel(predictor) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for _ in range(20):
            assert stub.ModelInfer(REQUEST, timeout=10).outputs[0].shape == [1]
    assert predictor.resident_bytes() - before < 200 * MIB
    assert predictor.log.read_text().count("\n") == lines


def test_a_channel_has_a_hundred_calls_at_once(predictor: Any) -> None:
    with _channel(predictor) as channel:
        stub = GRPCInferenceServiceStub(channel)
        calls = [stub.ModelInfer.future(REQUEST, timeout=30) for _ in range(100)]
        assert all(list(call.result().outputs[0].shape) == [1] for call in calls)


class _Unfinished:
    """A call whose message does not come."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._messages: queue.Queue[bytes | None] = queue.Queue()
        call = channel.stream_unary(f"/{SERVICE}/ModelInfer")
        self._call = call.future(iter(self._messages.get, None), timeout=60)

    def error(self) -> grpc.RpcError:
        error = self._call.exception()
        self._messages.put(None)
        return error


def test_a_message_has_a_time(strict: Any) -> None:
    with _channel(strict) as channel:
        error = _Unfinished(channel).error()
    assert error.code() is CODE.DEADLINE_EXCEEDED
    assert error.details() == "the message did not arrive within 3 s"


def test_the_slowest_of_too_many_is_ended(strict: Any) -> None:
    with _channel(strict) as channel:
        calls = [_Unfinished(channel) for _ in range(8)]
        codes = [call.error().code() for call in calls]
    assert codes.count(CODE.DEADLINE_EXCEEDED) == 2
    assert codes.count(CODE.UNAVAILABLE) == 6


def test_a_call_without_a_message(predictor: Any) -> None:
    with _channel(predictor) as channel:
        with pytest.raises(grpc.RpcError, match="no message") as raised:
            channel.stream_unary(f"/{SERVICE}/ModelInfer")(iter(()))
        assert raised.value.code() is CODE.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("method", "message", "code"),
    [
        ("ServerLive", b"\xff" * 11, CODE.INVALID_ARGUMENT),
        ("ServerReady", b"\x00" * 100_000, CODE.RESOURCE_EXHAUSTED),
        ("ModelReady", b"\x0a\xff", CODE.INVALID_ARGUMENT),
        ("Nothing", b"", CODE.UNIMPLEMENTED),
    ],
)
def test_other_methods_are_bounded_too(
    predictor: Any, method: str, message: bytes, code: grpc.StatusCode
) -> None:
    with _channel(predictor) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(f"/{SERVICE}/{method}")(message)
        assert raised.value.code() is code
    assert "Traceback" not in predictor.log.read_text()


def _ends(connection: socket.socket) -> bool:
    """Waits until the server closes."""
    try:
        while connection.recv(2**16):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("greet", [True, False])
def test_an_idle_connection_is_closed(strict: Any, greet: bool) -> None:
    address = ("127.0.0.1", strict.grpc_port)
    connection = over_grpc.connected(*address) if greet else socket.create_connection(address)
    with connection:
        connection.settimeout(60)
        assert _ends(connection)


def test_idle_connections_keep_nobody_out(strict: Any) -> None:
    with over_grpc.connected("127.0.0.1", strict.grpc_port) as first:
        first.settimeout(60)
        with _attacked(strict, over_grpc.idle_connections, count=60):
            assert _ends(first)
            with _channel(strict) as channel:
                stub = GRPCInferenceServiceStub(channel)
                assert stub.ModelInfer(REQUEST, timeout=30, wait_for_ready=True).outputs


def test_health(predictor: Any) -> None:
    with _channel(predictor) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE, "brain-tumor"):
            request = health_pb2.HealthCheckRequest(service=name)
            assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING
            watch = stub.Watch(request)
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            watch.cancel()
        request = health_pb2.HealthCheckRequest(service="other")
        with pytest.raises(grpc.RpcError) as raised:
            stub.Check(request)
        assert raised.value.code() is CODE.NOT_FOUND
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert next(stub.Watch(request)).status == unknown


def test_the_longest_watch_of_too_many_is_ended(predictor: Any) -> None:
    with ExitStack() as stack:
        watches = []
        for _ in range(MAX_STREAMS // 32 + 1):
            stub = health_pb2_grpc.HealthStub(stack.enter_context(_channel(predictor)))
            for _ in range(32):
                watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
                next(watch)
                watches.append(watch)
        with pytest.raises(grpc.RpcError, match="make room") as raised:
            next(watches[0])
        assert raised.value.code() is CODE.UNAVAILABLE


def test_reflection(predictor: Any) -> None:
    asked = reflection_pb2.ServerReflectionRequest
    with _channel(predictor) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        questions = (asked(list_services=""), asked(file_containing_symbol=SERVICE))
        services, file = stub.ServerReflectionInfo(iter(questions))
        listed = {service.name for service in services.list_services_response.service}
        assert {SERVICE, "grpc.health.v1.Health"} <= listed
        assert b"ModelInfer" in file.file_descriptor_response.file_descriptor_proto[0]


def test_who_has_sent_nothing_for_longest_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        address = server.getsockname()
        clients, accepted = [], []
        for _ in range(5):
            clients.append(stack.enter_context(socket.create_connection(address, timeout=60)))
            accepted.append(stack.enter_context(server.accept()[0]))
            time.sleep(0.02)  # the kernel counts in steps of some ms
        clients[0].sendall(b"x")
        make_room(address[1], 3)
        assert [_has_ended(client) for client in clients] == [False, True, True, False, False]


def _has_ended(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
