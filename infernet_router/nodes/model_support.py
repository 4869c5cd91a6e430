"""Model support: asks the nodes whether they support a model, and remembers their answers."""

from collections.abc import Hashable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Among, Fleet
from infernet_router.nodes.allowance import Allowance, Exceeded
from infernet_router.nodes.asking import Asker, NoAnswer, ask
from infernet_router.nodes.pace import Paces
from infernet_router.nodes.throttle import Throttle
from infernet_router.quoting import quoted

_PATIENCE = 2.0
"""Seconds after which a survey is settled: infernet-client has a timeout of 3 for the whole
response, and a busy router needs some of them."""

_TIMEOUT = 10.0
"""Seconds a node has for its answer; one that is too late for this client serves the next."""

_FRESH = 60.0
"""Seconds for which a survey is fresh; for as long again, it is used while a new one is made."""

_RETRY = 15.0
"""Seconds for which a survey without any answers is used, so that failing ones remain few."""

_A_MINUTE = 50
"""The surveys that may be begun at once, and then in a minute; a node answers 60 such requests at
once, and then as many in a minute."""

_MAX_BODY = 16 * 1024
"""The longest answer of a node that is read, in bytes; a container needs about 30."""

_MAX_ERROR = 500
"""The most characters of a container's error message that are passed on."""

_MAX_KEPT = 16 * 1024 * 1024
"""The most memory for settled surveys, in bytes."""

_OVERHEAD = 200
"""About how many bytes an answer takes in memory, in addition to its text."""

_EMPTY = 2000
"""About how many bytes a survey takes in memory, in addition to its answers."""


class CannotSurvey(Exception):
    """
    The nodes cannot be asked about a model now; the message says why.

    :param wait: seconds after which they may be.
    :param is_share: whether that is because the client has asked about many models.
    """

    def __init__(self, why: str, *, wait: int = 1, is_share: bool = False) -> None:
        super().__init__(why)
        self.wait = wait
        self.is_share = is_share


class _Support(msgspec.Struct, omit_defaults=True):
    """What a container says about a model."""

    supported: bool
    error: str | None = None


_decoder = msgspec.json.Decoder(dict[str, _Support])


class Survey:
    """
    What the nodes have said about one model so far.

    :param began: when the survey began, in seconds.
    :param nodes: the nodes to ask.
    """

    def __init__(self, model: str, began: float, nodes: Sequence[NodeAddress]) -> None:
        self.model = model
        self.began = began
        self.unasked = list(reversed(nodes))
        """The nodes that have not been asked yet, the next one last."""
        self.asked = 0
        """How many nodes are being asked now."""
        self.answers: dict[NodeAddress, msgspec.Raw] = {}
        """By node, a JSON object: by container, whether it supports the model."""
        self.size = _EMPTY
        """About how much memory it takes, in bytes."""
        self.deadline: IDelayedCall | None = None
        """When it is settled at the latest; None once it is settled."""
        self._count = len(nodes)
        self._supporting: dict[str, list[NodeAddress]] = {}
        """By container, the nodes that support the model there."""
        self._supported: dict[NodeAddress, list[str]] = {}
        """By node, the containers that support the model."""
        self._supporters: list[NodeAddress] = []
        """The nodes of these."""
        self._waiting: set[Deferred[Survey]] = set()

    def among(self, containers: Sequence[str]) -> Among:
        """The nodes that support the model in one of these containers."""
        silent = self._count - len(self.answers)
        why = (
            f"no up node is known to support the model {quoted(self.model)}"
            f" in {' or '.join(map(quoted, containers))}"
            + (f"; {silent} of {self._count} did not say" if silent else "")
        )
        found = [id for id in containers if id in self._supporting]
        if len(found) <= 1:
            return Among(self._supporting[found[0]] if found else (), why)
        any_of, supported = set(found), self._supported
        return Among(
            self._supporters, why, lambda address: not any_of.isdisjoint(supported[address])
        )

    def add(self, address: NodeAddress, body: bytes) -> None:
        """
        Add the answer of a node.

        :raises NoAnswer: when it is malformed.
        """
        answer = _decode(body)
        for support in answer.values():
            if support.error is not None:
                support.error = support.error[:_MAX_ERROR]
        if supported := [id for id, support in answer.items() if support.supported]:
            self._supported[address] = supported
            self._supporters.append(address)
        for container in supported:
            self._supporting.setdefault(container, []).append(address)
        self.answers[address] = msgspec.Raw(msgspec.json.encode(answer))
        self.size += len(self.answers[address]) + _OVERHEAD * (1 + len(answer))

    def wait(self) -> "Deferred[Survey]":
        """Fires with this survey once it is settled."""
        if self.deadline is None:
            return succeed(self)
        settled: Deferred[Survey] = Deferred(self._waiting.discard)
        self._waiting.add(settled)
        return settled

    def settle(self) -> None:
        """Fire the Deferreds of those who wait; answers may still be added."""
        if self.deadline is not None and self.deadline.active():
            self.deadline.cancel()
        self.deadline = None
        while self._waiting:
            self._waiting.pop().callback(self)


