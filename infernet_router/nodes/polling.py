"""The poller: polls every node of a fleet, each when it is due."""

from functools import partial
from math import inf
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet
from infernet_router.nodes.asking import KEEP_ALIVE, LIMITED, Asker, NoAnswer, ask
from infernet_router.nodes.doubted import DoubtLog
from infernet_router.nodes.pace import Pace, Paces
from infernet_router.nodes.rate_fields import RateLimit
from infernet_router.nodes.rounds import TICK, Rounds, Target
from infernet_router.quoting import quoted
from infernet_router.reports import BadReport, NodeReport, decode_report

MAX_POLLS = 500
"""The default for the most polls in a second."""

_SHORTEST_TICK = 0.01
"""The shortest tick in a large fleet, in seconds: the polls of one tick delay client requests."""

_FIRST_RETRY = 1.0
"""Seconds until a node that just went down is polled again; doubled with each further failure."""

_STALE_AFTER = 3
"""How many intervals the last report of a node stays valid while it answers 429."""

_ARRIVAL = 0.3
"""Seconds after a job was assigned before which a report tells little: the job is on its way."""

_LATELY = 2.0
"""Seconds after the last job was assigned for which a node is in use though its queue is empty."""

_MOST_PAUSE = 2
"""How many intervals a node's rate limit can put between two polls that it answers."""

_SHORTEST = 0.1
"""The least part of an interval between two polls of a node when it returns to its phase."""

_SILENT_AFTER = 3
"""How many intervals without any poll show that something is wrong, although polls are due."""

_SHORTEST_SILENCE, _LONGEST_SILENCE = 5.0, 30.0
"""The limits of that time, in seconds."""

_RETELL = 60.0
"""Seconds after which a changed reason of a node that stays down is logged."""

_LISTED = 10
"""The most containers of a node that a log line lists."""

log = Logger()


class PollTarget(Target):
    """When one node is polled, and the outcome of earlier polls."""

    __slots__ = (
        "asked",
        "assigned",
        "due",
        "failures",
        "is_busy",
        "is_limited",
        "looks",
        "pace",
        "phase",
        "reason",
        "reported",
        "told_at",
    )

    def __init__(self, address: NodeAddress, pace: Pace) -> None:
        super().__init__(address)
        self.pace = pace
        """How often its rate limit lets it be polled."""
        self.phase = 0.0
        """Its next regular poll, or its last while it is polled or retried; an interval apart."""
        self.asked = 0.0
        """When its last poll was sent."""
        self.due = inf
        """Its next poll, while that is urgent."""
        self.assigned = -inf
        """When a job was last assigned to it."""
        self.is_busy = False
        """Whether its last report had pending jobs."""
        self.is_limited = False
        """Whether it has answered 429 since before its first report."""
        self.looks: list[float] = []
        """When to poll it in addition, after the first job in a while; ascending."""
        self.failures = 0
        """Failed polls since its last report."""
        self.reason = ""
        """Why it went down, or stays down, as logged last."""
        self.told_at = 0.0
        """When that was logged."""
        self.reported: float | None = None
        """When the poll for its last report was sent."""


