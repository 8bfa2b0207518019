"""Discrete events: a clock, places that are taken and given back, and capacity that is shared."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Generator

Wake = Callable[[], None]
# A process yields functions that are given what wakes it again.
Process = Generator[Callable[[Wake], None], None, None]


class Clock:
    """Runs processes in the order of their events; equal times keep the order of their making.

    Attributes:
        now: Seconds.
    """

    def __init__(self) -> None:
        """Begins at 0 seconds."""
        self.now = 0.0
        self._events: list[tuple[float, int, Wake]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, wake: Wake) -> None:
        """Calls `wake` later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), wake))

    def sleep(self, seconds: float) -> Callable[[Wake], None]:
        """Returns what a process yields to wait."""
        return lambda wake: self.after(seconds, wake)

    def start(self, process: Process, ended: Wake = lambda: None) -> None:
        """Runs a process up to its first wait; `ended` is called after its last."""

        def step() -> None:
            wait = next(process, None)
            if wait is None:
                ended()
            else:
                wait(step)

        step()

    def all(self, processes: list[Process]) -> Callable[[Wake], None]:
        """Returns what a process yields to wait for others that run side by side."""

        def wait(wake: Wake) -> None:
            left = len(processes)
            if not left:
                self.after(0, wake)

            def ended() -> None:
                nonlocal left
                left -= 1
                if not left:
                    wake()

            for process in processes:
                self.start(process, ended)

        return wait

    def run(self) -> float:
        """Runs all events and returns the time of the last."""
        while self._events:
            self.now, _, wake = heapq.heappop(self._events)
            wake()
        return self.now


class Places:
    """Nodes, of which each takes one process; who comes first goes first."""

    def __init__(self, clock: Clock, count: int) -> None:
        """Has so many free places."""
        self._clock = clock
        self._free = count
        self._waiting: deque[Wake] = deque()

    def take(self) -> Callable[[Wake], None]:
        """Returns what a process yields to get a place."""

        def wait(wake: Wake) -> None:
            if self._free:
                self._free -= 1
                self._clock.after(0, wake)
            else:
                self._waiting.append(wake)

        return wait

    def give(self) -> None:
        """Gives a place to who waits longest."""
        if self._waiting:
            self._clock.after(0, self._waiting.popleft())
        else:
            self._free += 1


class Shared:
    """Capacity that its users share evenly, none of them taking more than a most.

    All users go at the same speed at any moment. So each ends when the amount that one user has got
    since the beginning reaches what that was at its start and what it wants.
    """

    def __init__(self, clock: Clock, total: float, each: float) -> None:
        """Gives at most `total` a second to all users, and `each` to one."""
        self._clock = clock
        self._total, self._each = total, each
        self._got, self._since = 0.0, 0.0
        self._users: list[tuple[float, int, Wake]] = []
        self._numbers = itertools.count()
        self._turn = 0

    def use(self, amount: float) -> Callable[[Wake], None]:
        """Returns what a process yields to get an amount."""

        def wait(wake: Wake) -> None:
            self._catch_up()
            heapq.heappush(self._users, (self._got + amount, next(self._numbers), wake))
            self._plan()

        return wait

    def _speed(self) -> float:
        return min(self._each, self._total / len(self._users))

    def _catch_up(self) -> None:
        if self._users:
            self._got += (self._clock.now - self._since) * self._speed()
        self._since = self._clock.now

    def _plan(self) -> None:
        """Ends the next user in time, unless others come or go before."""
        self._turn += 1
        if self._users:
            turn, left = self._turn, max(0.0, self._users[0][0] - self._got)
            self._clock.after(left / self._speed(), lambda: self._end(turn))

    def _end(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._catch_up()
        self._got = max(self._got, self._users[0][0])
        _, _, wake = heapq.heappop(self._users)
        self._plan()
        wake()
