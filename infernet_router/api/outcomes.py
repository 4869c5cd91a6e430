"""Passes the outcomes of jobs on to the fleet, and bounds how much one client affects a node."""

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b

from twisted.web.server import Request

from infernet_router.api.decisions import UNKNOWN, Decisions
from infernet_router.fleet import Fleet, Outcome
from infernet_router.serving.errors import HTTPError

PAUSE = 5.0
"""Seconds in which one outcome of each client for each node is passed on. By default, a node
reports every 3 seconds or more often, so that its reports outweigh what one client says. It is the
first outcome, whichever that is, so that those passed on are a fair sample."""


class Outcomes:
    """
    The outcomes that clients report.

    :param client_of: identifies the client of a request, as Clients.identify does.
    :param seconds: the monotonic time, in seconds.
    """

    pass_on: Callable[[bytes, str, Outcome, bytes], bool] | None = None
    """Passes on the outcome of a decision that another router made: given the router, the id, the
    outcome and what stands for the client. Returns False if there is no such router."""

    def __init__(
        self,
        fleet: Fleet,
        decisions: Decisions,
        client_of: Callable[[Request], bytes | None],
        seconds: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._decisions = decisions
        self._client_of = client_of
        self._seconds = seconds
        self._heard: set[tuple[bytes, str]] = set()
        """What stands for a client, and a node: those for which an outcome was passed on since the
        last pause began."""
        self._until = 0.0
        """When that pause ends."""

    def tell(self, request: Request, decision: str, outcome: Outcome) -> None:
        """
        Report the outcome of the job that a decision was made for.

        :param request: the client's request.
        :param decision: the id of the decision.
        :raises HTTPError: when the id cannot be used, as in Decisions.use.
        """
        client, made_by = _short(self._client_of(request)), self._decisions.made_by(decision)
        if made_by is None:
            self._tell(client, decision, outcome)
        elif self.pass_on is None or not self.pass_on(made_by, decision, outcome, client):
            raise HTTPError(404, UNKNOWN)

    def hear(self, decision: str, outcome: Outcome, client: bytes) -> None:
        """
        Take an outcome that a client reported to another router.

        :param client: what stands for the client there.
        """
        with suppress(HTTPError):  # as the client was answered already
            self._tell(client, decision, outcome)

    def _tell(self, client: bytes, decision: str, outcome: Outcome) -> None:
        address, now = self._decisions.use(decision), self._seconds()
        if now >= self._until:
            self._heard.clear()
            self._until = now + PAUSE
        pair = client, address.url
        if pair not in self._heard:
            self._heard.add(pair)
            self._fleet.told(address, outcome)


def _short(client: bytes | None) -> bytes:
    """What stands for a client, at every router."""
    return blake2b(client or b"", digest_size=8).digest()
