"""The poller: asks every node for a report, each when it is due."""

from collections.abc import Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.asking import KEEP_ALIVE, Asker, NoAnswer, ask
from infernet_router.fleet import Fleet
from infernet_router.quoting import quoted
from infernet_router.reports import BadReport, NodeReport, decode_report
from infernet_router.schedule import Schedule

MAX_POLLS = 500
"""Polls a second at most, unless it is said otherwise."""

_TICK = 0.1
"""Seconds from one look for nodes that are due to the next, in a fleet of a few nodes."""

_SHORTEST_TICK = 0.005
"""In a large one: what polls cost at a time is what a client may have to wait."""

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

    __slots__ = ("address", "asked", "failures", "phase", "reported")

    def __init__(self, address: NodeAddress, phase: float) -> None:
        self.address = address
        self.phase = phase
        """Its next turn, or its last while it is asked or retried; all are intervals apart."""
        self.asked = 0.0
        """When it was asked last."""
        self.failures = 0
        """How often it failed since its last report."""
        self.reported: float | None = None
        """When its last report was asked for."""


class Poller(Service):
    """
    Keeps a fleet up to date: every node is asked once an interval, the turns spread over it.

    A new node is asked at once. A node that fails is asked again after a second, then two,
    four, … and when that is an interval, in turn again: many that fail at once do not stay so.

    A fleet with more nodes than can be asked in an interval has a longer one. Nodes of which more
    should be known come first there: new ones, those that failed, and those that were handed out,
    once an interval of the usual length has passed since they were asked. They get half of the
    polls, if they need them; the other half goes round, so that no node waits for more than twice
    its interval.

    :param http: treq's HTTPClient, or a StubTreq.
    :param interval: seconds from one poll of a node to its next, at least.
    :param timeout: seconds a node has for its whole answer.
    :param max_polls: polls a second, at most.
    :param at_once: nodes that are asked at the same time, at most.
    """

    def __init__(
        self,
        fleet: Fleet,
        http: Asker,
        clock: IReactorTime,
        interval: float = 3.0,
        timeout: float = 3.0,
        max_polls: int = MAX_POLLS,
        at_once: int = 1000,
    ) -> None:
        self._fleet = fleet
        self._http = http
        self._clock = clock
        self._least_interval = interval
        self._timeout = timeout
        self._max_polls = max_polls
        self._at_once = at_once
        self._known: tuple[NodeAddress, ...] = ()
        self._turns: dict[NodeAddress, _Turn] = {}
        self._round = Schedule[_Turn]()
        """When it is each node's turn again; a node that is being asked is not there."""
        self._urgent = Schedule[_Turn]()
        """When to ask those that come first."""
        self._urgent_is_next = True
        self._allowance = 0.0
        self._ticked = 0.0
        self._polls: set[Deferred[None]] = set()
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._stopped: Deferred[Any] = succeed(None)

    def startService(self) -> None:
        super().startService()
        self._ticked = self._clock.seconds() - _LONGEST_BURST
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
        return max(self._least_interval, len(self._turns) / self._max_polls)

    @property
    def _is_large(self) -> bool:
        """Whether there are more nodes than can be asked in an interval of the usual length."""
        return self._interval > self._least_interval

    def _tick(self) -> None:
        """Ask the nodes that are due. Whatever breaks, the next tick comes."""
        try:
            self._poll_due(self._clock.seconds())
        except Exception:
            log.failure("a tick of the poller broke")

    def _poll_due(self, now: float) -> None:
        """Ask the nodes that are due, as many as the time since the last tick allows."""
        self._allowance += (now - self._ticked) * self._max_polls
        self._allowance = min(self._allowance, max(1.0, self._max_polls * _LONGEST_BURST))
        self._ticked = now
        if self._fleet.addresses is not self._known:
            self._known = self._fleet.addresses
            self._give_turns(now)
        assigned = self._fleet.take_assigned()
        if self._is_large:
            self._hurry(assigned)
        while self._allowance >= 1 and len(self._polls) < self._at_once:
            turn = self._next_due(now)
            if turn is None:
                break
            self._allowance -= 1
            self._poll(turn, now)

    def _hurry(self, assigned: Iterable[NodeAddress]) -> None:
        """Let these nodes come first, each after an interval of the usual length."""
        for address in assigned:
            turn = self._turns[address]
            if turn in self._round and turn not in self._urgent:
                self._urgent.put(turn, turn.asked + self._least_interval)

    def _next_due(self, now: float) -> _Turn | None:
        """The node to ask now, if one is due; of those that come first, every other time."""
        urgent, in_turn = self._urgent.first(now), self._round.first(now)
        is_urgent = urgent is not None and (self._urgent_is_next or in_turn is None)
        self._urgent_is_next = not is_urgent
        return urgent if is_urgent else in_turn

    def _give_turns(self, now: float) -> None:
        """Give every new node a turn at once, and a phase."""
        known = set(self._known)
        for gone in self._turns.keys() - known:
            self._forget(self._turns.pop(gone))
        new = [address for address in self._known if address not in self._turns]
        for address in new:
            self._turns[address] = _Turn(address, phase=now)
        for place, address in enumerate(new):
            turn = self._turns[address]
            turn.phase += self._interval * place / len(new)
            self._urgent.put(turn, now)
        for address in self._known:
            self._turns[address].address = address
        even = self._least_interval / max(1, len(self._turns))
        self._loop.interval = min(max(even, _SHORTEST_TICK), _TICK)

    def _forget(self, turn: _Turn) -> None:
        """Let a node wait for no turn."""
        self._round.drop(turn)
        self._urgent.drop(turn)

    def _poll(self, turn: _Turn, now: float) -> None:
        """Ask one node. Whatever comes of it, it gets its next turn."""
        self._forget(turn)
        turn.asked = now
        poll: Deferred[Any] = ask(
            self._http,
            f"{turn.address.url}/info",
            self._clock,
            self._timeout,
            keep=self._interval < KEEP_ALIVE,
        ).addCallback(decode_report)
        self._polls.add(poll)
        poll.addCallbacks(
            self._answered, self._failed, callbackArgs=(turn, now), errbackArgs=(turn, now)
        )
        poll.addErrback(lambda failure: log.failure("a poll broke", failure))
        poll.addBoth(lambda _: self._polls.remove(poll))
        poll.addBoth(lambda _: self._wait(turn))

    def _wait(self, turn: _Turn) -> None:
        """Let a node that was asked wait for its next turn."""
        if self._turns.get(turn.address) is not turn:
            return  # it is gone
        now = self._clock.seconds()
        retry = _FIRST_RETRY * 2.0 ** min(turn.failures - 1, 20)
        if turn.failures and (self._is_large or retry < self._least_interval):
            self._urgent.put(turn, now + min(retry, self._interval))
        elif self._is_large:
            self._round.put(turn, turn.asked + self._interval)
        else:
            last = now if turn.failures else turn.asked
            wait = (turn.phase - last) % self._least_interval
            again = self._least_interval if wait < _SHORTEST * self._least_interval else 0
            turn.phase = last + wait + again
            self._round.put(turn, turn.phase)

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
