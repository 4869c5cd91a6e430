"""Throttle: asks items when they are due, at a limited rate and with limited concurrency."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from infernet_router.nodes.schedule import Schedule

_UNLIMITED = 1e9

_TURN = 0.01
"""Seconds in which items are asked in one turn of the reactor; the next call goes on."""

log = Logger()

Item = TypeVar("Item", bound=Hashable)


class Throttle(Generic[Item]):
    """
    Asks items when they are due, at a limited rate and with limited concurrency.

    When both kinds are due, urgent items and others alternate, so that urgent ones cannot keep the
    others waiting forever.

    :param seconds: the monotonic time, in seconds.
    :param ask: asks an item; its Deferred fires when that has ended, and is cancelled to stop it.
    :param at_once: the most items that are asked at the same time.
    :param rate: the most items that are asked in a second.
    :param burst: seconds' worth of items that may be asked at once after a pause.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        ask: Callable[[Item, float], Deferred[Any]],
        *,
        at_once: int,
        rate: float = _UNLIMITED,
        burst: float = 0.1,
    ) -> None:
        self._seconds = seconds
        self._ask = ask
        self._at_once = at_once
        self._rate = rate
        self._most_allowed = max(1.0, rate * burst)
        self._allowance = self._most_allowed
        self._allowed_at = seconds()
        """When the allowance was last increased."""
        self._waiting = Schedule[Item]()
        self._urgent = Schedule[Item]()
        self._urgent_is_next = True
        self._asked: set[Deferred[Any]] = set()
        self._is_asking = False

    def put(self, item: Item, due: float, *, urgent: bool = False) -> None:
        """Schedule an item; it may be scheduled as urgent too, at another time."""
        (self._urgent if urgent else self._waiting).put(item, due)

    def drop(self, item: Item) -> None:
        """Remove an item, if it is scheduled."""
        self._waiting.drop(item)
        self._urgent.drop(item)

    def is_waiting(self, item: Item) -> bool:
        """Whether an item waits to be asked."""
        return item in self._waiting or item in self._urgent

    def is_late(self, since: float) -> bool:
        """Whether an item has been due since then, though more could be asked at the same time."""
        firsts = self._urgent.first(since), self._waiting.first(since)
        return firsts != (None, None) and len(self._asked) < self._at_once

    def ask_due(self) -> None:
        """Ask as many of the items that are due as the limits allow."""
        if self._is_asking:
            return  # called by _ended() while ask() runs: the loop below asks the next item
        self._is_asking = True
        try:
            now = self._seconds()
            more = (now - self._allowed_at) * self._rate
            self._allowance = min(self._allowance + more, self._most_allowed)
            self._allowed_at = now
            while self._allowance >= 1 and len(self._asked) < self._at_once:
                if self._seconds() > now + _TURN:
                    break
                item = self._next_due(now)
                if item is None:
                    break
                self.drop(item)
                self._allowance -= 1
                asked = self._ask(item, now)
                self._asked.add(asked)
                asked.addErrback(
                    lambda failure: log.failure(
                        "asking a node broke", failure, event="internal.error"
                    )
                )
                asked.addBoth(self._ended, asked)
        finally:
            self._is_asking = False

    def stop(self) -> Deferred[Any]:
        """Cancel what is in flight, and ask nothing more; fires when everything has ended."""
        self._at_once = 0
        asked = tuple(self._asked)
        for each in asked:
            each.cancel()
        return DeferredList(asked)

    def _next_due(self, now: float) -> Item | None:
        urgent, other = self._urgent.first(now), self._waiting.first(now)
        is_urgent = urgent is not None and (self._urgent_is_next or other is None)
        self._urgent_is_next = not is_urgent
        return urgent if is_urgent else other

    def _ended(self, _: object, asked: Deferred[Any]) -> None:
        was_full = len(self._asked) == self._at_once
        self._asked.remove(asked)
        if was_full:
            self.ask_due()
