"""Hearing: applies what other members say to this router's fleet."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from infernet_router.fleet.shared import SharedFleet
from infernet_router.replicas.batches import BadBatch, Batch, Reports, decode, each_key
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
        member, polls, fleet = int.from_bytes(batch.sender, "big"), self.polls, self._fleet
        for misses in batch.misses:
            yield from self._each(
                misses.keys,
                zip(misses.ages, repeat(misses.reason), strict=False),
                lambda share, miss: polls.missed_elsewhere(
                    share, member, miss[1], sent - miss[0] / 1000
                ),
            )
        for reports in batch.reports:
            yield from self._report(reports, member, sent)
        weights = zip(batch.jobs.counts, batch.jobs.weights or repeat(1.0), strict=False)
        yield from self._each(
            batch.jobs.keys,
            weights,
            # The poller hurries only with the nodes that it polls itself.
            lambda share, jobs: fleet.assigned_elsewhere(
                share.address, jobs[1], jobs[0], is_followed=share.is_mine
            ),
        )
        yield from self._each(batch.unshared, repeat(None), lambda share, _: polls.unshared(share))
        for outcomes in batch.outcomes:
            yield from self._each(
                outcomes.keys,
                repeat(outcomes.outcome),
                lambda share, outcome: fleet.told_elsewhere(share.address, outcome),
            )
        self._finished(batch)

    def _report(self, reports: Reports, member: int, sent: float) -> Iterator[None]:
        containers, kinds = tuple(reports.containers), reports.kinds
        width = len(kinds)

        def report(share: Share, told: tuple[int, int]) -> None:
            place, age = told
            row = reports.pending[place * width : (place + 1) * width]
            pending = dict(zip(kinds, row, strict=True))
            heard = NodeReport(containers, pending, reports.version)
            self.polls.reported_elsewhere(share, member, heard, sent - age / 1000)

        yield from self._each(reports.keys, enumerate(reports.ages), report)

    def _each(
        self, keys: bytes, values: Iterable[Value], apply: Callable[[Share, Value], None]
    ) -> Iterator[None]:
        """Apply the value of each node that is known here, in steps of one node each."""
        for key, value in zip(each_key(keys), values, strict=False):
            share = self._shares.with_key(key)
            if share is not None:
                apply(share, value)
            yield
