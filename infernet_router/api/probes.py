"""Probes: whether the router is alive, and whether it is ready for clients, for orchestrators."""

from collections.abc import Callable
from time import monotonic

from twisted.web.server import Request

from infernet_router.api.answers import answer
from infernet_router.api.query import Query
from infernet_router.fleet import Fleet
from infernet_router.serving.errors import RETRY_SOON, HTTPError

_PATIENCE = 5.0
"""Seconds after the start from which the router is ready in any case."""


class Readiness:
    """
    Whether the router is ready: once every node was asked and answered or failed.

    It is ready even if no node is up: all replicas would leave a load balancer at once otherwise,
    and clients would lose the error that says why there is no node.

    :param seconds: the monotonic time, in seconds.
    """

    def __init__(self, fleet: Fleet, seconds: Callable[[], float] = monotonic) -> None:
        self._fleet = fleet
        self._seconds = seconds
        self._began: float | None = None
        self._why = ""
        """Why it is ready; empty until it is, and then the same for good."""
        self.is_closing = False
        """Whether the router is shutting down."""

    def listening(self) -> None:
        """The router has started, and listens."""
        self._began = self._seconds()

    def closing(self) -> None:
        """The router begins to shut down."""
        self.is_closing = True

    @property
    def is_ready(self) -> bool:
        """Whether the router is ready."""
        try:
            self.check()
        except HTTPError:
            return False
        return True

    def check(self) -> str:
        """
        Why the router is ready.

        :raises HTTPError: 503 when it is not ready; the message says why.
        """
        if self.is_closing:
            raise HTTPError(503, "the router is shutting down", RETRY_SOON)
        if self._began is None:
            raise HTTPError(503, "the router is starting", RETRY_SOON)
        states = self._fleet.states
        here = states.up + states.suspect
        known = here + states.down + states.unknown
        if not self._why and known and not self._fleet.awaited:
            self._why = "the first polls are back"
        if not self._why and self._seconds() - self._began >= _PATIENCE:
            self._why = f"it started more than {_PATIENCE:g} seconds ago"
        if self._why:
            return f"{self._why}: {here} of {known} nodes are up"
        waiting = f"{self._fleet.awaited} of {known}" if known else "no node is known"
        raise HTTPError(503, f"the first polls are not back yet: {waiting}", RETRY_SOON)


def answer_alive(request: Request) -> bytes:
    """Answer that the router is alive: as it answers, the reactor turns."""
    return _answer(request, "alive", "the reactor turns")


def answer_ready(request: Request, readiness: Readiness) -> bytes:
    """
    Answer that the router is ready.

    :raises HTTPError: 503 when it is not.
    """
    return _answer(request, "ready", readiness.check())


def _answer(request: Request, status: str, why: str) -> bytes:
    verbose = Query(request.uri).texts("verbose")
    return answer(request, {"status": status, **({"why": why} if verbose else {})})
