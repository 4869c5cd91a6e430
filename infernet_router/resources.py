"""The resources: what the containers of each node say of themselves, asked in a slow cycle."""

import sys
from random import Random
from typing import Any

import msgspec
from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.asking import Asker, NoAnswer, ask
from infernet_router.fleet import Fleet
from infernet_router.schedule import Schedule
from infernet_router.utilization import utilization

_MAX_BYTES = 64 * 1024
"""The most that is kept of one node, in bytes; a container says about a thousand of itself."""

_MAX_LEVELS = 32
"""How deep an answer may be nested, so that whoever asks the router can read it."""

_LARGEST = sys.float_info.max
"""The largest whole number in an answer, up or down, for the same reason: many read all numbers as
floats."""

_TIMEOUT = 10.0
"""Seconds a node has for its answer: it waits for the slowest of its containers."""

_TICK = 0.2
"""Seconds from one look for nodes that are due to the next."""

_MAX_QUESTIONS = 50
"""Nodes that are asked a second, at most, unless it is said otherwise."""

_NOT_UP = 1.0
"""Seconds until it is looked again whether a node is up by now."""

_STALE_AFTER = 3
"""Intervals for which what a node said last is kept while it gives no other answer."""

_TOO_DEEP = f"they are nested more than {_MAX_LEVELS} levels deep"

log = Logger()


class _Turn:
    """When one node is asked next, and what it said last."""

    __slots__ = ("address", "answered", "asked", "problem", "said")

    def __init__(self, address: NodeAddress) -> None:
        self.address = address
        self.asked = False
        """Whether it was ever asked."""
        self.answered = 0.0
        """When it was asked for what it said last."""
        self.said: msgspec.Raw | None = None
        self.problem = ""
        """Why there was no answer last time, if there was none."""


