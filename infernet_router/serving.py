"""Serving: listens for clients, and at the end lets go of each when it has its answer."""

from collections.abc import Iterable
from typing import Any

from twisted.application.service import MultiService
from twisted.application.strports import service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from infernet_router.quoting import quoted

_LINGER = 0.1
"""Seconds at the end in which a request that is on its way is still answered."""

_GRACE = 0.7
"""Seconds at the end that requests in flight have, before their connections are closed."""


class CannotServe(Exception):
    """An endpoint cannot be listened on; the message says which and why."""


class _Channel(HTTPChannel):
    """One client's connection."""

    factory: "ClosableSite"

    def connectionMade(self) -> None:
        self.factory.opened(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.factory.lost(self)

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        if self.factory.closing:
            request.responseHeaders.setRawHeaders(b"connection", [b"close"])
            return False
        return bool(super().checkPersistence(request, version))


class ClosableSite(Site):
    """
    A site that can be closed. It keeps no access log, whose format costs a tenth of a request.

    :param clock: times connections that idle, and the closing.
    """

    protocol = _Channel  # type: ignore[assignment]
    noisy = False

    def __init__(self, resource: Resource, clock: IReactorTime) -> None:
        super().__init__(resource, reactor=clock)
        self.closing = False
        self._channels: set[_Channel] = set()
        self._emptied: Deferred[None] = Deferred()

    def log(self, request: Request) -> None:
        """Log nothing."""

    def opened(self, channel: _Channel) -> None:
        """A client connected."""
        self._channels.add(channel)

    def lost(self, channel: _Channel) -> None:
        """A client's connection ended."""
        self._channels.discard(channel)
        if self.closing and not self._channels:
            self._emptied.callback(None)

    async def close(self) -> None:
        """
        End every connection: one with a request in flight when that is answered.

        In flight are also the requests that begin to arrive within a tenth of a second.
        """
        self.closing = True
        if not self._channels:
            return
        self._emptied.addTimeout(_LINGER + _GRACE, self.reactor, lambda *_: None)
        for channel in self._channels:
            if channel.requests:
                channel.persistent = False
        await deferLater(self.reactor, _LINGER)
        for channel in tuple(self._channels):
            if not channel.requests:
                channel.loseConnection()
        await self._emptied
        for channel in self._channels:
            channel.forceAbortClient()


class Server(MultiService):
    """
    Serves a site on endpoints, until it is stopped and the requests in flight are answered.

    :param endpoints: Twisted server endpoint descriptions, such as `tcp:4000`.
    :raises CannotServe: when one of them describes none.
    """

    def __init__(self, site: ClosableSite, endpoints: Iterable[str], reactor: Any) -> None:
        super().__init__()
        self._site = site
        self._endpoints = tuple(endpoints)
        for endpoint in self._endpoints:
            try:
                self.addService(service(endpoint, site, reactor))
            except Exception as error:  # each kind of endpoint raises what it likes
                unknown = endpoint.startswith("systemd:") and isinstance(error, LookupError)
                why = "systemd passed no such socket" if unknown else error
                raise CannotServe(f"cannot listen on {quoted(endpoint)}: {why}") from None

    def privilegedStartService(self) -> None:
        """
        Listen.

        :raises CannotServe: when an endpoint cannot be listened on.
        """
        for endpoint, listener in zip(self._endpoints, self, strict=True):
            try:
                listener.privilegedStartService()
            except Exception as error:  # each kind of endpoint raises what it likes
                cause = error.socketError if isinstance(error, CannotListenError) else error
                why = getattr(cause, "strerror", None) or cause
                raise CannotServe(f"cannot listen on {quoted(endpoint)}: {why}") from None

    def stopService(self) -> Deferred[None]:
        """Listen no more, and close the site."""
        stopped: Deferred[Any] = super().stopService()
        return stopped.addCallback(lambda _: Deferred.fromCoroutine(self._site.close()))
