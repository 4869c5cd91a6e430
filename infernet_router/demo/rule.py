"""The rule of the public router: the node with the fewest pending jobs at the last poll."""

from collections.abc import Collection, Iterable
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from infernet_router.reports import NodeReport, decode_report

INTERVAL = 5.0
"""Seconds between two polls, as in release 0.1.0 of the public router; 1.0.0 waits 30."""
_TIMEOUT = 3.0


class LeastPending:
    """
    Polls all nodes at once, and picks the least busy one of the last poll until the next.

    A node that failed the last poll is left out. Of nodes with equally many jobs, the first in the
    list is picked.
    """

    def __init__(self, addresses: Iterable[str], http: HTTPClient, reactor: Any) -> None:
        self._http = http
        self._reactor = reactor
        self._reports: dict[str, NodeReport | None] = dict.fromkeys(addresses)
        self._polling = LoopingCall(self._poll_all)
        self._polling.clock = reactor
        self._polls: set[Deferred[None]] = set()

    def start(self) -> None:
        """Begin to poll."""
        self._polling.start(INTERVAL)

    def stop(self) -> None:
        """Stop polling, and cancel polls in flight."""
        if self._polling.running:
            self._polling.stop()
        for poll in tuple(self._polls):
            poll.cancel()

    def pick(self, containers: Collection[str]) -> str | None:
        """The address of a node that runs these containers; None if there is none."""
        pending = {
            address: sum(report.pending.values())
            for address, report in self._reports.items()
            if report is not None
            and {container.id for container in report.containers}.issuperset(containers)
        }
        return min(pending, key=pending.__getitem__, default=None)

    def _poll_all(self) -> None:
        for address in self._reports:
            poll = Deferred.fromCoroutine(self._poll(address))
            self._polls.add(poll)
            poll.addBoth(lambda _, poll: self._polls.discard(poll), poll)

    async def _poll(self, address: str) -> None:
        try:
            asked = self._http.get(f"http://{address}/info")
            response = await asked.addTimeout(_TIMEOUT, self._reactor)
            body = await response.content().addTimeout(_TIMEOUT, self._reactor)
            self._reports[address] = decode_report(body) if response.code == 200 else None
        except Exception:  # whatever it is, the node failed this poll
            self._reports[address] = None
