"""Slices: does long work on the reactor's thread a little at a time."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from time import monotonic

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

_SLICE = 0.003
"""Seconds of work between two turns of the reactor, which answers clients in between."""


class Slices:
    """
    Does work in slices, with a turn of the reactor in between.

    Threads would be worse: after each system call, the reactor would wait 5 ms for the GIL.

    :param during: makes the context in which work is done that takes more than one slice.
    :param seconds: measures the slices; the clock of the reactor does not, as it stands while the
        reactor is late.
    """

    def __init__(
        self,
        clock: IReactorTime,
        during: Callable[[], AbstractContextManager[object]] = nullcontext,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._during = during

    async def take(self, steps: Iterable[object]) -> None:
        """Take all steps of some work."""
        rest = iter(steps)
        if self._slice(rest):
            return
        with self._during():
            while True:
                await deferLater(self._clock, 0)
                if self._slice(rest):
                    return

    def _slice(self, steps: Iterable[object]) -> bool:
        """Take the steps of one slice; returns whether these were all."""
        end = self._seconds() + _SLICE
        return all(self._seconds() < end for _ in steps)
