"""
Gives the reactor a clock that no change of the system's time affects, and that stalls do not count.

Twisted's reactors tell the time by `time.time`. When that is set back, all timers wait. And when
the process stood still (SIGSTOP, a busy machine, much work in one turn), timers that have expired
meanwhile run before the sockets are read: answers that came in time would be too late.

The clock of `keep_time` is monotonic. One turn of the reactor's loop may take the time that it
planned to sleep, and a little more; the clock stops there until the next turn. So whoever has three
seconds has three seconds in which the router was listening. After such a stall, everything that
has come is read before timers run.

What is to happen at a time of the real world, such as the next look at a file, has a clock of its
own: it goes on during a stall, and runs what is due after the sockets were read.
"""

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any, cast

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

_STALL = 0.25
"""Seconds that a turn of the loop may take beyond the time it planned to sleep. After that, the
loop is judged to stand still. A longer time would cost slow nodes more of theirs; with a shorter
one, it would take longer on a busy machine until a node that hangs is noticed."""

_PART = 8
"""It is no more than this part of the time that a node has."""


class LoopClock:
    """
    The time of a loop: monotonic, and without its stalls.

    :param start: the time at which it begins.
    :param stall: seconds that a turn may take beyond its sleep.
    :param seconds: the monotonic time, in seconds.
    """

    def __init__(
        self, start: float, stall: float, seconds: Callable[[], float] = monotonic
    ) -> None:
        self._real = seconds
        self.appointments = RealClock(seconds)
        """What is to happen at a time of the real world."""
        self._behind = seconds() - start
        self._stall = stall
        self._stops = seconds() + stall
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
        self._stops = inf if sleep is None else now + sleep + self._stall


class RealClock(Clock):
    """A clock that is advanced to the monotonic time once a turn."""

    def __init__(self, seconds: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._real = seconds
        self.rightNow = seconds()

    def catch_up(self) -> None:
        """Run what is due."""
        self.advance(self._real() - self.rightNow)

    def sleep(self, most: float | None) -> float | None:
        """How long the loop may sleep until something is due; None if nothing is."""
        times = [] if most is None else [most]
        times += [max(0.0, call.getTime() - self._real()) for call in self.getDelayedCalls()[:1]]
        return min(times, default=None)


def keep_time(reactor: Any, timeout: float) -> IReactorTime:
    """
    Give a reactor such a clock, if it has Twisted's usual loop; calls that wait already stay in it.

    Other reactors keep theirs: asyncio's is monotonic, and those for tests have one of their own.

    :param timeout: the time that a node has, in seconds.
    :return: the clock for what is to happen at a time of the real world.
    """
    known = getattr(getattr(reactor.seconds, "__self__", None), "appointments", None)
    usual = isinstance(reactor, ReactorBase) and type(reactor).mainLoop is ReactorBase.mainLoop
    if known or not usual:
        return cast(IReactorTime, known or reactor)
    clock = LoopClock(reactor.seconds(), min(_STALL, timeout / _PART))
    iterate = reactor.doIteration
    appointments = clock.appointments

    def turn(sleep: float | None) -> None:
        sleep = appointments.sleep(sleep)
        clock.turn(sleep)
        iterate(sleep)
        if clock.stands:  # after SIGCONT, epoll returns without the events that have come
            iterate(0)
        appointments.catch_up()

    for call in reactor.getDelayedCalls():
        call.seconds = clock.seconds
    reactor.seconds = clock.seconds
    reactor.doIteration = turn
    return appointments
