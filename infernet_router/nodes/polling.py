"""The poller: polls every node of a fleet, each when it is due."""

from math import inf
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Fleet
from infernet_router.nodes.asking import KEEP_ALIVE, Asker, NoAnswer, ask
from infernet_router.nodes.rounds import TICK, Rounds, Turn
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


class _Turn(Turn):
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
        """Its next turn, or its last while it is polled or retried; turns are an interval apart."""
        self.asked = 0.0
        """When its last poll was sent."""
        self.due = inf
        """Its next poll, while that is urgent."""
        self.assigned = -inf
        """When a job was last assigned to it."""
        self.is_busy = False
        """Whether its last report had pending jobs."""
        self.looks: list[float] = []
        """When it is polled in addition, as its report would tell most then; ascending."""
        self.pause = 0.0
        """The least seconds between two polls, since it answered 429."""
        self.failures = 0
        """Failed polls since its last report."""
        self.reported: float | None = None
        """When the poll for its last report was sent."""


class Poller(Rounds[_Turn]):
    """
    Keeps a fleet up to date: polls every node once an interval, with the turns spread over it.

    A new node is polled at once. A node that fails is polled again after 1, 2, 4, … seconds, and
    once that reaches the interval, at its usual turn: many nodes that fail at once are soon spread
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
    ) -> None:
        super().__init__(fleet, clock, interval=interval, rate=max_polls, at_once=at_once)
        self._http = http
        self._busy_interval = min(busy_interval, interval)
        self._timeout = timeout

    def startService(self) -> None:
        self._assignments = self._fleet.follow_assignments()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        self._assignments.close()
        return super().stopService()

    def new_turn(self, address: NodeAddress) -> _Turn:
        return _Turn(address)

    def added(self, turns: list[_Turn], now: float) -> None:
        """Poll new nodes at once, and spread their phases over an interval."""
        for place, turn in enumerate(turns):
            turn.phase = now + self.interval * place / len(turns)
            self.throttle.put(turn, now, urgent=True)

    def ticked(self, now: float) -> None:
        """Poll nodes sooner that jobs were assigned to."""
        even = self._least_interval / max(1, len(self._turns))
        self._loop.interval = min(max(even, _SHORTEST_TICK), TICK)
        for address in set(self._assignments.read()):
            turn = self.turn_of(address)
            if turn is None:
                continue
            turn.assigned = now
            if looks := self._fleet.looks(address):
                turn.looks = [now + seconds for seconds in looks]
            if self.throttle.is_waiting(turn) and not turn.failures:
                self._hurry(turn, now)

    def _hurry(self, turn: _Turn, now: float) -> None:
        """Poll a node in use when its report tells most, unless it is polled before that."""
        turn.looks = [look for look in turn.looks if look > turn.asked]
        due = turn.looks[0] if turn.looks else inf
        if pause := self._pause(turn, now):
            earliest = turn.asked if turn.is_busy else turn.assigned + _ARRIVAL - pause
            due = min(due, max(earliest, turn.asked) + pause)
        if due < turn.due:
            turn.due = due
            self.throttle.put(turn, due, urgent=True)

    def _pause(self, turn: _Turn, now: float) -> float:
        """The least seconds between two polls of a node in use; 0 for a node that is not."""
        if turn.is_busy or now - turn.assigned < _LATELY:
            return max(self._busy_interval, turn.pause)
        return 0.0

    @property
    def _is_large(self) -> bool:
        """Whether there are more nodes than can be polled in an interval of the usual length."""
        return self.interval > self._least_interval

    def ask(self, turn: _Turn, now: float) -> Deferred[Any]:
        """Poll one node, and schedule its next turn whether or not it answers."""
        turn.asked = now
        turn.due = inf
        poll: Deferred[Any] = ask(
            self._http,
            f"{turn.address.url}/info",
            self._clock,
            self._timeout,
            keep=self.interval < KEEP_ALIVE,
        ).addCallback(decode_report)
        poll.addCallbacks(
            self._answered, self._failed, callbackArgs=(turn, now), errbackArgs=(turn, now)
        )
        return poll.addBoth(self._schedule, turn)

    def _schedule(self, result: object, turn: _Turn) -> object:
        """Schedule the next turn of a node that was polled."""
        if not self.is_known(turn):
            return result
        now = self._clock.seconds()
        retry = _FIRST_RETRY * 2.0 ** min(turn.failures - 1, 20)
        if turn.failures and (self._is_large or retry < self._least_interval):
            self.throttle.put(turn, now + min(retry, self.interval), urgent=True)
        elif self._is_large or turn.pause > self._least_interval:
            self.throttle.put(turn, turn.asked + max(self.interval, turn.pause))
        else:
            last = now if turn.failures else turn.asked
            wait = (turn.phase - last) % self._least_interval
            again = self._least_interval if wait < _SHORTEST * self._least_interval else 0
            turn.phase = last + wait + again
            self.throttle.put(turn, max(turn.phase, turn.asked + self._pause(turn, now)))
        if not turn.failures:
            self._hurry(turn, now)
        return result

    def _is_good(self, turn: _Turn, now: float) -> bool:
        """Whether the last report of a node that answers 429 is still valid."""
        return (
            not turn.failures
            and turn.reported is not None
            and now - turn.reported <= _STALE_AFTER * self.interval
        )

    def _answered(self, report: NodeReport, turn: _Turn, asked: float) -> None:
        came_up = self._fleet.observed(turn.address, report)
        turn.reported = asked
        turn.failures = 0
        turn.is_busy = any(report.pending.values())
        turn.pause = turn.pause * _RECOVERY if turn.pause > self._busy_interval else 0.0
        if came_up is not None:
            log.info(
                "{address} is {state}: version {version}, containers {containers}",
                address=turn.address,
                state="up" if came_up.away is None else f"back after {came_up.away:.1f} s",
                version=quoted(report.version),
                containers=_listed(report),
            )

    def _failed(self, failure: Failure, turn: _Turn, asked: float) -> None:
        failure.trap(NoAnswer, BadReport)
        if not self.running:
            return
        timed_out = False
        if isinstance(failure.value, NoAnswer):
            timed_out = failure.value.timed_out
            if failure.value.status == 429:
                wanted = max(failure.value.retry_after or 0.0, 2 * turn.pause, 2 * _FIRST_RETRY)
                turn.pause = min(wanted, 2 * self.interval)
                if self._is_good(turn, asked):
                    return
        turn.failures += 1
        if self._fleet.missed(turn.address, str(failure.value), timed_out=timed_out):
            log.warn("{address} is down: {reason}", address=turn.address, reason=failure.value)


def _listed(report: NodeReport) -> str:
    """The containers of a report, for the log."""
    ids = [quoted(container.id) for container in report.containers]
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return (", ".join(ids[:_LISTED]) or "none") + more
