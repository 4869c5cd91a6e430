"""Hearing: applies what other members say to this router's fleet."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from infernet_router.fleet.shared import SharedFleet
from infernet_router.replicas.batches import BadBatch, Batch, Jobs, Reports, decode, each_key
from infernet_router.replicas.shares import Share, Shares
from infernet_router.reports import NodeReport

_SLICE = 0.002
"""Seconds in which batches are applied in one turn of the reactor."""

_MOST_WAITING = 4 << 20
"""The most bytes of batches that wait; those that come then are dropped."""

Value = TypeVar("Value")

log = Logger()


class Polls(Protocol):
    """The poller, as far as it hears of the polls of others."""

    def reported_elsewhere(
        self, share: Share, member: int, report: NodeReport, at: float
    ) -> None: ...

    def missed_elsewhere(self, share: Share, member: int, reason: str, at: float) -> None: ...

    def unshared(self, share: Share) -> None: ...

    def members_changed(self) -> None: ...


class Hearing:
    """
    Applies batches in the order in which they come, in slices, so that clients never wait long.

    :param clock: the reactor.
    :param refused: called with a message that is no batch, and what is wrong with it.
    :param finished: called with each batch that was applied.
    """

    polls: Polls

    def __init__(
        self,
        fleet: SharedFleet,
        shares: Shares,
        clock: IReactorTime,
        refused: Callable[[BadBatch], None],
        finished: Callable[[Batch], None],
    ) -> None:
        self._fleet = fleet
        self._shares = shares
        self._clock = clock
        self._refused = refused
        self._finished = finished
        self._waiting: deque[tuple[bytes, float]] = deque()
        """Messages, and when each was sent, on the fleet's clock."""
        self._size = 0
        """The bytes of these messages."""
        self._steps: Iterator[None] | None = None
        """The rest of the batch that is applied now."""

    def hear(self, message: bytes, sent: float) -> bool:
        """
        Apply a batch soon. Returns False when too many wait already.

        :param sent: when it was sent, on the fleet's clock.
        """
        if self._size > _MOST_WAITING:
            return False
        self._size += len(message)
        self._waiting.append((message, sent))
        if self._steps is None:
            self._go_on()
        return True

    def _go_on(self) -> None:
        end = self._fleet.now + _SLICE
        while self._steps is not None or self._waiting:
            try:
                self._steps = self._steps or self._apply(*self._waiting.popleft())
                for _ in self._steps:
                    if self._fleet.now > end:
                        self._clock.callLater(0, self._go_on)
                        return
            except BadBatch as error:
                self._refused(error)
            except Exception:
                log.failure("applying a batch broke", event="internal.error")
            self._steps = None

    def _apply(self, message: bytes, sent: float) -> Iterator[None]:
        """Apply a batch, in steps of one node each."""
        self._size -= len(message)
        batch = decode(message)
        member = int.from_bytes(batch.sender, "big")
        for misses in batch.misses:
            for share, age in self._known(misses.keys, misses.ages):
                self.polls.missed_elsewhere(share, member, misses.reason, sent - age / 1000)
                yield
        for reports in batch.reports:
            yield from self._report(reports, member, sent)
        yield from self._assign(batch.jobs)
        for share, _ in self._known(batch.unshared, repeat(None)):
            self.polls.unshared(share)
            yield
        for outcomes in batch.outcomes:
            for share, _ in self._known(outcomes.keys, repeat(None)):
                self._fleet.told_elsewhere(share.address, outcomes.outcome)
                yield
        self._finished(batch)

    def _report(self, reports: Reports, member: int, sent: float) -> Iterator[None]:
        containers, kinds = tuple(reports.containers), reports.kinds
        width = len(kinds)
        rows = [reports.pending[at * width : (at + 1) * width] for at in range(len(reports.ages))]
        numbers = zip(reports.ages, rows, strict=True)
        for share, (age, row) in self._known(reports.keys, numbers):
            pending = dict(zip(kinds, row, strict=True))
            report = NodeReport(containers, pending, reports.version)
            self.polls.reported_elsewhere(share, member, report, sent - age / 1000)
            yield

    def _assign(self, jobs: Jobs) -> Iterator[None]:
        weights = jobs.weights or repeat(1.0)
        for share, (count, weight) in self._known(
            jobs.keys, zip(jobs.counts, weights, strict=False)
        ):
            self._fleet.assigned_elsewhere(share.address, weight, count)
            yield

    def _known(self, keys: bytes, values: Iterable[Value]) -> Iterator[tuple[Share, Value]]:
        """Each of the nodes that is known here, with its value."""
        for key, value in zip(each_key(keys), values, strict=False):
            share = self._shares.with_key(key)
            if share is not None:
                yield share, value
