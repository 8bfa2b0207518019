import pytest

from components.shared.run import progress


class _Clock:
    """Stands in for the wall clock, and moves only when told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_items_pass_in_order_and_the_last_is_told(
    clock: _Clock, capsys: pytest.CaptureFixture
) -> None:
    items = []
    for item in progress.track(iter("abc"), 3, "letters"):
        items.append(item)
        clock.now += 0.5
    assert items == ["a", "b", "c"]
    assert capsys.readouterr().out == "3 of 3 letters (2 a second)\n"


def test_it_tells_now_and_then(clock: _Clock, capsys: pytest.CaptureFixture) -> None:
    for _ in progress.track(range(2000), 2000, "images"):
        clock.now += 1 / 128
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        *(f"{count:,} of 2,000 images (128 a second)" for count in range(256, 1800, 256)),
        "2,000 of 2,000 images (128 a second)",
    ]


def test_nothing_comes_of_nothing(capsys: pytest.CaptureFixture) -> None:
    assert list(progress.track([], 0, "images")) == []
    assert capsys.readouterr().out == ""


def test_a_clock_that_stands_still_divides_nothing(
    clock: _Clock, capsys: pytest.CaptureFixture
) -> None:
    assert list(progress.track([1], 1, "images")) == [1]
    assert capsys.readouterr().out.startswith("1 of 1 images (")
