"""A schedule: items that wait until they are due, the earliest first."""

from collections.abc import Hashable
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

_MOST_REMOVED = 1000
"""How many removed items a call passes over: it takes a millisecond."""

Item = TypeVar("Item", bound=Hashable)


class Schedule(Generic[Item]):
    """
    Items, each with the time at which it is due; items due at the same time stay in their order.

    The heap holds numbers that stand for items, not the items: garbage collection skips tuples of
    numbers, and would otherwise take 7 ms to go over 20,000 entries.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int]] = []
        """A heap of times and numbers, including the numbers of items that were removed."""
        self._items: dict[int, Item] = {}
        self._numbers: dict[Item, int] = {}
        self._unused = count()

    def __contains__(self, item: Item) -> bool:
        return item in self._numbers

    def put(self, item: Item, due: float) -> None:
        """Schedule an item; one that is scheduled already is due at this time instead."""
        self.drop(item)
        number = next(self._unused)
        self._items[number] = item
        self._numbers[item] = number
        heappush(self._entries, (due, number))

    def drop(self, item: Item) -> None:
        """Remove an item, if it is scheduled."""
        number = self._numbers.pop(item, None)
        if number is not None:
            del self._items[number]

    def first(self, now: float) -> Item | None:
        """
        The item that is due first, if one is due by now. It stays scheduled.

        After many items were removed, it may be found only by a later call.
        """
        for _ in range(_MOST_REMOVED):
            if not self._entries or self._entries[0][0] > now:
                break
            item = self._items.get(self._entries[0][1])
            if item is not None:
                return item
            heappop(self._entries)
        return None
