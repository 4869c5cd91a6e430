"""The poller: asks every node for a report, each when it is due."""

from heapq import heappop, heappush
from itertools import count
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.asking import Asker, NoAnswer, ask
from infernet_router.fleet import Fleet
from infernet_router.quoting import quoted
from infernet_router.reports import BadReport, NodeReport, decode_report

_TICK = 0.02
"""Seconds from one look for nodes that are due to the next: small, so that polls come evenly."""

_MAX_POLLS = 1000
"""Polls a second at most, so that the API does not wait for them."""

_MAX_TURNS = 800
"""Turns a second at most: the interval of a larger fleet is longer. The rest is for retries."""

_FIRST_RETRY = 1.0
"""Seconds until a node that just went down is asked again; doubled each time it fails again."""

_STALE_AFTER = 3
"""Intervals for which the last report of a node that says it is asked too often stays good."""

_LONGEST_BURST = 0.1
"""Seconds' worth of polls that may be sent at once after the process was held up."""

_SHORTEST = 0.1
"""The least part of an interval between two polls of a node, to get back into its phase."""

_LISTED = 10
"""Containers of a node that are named in the log."""

log = Logger()


class _Turn:
    """When one node is asked next, and how it went before."""

    __slots__ = ("address", "failures", "gone", "phase", "reported")

    def __init__(self, address: NodeAddress, phase: float) -> None:
        self.address = address
        self.phase = phase
        """Its next turn, or its last while it is asked or retried; all are intervals apart."""
        self.failures = 0
        """How often it failed since its last report."""
        self.reported: float | None = None
        """When its last report was asked for."""
        self.gone = False


class Poller(Service):
    """
    Keeps a fleet up to date: every node is asked once an interval, the turns spread over it.

    A new node is asked at once. A node that fails is asked again after a second, then two,
    four, … but never later than an interval. A fleet with more nodes than can be asked in an
    interval has a longer one.

    :param http: treq's HTTPClient, or a StubTreq.
    :param interval: seconds from one poll of a node to its next, at least.
    :param timeout: seconds a node has for its whole answer.
    """

    def __init__(
        self,
        fleet: Fleet,
        http: Asker,
        clock: IReactorTime,
        interval: float = 3.0,
        timeout: float = 3.0,
    ) -> None:
        self._fleet = fleet
        self._http = http
        self._clock = clock
        self._least_interval = interval
        self._timeout = timeout
        self._known: tuple[NodeAddress, ...] = ()
        self._turns: dict[NodeAddress, _Turn] = {}
        self._queue: list[tuple[float, int, _Turn]] = []
        self._order = count()
        self._allowance = 0.0
        self._ticked = 0.0
        self._polls: set[Deferred[None]] = set()
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._stopped: Deferred[Any] = succeed(None)

    def startService(self) -> None:
        super().startService()
        self._ticked = self._clock.seconds() - _TICK
        self._stopped = self._loop.start(_TICK)

    def stopService(self) -> Deferred[Any]:
        """Stop asking; fires when the polls in flight are cancelled."""
        super().stopService()
        self._loop.stop()
        polls = tuple(self._polls)
        for poll in polls:
            poll.cancel()
        return DeferredList([self._stopped, *polls])

    @property
    def _interval(self) -> float:
        """Seconds from one poll of a node to its next, for a fleet of this size."""
        return max(self._least_interval, len(self._turns) / _MAX_TURNS)

    def _tick(self) -> None:
        """Ask the nodes that are due. Whatever breaks, the next tick comes."""
        try:
            self._poll_due(self._clock.seconds())
        except Exception:
            log.failure("a tick of the poller broke")

    def _poll_due(self, now: float) -> None:
        """Ask the nodes that are due, as many as the time since the last tick allows."""
        self._allowance += (now - self._ticked) * _MAX_POLLS
        self._allowance = min(self._allowance, _MAX_POLLS * _LONGEST_BURST)
        self._ticked = now
        if self._fleet.addresses is not self._known:
            self._known = self._fleet.addresses
            self._give_turns(now)
        while self._queue and self._queue[0][0] <= now and self._allowance >= 1:
            _, _, turn = heappop(self._queue)
            if not turn.gone:
                self._allowance -= 1
                self._poll(turn, now)

    def _give_turns(self, now: float) -> None:
        """Give every new node a turn at once, or as soon as so many can be asked, and a phase."""
        known = set(self._known)
        for gone in self._turns.keys() - known:
            self._turns.pop(gone).gone = True
        new = [address for address in self._known if address not in self._turns]
        for address in new:
            self._turns[address] = _Turn(address, phase=now)
        for place, address in enumerate(new):
            turn = self._turns[address]
            turn.phase += self._interval * place / len(new)
            self._enqueue(turn, now + max(0.0, place / _MAX_TURNS - _LONGEST_BURST))
        for address in self._known:
            self._turns[address].address = address

    def _enqueue(self, turn: _Turn, due: float) -> None:
        heappush(self._queue, (due, next(self._order), turn))

    def _poll(self, turn: _Turn, now: float) -> None:
        """Ask one node. Whatever comes of it, it gets its next turn."""
        poll: Deferred[Any] = ask(
            self._http, f"{turn.address.url}/info", self._clock, self._timeout
        ).addCallback(decode_report)
        self._polls.add(poll)
        poll.addCallbacks(
            self._answered, self._failed, callbackArgs=(turn, now), errbackArgs=(turn, now)
        )
        poll.addErrback(lambda failure: log.failure("a poll broke", failure))
        poll.addBoth(lambda _: self._polls.remove(poll))
        poll.addBoth(lambda _: self._enqueue(turn, self._next(turn, now)))

    def _next(self, turn: _Turn, asked: float) -> float:
        """When it is a node's turn again, after it was asked at `asked`."""
        if turn.failures:
            wait = min(_FIRST_RETRY * 2.0 ** min(turn.failures - 1, 20), self._interval)
            return self._clock.seconds() + wait
        interval = self._interval
        wait = (turn.phase - asked) % interval
        turn.phase = asked + wait + (interval if wait < _SHORTEST * interval else 0)
        return turn.phase

    def _is_good(self, turn: _Turn, now: float) -> bool:
        """Whether a node's last report still counts though it will not give another just now."""
        return (
            not turn.failures
            and turn.reported is not None
            and now - turn.reported <= _STALE_AFTER * self._interval
        )

    def _answered(self, report: NodeReport, turn: _Turn, asked: float) -> None:
        came_up = self._fleet.observed(turn.address, report)
        turn.reported = asked
        turn.failures = 0
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
        if not self.running or (
            getattr(failure.value, "status", None) == 429 and self._is_good(turn, asked)
        ):
            return
        turn.failures += 1
        if self._fleet.missed(turn.address, str(failure.value)):
            log.warn("{address} is down: {reason}", address=turn.address, reason=failure.value)


def _listed(report: NodeReport) -> str:
    """The containers of a report, for the log."""
    ids = [quoted(container.id) for container in report.containers]
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return (", ".join(ids[:_LISTED]) or "none") + more
