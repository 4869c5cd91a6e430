"""Joins the addresses of all sources into the fleet."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from time import time
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from infernet_router.addresses import DnsSource, NodeAddress
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet
from infernet_router.process import Slices

_MOST_NAMED = 20
"""The most addresses that a log line names."""

log = Logger()


class BadSource(Exception):
    """A source gives no addresses; the message says where it fails, how, and what to do."""


@define
class SourceState:
    """What is known of one source."""

    name: str
    kind: str
    """file, explorer or dns."""
    addresses: int
    """How many it names."""
    last_success: float | None
    """When it was good last, in seconds since the epoch; None if it never was."""
    reason: str
    """Why it cannot be read now; empty if it can."""
    flaw: str
    """What was wrong with the entries that its last answer had to leave out."""


def _kind(source: Hashable) -> str:
    """The kind of a source, by the value that identifies it."""
    match source:
        case Path():
            return "file"
        case DnsSource():
            return "dns"
        case _:
            return "explorer"


class Sources:
    """
    Keeps the nodes of the fleet equal to the union of all sources' addresses.

    Each source is identified by a value that is also its name in the log. A problem with a source
    is logged once, not each time it is found. Long lists are taken in slices, one source after the
    other.

    :param counts: counts the failures, by kind of source.
    :param now: the time of day, in seconds since the epoch.
    """

    def __init__(
        self,
        fleet: Fleet,
        slices: Slices,
        counts: Counts | None = None,
        now: Callable[[], float] = time,
    ) -> None:
        self._fleet = fleet
        self._slices = slices
        self._counts = counts or Counts()
        self._now = now
        self._good: dict[Hashable, float] = {}
        """When each source was good last."""
        self._flaws: dict[Hashable, str] = {}
        self._addresses: dict[Hashable, dict[NodeAddress, tuple[str, float | None]]] = {}
        """By source, its addresses, how they are written, and their weights."""
        self._reasons: dict[Hashable, str] = {}
        """By failing source, the reason logged last."""
        self._lock = DeferredLock()

    def named(
        self, source: Hashable, addresses: Iterable[NodeAddress], flaw: str = ""
    ) -> Deferred[None]:
        """
        Replace the addresses of a source. The Deferred fires when the fleet has them.

        :param flaw: what was wrong with the entries that the source's answer had to leave out.
        """
        if self._reasons.pop(source, None) is not None:
            log.info("{source} works again", event="source.works", source=source)
        if flaw and source not in self._flaws:
            log.warn("{source}: {flaw}", event="source.flawed", source=source, flaw=flaw)
        self._flaws.pop(source, None)
        if flaw:
            self._flaws[source] = flaw
        self._good[source] = self._now()
        return Deferred.fromCoroutine(self._take(self._update(source, addresses)))

    def failed(self, source: Hashable, reason: str) -> None:
        """Keep the addresses of a source that cannot be read now, and log the reason."""
        kind = _kind(source)
        self._counts.source_errors[kind] += 1
        if kind == "file" and source in self._good and source not in self._reasons:
            self._good[source] = self._now()  # the file was checked a moment before
        if self._reasons.get(source) != reason:
            self._reasons[source] = reason
            log.warn(
                "cannot update the addresses of {source}, keeping {count}: {reason}",
                event="source.failed",
                source=source,
                count=len(self._addresses.get(source, ())),
                reason=reason,
            )

    def dropped(self, source: Hashable) -> Deferred[None]:
        """Forget a source and its addresses. The Deferred fires when the fleet has forgotten."""
        self._reasons.pop(source, None)
        self._flaws.pop(source, None)
        self._good.pop(source, None)
        return Deferred.fromCoroutine(self._take(self._drop(source)))

    def states(self) -> list[SourceState]:
        """What is known of each source that was good or failed."""
        return [
            SourceState(
                name=str(source),
                kind=_kind(source),
                addresses=len(self._addresses.get(source, ())),
                last_success=self._last_good(source),
                reason=self._reasons.get(source, ""),
                flaw=self._flaws.get(source, ""),
            )
            for source in {**self._good, **self._reasons}
        ]

    def naming(self, address: NodeAddress) -> list[str]:
        """The names of the sources that name an address."""
        return [str(source) for source, named in self._addresses.items() if address in named]

    def _last_good(self, source: Hashable) -> float | None:
        """When a source was good last: now for a file, which is checked all the time."""
        is_checked = _kind(source) == "file" and source not in self._reasons
        return self._now() if is_checked else self._good.get(source)

    async def _take(self, steps: Iterator[None]) -> None:
        """Make one change after those that were begun before."""
        async with self._lock:
            await self._slices.take(steps)

    def _update(self, source: Hashable, addresses: Iterable[NodeAddress]) -> Iterator[None]:
        """Replace the addresses of a source, in steps."""
        before = self._addresses.get(source, {})
        now: dict[NodeAddress, tuple[str, float | None]] = {}
        added, removed, respelled = _Names("added"), _Names("removed"), 0
        for address in addresses:
            if address not in now:
                now[address] = written = address.text, address.weight
                last = before.get(address)
                if last is None:
                    added.add(address)
                respelled += last not in (None, written)
            yield
        if len(before) > len(now) - added.count:
            for address in before:
                if address not in now:
                    removed.add(address)
                yield
        if not (added.count or removed.count or respelled):
            return
        self._addresses[source] = now
        yield from self._replace()
        log.info(
            "{source}: {added} added, {removed} removed, {count} in all{names}",
            event="source.changed",
            source=source,
            added=added.count,
            removed=removed.count,
            count=len(now),
            names=f"{added}{removed}",
            added_nodes=added.first,
            removed_nodes=removed.first,
        )
        yield from _empty(before)

    def _drop(self, source: Hashable) -> Iterator[None]:
        """Forget the addresses of a source, in steps."""
        if gone := self._addresses.pop(source, None):
            removed = _Names("removed")
            for address in gone:
                removed.add(address)
                yield
            yield from self._replace()
            log.info(
                "{source}: dropped, {count} removed{names}",
                event="source.dropped",
                source=source,
                count=removed.count,
                names=str(removed),
                removed_nodes=removed.first,
            )
            yield from _empty(gone)

    def _replace(self) -> Iterator[None]:
        """Replace the nodes of the fleet. Of a file, the spelling and the weight are used."""
        order = sorted(self._addresses, key=lambda source: _kind(source) != "file")
        return self._fleet.replacing(chain.from_iterable(map(self._addresses.__getitem__, order)))


class _Names:
    """
    Addresses as a log line names them: the first 20, then how many more.

    :param what: what happened to them.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.count = 0
        self.first: list[str] = []

    def add(self, address: NodeAddress) -> None:
        """Name one more."""
        self.count += 1
        if len(self.first) < _MOST_NAMED:
            self.first.append(str(address))

    def __str__(self) -> str:
        if not self.count:
            return ""
        more = self.count - len(self.first)
        return f"; {self._what} {', '.join(self.first)}" + (f" and {more} more" if more else "")


def _empty(addresses: dict[NodeAddress, Any]) -> Iterator[None]:
    """Free addresses one by one: 100,000 at once take 20 ms."""
    while addresses:
        addresses.popitem()
        yield
