"""Passes the outcomes of jobs on to the fleet, and bounds how much one client affects a node."""

from collections.abc import Callable

from twisted.web.server import Request

from infernet_router.api.decisions import Decisions
from infernet_router.fleet import Fleet, Outcome

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
        self._heard: set[tuple[bytes | None, str]] = set()
        """The clients and nodes for which an outcome was passed on since the last pause began."""
        self._until = 0.0
        """When that pause ends."""

    def tell(self, request: Request, decision: str, outcome: Outcome) -> None:
        """
        Report the outcome of the job that a decision was made for.

        :param request: the client's request.
        :param decision: the id of the decision.
        :raises HTTPError: when the id cannot be used, as in Decisions.use.
        """
        address, now = self._decisions.use(decision), self._seconds()
        if now >= self._until:
            self._heard.clear()
            self._until = now + PAUSE
        pair = self._client_of(request), address.url
        if pair not in self._heard:
            self._heard.add(pair)
            self._fleet.told(address, outcome)
