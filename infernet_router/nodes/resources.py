"""The resources: what the containers of each node say of themselves, asked in a slow cycle."""

import sys
from random import Random
from typing import Any

import msgspec
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Event, Fleet
from infernet_router.nodes.asking import Asker, NoAnswer, ask
from infernet_router.nodes.rounds import Rounds, Turn
from infernet_router.nodes.utilization import utilization

_MAX_BYTES = 64 * 1024
"""The most that is kept of one node, in bytes; a container says about a thousand of itself."""

_MAX_LEVELS = 32
"""How deep an answer may be nested, so that whoever asks the router can read it."""

_LARGEST = sys.float_info.max
"""The largest whole number in an answer, up or down, for the same reason: many read all numbers as
floats."""

_TIMEOUT = 10.0
"""Seconds a node has for its answer: it waits for the slowest of its containers."""

_BURST = 0.2
"""Seconds' worth of questions that may be asked at once: two ticks, so that none is missed."""

_STALE_AFTER = 3
"""Intervals for which what a node said last is kept while it gives no other answer."""

_TOO_DEEP = f"they are nested more than {_MAX_LEVELS} levels deep"

log = Logger()


class _Turn(Turn):
    """When one node is asked next, and what it said last."""

    __slots__ = ("answered", "due", "is_asked", "problem", "said", "was_asked")

    def __init__(self, address: NodeAddress) -> None:
        super().__init__(address)
        self.due = 0.0
        """When it is asked next, if it is up then."""
        self.is_asked = False
        """Whether its answer is awaited."""
        self.was_asked = False
        """Whether it was ever asked."""
        self.answered = 0.0
        """When it was asked for what it said last."""
        self.said: msgspec.Raw | None = None
        self.problem = ""
        """Why its last answer could not be used; empty if it could."""


class Resources(Rounds[_Turn]):
    """
    Keeps what the containers of each node that is up say of themselves, and tells the fleet how
    full that makes it.

    Each node is asked when it comes up, and then once an interval, the turns spread over it. What
    a node said is kept until it says something else, or has failed to for three intervals. A node
    may not know the question, so a failure here says nothing of the node. With more nodes than may
    be asked in an interval, it is longer.

    :param http: treq's HTTPClient, or a StubTreq.
    :param random: spreads the turns.
    :param interval: seconds from one question to a node to the next, at least.
    :param max_questions: the most nodes that are asked in a second.
    :param at_once: the most nodes that are asked at the same time.
    """

    def __init__(
        self,
        fleet: Fleet,
        http: Asker,
        clock: IReactorTime,
        random: Random,
        *,
        interval: float = 60.0,
        max_questions: float = 50.0,
        at_once: int = 64,
    ) -> None:
        super().__init__(
            fleet, clock, interval=interval, rate=max_questions, at_once=at_once, burst=_BURST
        )
        self._http = http
        self._random = random

    def said(self, address: NodeAddress) -> msgspec.Raw | None:
        """What a node said last: an object, by container, in JSON; None while that is not known."""
        turn = self.turn_of(address)
        return None if turn is None else turn.said

    def new_turn(self, address: NodeAddress) -> _Turn:
        return _Turn(address)

    def changed(self, turn: _Turn, event: Event, now: float) -> None:
        """A node waits for its turn while it is up."""
        if event is Event.DOWN:
            self.throttle.drop(turn)
        elif not turn.is_asked:
            self.throttle.put(turn, max(now, turn.due))

    def ask(self, turn: _Turn, now: float) -> Deferred[Any]:
        """Ask one node. Whatever comes of it, it gets its next turn."""
        turn.due = now + self.interval * (1.0 if turn.was_asked else 0.5 + self._random.random())
        turn.was_asked = turn.is_asked = True
        question: Deferred[Any] = ask(
            self._http, f"{turn.address.url}/resources", self._clock, _TIMEOUT, _MAX_BYTES
        ).addCallback(_decode)
        question.addCallbacks(
            self._answered, self._failed, callbackArgs=(turn, now), errbackArgs=(turn, now)
        )
        return question.addBoth(self._schedule, turn)

    def _schedule(self, result: object, turn: _Turn) -> object:
        """Arrange the next turn of a node that was asked."""
        turn.is_asked = False
        if self.is_known(turn) and self._fleet.is_up(turn.address):
            self.throttle.put(turn, turn.due)
        return result

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
        if asked - turn.answered > _STALE_AFTER * self.interval:
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
        is_full = self._fleet.utilized(turn.address, share) if self.is_known(turn) else None
        if is_full is None:
            return
        log.info(
            "{address} {change}: {reason}",
            address=turn.address,
            change="is full" if is_full else "is not full any more",
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
