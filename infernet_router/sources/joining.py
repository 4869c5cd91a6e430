"""Joins the addresses of all sources into the fleet."""

from collections.abc import Hashable, Iterable, Iterator
from itertools import chain

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Fleet
from infernet_router.process import Slices

log = Logger()


class BadSource(Exception):
    """A source gives no addresses; the message says where it fails, how, and what to do."""


class Sources:
    """
    Keeps the nodes of the fleet equal to the union of all sources' addresses.

    Each source is identified by a value that is also its name in the log. A problem with a source
    is logged once, not each time it is found. Long lists are taken in slices, one source after the
    other.
    """

    def __init__(self, fleet: Fleet, slices: Slices) -> None:
        self._fleet = fleet
        self._slices = slices
        self._addresses: dict[Hashable, dict[NodeAddress, str]] = {}
        """By source, its addresses and how they are written."""
        self._reasons: dict[Hashable, str] = {}
        """By failing source, the reason logged last."""
        self._flawed: set[Hashable] = set()
        self._lock = DeferredLock()

    def named(
        self, source: Hashable, addresses: Iterable[NodeAddress], flaw: str = ""
    ) -> Deferred[None]:
        """
        Replace the addresses of a source. The Deferred fires when the fleet has them.

        :param flaw: what was wrong with the entries that the source's answer had to leave out.
        """
        if self._reasons.pop(source, None) is not None:
            log.info("{source} works again", source=source)
        if flaw and source not in self._flawed:
            log.warn("{source}: {flaw}", source=source, flaw=flaw)
        (self._flawed.add if flaw else self._flawed.discard)(source)
        return Deferred.fromCoroutine(self._take(self._update(source, addresses)))

    def failed(self, source: Hashable, reason: str) -> None:
        """Keep the addresses of a source that cannot be read now, and log the reason."""
        if self._reasons.get(source) != reason:
            self._reasons[source] = reason
            log.warn(
                "cannot update the addresses of {source}, keeping {count}: {reason}",
                source=source,
                count=len(self._addresses.get(source, ())),
                reason=reason,
            )

    def dropped(self, source: Hashable) -> Deferred[None]:
        """Forget a source and its addresses. The Deferred fires when the fleet has forgotten."""
        self._reasons.pop(source, None)
        self._flawed.discard(source)
        return Deferred.fromCoroutine(self._take(self._drop(source)))

    async def _take(self, steps: Iterator[None]) -> None:
        """Make one change after those that were begun before."""
        async with self._lock:
            await self._slices.take(steps)

    def _update(self, source: Hashable, addresses: Iterable[NodeAddress]) -> Iterator[None]:
        """Replace the addresses of a source, in steps."""
        before = self._addresses.get(source, {})
        now: dict[NodeAddress, str] = {}
        added = respelled = 0
        for address in addresses:
            if address not in now:
                now[address] = address.text
                spelling = before.get(address)
                added += spelling is None
                respelled += spelling not in (None, address.text)
            yield
        removed = len(before) - (len(now) - added)
        if not (added or removed or respelled):
            return
        self._addresses[source] = now
        yield from self._replace()
        log.info(
            "{source}: {added} added, {removed} removed, {count} in all",
            source=source,
            added=added,
            removed=removed,
            count=len(now),
        )
        yield from _empty(before)

    def _drop(self, source: Hashable) -> Iterator[None]:
        """Forget the addresses of a source, in steps."""
        if gone := self._addresses.pop(source, None):
            count = len(gone)
            yield from self._replace()
            log.info("{source}: dropped, {count} removed", source=source, count=count)
            yield from _empty(gone)

    def _replace(self) -> Iterator[None]:
        return self._fleet.replacing(chain.from_iterable(self._addresses.values()))


def _empty(addresses: dict[NodeAddress, str]) -> Iterator[None]:
    """Free addresses one by one: 100,000 at once take 20 ms."""
    while addresses:
        addresses.popitem()
        yield
