"""What is taken in at once, and in which turns."""

import asyncio

import pytest

from serving.errors import PredictorError
from serving.intake import LARGE, Intake


def test_bytes_beyond_the_limit_are_refused_until_some_are_released() -> None:
    intake = Intake(100)
    intake.hold(60)
    with pytest.raises(PredictorError, match="too many bytes"):
        intake.hold(60)
    intake.release(60)  # what was refused is released as well
    intake.hold(40)


def test_a_large_body_is_parsed_alone_and_the_loop_runs_in_its_pauses() -> None:
    intake = Intake(100)
    seen: list[str] = []

    async def parse(name: str, size: int) -> None:
        async with intake.parsing(size) as pause:
            for _ in range(3):
                seen.append(name)
                until = asyncio.get_running_loop().time() + 0.005
                while asyncio.get_running_loop().time() < until:
                    pass  # holds the loop, as a parser does
                await pause()

    async def main() -> None:
        other = asyncio.create_task(parse("second", LARGE))
        await asyncio.gather(parse("first", LARGE), other, parse("small", LARGE - 1))

    asyncio.run(main())
    assert [name for name in seen if name != "small"] == ["second"] * 3 + ["first"] * 3
    assert seen.index("small") < 3  # did not wait for the large ones


def test_an_error_passes_the_turn_on() -> None:
    intake = Intake(100)

    async def main() -> None:
        with pytest.raises(ValueError, match="broken"):
            async with intake.parsing(LARGE):
                raise ValueError("broken")
        async with intake.parsing(LARGE):
            pass

    asyncio.run(asyncio.wait_for(main(), 5))
