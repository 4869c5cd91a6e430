"""Deadlines: calls back for each item that is not removed within a fixed time."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

Item = TypeVar("Item", bound=Hashable)


class Deadlines(Generic[Item]):
    """
    Calls back for each item that is still there a fixed time after it was added.

    As the time is the same for all items, they expire in the order in which they were added, and
    one timer serves them all.

    :param seconds: the time from when an item is added until it expires.
    :param expired: called with an item, which is no longer there then.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, expired: Callable[[Item], object]
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._expired = expired
        self._due: OrderedDict[Item, float] = OrderedDict()
        self._timer: IDelayedCall | None = None

    def add(self, item: Item) -> None:
        """Add an item that is not there."""
        self._due[item] = self._clock.seconds() + self._seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._look_once_more)

    def discard(self, item: Item) -> None:
        """Remove an item, if it is there."""
        self._due.pop(item, None)

    def rest(self) -> None:
        """Stop the timer, if no item is there."""
        if not self._due and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_once_more(self) -> None:
        """Read all sockets first: after a pause of the process, answers may be waiting there."""
        self._timer = self._clock.callLater(0, self._expire)

    def _expire(self) -> None:
        now = self._clock.seconds()
        expired = []
        self._timer = None
        while self._due:
            due = next(iter(self._due.values()))
            if due > now:
                self._timer = self._clock.callLater(due - now, self._look_once_more)
                break
            expired.append(self._due.popitem(last=False)[0])
        for item in expired:
            self._expired(item)
