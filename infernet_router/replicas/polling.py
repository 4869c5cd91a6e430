"""Polling among replicas: each polls its share of the nodes, and hears of the others."""

from collections.abc import Iterator
from math import inf
from random import Random
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.shared import SharedFleet
from infernet_router.nodes.asking import Asker
from infernet_router.nodes.polling import Poller, PollTarget
from infernet_router.replicas.shares import Share, Shares
from infernet_router.reports import NodeReport

_PATIENCE = 1.5
"""Intervals after which any member polls a node that nothing was heard of."""

_SPREAD = 0.5
"""The part of an interval over which polls are spread that several members may make, and those that
a member takes over."""

_SILENT_AFTER = 3
"""Intervals without a report of any member after which one's own failed poll is enough."""

_LOOKING = 0.002
"""Seconds that a tick may take to look at all nodes, after the members changed."""

_LOOK = 64
"""Nodes that are looked at between two looks at the clock."""


class Teller(Protocol):
    """Tells the other members what this one learns from its polls."""

    def reported(self, share: Share, report: NodeReport) -> None:
        """A node reported."""

    def missed(self, share: Share, reason: str) -> None:
        """A poll of a node failed."""


class SharedPoller(Poller):
    """
    Polls the nodes whose turn is here, and others when nothing is heard of them for too long.

    The latter makes up for a member that died, for lists of nodes that differ, and for messages
    that were lost. A failed poll of any member makes the next in order poll the node at once.

    Its other parameters are those of a Poller.

    :param shares: says whose turn a node is; the poller tells it which nodes there are.
    :param teller: is told the result of each poll.
    """

    _fleet: SharedFleet

    def __init__(
        self,
        fleet: SharedFleet,
        http: Asker,
        clock: IReactorTime,
        shares: Shares,
        teller: Teller,
        random: Random,
        **options: Any,
    ) -> None:
        super().__init__(fleet, http, clock, random=random, **options)
        self._shares = shares
        self._teller = teller
        self._unlooked: Iterator[Share] = iter(())
        """The nodes to look at, as the members changed."""

    @property
    def interval(self) -> float:
        """Seconds from one poll of an idle node to the next, by whichever member."""
        at_least = len(self._targets) / len(self._shares.members) / self._rate
        return max(self._least_interval, at_least)

    def new_target(self, address: NodeAddress) -> PollTarget:
        self._shares.add(address).is_mine = True  # all members poll a new node once
        return super().new_target(address)

    def removed(self, target: PollTarget) -> None:
        super().removed(target)
        self._shares.remove(target.address)

    def members_changed(self) -> None:
        """Look at all nodes: this member may take some over, and others take some over from it."""
        self._unlooked = self._shares.each()

    def ticked(self, now: float) -> None:
        super().ticked(now)
        end = self._fleet.now + _LOOKING
        for count, share in enumerate(self._unlooked, 1):
            self._look(share, now)
            if not count % _LOOK and self._fleet.now > end:
                break

    def reported_elsewhere(self, share: Share, member: int, report: NodeReport, at: float) -> None:
        """Another member has a report, which a node made at `at` on the fleet's clock."""
        share.for_all = False
        target = self.target_of(share.address)
        if target is None or self._fleet.is_outdated(share.address, at):
            return
        self._shares.answered(share, member)
        self._record(report, target, at)
        target.reported = max(at, target.reported or -inf)
        self._wait_if_others(share, target, at)

    def missed_elsewhere(self, share: Share, member: int, reason: str, at: float) -> None:
        """A poll of another member failed at `at` on the fleet's clock."""
        count = self._shares.failed(share, member)
        target = self.target_of(share.address)
        if target is None or not count or at < (target.reported or -inf):
            return
        is_confirmed = count > 1 or self._shares.all_failed(share)
        went_down = self._fleet.missed_elsewhere(
            share.address, reason, at, is_confirmed=is_confirmed
        )
        if went_down:
            self._tell(target, f"{reason} (found by other routers)", went_down=True)
        if not self._wait_if_others(share, target, at) and self.throttle.is_waiting(target):
            self._retry(share, target)

    def unshared(self, share: Share) -> None:
        """The reports of a node are too large to be shared: every member polls it."""
        share.for_all = True
        self._look(share, self._fleet.now)

    def _answered(self, report: NodeReport, target: PollTarget, asked: float) -> None:
        super()._answered(report, target, asked)
        if (share := self._share(target)) is not None:
            self._shares.answered(share, self._shares.me)
            self._teller.reported(share, report)

    def _missed(self, target: PollTarget, reason: str, *, timed_out: bool = False) -> None:
        share = self._share(target)
        if share is None:
            return
        silent = self._fleet.now - (target.reported or -inf)
        if self._shares.failed(share, self._shares.me) or silent > _SILENT_AFTER * self.interval:
            super()._missed(target, reason, timed_out=timed_out)
        self._teller.missed(share, reason)

    def _schedule(self, result: object, target: PollTarget) -> object:
        share = self._share(target)
        if share is None or self._shares.is_mine(share):
            return super()._schedule(result, target)
        share.is_mine = False
        self._wait(target, self._fleet.now)
        return result

    def _hurry(self, target: PollTarget, now: float) -> None:
        share = self._share(target)
        if share is not None and share.is_mine:
            super()._hurry(target, now)

    def _share(self, target: PollTarget) -> Share | None:
        """The share of a node; None if it was removed from the fleet."""
        return self._shares.of(target.address) if self.is_known(target) else None

    def _wait_if_others(self, share: Share, target: PollTarget, heard_at: float) -> bool:
        """Wait for what is heard of a node next, if others poll it. Returns whether they do."""
        if self._shares.is_mine(share):
            return False
        share.is_mine = False
        if self.throttle.is_waiting(target):
            self._wait(target, heard_at)
        return True

    def _wait(self, target: PollTarget, heard_at: float) -> None:
        """Poll a node only when nothing was heard of it for too long."""
        patience = self.interval * (_PATIENCE + _SPREAD * self._random.random())
        self._put(target, max(heard_at + patience, target.pace.until))

    def _put(self, target: PollTarget, due: float, *, urgent: bool = False) -> None:
        """Schedule a node, and forget when it was due before."""
        self.throttle.drop(target)
        target.due = due if urgent else inf
        self.throttle.put(target, due, urgent=urgent)

    def _retry(self, share: Share, target: PollTarget) -> None:
        """Poll a node that another member missed: at once, or after a while if all have."""
        share.is_mine = True
        if self._shares.all_failed(share):
            target.failures = max(1, target.failures)
            self._schedule(None, target)
        else:
            self._put(target, max(self._fleet.now, target.pace.until), urgent=True)

    def _look(self, share: Share, now: float) -> None:
        """
        Take a node over, or leave it to another member.

        A node that is taken over is polled when it would be due, or up to half an interval later:
        members that go leave many nodes. But it is polled within two intervals of its last report.
        """
        target, is_mine = self.target_of(share.address), self._shares.is_mine(share)
        if target is None or is_mine == share.is_mine:
            return
        share.is_mine = is_mine
        if not self.throttle.is_waiting(target):
            return  # it is polled at this moment
        last = max(target.asked, target.reported or -inf)
        if is_mine:
            pause = self._pause(target, now) or self.interval
            due = max(now, last + pause)
            spread = max(0.0, min(_SPREAD * pause, last + 2 * pause - due))
            due += spread * self._random.random()
            target.phase = due
            self._put(target, max(due, target.pace.until))
        else:
            self._wait(target, max(last, now - self.interval))
