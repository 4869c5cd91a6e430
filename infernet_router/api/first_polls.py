"""First polls: holds requests until the first reports of the nodes are there."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from infernet_router.fleet import Fleet, NoNode, States, Steps
from infernet_router.process.turns import Turns

_PATIENCE = 1.0
"""Seconds for which a request is held, at most."""

_PAUSE = 0.01
"""Seconds between two looks for nodes that came up."""

_MOST = 5000
"""The most requests that are held at the same time; others are answered at once."""

Attempt = Callable[[bool], Any]
"""Answers a request, now or in a Deferred; raises NoNode when no node can do the job. The argument
is true in the last attempt, where NoNode becomes the answer."""


class FirstPolls(Service):
    """
    Holds requests that have no candidate, while some nodes have not answered their first poll.

    A request is held for a second at most, and answered as soon as there is a candidate. In the
    first second after the start, an empty fleet holds requests too: a source may not have answered.

    :param turns: retries the held requests in slices, as there may be thousands.
    """

    def __init__(self, fleet: Fleet, clock: IReactorTime, turns: Turns) -> None:
        self._fleet = fleet
        self._clock = clock
        self._turns = turns
        self._began = 0.0
        self._held: dict[tuple[str, ...], dict[Deferred[None], float]] = {}
        """By containers: the requests, each with the time until which it is held."""
        self._count = 0
        self._is_looking = False

    def startService(self) -> None:
        super().startService()
        self._began = self._clock.seconds()

    def stopService(self) -> None:
        """Answer all requests that are held."""
        super().stopService()
        for held in tuple(self._held.values()):
            for ready in tuple(held):
                ready.callback(None)

    @property
    def are_out(self) -> bool:
        """Whether some nodes have not answered their first poll, or may not be known yet."""
        is_new = self._clock.seconds() < self._began + _PATIENCE
        is_empty = is_new and self._fleet.states == _EMPTY
        return bool(self.running and (self._fleet.awaited or is_empty))

    def hold(self, containers: tuple[str, ...], attempt: Attempt) -> Deferred[Any]:
        """
        The answer to a request; a Deferred that fires later if there is no candidate yet.

        :param containers: those of the job.
        """
        return self._try(containers, attempt, self._clock.seconds() + _PATIENCE)

    def _try(self, containers: tuple[str, ...], attempt: Attempt, until: float) -> Deferred[Any]:
        """Answer a request, or hold it until this time."""

        def wait(failure: Failure) -> Deferred[Any]:
            failure.trap(NoNode)
            ready: Deferred[None] = Deferred()
            held = self._held.setdefault(containers, {})
            held[ready] = until
            self._count += 1
            ready.addBoth(self._let_go, containers, ready)
            if not self._is_looking:
                self._is_looking = True
                self._clock.callLater(_PAUSE, self._look)
            return ready.addCallback(lambda _: self._try(containers, attempt, until))

        is_last = self._count >= _MOST or not self.are_out or self._clock.seconds() >= until
        tried: Deferred[Any] = maybeDeferred(attempt, is_last)
        return tried if is_last else tried.addErrback(wait)

    def _let_go(self, result: object, containers: tuple[str, ...], ready: Deferred[None]) -> object:
        """Forget a request: it is tried again, or its client is gone."""
        self._count -= 1
        del self._held[containers][ready]
        if not self._held[containers]:
            del self._held[containers]
        return result

    def _look(self) -> None:
        """Look now, and again after a pause while requests are held."""

        def again(_: object) -> None:
            self._is_looking = bool(self._held)
            if self._held:
                self._clock.callLater(_PAUSE, self._look)

        maybeDeferred(self._turns.run, self._retry()).addCallback(again)

    def _retry(self) -> Steps[None]:
        """Retry the requests that have a candidate now, or whose time is up."""
        for containers in tuple(self._held):
            can = self._fleet.can(containers) or not self.are_out
            yield
            for ready, until in tuple(self._held.get(containers, {}).items()):
                if not ready.called and (can or self._clock.seconds() >= until):
                    ready.callback(None)
                    yield


_EMPTY = States(up=0, suspect=0, down=0, unknown=0)
