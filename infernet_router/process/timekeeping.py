"""
Gives the reactor a clock that no change of the system's time affects, and that stalls do not count.

Twisted's reactors tell the time by `time.time`. When that is set back, all timers wait. And when
the process stood still (SIGSTOP, a busy machine, much work in one turn), timers that have expired
meanwhile run before the sockets are read: answers that came in time would be too late.

The clock of `keep_time` is monotonic. One turn of the reactor's loop may take the time that it
planned to sleep, and a little more; the clock stops there until the next turn. So whoever has three
seconds has three seconds in which the router was listening. After such a stall, everything that
has come is read before timers run.

What must happen at a time of the real world, such as the next poll of a node, is not timed by this
clock but by `time.monotonic`, which goes on during a stall.
"""

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any

from twisted.internet.base import ReactorBase

STALL = 0.1
"""Seconds that a turn of the loop may take beyond the time it planned to sleep. The loop is judged
to stand still after that."""


class LoopClock:
    """
    The time of a loop: monotonic, and without its stalls.

    :param start: the time at which it begins.
    :param seconds: the monotonic time, in seconds.
    """

    def __init__(self, start: float, seconds: Callable[[], float] = monotonic) -> None:
        self._real = seconds
        self._behind = seconds() - start
        self._stops = seconds() + STALL
        """When it stops until the next turn, on the monotonic clock."""

    def seconds(self) -> float:
        """The time of the loop."""
        now = self._real()
        return (now if now < self._stops else self._stops) - self._behind

    @property
    def stands(self) -> bool:
        """Whether it has stopped, as this turn takes too long."""
        return self._real() >= self._stops

    def turn(self, sleep: float | None) -> None:
        """A turn begins, and will sleep so many seconds at most; None if nothing is timed."""
        now = self._real()
        self._behind += max(0.0, now - self._stops)
        self._stops = inf if sleep is None else now + sleep + STALL


def keep_time(reactor: Any) -> None:
    """
    Give a reactor such a clock, if it has Twisted's usual loop; calls that wait already stay in it.

    Other reactors keep theirs: asyncio's is monotonic, and those for tests have one of their own.
    """
    usual = isinstance(reactor, ReactorBase) and type(reactor).mainLoop is ReactorBase.mainLoop
    if not usual or isinstance(getattr(reactor.seconds, "__self__", None), LoopClock):
        return
    clock, iterate = LoopClock(reactor.seconds()), reactor.doIteration

    def turn(sleep: float | None) -> None:
        clock.turn(sleep)
        iterate(sleep)
        if clock.stands:  # after SIGCONT, epoll returns without the events that have come
            iterate(0)

    for call in reactor.getDelayedCalls():
        call.seconds = clock.seconds
    reactor.seconds = clock.seconds
    reactor.doIteration = turn
