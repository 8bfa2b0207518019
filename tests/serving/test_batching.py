"""Micro-batches on a model that remembers what it was given."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from serving.batching import Batcher
from serving.errors import PredictorError


class Model:
    """Answers each image's first pixel; can be held back."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, images: np.ndarray) -> list[int]:
        self.open.wait(10)
        self.sizes.append(len(images))
        if (images == 255).any():
            raise RuntimeError("a broken model")
        return [int(image[0, 0, 0]) for image in images]


def image(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def _submit(batcher: Batcher[int], *values: int) -> list[int]:
    with batcher.accept(len(values)):
        return await asyncio.gather(*(batcher.submit(image(v)) for v in values))


def test_answers_go_to_those_who_asked() -> None:
    model = Model()
    batcher = Batcher(model, 4, 0.0, 100, 1)

    async def work() -> list[list[int]]:
        return await asyncio.gather(*(_submit(batcher, n, n + 1) for n in range(30)))

    assert run(work()) == [[n, n + 1] for n in range(30)]
    assert max(model.sizes) <= 4
    assert sum(model.sizes) == 60


def test_what_comes_while_the_model_is_busy_goes_together() -> None:
    model = Model()
    batcher = Batcher(model, 8, 0.0, 100, 1)

    async def work() -> None:
        model.open.clear()
        first = asyncio.create_task(_submit(batcher, 1))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(_submit(batcher, n)) for n in range(2, 7)]
        await asyncio.sleep(0.05)
        model.open.set()
        await asyncio.gather(first, *rest)

    run(work())
    assert model.sizes == [1, 5]


def test_it_waits_for_an_image_that_is_being_decoded() -> None:
    model = Model()
    batcher = Batcher(model, 8, 5.0, 100, 1)

    async def work() -> None:
        with batcher.accept(2):
            first = asyncio.create_task(batcher.submit(image(1)))
            await asyncio.sleep(0.05)
            await asyncio.gather(first, batcher.submit(image(2)))

    run(work())
    assert model.sizes == [2]


def test_beyond_the_bound_nothing_is_accepted() -> None:
    batcher = Batcher(Model(), 8, 0.0, 3, 1)
    with batcher.accept(2), pytest.raises(PredictorError) as raised:
        batcher.accept(2).__enter__()
    assert raised.value.reason == "overloaded"
    assert run(_submit(batcher, 1, 2, 3)) == [1, 2, 3]


def test_a_batch_that_fails_tells_its_own_and_the_next_one_runs() -> None:
    batcher = Batcher(Model(), 1, 0.0, 10, 1)

    async def work() -> list[Any]:
        broken = asyncio.gather(_submit(batcher, 255), return_exceptions=True)
        return [*await broken, await _submit(batcher, 3)]

    error, answer = run(work())
    assert isinstance(error, RuntimeError)
    assert answer == [3]


def test_a_client_that_goes_away_takes_no_one_along() -> None:
    model = Model()
    batcher = Batcher(model, 8, 0.0, 10, 1)

    async def work() -> list[int]:
        model.open.clear()
        first = asyncio.create_task(_submit(batcher, 1))
        await asyncio.sleep(0.05)
        gone, stays = (asyncio.create_task(_submit(batcher, n)) for n in (2, 3))
        await asyncio.sleep(0.05)
        gone.cancel()
        model.open.set()
        await first
        return await stays

    assert run(work()) == [3]
    assert run(_submit(Batcher(model, 8, 0.0, 1, 1), 1)) == [1]


def test_threads_share_what_is_there_and_run_at_the_same_time() -> None:
    model = Model()
    batcher = Batcher(model, 16, 5.0, 100, 2)

    async def work() -> None:
        model.open.clear()
        asked = asyncio.create_task(_submit(batcher, *range(8)))
        await asyncio.sleep(0.05)
        model.open.set()
        await asked

    run(work())
    assert model.sizes == [4, 4]


def test_every_thread_is_prepared_once() -> None:
    seen: list[int] = []
    Batcher(Model(), 1, 0.0, 1, 3).in_each_thread(lambda: seen.append(threading.get_ident()))
    assert len(set(seen)) == len(seen) == 3
