"""
Gives the reactor a monotonic clock, which stands still while the process is stalled.

Twisted's reactors read `time.time`. When the system's clock is set back, all their timers wait. And
after a stall (SIGSTOP, a busy machine, long work in one iteration of the loop), they run expired
timers before they read the sockets, so that an answer which came in time is treated as late.

The clock of `keep_time` is monotonic. In one iteration of the reactor's loop it advances by the
planned sleep and a little more at most; then it stands still until the next iteration. A timeout of
three seconds thus means three seconds in which the router was listening. After a stall, all sockets
are read before timers run.

What must happen by real time, such as the next look at a file, uses a second clock: it continues
during a stall, and runs what is due after the sockets were read.
"""

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any, cast

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

_STALL = 0.25
"""Seconds that an iteration of the loop may take beyond its planned sleep before it is a stall.
With a longer time, a stall would use up more of a slow node's timeout; with a shorter one, a busy
machine would take longer to notice a node that hangs."""

_PART = 8
"""The time above is at most a node's timeout divided by this."""


class LoopClock:
    """
    The clock of a loop: monotonic, and still during stalls.

    :param start: the time at which it begins.
    :param stall: seconds that an iteration may take beyond its sleep.
    :param seconds: the monotonic time, in seconds.
    """

    def __init__(
        self, start: float, stall: float, seconds: Callable[[], float] = monotonic
    ) -> None:
        self._real = seconds
        self.appointments = RealClock(seconds)
        """The clock for what must happen by real time."""
        self._behind = seconds() - start
        self._stall = stall
        self._stops = seconds() + stall
        """When it stops until the next iteration, on the monotonic clock."""

    def seconds(self) -> float:
        """The time on this clock."""
        now = self._real()
        return (now if now < self._stops else self._stops) - self._behind

    @property
    def stands(self) -> bool:
        """Whether it stands still, as this iteration takes too long."""
        return self._real() >= self._stops

    def turn(self, sleep: float | None) -> None:
        """An iteration begins, and sleeps for at most `sleep` seconds; None for any time."""
        now = self._real()
        self._behind += max(0.0, now - self._stops)
        self._stops = inf if sleep is None else now + sleep + self._stall


class RealClock(Clock):
    """A clock that is advanced to the monotonic time once an iteration."""

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
    Give a reactor with Twisted's usual loop a LoopClock; pending calls move to the new clock.

    Other reactors keep their clock: asyncio's is monotonic, and those for tests have their own.

    :param timeout: a node's timeout, in seconds.
    :return: the clock for what must happen by real time.
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
