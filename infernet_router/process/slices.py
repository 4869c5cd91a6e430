"""Slices: does the long work of sources in turns, without full garbage collections meanwhile."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from time import monotonic

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from infernet_router.fleet import Steps
from infernet_router.process.turns import Turns

_SLICE = 0.003
"""Seconds of work in one turn of the reactor, which answers clients in between."""


class Slices:
    """
    Does work in turns, in a context of its own if it takes more than one.

    Threads would be worse: after each system call, the reactor would wait 5 ms for the GIL.

    :param during: makes that context.
    :param seconds: measures the slices; the clock of the reactor does not, as it stands while the
        reactor is late.
    """

    def __init__(
        self,
        clock: IReactorTime,
        during: Callable[[], AbstractContextManager[object]] = nullcontext,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._turns = Turns(clock, seconds, _SLICE)
        self._during = during

    async def take(self, steps: Iterable[object]) -> None:
        """Take all steps of some work."""
        taking = self._turns.run(_steps(steps))
        if isinstance(taking, Deferred):
            with self._during():
                await taking


def _steps(steps: Iterable[object]) -> Steps[None]:
    for _ in steps:
        yield
