"""Channel: one client's connection, whose requests are answered one after another, or refused."""

from functools import cached_property
from math import inf
from typing import Any, Protocol, cast

from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString

from infernet_router.errors import RETRY_SOON, HTTPError
from infernet_router.heads import MAX_HEAD, head_length

_HEAD_TIME = 15.0
"""Seconds that a head may take from its first byte to its last, and a client to begin its first."""

_IDLE_TIME = 60.0
"""Seconds that a client has to read an answer, and after it to begin its next request."""

_END_TIME = 2.0
"""Seconds that a client has to read why it is refused, or to ask when it is turned away."""

_MOST_DRAINED = 1024 * 1024
"""Bytes that are read and dropped after a refusal, before the client has to wait."""

_TOO_SLOW = HTTPError(408, f"the head took longer than {_HEAD_TIME:g} seconds")
_TOO_MANY = HTTPError(503, "there are too many connections", RETRY_SOON)


class ChannelSite(Protocol):
    """
    What a channel needs of the site that it belongs to.

    :ivar reactor: times the connection.
    :ivar closing: whether a connection ends with its next response.
    """

    reactor: IReactorTime
    closing: bool

    def opened(self, channel: "Channel") -> bool:
        """A client connected; returns whether it is over the limit, to be answered 503."""

    def lost(self, channel: "Channel") -> None:
        """The connection of a client ended."""


class Channel(HTTPChannel):
    """
    One client's connection.

    Twisted gets one head at a time from here, and none that it would refuse. By itself, it refuses
    without a word, stores bodies, goes on answering a client that reads nothing, and lets a head
    trickle in for ever.
    """

    factory: ChannelSite
    transport: Any
    _received = b""
    _due = inf
    _timer: IDelayedCall
    _turned_away = False
    _turn_is_due = False
    _unread = False
    _ended = False
    _drained = 0

    def connectionMade(self) -> None:
        super().connectionMade()
        self._turned_away = self.factory.opened(self)
        self._timer = self.callLater(self._head_time, self._check_time)
        self._allow(self._head_time)

    @property
    def _head_time(self) -> float:
        return _END_TIME if self._turned_away else _HEAD_TIME

    # Each request asks for these, and a transport would ask the system each time. Before the first
    # request it is too early: a haproxy: endpoint learns the addresses from what the proxy sends.

    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return self._host

    def isSecure(self) -> bool:
        return self._is_secure

    @cached_property
    def _peer(self) -> IAddress:
        return cast(IAddress, super().getPeer())

    @cached_property
    def _host(self) -> IAddress:
        return cast(IAddress, super().getHost())

    @cached_property
    def _is_secure(self) -> bool:
        return bool(super().isSecure())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended = True
        if self._timer.active():
            self._timer.cancel()
        requests = tuple(self.requests)
        super().connectionLost(reason)
        for request in requests:
            # In a cycle, it would keep what the client did not read until garbage is collected.
            request.transport = None
        self.factory.lost(self)

    def dataReceived(self, data: bytes) -> None:
        if self._ended:
            self._drained += len(data)
            if self._drained > _MOST_DRAINED:
                self.transport.pauseProducing()
            return
        if not (self._received or self.requests or self._unread):
            self._allow(self._head_time)
        self._received += data
        if not self._turn_is_due:
            self._take_turn()

    def _take_turn(self) -> None:
        """Pass the next head on, if the last request was answered and the client reads answers."""
        self._turn_is_due = False
        if self._ended:
            return
        if self.requests or self._unread:
            self._hold()
            return
        try:
            length = head_length(self._received)
        except HTTPError as refusal:
            self._refuse(refusal)
            return
        if length and self._turned_away:
            self._refuse(_TOO_MANY)
        elif length:
            head, self._received = self._received[:length], self._received[length:]
            self._due = inf
            super().dataReceived(head)

    def _hold(self) -> None:
        """Read no more while more than a head waits."""
        if len(self._received) > MAX_HEAD:
            self.transport.pauseProducing()

    def allHeadersReceived(self) -> None:
        # Twisted would send 100 for a body that is not there.
        self.requests[-1].requestHeaders.removeHeader(b"Expect")
        super().allHeadersReceived()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        kept = super().checkPersistence(request, version) and not self.factory.closing
        if not kept:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return bool(kept)

    def requestDone(self, request: Request) -> None:
        super().requestDone(request)
        if self._ended:
            return
        self._allow(_HEAD_TIME if self._received and not self._unread else _IDLE_TIME)
        if self._received:
            self._hold()
            # Others have their turn before the next of a thousand requests that were sent at once.
            self._turn_is_due = True
            self.callLater(0, self._take_turn)

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """An answer begins that is made as the client reads: there is a time for all of it."""
        super().registerProducer(producer, streaming)
        self._allow(_IDLE_TIME)

    def pauseProducing(self) -> None:
        """The client does not read its answers: nothing more is read from it."""
        super().pauseProducing()
        self._unread = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read its answers."""
        self._unread = False
        super().resumeProducing()
        if not self._turn_is_due:
            self._take_turn()

    def loseConnection(self) -> None:
        """End the connection as soon as the client has read what it was sent."""
        if not self._ended:
            self._end(_IDLE_TIME)
        self.transport.loseConnection()

    def _refuse(self, refusal: HTTPError) -> None:
        """
        Answer with an error and end the connection.

        A TCP connection closed with bytes unread is reset, which can take the answer from the
        client. So it is half closed, and what still comes is dropped. TLS waits for the other side
        by itself.
        """
        self.transport.write(_response(refusal, to_head=self._received.startswith(b"HEAD ")))
        self._end(_END_TIME)
        if self.isSecure():
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def _end(self, seconds: float) -> None:
        """Interpret nothing from now on, and cut the client off when the time is up."""
        self._ended = True
        self._received = b""
        self.transport.unregisterProducer()
        self.transport.resumeProducing()  # or the client's own end would not be seen
        self._allow(seconds)
        self._timer.reset(min(seconds, _HEAD_TIME))

    def _allow(self, seconds: float) -> None:
        """Let the client have so much time from now on."""
        self._due = self.factory.reactor.seconds() + seconds

    def _check_time(self) -> None:
        """
        See whether the time is up.

        One timer that looks at the clock costs a request less than one of its own would. It is
        never late: it waits no longer than the shortest time that is allowed while it runs.
        """
        left = self._due - self.factory.reactor.seconds()
        if left <= 0 and (self._ended or self.requests):
            # An answer that is cut off must not look whole, as it would to HTTP/1.0; on a unix
            # socket, which knows no reset, it still does, but it is no JSON.
            self.transport.abortConnection()
            return
        self._timer = self.callLater(min(max(left, 0), _HEAD_TIME), self._check_time)
        if left > 0:
            return
        if self._received and not self._unread:
            self._refuse(_TOO_MANY if self._turned_away else _TOO_SLOW)
        else:
            self._end(_END_TIME)
            self.transport.loseConnection()


def _response(error: HTTPError, *, to_head: bool) -> bytes:
    """The last response on a connection; one to HEAD is without a body."""
    lines = [
        b"HTTP/1.1 %d %b" % (error.status, error.phrase),
        b"Date: " + datetimeToString(),
        *(b"%b: %b" % header for header in error.headers.items()),
        b"Connection: close",
    ]
    head = b"\r\n".join((*lines, b"", b""))
    return head if to_head else head + error.body
