"""The overview: how the router and its nodes are, on one page, and what is wrong."""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from attrs import frozen
from twisted.internet.defer import Deferred

from infernet_router import __version__
from infernet_router.admin.census import Census, Count
from infernet_router.admin.results import Results
from infernet_router.admin.shown import Shown, Viewer, rfc3339, rounded
from infernet_router.admin.traffic import Traffic
from infernet_router.fleet import Fleet, Steps
from infernet_router.quoting import quoted
from infernet_router.sources import Sources

if TYPE_CHECKING:
    from infernet_router.admin.replication import Replication

_LATE = 0.2
"""Seconds: when the reactor is later than that, clients wait."""

_STALE = 3
"""Reports that are older than so many intervals are stale."""

_LONGER = 1.05
"""The interval is longer than was set when it is so many times as long."""

_MOST_NAMED = 10
"""The most containers without a node that are named."""


@frozen
class Overview:
    """
    Makes the overview, at most once a second.

    :ivar started: when the router started, in seconds since the epoch.
    :ivar poll_interval: returns the seconds between two polls of an idle node now.
    :ivar least_interval: the same as it was set.
    :ivar page_interval: returns the seconds after which a page should ask again.
    """

    census: Census
    results: Results
    fleet: Fleet
    traffic: Traffic
    sources: Sources
    viewer: Viewer
    started: float
    poll_interval: Callable[[], float]
    least_interval: float
    page_interval: Callable[[], float]
    replication: "Replication | None" = None
    """What shares the fleet with other routers."""

    def make(self) -> Deferred[tuple[bytes, bytes]]:
        """The overview as JSON, and its entity tag."""
        counted = self.census.count()
        return counted.addCallback(
            lambda count: self.results.once(Overview, lambda: self._encoded(count))
        )

    def _encoded(self, count: Count) -> Steps[tuple[bytes, bytes]]:
        yield
        encoded = msgspec.json.encode(self.of(count))
        return encoded, b'"%b"' % blake2b(encoded, digest_size=12).hexdigest().encode()

    def of(self, count: Count) -> dict[str, Any]:
        """The overview when the nodes are like this."""
        rates, records = self.traffic.rates, self.fleet.records
        error = None if records is None else records.accuracy.recent
        return {
            "version": __version__,
            "started": rfc3339(self.started),
            "nodes": {state.value: number for state, number in count.nodes.items()},
            "requests_per_second": rounded(rates.requests),
            "decisions_per_second": rounded(rates.decisions),
            "p99_seconds": None if rates.p99 is None else rounded(rates.p99),
            "oldest_report_seconds": round(count.oldest_report, 1),
            "poll_interval_seconds": rounded(self.poll_interval()),
            "queue_error_jobs": None if error is None else rounded(error.mean),
            "queue_within_one_job": None if error is None else rounded(error.share_within_one),
            "overrides": count.overridden,
            "replicas": self._replicas(),
            "problems": [{"text": text, "link": link} for text, link in self._problems(count)],
            "page_interval_seconds": self.page_interval(),
            "history": self.traffic.history(),
        }

    def _replicas(self) -> dict[str, Any]:
        if self.replication is None:
            return {"members": 1, "alone": False}
        return {"members": self.replication.members, "alone": self.replication.is_alone}

    def _problems(self, count: Count) -> Iterator[tuple[str, str]]:
        """What is wrong, and where to read more."""
        total = sum(count.nodes.values())
        there = count.nodes[Shown.UP] + count.nodes[Shown.SUSPECT]
        if not total:
            yield "no node is known", "/admin/v1/sources"
        elif not there:
            yield f"none of {total:,} nodes can be used", "/admin/v1/nodes"
        for state in (Shown.DOWN, Shown.SUSPECT):
            if number := count.nodes[state]:
                link = f"/admin/v1/nodes?state={state.value}"
                yield f"{number:,} of {total:,} nodes {_be(number)} {state.value}", link
        if doubted := self.fleet.doubted:
            number, view = len(doubted), self.fleet.view(doubted[0])
            why = view.in_doubt if number == 1 and view else "they seem to fail their jobs"
            text = f"{number:,} of {total:,} nodes {_be(number)} in doubt: {why}"
            yield text, "/admin/v1/nodes?sort=doubt&order=desc"
        idle = [container.id for container in count.containers if there and not container.nodes]
        for id in idle[:_MOST_NAMED]:
            yield f"no node that runs {quoted(id)} gets jobs", "/admin/v1/containers"
        if more := len(idle[_MOST_NAMED:]):
            yield f"nor does any that runs {more} more containers", "/admin/v1/containers"
        for source in self.sources.states():
            if problem := source.reason or source.flaw:
                yield f"{source.name}: {problem}", "/admin/v1/sources"
        interval = self.poll_interval()
        if interval > _LONGER * self.least_interval:
            text = f"nodes are polled every {interval:.1f} s only, as --max-polls is so low"
            yield text, "/admin/v1/options"
        if count.oldest_report > _STALE * interval:
            text = f"the oldest report is {count.oldest_report:.0f} s old"
            yield text, "/admin/v1/nodes?sort=report_age_seconds&order=desc"
        if self.replication is not None and self.replication.is_alone:
            why = self.replication.why_alone
            yield f"this router is alone, and shares nothing with others: {why}", "/metrics"
        if self.traffic.lateness > _LATE:
            yield f"the router is {self.traffic.lateness:.1f} s late", "/metrics"


def _be(number: int) -> str:
    return "is" if number == 1 else "are"
