"""What a gRPC call sends: received within a time, few slow ones at once, counted, then parsed.

gRPC receives the message of a call before anyone sees it, and KServe makes a Python object of each
number in it. Both are done here instead.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving import metrics
from serving.errors import PredictorError
from serving.intake import LARGE, Intake
from serving.settings import Settings
from serving.wire import check_request

INFER = "/inference.GRPCInferenceService/ModelInfer"
MAX_STREAMS = 256
_SOON_SECONDS = 0.1
_COPY_SECONDS = 5e-9  # for a byte of a message

_Method = Callable[[Any, grpc.aio.ServicerContext], Any]


class Reader(grpc.aio.ServerInterceptor):
    """Stands before every method, and reads what is sent to it.

    A message that arrives within a tenth of a second waits for no other. Of those that take longer
    as many arrive at once as would fill `max_held_bytes`; where one more comes, the one that has
    taken longest is ended. Calls that last, such as the watching of the health, are bounded the
    same way.
    """

    def __init__(self, intake: Intake, settings: Settings) -> None:
        """Args: intake: shared with REST; settings: limits."""
        self._intake = intake
        self._max_values = settings.max_json_values
        self._seconds = settings.body_seconds
        self._arriving = _Places(max(1, settings.max_held_bytes // settings.max_grpc_bytes))
        self._streams = _Places(MAX_STREAMS)
        self._turn = asyncio.Lock()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Returns what answers a call.

        Args:
            continuation: Finds it.
            handler_call_details: Of the call.
        """
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._lasting(handler.stream_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        # A method of streams is called before anything is received.
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._lasting(self._reading(handler.unary_stream, handler.request_deserializer)),
                response_serializer=handler.response_serializer,
            )
        reading = self._inferring if handler_call_details.method == INFER else self._reading
        return grpc.stream_unary_rpc_method_handler(
            reading(handler.unary_unary, handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def end_streams(self) -> None:
        """Ends the calls that last, so that nothing waits for them when the server stops."""
        self._streams.clear()

    def _lasting(self, method: _Method) -> _Method:
        async def answer(requests: Any, context: grpc.aio.ServicerContext) -> None:
            async with self._streams.taken(None):
                answers = method(requests, context)
                if not hasattr(answers, "__aiter__"):
                    await answers
                    return
                async for one in answers:
                    await context.write(one)

        return answer

    def _reading(self, method: _Method, deserialize: Callable[[bytes], Any]) -> _Method:
        async def answer(_requests: Any, context: grpc.aio.ServicerContext) -> Any:
            body = await self._received(context)
            if len(body) > LARGE:
                raise PredictorError("body-size", f"the message has more than {LARGE:,} bytes")
            return await method(_parsed(body, deserialize), context)

        return answer

    def _inferring(self, method: _Method, deserialize: Callable[[bytes], Any]) -> _Method:
        async def infer(_requests: Any, context: grpc.aio.ServicerContext) -> Any:
            size = 0
            try:
                try:
                    body = await self._received(context)
                    size = len(body)
                    self._intake.hold(size)
                    async with self._intake.parsing(size):
                        check_request(body, self._max_values)
                        request = _parsed(body, deserialize)
                except PredictorError as error:  # the predictor counts those that reach it
                    metrics.count_refused_call(error.reason, error.status_code.name)
                    raise
                return await method(request, context)
            finally:
                self._intake.release(size)

        return infer

    async def _received(self, context: grpc.aio.ServicerContext) -> bytes:
        """Returns a call's message.

        gRPC copies it as soon as it has come, and those that have come together all in one round of
        the event loop. So its coroutine is led by hand: in each round one message begins to be
        received, or one that has come is copied, with a pause behind it as long as the copying.
        """
        loop = asyncio.get_running_loop()
        receiving = context.read()
        try:
            await self._turn.acquire()
            loop.call_soon(self._turn.release)
            come = receiving.send(None)
            come._asyncio_future_blocking = False  # it is awaited here
            async with self._arriving.taken(self._seconds):
                with suppress(Exception):  # its coroutine knows what to do with it
                    await come
            await self._turn.acquire()
            pause = 0.0
            try:
                receiving.send(None)
            except StopIteration as end:
                body = end.value
                if body is grpc.aio.EOF:
                    raise PredictorError("malformed", "the call has no message") from None
                pause = len(body) * _COPY_SECONDS
            finally:
                loop.call_later(pause, self._turn.release)
        finally:
            receiving.close()
        return body


class _Places:
    """Calls that are in the same state, at most so many at once."""

    def __init__(self, limit: int) -> None:
        """Args: limit: of them, beside those that came a tenth of a second ago."""
        self._limit = limit
        self._since: dict[asyncio.Timeout, float] = {}

    @asynccontextmanager
    async def taken(self, seconds: float | None) -> AsyncIterator[None]:
        """Within it the call takes a place.

        Args:
            seconds: For which it may; None for as long as nobody else needs the place.

        Raises:
            PredictorError: It took too long, or somebody else needs the place.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds) as time:
                self._since[time] = loop.time()
                if len(self._since) > self._limit:
                    loop.call_later(_SOON_SECONDS, self._make_room)
                yield
        except TimeoutError as error:
            if time in self._since:
                raise PredictorError(
                    "slow-body", f"the message did not arrive within {seconds:g} s"
                ) from error
            raise PredictorError(
                "overloaded", "the call was ended to make room for others; try again shortly"
            ) from error
        finally:
            self._since.pop(time, None)

    def clear(self) -> None:
        """Ends all of them."""
        self._end(list(self._since))

    def _make_room(self) -> None:
        over = max(0, len(self._since) - self._limit)
        soon = asyncio.get_running_loop().time() - _SOON_SECONDS
        longest = islice(self._since.items(), over)
        self._end([time for time, since in longest if since <= soon])

    def _end(self, times: list[asyncio.Timeout]) -> None:
        for time in times:
            if not time.expired():
                del self._since[time]
                time.reschedule(0)


def _parsed(body: bytes, deserialize: Callable[[bytes], Any]) -> Any:
    try:
        return deserialize(body)
    except DecodeError as error:
        message = deserialize.__self__.__name__  # type: ignore[attr-defined]
        raise PredictorError("malformed", f"the message is not a {message}") from error
