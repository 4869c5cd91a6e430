"""A deadline that is moved with every request, at little cost."""

from collections.abc import Callable
from math import inf

from twisted.internet.interfaces import IReactorTime

_PERIOD = 15.0
"""Seconds between two looks at the clock."""


class Deadline:
    """
    Calls a function when the time allowed last has passed.

    One timer that looks at the clock again and again costs less than one for each request. It is
    never late: a deadline that comes before its next look moves this look.

    :param passed: is called without arguments; it may allow more time.
    """

    def __init__(self, clock: IReactorTime, passed: Callable[[], object]) -> None:
        self._clock = clock
        self._passed = passed
        self._at = inf
        self._timer = clock.callLater(_PERIOD, self._look)

    def allow(self, seconds: float) -> float:
        """Set the deadline to this time from now; returns the time now."""
        now = self._clock.seconds()
        self._at = now + seconds
        if seconds < _PERIOD:
            self._timer.reset(seconds)
        return now

    def clear(self) -> None:
        """Remove the deadline."""
        self._at = inf

    def stop(self) -> None:
        """Stop the timer for good, and drop the reference to the function."""
        del self._passed
        self._timer.cancel()

    def _look(self) -> None:
        left = self._at - self._clock.seconds()
        self._timer = self._clock.callLater(min(left, _PERIOD) if left > 0 else _PERIOD, self._look)
        if left <= 0:
            self._at = inf
            self._passed()
