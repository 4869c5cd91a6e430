"""
One client's connection: gives Twisted one valid request at a time, and enforces timeouts.

Theory of operation: Twisted's HTTPChannel parses requests, renders the resource and writes the
responses. Left to itself, it answers a malformed request with an empty 400, stores bodies, keeps
reading from a client that does not read its responses, and restarts its only timeout with every
byte. A Channel stands between the transport and that parser:

* Received bytes are collected. Once they begin with a complete, valid head, no request is in
  flight, and the client reads its responses, this head alone is given to HTTPChannel. So
  HTTPChannel never refuses a request, sees a body or buffers anything.
* An invalid head, a timeout in the middle of a head, or a request on a connection over the limit
  is answered with a JSON error, and the connection ends.
* Of pipelined requests, the next one waits for its turn in the reactor, so that other clients are
  answered in between.
* Back-pressure: the transport is paused while the client does not read its responses, and while
  more than a head is waiting.
* At any time the connection has one deadline: for the rest of a head, for the next request, for
  reading a response, or for closing. Only rendering a request has none.

A connection that is ending interprets nothing that it still receives.
"""

from functools import cached_property
from math import inf
from typing import Any, Protocol, cast

from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString

from infernet_router.serving.errors import RETRY_SOON, HTTPError
from infernet_router.serving.request_head import MAX_HEAD, head_length

_HEAD_TIMEOUT = 15.0
"""Seconds from the first byte of a head to its last, and from connecting to the first byte."""

_IDLE_TIMEOUT = 60.0
"""Seconds to read a response, and from its end to the first byte of the next request."""

_CLOSE_TIMEOUT = 2.0
"""Seconds to read an error that ends the connection, and to send a request over the limit."""

_MAX_DISCARDED = 1024 * 1024
"""Bytes that are read and discarded after an error, before the transport is paused."""

_TOO_SLOW = HTTPError(408, f"the request head took longer than {_HEAD_TIMEOUT:g} seconds")
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

    def malformed(self, request: bytes, error: HTTPError) -> None:
        """Bytes that may be no request were answered with an error."""


