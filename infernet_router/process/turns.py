"""Turns: does long work in short slices, so that the reactor does everything else in between."""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from infernet_router.fleet import Steps

SLICE = 0.005
"""Seconds of work in one turn of the reactor, by default."""


class Turns:
    """
    Does work that comes in steps, each of a few milliseconds at most.

    Work that is short, and alone, is done at once. Other work waits in a queue: a slice of it is
    done in each turn of the reactor. One job is finished before the next begins, so that each sees
    what the one before has changed.

    :param seconds: measures the slices, in seconds.
    :param slice: how long a slice is.
    """

    def __init__(
        self, clock: IReactorTime, seconds: Callable[[], float], slice: float = SLICE
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._slice = slice
        self._queue: deque[tuple[Steps[Any], Deferred[Any]]] = deque()
        self._is_scheduled = False
        self._spent = 0.0
        """Seconds of work that no other work of the reactor has made up for yet."""
        self._ended = 0.0
        """When work was done last."""

    def run(self, steps: Steps[Any]) -> Any:
        """The result of these steps or, when they take longer, a Deferred for it."""
        now = self._seconds()
        self._spent = max(0.0, self._spent - (now - self._ended))
        if not self._queue and self._spent < self._slice:
            try:
                self._work(steps, now + self._slice)
            except StopIteration as finished:
                return finished.value
            finally:
                self._ended = self._seconds()
                self._spent += self._ended - now
        result: Deferred[Any] = Deferred()
        self._queue.append((steps, result))
        self._schedule()
        return result

    def _schedule(self) -> None:
        """Do more work in the next turn of the reactor."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        """Do a slice of the work that waits."""
        self._is_scheduled = False
        end = self._seconds() + self._slice
        while self._queue:
            steps, result = self._queue[0]
            try:
                if not result.called:  # or it was cancelled: nobody wants it any more
                    self._work(steps, end)
                    break
            except StopIteration as finished:
                result.callback(finished.value)
            except Exception:
                result.errback(Failure())
            self._queue.popleft()
            if self._seconds() >= end:
                break
        if self._queue:
            self._schedule()

    def _work(self, steps: Steps[Any], end: float) -> None:
        """
        Do steps until this time.

        :raises StopIteration: with their result, when all are done.
        """
        while True:
            next(steps)
            if self._seconds() >= end:
                return
