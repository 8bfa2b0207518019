"""How much of requests is taken in at once, and whose turn it is; so readiness gets through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from serving.errors import PredictorError

LARGE = 64 * 2**10
_SHORT_SECONDS = 0.002


class Intake:
    """Shared by REST and gRPC; lives on the event loop."""

    def __init__(self, max_held: int) -> None:
        """Args: max_held: bytes of all requests that are not yet answered, at least one."""
        self._max_held = max_held
        self._held = 0
        self._receiving = asyncio.Lock()
        self._parsing = asyncio.Lock()

    def hold(self, size: int) -> None:
        """Counts bytes that have come; `release` must follow, also after an error.

        Args:
            size: How many.

        Raises:
            PredictorError: Too many are held.
        """
        self._held += size
        if self._held > self._max_held:
            raise PredictorError(
                "overloaded", "too many bytes wait to be answered; try again shortly"
            )

    def release(self, size: int) -> None:
        """Counts bytes that are gone.

        Args:
            size: How many.
        """
        self._held -= size

    async def next_chunk(self) -> None:
        """Waits until this request may receive more: one does in each round of the event loop.

        Otherwise a round would take in a chunk of every large body that is on its way.
        """
        async with self._receiving:
            await asyncio.sleep(0)

    @asynccontextmanager
    async def parsing(self, size: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Within it a body is parsed, a large one alone.

        Parsing keeps Python's lock, in a thread as well as here, and a loop that has to win it back
        for each of its callbacks stands still. So nothing but pauses lets readiness through.

        Args:
            size: Of the body, bytes.

        Yields:
            What to await between the steps of parsing: a pause as long as they took; none where
            the body is small.
        """
        if size < LARGE:
            yield _no_pause
            return
        loop = asyncio.get_running_loop()
        async with self._parsing:
            started = loop.time()

            async def pause() -> None:
                nonlocal started
                took = loop.time() - started
                if took > _SHORT_SECONDS:
                    await asyncio.sleep(took)
                    started = loop.time()

            try:
                yield pause
            finally:
                await pause()


async def _no_pause() -> None:
    pass