class Channel(HTTPChannel):
    """One client's connection."""

    factory: ChannelSite
    transport: Any
    _received = b""
    _deadline = inf
    began = 0.0
    """When the head of the request in flight was complete."""
    _timer: IDelayedCall
    _over_limit = False
    _turn_scheduled = False
    _output_blocked = False
    _ending = False
    _discarded = 0

    # HTTPChannel takes any number of connections.
    def connectionMade(self) -> None:
        super().connectionMade()
        self._over_limit = self.factory.opened(self)
        self._timer = self.callLater(self._head_timeout, self._check_deadline)
        self._allow(self._head_timeout)

    @property
    def _head_timeout(self) -> float:
        return _CLOSE_TIMEOUT if self._over_limit else _HEAD_TIMEOUT

    # HTTPChannel makes these system calls for every request. They are made once, but not before
    # the first request: a haproxy: endpoint learns the addresses from the first bytes it receives.
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

    # HTTPChannel leaves a request in flight in a reference cycle with the transport, which keeps
    # what the client has not read in memory until garbage is collected.
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ending = True
        if self._timer.active():
            self._timer.cancel()
        requests = tuple(self.requests)
        super().connectionLost(reason)
        for request in requests:
            request.transport = None
        self.factory.lost(self)

    # HTTPChannel parses bytes as they come, valid or not, and restarts its timeout.
    def dataReceived(self, data: bytes) -> None:
        if self._ending:
            self._discarded += len(data)
            if self._discarded > _MAX_DISCARDED:
                self.transport.pauseProducing()
            return
        if not (self._received or self.requests or self._output_blocked):
            self._allow(self._head_timeout)
        self._received += data
        if not self._turn_scheduled:
            self._take_turn()

    def _take_turn(self) -> None:
        """Give the next head to HTTPChannel, or answer with an error, if it is time for either."""
        self._turn_scheduled = False
        if self._ending:
            return
        if self.requests or self._output_blocked:
            self._pause_if_full()
            return
        try:
            length = head_length(self._received)
        except HTTPError as error:
            self._end_with(error)
            return
        if length and self._over_limit:
            self._end_with(_TOO_MANY)
        elif length:
            head, self._received = self._received[:length], self._received[length:]
            self._deadline = inf
            self.began = self.factory.reactor.seconds()
            super().dataReceived(head)

    def _pause_if_full(self) -> None:
        """Pause the transport while more than a head is waiting."""
        if len(self._received) > MAX_HEAD:
            self.transport.pauseProducing()

    # HTTPChannel sends 100 Continue, although no body is to follow.
    def allHeadersReceived(self) -> None:
        self.requests[-1].requestHeaders.removeHeader(b"Expect")
        super().allHeadersReceived()

    # HTTPChannel keeps connections while its site is closing, and does not tell HTTP/1.0 clients
    # that theirs end.
    def checkPersistence(self, request: Request, version: bytes) -> bool:
        kept = super().checkPersistence(request, version) and not self.factory.closing
        if not kept:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return bool(kept)

    # HTTPChannel answers all pipelined requests in one turn of the reactor.
    def requestDone(self, request: Request) -> None:
        super().requestDone(request)
        if self._ending:
            return
        is_waiting = self._received and not self._output_blocked
        self._allow(_HEAD_TIMEOUT if is_waiting else _IDLE_TIMEOUT)
        if self._received:
            self._pause_if_full()
            self._turn_scheduled = True
            self.callLater(0, self._take_turn)

    # HTTPChannel lets a client take any time to read a response that is streamed.
    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        self._allow(_IDLE_TIMEOUT)

    # HTTPChannel keeps reading requests while one is in flight.
    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._output_blocked = True
        self.transport.pauseProducing()

    # HTTPChannel does not know of the requests that are waiting here.
    def resumeProducing(self) -> None:
        self._output_blocked = False
        super().resumeProducing()
        if not self._turn_scheduled:
            self._take_turn()

    # HTTPChannel lets a client take any time to read its last response.
    def loseConnection(self) -> None:
        if not self._ending:
            self._end(_IDLE_TIMEOUT)
        self.transport.loseConnection()

    def _end_with(self, error: HTTPError) -> None:
        """
        Answer with an error and end the connection.

        Closing a TCP socket with unread bytes in it resets the connection, and the client may then
        lose the response. So only the writing half is closed, and what the client still sends is
        discarded. TLS has its own closing handshake, which waits for the client.
        """
        self.factory.malformed(self._received, error)
        self.transport.write(_response(error, to_head=self._received.startswith(b"HEAD ")))
        self._end(_CLOSE_TIMEOUT)
        if self.isSecure():
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def _end(self, seconds: float) -> None:
        """Interpret nothing more, and abort the connection if it still exists after this time."""
        self._ending = True
        self._received = b""
        self.transport.unregisterProducer()
        self.transport.resumeProducing()  # a paused transport would not notice the client's end
        self._allow(seconds)
        self._timer.reset(min(seconds, _HEAD_TIMEOUT))

    def _allow(self, seconds: float) -> None:
        """Set the deadline to this time from now."""
        self._deadline = self.factory.reactor.seconds() + seconds

    def _check_deadline(self) -> None:
        """
        End the connection when its deadline has passed.

        One timer that looks at the clock again and again costs less than one for each request. It
        is never late, as it waits no longer than the shortest timeout that may be set meanwhile.
        """
        left = self._deadline - self.factory.reactor.seconds()
        if left <= 0 and (self._ending or self.requests):
            # A reset shows the client that a response was cut off. HTTP/1.0 would otherwise take
            # the end of the connection for that of the response. A unix socket has no reset, but
            # there the JSON is incomplete.
            self.transport.abortConnection()
            return
        self._timer = self.callLater(min(max(left, 0), _HEAD_TIMEOUT), self._check_deadline)
        if left > 0:
            return
        if self._received and not self._output_blocked:
            self._end_with(_TOO_MANY if self._over_limit else _TOO_SLOW)
        else:
            self._end(_CLOSE_TIMEOUT)
            self.transport.loseConnection()


def _response(error: HTTPError, *, to_head: bool) -> bytes:
    """The last response on a connection; a response to HEAD has no body."""
    lines = [
        b"HTTP/1.1 %d %b" % (error.status, error.phrase),
        b"Date: " + datetimeToString(),
        *(b"%b: %b" % header for header in error.headers.items()),
        b"Connection: close",
    ]
    head = b"\r\n".join((*lines, b"", b""))
    return head if to_head else head + error.body
