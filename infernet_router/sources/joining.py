"""Joins the addresses of all sources into the fleet."""

from collections.abc import Callable, Hashable, Iterable
from itertools import chain
from pathlib import Path
from time import time

from attrs import define
from twisted.logger import Logger

from infernet_router.addresses import DnsSource, NodeAddress
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet

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
    is logged once, not each time it is found.

    :param counts: counts the failures, by kind of source.
    :param now: the time of day, in seconds since the epoch.
    """

    def __init__(
        self, fleet: Fleet, counts: Counts | None = None, now: Callable[[], float] = time
    ) -> None:
        self._fleet = fleet
        self._counts = counts or Counts()
        self._now = now
        self._good: dict[Hashable, float] = {}
        """When each source was good last."""
        self._flaws: dict[Hashable, str] = {}
        self._addresses: dict[Hashable, dict[NodeAddress, None]] = {}
        self._reasons: dict[Hashable, str] = {}
        """By failing source, the reason logged last."""

    def named(self, source: Hashable, addresses: Iterable[NodeAddress], flaw: str = "") -> None:
        """
        Replace the addresses of a source.

        :param flaw: what was wrong with the entries that the source's answer had to leave out.
        """
        if self._reasons.pop(source, None) is not None:
            log.info("{source} works again", source=source)
        if flaw and source not in self._flaws:
            log.warn("{source}: {flaw}", source=source, flaw=flaw)
        self._flaws.pop(source, None)
        if flaw:
            self._flaws[source] = flaw
        self._good[source] = self._now()
        before, now = self._addresses.get(source, {}), dict.fromkeys(addresses)
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
        kind = _kind(source)
        self._counts.source_errors[kind] += 1
        if kind == "file" and source in self._good and source not in self._reasons:
            self._good[source] = self._now()  # the file was checked a moment before
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
        self._flaws.pop(source, None)
        self._good.pop(source, None)
        if gone := self._addresses.pop(source, {}):
            self._replace()
            log.info("{source}: dropped, {count} removed", source=source, count=len(gone))

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

    def _replace(self) -> None:
        self._fleet.replace(dict.fromkeys(chain.from_iterable(self._addresses.values())))
