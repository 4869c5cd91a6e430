"""Resources: what the containers of each node say about themselves, asked at long intervals."""

import sys
from random import Random
from typing import Any

import msgspec
from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Event, Fleet
from infernet_router.nodes.asking import Asker, NoAnswer, ask
from infernet_router.nodes.pace import Paces
from infernet_router.nodes.rounds import Rounds, Target
from infernet_router.nodes.utilization import utilization

_MAX_BYTES = 64 * 1024
"""The longest answer that is read and kept, in bytes; a container needs about a thousand."""

_MAX_LEVELS = 32
"""How deep an answer may be nested, so that every client can parse it."""

_LARGEST = sys.float_info.max
"""The largest integer in an answer, in absolute value: many clients read all numbers as floats."""

_TIMEOUT = 10.0
"""Seconds a node has for its answer: it waits for the slowest of its containers."""

_BURST = 0.2
"""Seconds' worth of requests that may be sent at once: two ticks, in case one is late."""

_STALE_AFTER = 3
"""How many intervals the last answer of a node is kept while newer requests fail."""

_TOO_DEEP = f"they are nested more than {_MAX_LEVELS} levels deep"

log = Logger()


class _Target(Target):
    """When one node is asked next, and its last answer."""

    __slots__ = ("answered", "containers", "due", "is_asked", "problem", "said", "was_asked")

    def __init__(self, address: NodeAddress) -> None:
        super().__init__(address)
        self.due = 0.0
        """When it is asked next, if it is up then."""
        self.is_asked = False
        """Whether a request is in flight."""
        self.was_asked = False
        """Whether it was ever asked."""
        self.answered = 0.0
        """When the request for its last answer was sent."""
        self.said: msgspec.Raw | None = None
        self.containers: frozenset[str] = frozenset()
        """The containers that said something last."""
        self.problem = ""
        """Why its last request failed; empty if it succeeded."""


class Resources(Rounds[_Target]):
    """
    Keeps what the containers of each up node say about themselves, and updates the nodes'
    utilization in the fleet.

    Each node is asked when it comes up, and then once an interval, with the targets spread over the
    interval. An answer is kept until the next one, or until requests have failed for three
    intervals. A node may not have this route, so a failure here does not mean that it is down. With
    more nodes than may be asked in an interval, the interval is longer.

    :param http: treq's HTTPClient, or a StubTreq.
    :param random: spreads the targets.
    :param interval: seconds from one request to a node to the next, at least.
    :param max_questions: the most nodes that are asked in a second.
    :param at_once: the most nodes that are asked at the same time.
    :param paces: when nodes that limit the rate of requests may be asked.
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
        paces: Paces | None = None,
    ) -> None:
        super().__init__(
            fleet, clock, interval=interval, rate=max_questions, at_once=at_once, burst=_BURST
        )
        self._http = http
        self._random = random
        self._paces = paces or Paces()

    def said(self, address: NodeAddress) -> msgspec.Raw | None:
        """The last answer of a node, a JSON object by container; None if there is none."""
        target = self.target_of(address)
        return None if target is None else target.said

    def new_target(self, address: NodeAddress) -> _Target:
        return _Target(address)

    def changed(self, target: _Target, event: Event, now: float) -> None:
        """Schedule a node that came up, and not one that went down."""
        if event is Event.DOWN:
            self.throttle.drop(target)
        elif not target.is_asked:
            self.throttle.put(target, max(now, target.due))

    def ask(self, target: _Target, now: float) -> Deferred[Any]:
        """Ask a node when it may be asked, and schedule it again whether or not it answers."""
        if (until := self._paces.others_until(target.address)) > now:
            target.due = until
            return succeed(self._schedule(None, target))
        target.due = now + self.interval * (
            1.0 if target.was_asked else 0.5 + self._random.random()
        )
        target.was_asked = target.is_asked = True
        question: Deferred[Any] = ask(
            self._http, f"{target.address.url}/resources", self._clock, _TIMEOUT, _MAX_BYTES
        ).addCallback(_decode)
        question.addCallbacks(
            self._answered, self._failed, callbackArgs=(target, now), errbackArgs=(target, now)
        )
        return question.addBoth(self._schedule, target)

    def _schedule(self, result: object, target: _Target) -> object:
        """Schedule a node that was asked again."""
        target.is_asked = False
        if self.is_known(target) and self._fleet.is_up(target.address):
            self.throttle.put(target, target.due)
        return result

    def _answered(self, said: "_Said", target: _Target, asked: float) -> None:
        target.said = said.json
        target.answered = asked
        target.problem = ""
        silent = target.containers - said.containers
        target.containers = said.containers
        if silent and self.is_known(target):
            self._fleet.suspected(target.address, silent)
        self._set_utilization(target, said.utilization)

    def _failed(self, failure: Failure, target: _Target, asked: float) -> None:
        """Log a new problem, unless the node is down: the poller logs that."""
        failure.trap(NoAnswer)
        if not self.running:
            return
        if isinstance(failure.value, NoAnswer) and failure.value.status == 429:
            now = self._fleet.now
            self._paces.refused(target.address, failure.value.limit, now)
        if asked - target.answered > _STALE_AFTER * self.interval:
            target.said = None
            self._set_utilization(target, None)
        if not target.problem and self._fleet.is_up(target.address):
            log.warn(
                "{node} does not say what its resources are: {reason}",
                event="node.resources",
                node=target.address,
                reason=failure.value,
            )
        target.problem = str(failure.value)

    def _set_utilization(self, target: _Target, share: float | None) -> None:
        """Update a node's utilization in the fleet; log when it becomes full, or no longer is."""
        is_full = self._fleet.utilized(target.address, share) if self.is_known(target) else None
        if is_full is None:
            return
        log.info(
            "{node} {change}: {reason}",
            event="node.full" if is_full else "node.not_full",
            node=target.address,
            change="is full" if is_full else "is not full any more",
            reason="it does not say how much of its GPU memory is in use"
            if share is None
            else f"{share:.1%} of its GPU memory is in use",
        )


@frozen
class _Said:
    """An answer to GET /resources."""

    json: msgspec.Raw
    """As received."""
    containers: frozenset[str]
    """Those that said anything."""
    utilization: float | None


def _decode(body: bytes) -> _Said:
    """
    Decode an answer to GET /resources: a JSON object of objects.

    :raises NoAnswer: when it is anything else, or exceeds a limit.
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
    return _Said(msgspec.Raw(body), frozenset(resources), utilization(resources))


def _check_limits(resources: dict[str, dict[str, Any]]) -> None:
    """Refuse an answer that some clients could not parse."""
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
