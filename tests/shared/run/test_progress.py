import pytest

from components.shared.run import progress
from tests.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_items_pass_in_order_and_the_last_is_told(
    clock: Clock, capsys: pytest.CaptureFixture
) -> None:
    items = []
    for item in progress.track(iter("abc"), 3, "letters"):
        items.append(item)
        clock.now += 0.5
    assert items == ["a", "b", "c"]
    assert capsys.readouterr().out == "3 of 3 letters (2 a second)\n"


def test_it_tells_now_and_then(clock: Clock, capsys: pytest.CaptureFixture) -> None:
    for _ in progress.track(range(2000), 2000, "images"):
        clock.now += 1 / 128
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        *(
            f"{count:,} of 2,000 images (128 a second, {left} s left)"
            for count, left in zip(range(256, 1800, 256), (14, 12, 10, 8, 6, 4, 2), strict=True)
        ),
        "2,000 of 2,000 images (128 a second)",
    ]


def test_nothing_comes_of_nothing(capsys: pytest.CaptureFixture) -> None:
    assert list(progress.track([], 0, "images")) == []
    assert capsys.readouterr().out == ""


def test_a_clock_that_stands_still_divides_nothing(
    clock: Clock, capsys: pytest.CaptureFixture
) -> None:
    assert list(progress.track([1], 1, "images")) == [1]
    assert capsys.readouterr().out.startswith("1 of 1 images (")


def test_what_is_slow_has_a_pace(clock: Clock, capsys: pytest.CaptureFixture) -> None:
    meter = progress.Meter(3, "volumes")
    clock.now += 8
    meter.add(2)
    assert capsys.readouterr().out == "2 of 3 volumes (0.2 a second, 4 s left)\n"


def test_one_alone_tells_nothing_of_the_rest(clock: Clock, capsys: pytest.CaptureFixture) -> None:
    meter = progress.Meter(300, "files classified")
    clock.now += 4  # the model's first batch, of which the other files follow at once
    meter.add(1)
    assert capsys.readouterr().out == "1 of 300 files classified (0.2 a second)\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5_900, "98 min"), (12_000, "3 h 20 min")],
)
def test_times_as_people_say_them(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text
    read = progress.read_progress(f"1 of 2 networks (9.5 s each, {text} left)")
    assert read
    assert read.seconds_left is not None
    assert abs(read.seconds_left - seconds) <= 30


@pytest.mark.parametrize(
    ("line", "read", "words"),
    [
        (
            progress.done_line(3, 16, "epochs", 3.1) + ": loss 0.2",
            progress.Progress("epochs", 3, 16, False, 40, "loss 0.2"),
            "3 of 16 epochs",
        ),
        (
            progress.done_line(16, 16, "epochs", 3.1),
            progress.Progress("epochs", 16, 16, False, None, ""),
            "16 of 16 epochs",
        ),
        (
            progress.begun_line(3, 8, "trial") + ": compact  dropout 0.3",
            progress.Progress("trial", 2, 8, True, None, "compact  dropout 0.3"),
            "trial 3 of 8",
        ),
        (
            progress.begun_line(3, 8, "trial", 7_200) + ": compact",
            progress.Progress("trial", 2, 8, True, 7_200, "compact"),
            "trial 3 of 8",
        ),
        (
            "1,024 of 3,907 files read (512 a second, 6 s left)",
            progress.Progress("files read", 1024, 3907, False, 6, ""),
            "1,024 of 3,907 files read",
        ),
    ],
)
def test_lines_are_read_back(line: str, read: progress.Progress, words: str) -> None:
    assert progress.read_progress(line) == read
    assert read.words == words