class Surveyor(Service):
    """
    Asks the nodes that are up about a model when a client needs it, and remembers their answers.

    A survey is settled when every node has answered, or after 2 seconds; later answers are added.
    It is used for a minute, and for another minute while a new one is made, so clients do not wait
    for a model in regular use. A node that comes up is asked in the next survey.

    A node that does not answer now may do so later: a survey without any answers is used for 15
    seconds only.

    Surveys take turns in asking nodes, so that none waits until another has ended. How many may
    begin is shared among clients.

    :param http: treq's HTTPClient, or a StubTreq.
    :param at_once: the most nodes that are asked at the same time.
    :param paces: when nodes that limit the rate of requests may be asked; until then, they are
        left out.
    """

    def __init__(
        self,
        fleet: Fleet,
        http: Asker,
        clock: IReactorTime,
        *,
        at_once: int = 64,
        paces: Paces | None = None,
    ) -> None:
        self._fleet = fleet
        self._http = http
        self._clock = clock
        self._at_once = at_once
        self._paces = paces or Paces()
        self._unsettled: dict[str, Survey] = {}
        self._settled: dict[str, Survey] = {}
        """By model; the most recently used survey is last."""
        self._allowance = Allowance(_A_MINUTE)

    def startService(self) -> None:
        super().startService()
        self._throttle = Throttle(lambda: self._fleet.now, self._ask_next, at_once=self._at_once)

    def stopService(self) -> Deferred[Any]:
        """Stop asking; those who wait for a survey get the answers so far."""
        super().stopService()
        stopped = self._throttle.stop()
        for survey in tuple(self._unsettled.values()):
            self._settle(survey)
        return stopped

    def survey(self, model: str, client: Hashable = None) -> Deferred[Survey]:
        """
        What the nodes say about a model; fires within 2 seconds.

        :param client: who wants to know.
        :raises CannotSurvey: immediately, when the nodes cannot be asked.
        """
        now = self._fleet.now
        settled = self._settled.pop(model, None)
        if settled is not None:
            age, fresh = now - settled.began, _FRESH if settled.answers else _RETRY
            is_usable = age <= (2 * _FRESH if settled.answers else _RETRY)
            if is_usable:
                self._settled[model] = settled
                if age > fresh and model not in self._unsettled:
                    with suppress(CannotSurvey):
                        self._begin(model, client, now)
                return succeed(settled)
        return (self._unsettled.get(model) or self._begin(model, client, now)).wait()

    def _begin(self, model: str, client: Hashable, now: float) -> Survey:
        """Begin to ask all nodes that are up."""
        if not self.running:
            raise CannotSurvey("the router is shutting down")
        nodes = [node for node in self._fleet.up if self._paces.others_until(node) <= now]
        if not nodes:
            return Survey(model, now, nodes)
        try:
            self._allowance.take(client, model, now)
        except Exceeded as exceeded:
            raise _refusal(exceeded) from None
        survey = self._unsettled[model] = Survey(model, now, nodes)
        survey.deadline = self._clock.callLater(_PATIENCE, self._settle, survey)
        self._throttle.put(survey, now)
        self._throttle.ask_due()
        return survey

    def _ask_next(self, survey: Survey, now: float) -> Deferred[Any]:
        """Ask the next node of a survey, which then waits for its next turn."""
        address = survey.unasked.pop()
        if survey.unasked:
            self._throttle.put(survey, now)
        survey.asked += 1
        url = f"{address.url}/resources?model_id={quote(survey.model, safe='')}"
        asked: Deferred[Any] = ask(self._http, url, self._clock, _TIMEOUT, _MAX_BODY)
        asked.addCallback(partial(survey.add, address))
        asked.addErrback(self._failed, address)
        return asked.addBoth(self._asked, survey)

    def _failed(self, failure: Failure, address: NodeAddress) -> None:
        """Record whether the node limits the rate of requests; otherwise, it just did not say."""
        failure.trap(NoAnswer)
        if isinstance(failure.value, NoAnswer) and failure.value.status == 429:
            self._paces.refused(address, failure.value.limit, self._fleet.now)

    def _asked(self, result: object, survey: Survey) -> object:
        """Settle the survey if this was its last node; end it if it takes too long."""
        survey.asked -= 1
        if not self.running or self._fleet.now - survey.began > _FRESH:
            self._throttle.drop(survey)
            survey.unasked.clear()
        if not survey.asked and not survey.unasked and survey.deadline is not None:
            self._settle(survey)
        return result

    def _settle(self, survey: Survey) -> None:
        """Settle a survey, and keep it."""
        del self._unsettled[survey.model]
        self._settled.pop(survey.model, None)
        self._settled[survey.model] = survey
        size = sum(kept.size for kept in self._settled.values())
        while size > _MAX_KEPT and len(self._settled) > 1:
            size -= self._settled.pop(next(iter(self._settled))).size
        survey.settle()


def _refusal(exceeded: Exceeded) -> CannotSurvey:
    """The error for a client, which says which limit was met."""
    if exceeded.left:
        return CannotSurvey(
            f"this client asks about too many models: {exceeded.asked} new ones within a minute,"
            f" while nodes can be asked about {exceeded.left} more",
            wait=exceeded.wait,
            is_share=True,
        )
    return CannotSurvey(
        "nodes are asked about too many models:"
        f" all clients together may name {_A_MINUTE} new ones a minute",
        wait=exceeded.wait,
    )


def _decode(body: bytes) -> dict[str, _Support]:
    """
    Decode an answer to GET /resources?model_id=….

    :raises NoAnswer: when it is malformed.
    """
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NoAnswer("it does not say whether it supports a model") from None