class Resources(Service):
    """
    Keeps what the containers of each node that is up say of themselves, and tells the fleet how
    full that makes it.

    Each node is asked when it comes up, and then once an interval, the turns spread over it. What
    a node said is kept until it says something else, or has failed to for three intervals. A node
    may not know the question, so to fail at it says nothing of the node. With more nodes than may
    be asked in an interval, it is longer.

    :param http: treq's HTTPClient, or a StubTreq.
    :param random: spreads the turns.
    :param interval: seconds from one question to a node to the next, at least.
    :param max_questions: nodes asked a second, at most.
    :param at_once: nodes that are asked at the same time, at most.
    """

    def __init__(
        self,
        fleet: Fleet,
        http: Asker,
        clock: IReactorTime,
        random: Random,
        interval: float = 60.0,
        max_questions: float = _MAX_QUESTIONS,
        at_once: int = 64,
    ) -> None:
        self._fleet = fleet
        self._http = http
        self._clock = clock
        self._random = random
        self._least_interval = interval
        self._max_questions = max_questions
        self._at_once = at_once
        self._known: tuple[NodeAddress, ...] = ()
        self._turns: dict[NodeAddress, _Turn] = {}
        self._schedule = Schedule[_Turn]()
        self._allowance = 0.0
        self._questions: set[Deferred[Any]] = set()
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._stopped: Deferred[Any] = succeed(None)

    def said(self, address: NodeAddress) -> msgspec.Raw | None:
        """What a node said last: an object, by container, in JSON; None while that is not known."""
        turn = self._turns.get(address)
        return None if turn is None else turn.said

    @property
    def _interval(self) -> float:
        """Seconds from one question to a node to the next, for a fleet of this size."""
        return max(self._least_interval, len(self._turns) / self._max_questions)

    def startService(self) -> None:
        super().startService()
        self._stopped = self._loop.start(_TICK)

    def stopService(self) -> Deferred[Any]:
        """Stop asking; fires when the questions in flight are cancelled."""
        super().stopService()
        self._loop.stop()
        questions = tuple(self._questions)
        for question in questions:
            question.cancel()
        return DeferredList([self._stopped, *questions])

    def _tick(self) -> None:
        """Ask the nodes that are due. Whatever breaks, the next tick comes."""
        try:
            self._ask_due(self._clock.seconds())
        except Exception:
            log.failure("a tick of the resources broke")

    def _ask_due(self, now: float) -> None:
        """Ask the nodes that are due and up, as many as may be asked in a tick."""
        if self._fleet.addresses is not self._known:
            self._known = self._fleet.addresses
            self._give_turns(now)
        most = max(1.0, self._max_questions * _TICK)
        self._allowance = min(self._allowance + self._max_questions * _TICK, most)
        while self._allowance >= 1 and len(self._questions) < self._at_once:
            turn = self._schedule.first(now)
            if turn is None:
                break
            self._schedule.drop(turn)
            if self._fleet.is_up(turn.address):
                self._allowance -= 1
                self._ask(turn, now)
            else:
                self._schedule.put(turn, now + _NOT_UP)

    def _give_turns(self, now: float) -> None:
        """Give every new node a turn, and forget those that are gone."""
        known = dict.fromkeys(self._known)
        for gone in self._turns.keys() - known.keys():
            self._schedule.drop(self._turns.pop(gone))
        for address in known:
            turn = self._turns.get(address)
            if turn is None:
                turn = self._turns[address] = _Turn(address)
                self._schedule.put(turn, now)
            turn.address = address

    def _ask(self, turn: _Turn, now: float) -> None:
        """Ask one node. Whatever comes of it, it gets its next turn."""
        wait = self._interval * (1.0 if turn.asked else 0.5 + self._random.random())
        turn.asked = True
        question: Deferred[Any] = ask(
            self._http, f"{turn.address.url}/resources", self._clock, _TIMEOUT, _MAX_BYTES
        ).addCallback(_decode)
        self._questions.add(question)
        question.addCallbacks(
            self._answered, self._failed, callbackArgs=(turn, now), errbackArgs=(turn, now)
        )
        question.addErrback(lambda failure: log.failure("a question for resources broke", failure))
        question.addBoth(lambda _: self._questions.remove(question))
        question.addBoth(lambda _: self._wait(turn, now + wait))

    def _wait(self, turn: _Turn, due: float) -> None:
        """Let a node that was asked wait for its next turn."""
        if self._is_known(turn):
            self._schedule.put(turn, due)

    def _is_known(self, turn: _Turn) -> bool:
        """Whether the node whose turn this is still counts."""
        return self._turns.get(turn.address) is turn

    def _answered(self, said: "_Said", turn: _Turn, asked: float) -> None:
        turn.said = said.json
        turn.answered = asked
        turn.problem = ""
        self._tell(turn, said.utilization)

    def _failed(self, failure: Failure, turn: _Turn, asked: float) -> None:
        """A problem is logged when it is new; that a node is down is the poller's to say."""
        failure.trap(NoAnswer)
        if not self.running:
            return
        if asked - turn.answered > _STALE_AFTER * self._interval:
            turn.said = None
            self._tell(turn, None)
        if not turn.problem and self._fleet.is_up(turn.address):
            log.warn(
                "{address} does not say what its resources are: {reason}",
                address=turn.address,
                reason=failure.value,
            )
        turn.problem = str(failure.value)

    def _tell(self, turn: _Turn, share: float | None) -> None:
        """Tell the fleet how much of a node is in use; what that changes is logged."""
        if not self._is_known(turn) or not self._fleet.utilized(turn.address, share):
            return
        log.info(
            "{address} {change}: {reason}",
            address=turn.address,
            change="is full" if self._fleet.is_full(turn.address) else "is not full any more",
            reason="it does not say how much of its GPU memory is in use"
            if share is None
            else f"{share:.1%} of its GPU memory is in use",
        )


@frozen
class _Said:
    """An answer to GET /resources."""

    json: msgspec.Raw
    """As it came."""
    utilization: float | None


def _decode(body: bytes) -> _Said:
    """
    An answer to GET /resources, once it is known to be an object of objects in JSON.

    :raises NoAnswer: when it is anything else, or passes a limit.
    """
    try:
        resources = msgspec.json.decode(body, type=dict[str, dict[str, Any]])
    except msgspec.ValidationError:
        raise NoAnswer("they are not an object of objects, by container") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NoAnswer("they are not JSON") from None
    except RecursionError:
        raise NoAnswer(_TOO_DEEP) from None
    _check_limits(resources)
    return _Said(msgspec.Raw(body), utilization(resources))


def _check_limits(resources: dict[str, dict[str, Any]]) -> None:
    """Refuse what others may fail to read."""
    values: list[Any] = [resources]
    for level in range(_MAX_LEVELS + 1):
        inner: list[Any] = []
        for value in values:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif type(value) is int and abs(value) > _LARGEST:
                raise NoAnswer("they have a number that is out of range")
            else:
                continue
            if level == _MAX_LEVELS:
                raise NoAnswer(_TOO_DEEP)
        values = inner
