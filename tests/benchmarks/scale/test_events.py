"""The simulation's parts against what theory and hand give."""

import pytest

from benchmarks.scale.events import Clock, Places, Process, Shared


def _ends(clock: Clock, *processes: Process) -> list[float]:
    """Returns when each process ended."""
    found: dict[int, float] = {}
    for number, process in enumerate(processes):
        clock.start(process, lambda number=number: found.setdefault(number, clock.now))
    clock.run()
    return [found[number] for number in range(len(processes))]


def test_capacity_is_shared_evenly_and_no_user_gets_more_than_a_most() -> None:
    clock = Clock()
    link = Shared(clock, total=10, each=6)

    def user(start: float, amount: float) -> Process:
        yield clock.sleep(start)
        yield link.use(amount)

    # By hand: 6 alone for 1 s; 5 each until the second has its 10 at 3 s; then 6 again.
    assert _ends(clock, user(0, 28), user(1, 10)) == pytest.approx([5.0, 3.0])


def test_places_go_to_who_waits_longest() -> None:
    clock = Clock()
    nodes = Places(clock, 2)

    def user(seconds: float) -> Process:
        yield nodes.take()
        yield clock.sleep(seconds)
        nodes.give()

    assert _ends(clock, user(5), user(2), user(2), user(2)) == [5, 2, 4, 6]


def test_side_by_side_takes_as_long_as_the_longest() -> None:
    clock = Clock()

    def piece(seconds: float) -> Process:
        yield clock.sleep(seconds)

    def whole() -> Process:
        yield clock.all([piece(3), piece(1)])
        yield clock.all([])
        yield clock.all([piece(2)])

    assert _ends(clock, whole()) == [5]


@pytest.mark.parametrize(("users", "total"), [(1, 8.0), (4, 8.0), (1000, 8.0)])
def test_equal_users_of_one_link_end_together(users: int, total: float) -> None:
    clock = Clock()
    link = Shared(clock, total, each=2)

    def user() -> Process:
        yield link.use(100)

    ends = _ends(clock, *(user() for _ in range(users)))
    assert ends == pytest.approx([100 / min(2, total / users)] * users)
