"""Serving: listens for clients, and at the end lets go of each when it has its answer."""

from collections.abc import Iterable
from typing import Any

from twisted.application.service import MultiService
from twisted.application.strports import service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from infernet_router.channel import Channel, ChannelSite
from infernet_router.quoting import quoted

_LINGER = 0.1
"""Seconds at the end in which a request that is on its way is still answered."""

_GRACE = 0.7
"""Seconds at the end that requests in flight have, before their connections are closed."""

_MOST_TURNED_AWAY = 100
"""Connections for clients that are told to come again: each for a few seconds at most."""

_ROOM = 0.9
"""Share of the connections under which there is room again, lest the log has a line for each."""

log = Logger()


class CannotServe(Exception):
    """An endpoint cannot be listened on; the message says which and why."""


class _Closed(Protocol):
    """A connection that is closed at once."""

    transport: ITCPTransport

    def connectionMade(self) -> None:
        self.transport.abortConnection()


class ClosableSite(Site, ChannelSite):
    """
    A site that can be closed, for so many clients at the same time.

    It keeps no access log, whose format costs a tenth of a request.

    :param clock: times connections, and the closing.
    :param most_connections: at most; the last tenth of them, but no more than 100, are for clients
        that are told to come again, and who comes when these are taken too is told nothing.
    """

    protocol = Channel  # type: ignore[assignment]
    noisy = False

    def __init__(self, resource: Resource, clock: IReactorTime, most_connections: int) -> None:
        super().__init__(resource, reactor=clock)
        self.timeOut = None  # channels time themselves
        self.closing = False
        self._most = most_connections
        self._most_served = most_connections - min(most_connections // 10, _MOST_TURNED_AWAY)
        self._full = False
        self._channels: set[Channel] = set()
        self._emptied: Deferred[None] = Deferred()

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1: a TLS client is never offered HTTP/2, which no channel speaks."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel, or what closes a connection that is one too many."""
        return _Closed() if len(self._channels) >= self._most else super().buildProtocol(addr)

    def log(self, request: Request) -> None:
        """Log nothing."""

    def opened(self, channel: Channel) -> bool:
        """A client connected; gives whether it is to be turned away."""
        self._channels.add(channel)
        if len(self._channels) <= self._most_served:
            return False
        if not self._full:
            self._full = True
            log.warn("{most} clients are connected: others are refused", most=self._most_served)
        return True

    def lost(self, channel: Channel) -> None:
        """A client's connection ended."""
        self._channels.discard(channel)
        if self._full and len(self._channels) <= self._most_served * _ROOM:
            self._full = False
            log.info("fewer clients are connected: all are served")
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
            channel.transport.abortConnection()


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
