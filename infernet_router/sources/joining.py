"""Joins the addresses of all sources into the fleet."""

from collections.abc import Hashable, Iterable
from itertools import chain

from twisted.logger import Logger

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Fleet

log = Logger()


class BadSource(Exception):
    """A source gives no addresses; the message says where it fails, how, and what to do."""


class Sources:
    """
    Keeps the nodes of the fleet equal to the union of all sources' addresses.

    Each source is identified by a value that is also its name in the log. A problem with a source
    is logged once, not each time it is found.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._addresses: dict[Hashable, tuple[NodeAddress, ...]] = {}
        self._reasons: dict[Hashable, str] = {}
        """By failing source, the reason logged last."""
        self._flawed: set[Hashable] = set()

    def named(self, source: Hashable, addresses: Iterable[NodeAddress], flaw: str = "") -> None:
        """
        Replace the addresses of a source.

        :param flaw: what was wrong with the entries that the source's answer had to leave out.
        """
        if self._reasons.pop(source, None) is not None:
            log.info("{source} works again", source=source)
        if flaw and source not in self._flawed:
            log.warn("{source}: {flaw}", source=source, flaw=flaw)
        (self._flawed.add if flaw else self._flawed.discard)(source)
        before, now = self._addresses.get(source, ()), tuple(dict.fromkeys(addresses))
        if set(map(str, before)) == set(map(str, now)):
            return
        self._addresses[source] = now
        self._replace()
        log.info(
            "{source}: {added} added, {removed} removed, {count} in all",
            source=source,
            added=len(set(now) - set(before)),
            removed=len(set(before) - set(now)),
            count=len(now),
        )

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

    def dropped(self, source: Hashable) -> None:
        """Forget a source and its addresses."""
        self._reasons.pop(source, None)
        self._flawed.discard(source)
        if gone := self._addresses.pop(source, ()):
            self._replace()
            log.info("{source}: dropped, {count} removed", source=source, count=len(gone))

    def _replace(self) -> None:
        self._fleet.replace(dict.fromkeys(chain.from_iterable(self._addresses.values())))
