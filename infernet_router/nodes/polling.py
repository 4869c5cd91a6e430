"""The poller: polls every node of a fleet, each when it is due."""

from math import inf
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet
from infernet_router.nodes.asking import KEEP_ALIVE, Asker, NoAnswer, ask
from infernet_router.nodes.rounds import TICK, Rounds, Target
from infernet_router.quoting import quoted
from infernet_router.reports import BadReport, NodeReport, decode_report

MAX_POLLS = 500
"""The default for the most polls in a second."""

_SHORTEST_TICK = 0.005
"""The shortest tick in a large fleet, in seconds: the polls of one tick delay client requests."""

_FIRST_RETRY = 1.0
"""Seconds until a node that just went down is polled again; doubled with each further failure."""

_STALE_AFTER = 3
"""How many intervals the last report of a node stays valid while it answers 429."""

_ARRIVAL = 0.3
"""Seconds after a job was assigned before which a report tells little: the job is on its way."""

_LATELY = 2.0
"""Seconds after the last job was assigned for which a node is in use though its queue is empty."""

_RECOVERY = 0.9
"""What each report makes of the pause that a node's 429 asked for, as a share of the last."""

_SHORTEST = 0.1
"""The least part of an interval between two polls of a node when it returns to its phase."""

_LISTED = 10
"""The most containers of a node that a log line lists."""

log = Logger()


class _Target(Target):
    """When one node is polled, and the outcome of earlier polls."""

    __slots__ = (
        "asked",
        "assigned",
        "due",
        "failures",
        "is_busy",
        "looks",
        "pause",
        "phase",
        "reported",
    )

    def __init__(self, address: NodeAddress) -> None:
        super().__init__(address)
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
        self.looks: list[float] = []
        """When to poll it in addition, after the first job in a while; ascending."""
        self.pause = 0.0
        """The least seconds between two polls, since it answered 429."""
        self.failures = 0
        """Failed polls since its last report."""
        self.reported: float | None = None
        """When the poll for its last report was sent."""


class Poller(Rounds[_Target]):
    """
    Keeps a fleet up to date: polls every node once an interval, with the targets spread over it.

    A new node is polled at once. A node that fails is polled again after 1, 2, 4, … seconds, and
    once that reaches the interval, at its usual time: many nodes that fail at once are soon spread
    again.

    A node in use, which has pending jobs or was assigned one lately, is polled more often, as
    decisions need fresh reports of such nodes. A node that says it is polled too often (429) is
    polled less often for a while.

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
    :param counts: counts the polls, by result.
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
        counts: Counts | None = None,
    ) -> None:
        super().__init__(fleet, clock, interval=interval, rate=max_polls, at_once=at_once)
        self._http = http
        self._counts = counts or Counts()
        self._busy_interval = min(busy_interval, interval)
        self._timeout = timeout

    def startService(self) -> None:
        self._assignments = self._fleet.follow_assignments()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        self._assignments.close()
        return super().stopService()

    def new_target(self, address: NodeAddress) -> _Target:
        return _Target(address)

    def added(self, targets: list[_Target], now: float) -> None:
        """Poll new nodes at once, and spread their phases over an interval."""
        for position, target in enumerate(targets):
            target.phase = now + self.interval * position / len(targets)
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

    def _hurry(self, target: _Target, now: float) -> None:
        """Poll a node in use when its report tells most, unless it is polled before that."""
        due = inf
        if target.looks:
            target.looks = [look for look in target.looks if look > target.asked]
            due = min(target.looks, default=inf)
        if pause := self._pause(target, now):
            earliest = target.asked if target.is_busy else target.assigned + _ARRIVAL - pause
            due = min(due, max(earliest, target.asked) + pause)
        if due < target.due:
            target.due = due
            self.throttle.put(target, due, urgent=True)

    def _pause(self, target: _Target, now: float) -> float:
        """The least seconds between two polls of a node in use; 0 for a node that is not."""
        if target.is_busy or now - target.assigned < _LATELY:
            return max(self._busy_interval, target.pause)
        return 0.0

    @property
    def _is_large(self) -> bool:
        """Whether there are more nodes than can be polled in an interval of the usual length."""
        return self.interval > self._least_interval

    def ask(self, target: _Target, now: float) -> Deferred[Any]:
        """Poll a node, and schedule it again whether or not it answers."""
        target.asked = now
        target.due = inf
        poll: Deferred[Any] = ask(
            self._http,
            f"{target.address.url}/info",
            self._clock,
            self._timeout,
            keep=self.interval < KEEP_ALIVE,
        ).addCallback(decode_report)
        poll.addCallbacks(
            self._answered, self._failed, callbackArgs=(target, now), errbackArgs=(target, now)
        )
        return poll.addBoth(self._schedule, target)

    def _schedule(self, result: object, target: _Target) -> object:
        """Schedule a node that was polled again."""
        if not self.is_known(target):
            return result
        now = self._clock.seconds()
        retry = _FIRST_RETRY * 2.0 ** min(target.failures - 1, 20)
        if target.failures and (self._is_large or retry < self._least_interval):
            self.throttle.put(target, now + min(retry, self.interval), urgent=True)
        elif self._is_large or target.pause > self._least_interval:
            self.throttle.put(target, target.asked + max(self.interval, target.pause))
        else:
            last = now if target.failures else target.asked
            wait = (target.phase - last) % self._least_interval
            again = self._least_interval if wait < _SHORTEST * self._least_interval else 0
            target.phase = last + wait + again
            self.throttle.put(target, max(target.phase, target.asked + self._pause(target, now)))
        if not target.failures:
            self._hurry(target, now)
        return result

    def _is_good(self, target: _Target, now: float) -> bool:
        """Whether the last report of a node that answers 429 is still valid."""
        return (
            not target.failures
            and target.reported is not None
            and now - target.reported <= _STALE_AFTER * self.interval
        )

    def _answered(self, report: NodeReport, target: _Target, asked: float) -> None:
        self._counts.polled("ok", self._clock.seconds() - asked)
        came_up = self._fleet.observed(target.address, report)
        target.reported = asked
        target.failures = 0
        target.is_busy = any(report.pending.values())
        target.pause = target.pause * _RECOVERY if target.pause > self._busy_interval else 0.0
        if came_up is not None:
            log.info(
                "{address} is {state}: version {version}, containers {containers}",
                address=target.address,
                state="up" if came_up.away is None else f"back after {came_up.away:.1f} s",
                version=quoted(report.version),
                containers=_listed(report),
            )

    def _failed(self, failure: Failure, target: _Target, asked: float) -> None:
        failure.trap(NoAnswer, BadReport)
        if not self.running:
            return
        result = failure.value.kind if isinstance(failure.value, NoAnswer) else "report"
        self._counts.polled(result, self._clock.seconds() - asked)
        timed_out = False
        if isinstance(failure.value, NoAnswer):
            timed_out = failure.value.timed_out
            if failure.value.status == 429:
                wanted = max(failure.value.retry_after or 0.0, 2 * target.pause, 2 * _FIRST_RETRY)
                target.pause = min(wanted, 2 * self.interval)
                if self._is_good(target, asked):
                    return
        target.failures += 1
        if self._fleet.missed(target.address, str(failure.value), timed_out=timed_out):
            log.warn("{address} is down: {reason}", address=target.address, reason=failure.value)


def _listed(report: NodeReport) -> str:
    """The containers of a report, for the log."""
    ids = [quoted(container.id) for container in report.containers]
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return (", ".join(ids[:_LISTED]) or "none") + more
