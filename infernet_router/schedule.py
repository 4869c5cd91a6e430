"""A schedule: items that wait until they are due."""

from collections.abc import Hashable
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Schedule(Generic[Item]):
    """
    Items, each with the time at which it is due; those due at the same time in their order.

    The heap has no items in it, but numbers of theirs: so Python's garbage collection need not go
    over its entries, which would take 7 ms with 20,000 of them.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int]] = []
        """A heap of times and numbers. Those that stand for no item any more are still there."""
        self._items: dict[int, Item] = {}
        self._numbers: dict[Item, int] = {}
        self._unused = count()

    def __contains__(self, item: Item) -> bool:
        return item in self._numbers

    def put(self, item: Item, due: float) -> None:
        """Let an item wait that does not."""
        number = next(self._unused)
        self._items[number] = item
        self._numbers[item] = number
        heappush(self._entries, (due, number))

    def drop(self, item: Item) -> None:
        """Let an item wait no longer, if it does."""
        number = self._numbers.pop(item, None)
        if number is not None:
            del self._items[number]

    def first(self, now: float) -> Item | None:
        """The item that is due first, if one is by now. It goes on waiting."""
        while self._entries and self._entries[0][0] <= now:
            item = self._items.get(self._entries[0][1])
            if item is not None:
                return item
            heappop(self._entries)
        return None
