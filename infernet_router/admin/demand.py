"""Demand: how often operators may look, so that a thousand of them cost no more than a few."""

from collections.abc import Callable

from infernet_router.serving.errors import HTTPError

_A_SECOND = 50
"""How many looks a second are wanted at most; each takes about a millisecond with all it needs."""

_LONGEST = 60.0
"""The most seconds between two looks of one operator."""

_BURST = 400
_RATE = 200
"""How many requests there may be at once, and in a second from then on."""

_WEIGHT = 0.5
"""The weight of the last second in the estimate of how many operators look."""


class Demand:
    """
    Spreads the looks of many operators over time.

    :param seconds: the monotonic time, in seconds.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.interval = 1.0
        """Seconds after which an operator's page should look again."""
        self._watchers = 0.0
        """The estimated number of operators who look."""
        self._looks = 0
        """Looks since the interval was set, and requests that were refused."""
        self._set_at = self._taken_at = seconds()
        self._left = float(_BURST)
        """Requests that may be sent now."""

    def looked(self) -> None:
        """An operator looked; sets the interval anew, once a second."""
        self._looks += 1
        now = self._seconds()
        elapsed = now - self._set_at
        if elapsed < 1.0:
            return
        if elapsed > 2 * self.interval:
            self._watchers = 0.0
        seen = self._looks / elapsed * self.interval
        self._watchers += _WEIGHT * (seen - self._watchers)
        self.interval = round(min(max(1.0, self._watchers / _A_SECOND), _LONGEST), 1)
        self._looks, self._set_at = 0, now

    def take(self) -> None:
        """
        Answer a request of an operator.

        :raises HTTPError: 429 when there were too many lately.
        """
        now = self._seconds()
        self._left = min(self._left + (now - self._taken_at) * _RATE, float(_BURST))
        self._taken_at = now
        if self._left < 1.0:
            self._looks += 1
            wait = {b"Retry-After": b"%d" % max(2, self.interval)}
            raise HTTPError(429, f"more than {_RATE} requests of operators a second", wait)
        self._left -= 1.0
