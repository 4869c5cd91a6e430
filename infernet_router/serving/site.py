"""The site: limits the connections of clients, and closes them gracefully."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Site

from infernet_router.counting import Counts
from infernet_router.serving.channel import Channel, ChannelSite
from infernet_router.serving.errors import HTTPError
from infernet_router.serving.request import BodyRequest, LeanRequest

_LINGER = 0.1
"""Seconds after a shutdown begins in which new requests are still answered."""

_GRACE = 0.7
"""Seconds after these in which requests in flight are still answered."""

_MAX_RESERVED = 100
"""The most connections reserved for answering 503, each for a few seconds."""

_ROOM = 0.9
"""Share of the limit to fall back to before a full site is logged again."""

_SPARED = 0.02
"""Seconds for which an idle connection is not closed to make room: a client that sends one request
after another would often lose one."""

log = Logger()


class _Closed(Protocol):
    """A connection that is aborted as soon as it is made."""

    transport: ITCPTransport

    def connectionMade(self) -> None:
        self.transport.abortConnection()


class ClosableSite(Site, ChannelSite):
    """
    A site with a limit of connections, which can be closed gracefully.

    One connection in ten, but at most 100, is reserved. When the rest are in use, a new connection
    replaces the one that has been idle longest. When none is idle, the reserved ones are used, for
    answering 503. When all are in use, new connections are aborted.

    :param clock: times the connections and the shutdown.
    :param most_connections: the limit, with those reserved.
    :param idle_timeout: seconds from the end of a response to the first byte of the next request.
        By default, it is more than the 60 after which load balancers close their connections: they
        must be first, since a request that meets the router's close is an error for their client.
    :param counts: counts the responses, and the connections that are refused.
    :param reads_bodies: whether the resource reads the bodies of requests; they are discarded
        otherwise.
    """

    protocol = Channel  # type: ignore[assignment]
    noisy = False

    def __init__(
        self,
        resource: Resource,
        clock: IReactorTime,
        most_connections: int,
        idle_timeout: float = 75.0,
        counts: Counts | None = None,
        *,
        reads_bodies: bool = False,
    ) -> None:
        factory = BodyRequest if reads_bodies else LeanRequest
        super().__init__(resource, requestFactory=factory, reactor=clock)
        self.reads_bodies = reads_bodies
        self._counts = counts or Counts()
        self.timeOut = None  # channels have timeouts of their own
        self.closing = False
        self.idle_timeout = idle_timeout
        self.idle: dict[Channel, float] = {}
        self._most = most_connections
        self._most_served = most_connections - min(most_connections // 10, _MAX_RESERVED)
        self._tight = self._full = False
        self._channels: set[Channel] = set()
        self._replaced: set[Channel] = set()
        """Those of the channels that are being closed to make room."""
        self._emptied: Deferred[None] = Deferred()

    @property
    def _used(self) -> int:
        """The connections that count for the limit: those that make room end at once."""
        return len(self._channels) - len(self._replaced)

    def acceptableProtocols(self) -> list[bytes]:
        """Offer only HTTP/1.1 to TLS clients: channels do not speak HTTP/2."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel, or a protocol that aborts a connection for which there is no room."""
        if self._used >= self._most and self._replaceable() is None:
            self._counts.refused += 1
            return _Closed()
        return super().buildProtocol(addr)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._channels)

    # Site writes an access log, which would take a tenth of the time of a request.
    def log(self, request: http.Request) -> None:
        """Count a response."""
        channel: Any = request.channel
        seconds = self.reactor.seconds() - channel.began
        wanted = self._counts.answered(request.path, request.code, seconds)
        if wanted is not None:
            histogram, bucket = wanted
            for decision in request.responseHeaders.getRawHeaders(b"infernet-decision", ()):
                histogram.examples[bucket] = decision.decode(), seconds

    def malformed(self, request: bytes, error: HTTPError) -> None:
        """Count an error that a channel answered without a request for the resource."""
        target = request.split(b" ", 2)[1:2]
        path = target[0].partition(b"?")[0] if target else b""
        self._counts.answered(path, error.status, 0.0)

    def opened(self, channel: Channel) -> bool:
        """A client connected; returns whether it is over the limit, to be answered 503."""
        self._channels.add(channel)
        if self._used <= self._most_served or self._make_room():
            return False
        self._counts.refused += 1
        if not self._full:
            self._full = True
            log.warn(
                "{most} clients are connected: others are refused",
                event="clients.refused",
                most=self._most_served,
            )
        return True

    def _replaceable(self) -> Channel | None:
        """The connection that has been idle longest, if it may be closed to make room."""
        oldest, since = next(iter(self.idle.items()), (None, 0.0))
        # Those that make room take descriptors until the reactor's next turn.
        has_descriptors = len(self._replaced) < self._most_served // 2
        is_idle = self.reactor.seconds() - since >= _SPARED
        return oldest if has_descriptors and is_idle else None

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest; returns whether there was one."""
        oldest = self._replaceable()
        if oldest is None:
            return False
        if not self._tight:
            self._tight = True
            log.warn(
                "{most} clients are connected: idle connections are closed to make room",
                event="clients.replaced",
                most=self._most_served,
            )
        self._replaced.add(oldest)
        oldest.close_idle()
        return True

    def lost(self, channel: Channel) -> None:
        """The connection of a client ended."""
        self._channels.discard(channel)
        self._replaced.discard(channel)
        if (self._full or self._tight) and self._used <= self._most_served * _ROOM:
            self._full = self._tight = False
            log.info("fewer clients are connected: all are served", event="clients.fewer")
        if self.closing and not self._channels:
            self._emptied.callback(None)

    async def close(self) -> None:
        """
        End all connections: idle ones soon, others when their requests are answered.

        Requests that arrive within the first tenth of a second are answered too. Connections that
        are still open after 0.8 seconds are aborted.
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
