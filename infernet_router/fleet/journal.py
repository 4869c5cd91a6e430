"""The journal: tells each consumer what happened since it last read, at its own pace."""

import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Journal(Generic[Entry]):
    """
    Entries in the order in which they were written.

    Each consumer reads through a cursor of its own, which no other consumer affects. An entry is
    kept until every cursor has read it; without cursors, none is kept.
    """

    def __init__(self) -> None:
        self._cursors: list[Cursor[Entry]] = []

    def write(self, entry: Entry) -> None:
        """Add an entry."""
        for cursor in self._cursors:
            cursor.unread.append(entry)

    def follow(self, before: Iterable[Entry] = ()) -> "Cursor[Entry]":
        """A new cursor: it reads these entries first, and then those written from now on."""
        cursor = Cursor(self._cursors, before)
        self._cursors.append(cursor)
        return cursor


class Cursor(Generic[Entry]):
    """Where one consumer is in a journal."""

    def __init__(self, cursors: "list[Cursor[Entry]]", before: Iterable[Entry]) -> None:
        self._cursors = cursors
        self.unread = deque(before)

    def read(self, most: int = sys.maxsize) -> list[Entry]:
        """The entries written since the last call, oldest first: at most so many of them."""
        entries: list[Entry] = []
        # One by one: garbage collection may call a reader in the middle of a write, or in a thread.
        with suppress(IndexError):
            while len(entries) < most:
                entries.append(self.unread.popleft())
        return entries

    def close(self) -> None:
        """Read no more."""
        self._cursors.remove(self)