class Poller(Rounds[PollTarget]):
    """
    Keeps a fleet up to date: polls every node once an interval, with the targets spread over it.

    A new node is polled at once. A node that fails is polled again after 1, 2, 4, … seconds, and
    once that reaches the interval, at its usual time: many nodes that fail at once are soon spread
    again.

    A node in use, which has pending jobs or was assigned one lately, is polled more often, as
    decisions need fresh reports of such nodes. A node is polled less often when it says that its
    rate limit is nearly used up, and not at all for as long as its 429 says; its last report stays
    valid for three intervals.

    A fleet with more nodes than can be polled in an interval has a longer interval. Urgent nodes
    come first: new ones, those that failed, and those in use. They get at most half of the polls
    while others are due, so that no node waits longer than twice the interval.

    :param http: treq's HTTPClient, or a StubTreq.
    :param interval: seconds from one poll of an idle node to its next, at least.
    :param busy_interval: the same for a node in use, but no more than `interval`. The default is
        just above the second that a node's rate limit allows.
    :param timeout: seconds a node has for its whole answer.
    :param max_polls: the most polls in a second.
    :param at_once: the most nodes that are polled at the same time.
    :param paces: how often each node may be asked.
    :param counts: counts the polls, by result.
    :param random: chooses the order of the nodes in the interval. Routers that poll in the same
        order at the same moments would all choose the same node for the next jobs.
    """

    def __init__(
        self,
        fleet: Fleet,
        http: Asker,
        clock: IReactorTime,
        *,
        interval: float = 3.0,
        busy_interval: float = 1.1,
        timeout: float = 3.0,
        max_polls: int = MAX_POLLS,
        at_once: int = 1000,
        paces: Paces | None = None,
        counts: Counts | None = None,
        random: Random | None = None,
    ) -> None:
        super().__init__(fleet, clock, interval=interval, rate=max_polls, at_once=at_once)
        self._random = random or Random()
        self._http = http
        self._counts = counts or Counts()
        self._busy_interval = min(busy_interval, interval)
        self._timeout = timeout
        self._paces = paces or Paces()
        self._doubts = DoubtLog(fleet)
        self._sent = 0.0
        """When the last poll was sent, on the reactor's clock."""

    def startService(self) -> None:
        self._sent = self._clock.seconds()
        self._assignments = self._fleet.follow_assignments()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        self._assignments.close()
        return super().stopService()

    @property
    def silence(self) -> float | None:
        """
        The seconds since the last poll was sent, if polls are due and none was sent for too long.

        None while everything is well. With a long interval, that includes hours without a poll. The
        reactor's clock counts only time in which polls could have been sent.
        """
        silent = self._clock.seconds() - self._sent
        patience = _SILENT_AFTER * self._least_interval
        patience = min(max(patience, _SHORTEST_SILENCE), _LONGEST_SILENCE)
        is_well = (
            not self.running
            or silent <= patience
            or not self.throttle.is_late(self._fleet.now - patience / 2)
        )
        return None if is_well else silent

    def new_target(self, address: NodeAddress) -> PollTarget:
        return PollTarget(address, self._paces.add(address))

    def removed(self, target: PollTarget) -> None:
        self._paces.drop(target.address)
        self._doubts.forget(target.address)

    def added(self, targets: list[PollTarget], now: float) -> None:
        """Poll new nodes at once, and spread their phases over an interval, in random order."""
        part, random = self.interval / len(targets), self._random
        for position, target in enumerate(random.sample(targets, len(targets))):
            target.phase = now + part * (position + random.random())
            self.throttle.put(target, now, urgent=True)

    def ticked(self, now: float) -> None:
        """Poll nodes sooner that jobs were assigned to."""
        even = self._least_interval / max(1, len(self._targets))
        self.tick_every(min(max(even, _SHORTEST_TICK), TICK))
        for address in set(self._assignments.read()):
            target = self.target_of(address)
            if target is None:
                continue
            was_idle = now - target.assigned >= _LATELY
            target.assigned = now
            if was_idle and (looks := self._fleet.looks(address)):
                target.looks = [now + seconds for seconds in looks]
            elif target.due < inf:
                continue  # as for most nodes of a large fleet with many jobs
            if self.throttle.is_waiting(target) and not target.failures:
                self._hurry(target, now)

    def _hurry(self, target: PollTarget, now: float) -> None:
        """Poll a node in use when its report tells most, unless it is polled before that."""
        if now < target.pace.until:
            return
        due = inf
        if target.looks:
            target.looks = [look for look in target.looks if look > target.asked]
            due = max(min(target.looks, default=inf), target.asked + target.pace.pause)
        if pause := self._pause(target, now):
            earliest = target.asked if target.is_busy else target.assigned + _ARRIVAL - pause
            due = min(due, max(earliest, target.asked) + pause)
        if due < target.due:
            target.due = due
            self.throttle.put(target, due, urgent=True)

    def _pause(self, target: PollTarget, now: float) -> float:
        """The least seconds between two polls of a node in use; 0 for a node that is not."""
        if target.is_busy or now - target.assigned < _LATELY:
            return max(self._busy_interval, target.pace.pause)
        return 0.0

    @property
    def _is_large(self) -> bool:
        """Whether there are more nodes than can be polled in an interval of the usual length."""
        return self.interval > self._least_interval

    def ask(self, target: PollTarget, now: float) -> Deferred[Any]:
        """Poll a node when it may be polled, and schedule it again whether or not it answers."""
        if now < target.pace.until:
            self._missed_if_stale(target, now)
            return succeed(self._schedule(None, target))
        self._sent = self._clock.seconds()
        target.asked = now
        target.due = inf
        poll: Deferred[Any] = ask(
            self._http,
            f"{target.address.url}/info",
            self._clock,
            self._timeout,
            keep=self.interval < KEEP_ALIVE,
            hear=partial(self._hear, target),
        ).addCallback(decode_report)
        poll.addCallbacks(
            self._answered, self._failed, callbackArgs=(target, now), errbackArgs=(target, now)
        )
        return poll.addBoth(self._schedule, target)

    def _schedule(self, result: object, target: PollTarget) -> object:
        """Schedule a node that was polled again."""
        if not self.is_known(target):
            return result
        now, until = self._fleet.now, target.pace.until
        if now < until:
            is_good = self._is_good(target, now)
            self.throttle.put(target, min(until, self._good_until(target)) if is_good else until)
            return result
        retry = _FIRST_RETRY * 2.0 ** min(target.failures - 1, 20)
        if target.failures and (self._is_large or retry < self._least_interval):
            due = max(now + min(retry, self.interval), target.asked + target.pace.pause)
            self.throttle.put(target, due, urgent=True)
        elif self._is_large or target.pace.pause > self._least_interval:
            self.throttle.put(target, target.asked + max(self.interval, target.pace.pause))
        else:
            last = now if target.failures else target.asked
            wait = (target.phase - last) % self._least_interval
            again = self._least_interval if wait < _SHORTEST * self._least_interval else 0
            target.phase = last + wait + again
            self.throttle.put(target, max(target.phase, target.asked + self._pause(target, now)))
        if not target.failures:
            self._hurry(target, now)
        return result

    def _good_until(self, target: PollTarget) -> float:
        """Until when the last report of a node that answers 429 is valid."""
        return -inf if target.reported is None else target.reported + _STALE_AFTER * self.interval

    def _is_good(self, target: PollTarget, now: float) -> bool:
        """Whether the last report of a node that answers 429 is still valid."""
        return self._fleet.is_up(target.address) and now < self._good_until(target)

    def _hear(self, target: PollTarget, limit: RateLimit) -> None:
        """Take what a node says about its rate limit into account."""
        target.pace.answered(limit, self._busy_interval, _MOST_PAUSE * self.interval)

    def _answered(self, report: NodeReport, target: PollTarget, asked: float) -> None:
        self._counts.polled("ok", self._fleet.now - asked)
        self._record(report, target)
        target.reported = asked

    def _record(self, report: NodeReport, target: PollTarget, at: float | None = None) -> None:
        """Record a report that a node made at this time, or now; log when the node comes up."""
        came_up = self._fleet.observed(target.address, report, at)
        self._doubts.look(target.address)
        target.failures = 0
        target.is_busy = any(report.pending.values())
        if came_up is not None:
            log.info(
                "{node} is {state}: version {version!r}, containers {names}",
                event="node.up",
                node=target.address,
                state="up" if came_up.away is None else f"back after {came_up.away:.1f} s",
                version=report.version,
                names=_listed(report),
                containers=[container.id for container in report.containers[:_LISTED]],
            )

    def _failed(self, failure: Failure, target: PollTarget, asked: float) -> None:
        failure.trap(NoAnswer, BadReport)
        if not self.running:
            return
        problem, timed_out = failure.value, False
        result = problem.kind if isinstance(problem, NoAnswer) else "report"
        self._counts.polled(result, self._fleet.now - asked)
        if isinstance(problem, NoAnswer):
            timed_out = problem.timed_out
            if problem.status == 429:
                now = self._fleet.now
                most, good_until = _MOST_PAUSE * self.interval, self._good_until(target)
                target.pace.refused(problem.limit, now, most, good_until)
                self._missed_if_stale(target, now)
                return
        target.failures += 1
        self._missed(target, str(problem), timed_out=timed_out)

    def _missed_if_stale(self, target: PollTarget, now: float) -> None:
        """Record that a node answers 429, unless its last report is still valid."""
        if self._is_good(target, now):
            return
        if not self._fleet.limited(target.address):
            self._missed(target, LIMITED)
        elif not target.is_limited:
            target.is_limited = True
            log.warn(
                "{node} has not reported yet: it limits the rate of requests (HTTP 429)",
                event="node.limited",
                node=target.address,
            )

    def _missed(self, target: PollTarget, reason: str, *, timed_out: bool = False) -> None:
        """Record a failed poll."""
        went_down = self._fleet.missed(target.address, reason, timed_out=timed_out)
        self._tell(target, reason, went_down=went_down)

    def _tell(self, target: PollTarget, reason: str, *, went_down: bool) -> None:
        """Log when a node goes down, and when the reason has changed."""
        now = self._fleet.now
        if not went_down and (
            self._fleet.is_up(target.address)
            or reason == target.reason
            or now < target.told_at + _RETELL
        ):
            return
        target.reason, target.told_at = reason, now
        log.warn(
            "{node} is {state}: {reason}",
            event="node.down" if went_down else "node.still_down",
            node=target.address,
            state="down" if went_down else "still down",
            reason=reason,
        )


def _listed(report: NodeReport) -> str:
    """The containers of a report, for the log."""
    ids = [quoted(container.id) for container in report.containers]
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return (", ".join(ids[:_LISTED]) or "none") + more
