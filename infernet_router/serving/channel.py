"""
One client's connection: gives Twisted one valid request at a time, and enforces timeouts.

Theory of operation: Twisted's HTTPChannel parses requests, renders the resource and writes the
responses. Left to itself, it answers a malformed request with an empty 400, stores bodies, keeps
reading from a client that does not read its responses, and restarts its only timeout with every
byte. A Channel stands between the transport and that parser:

* Received bytes are collected. Once they begin with a complete, valid head, no request is in
  flight, and the client reads its responses, this head is taken. The body that may follow is
  skipped, or kept for a site that reads bodies, and then the head alone is given to HTTPChannel.
  So HTTPChannel never refuses a request, sees a body or buffers anything.
* An invalid request, a timeout in the middle of one, or a request on a connection over the limit
  is answered with a JSON error, and the connection ends.
* Of pipelined requests, the next one waits for its turn in the reactor, so that other clients are
  answered in between.
* Back-pressure: the transport is paused while the client does not read its responses, and while
  more than a head is waiting.
* At any time the connection has one deadline: for the rest of a head or body, for the next request,
  for reading a response, or for closing. Only rendering a request has none.
* A client that closes its writing half gets the answers to the requests that it has sent.

A connection that is ending interprets nothing that it still receives.
"""

from typing import Any, Protocol, cast

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.components import registerAdapter
from twisted.python.failure import Failure
from twisted.web.http import Request
from zope.interface import implementer

from infernet_router.serving.deadline import Deadline
from infernet_router.serving.errors import RETRY_SOON, HTTPError
from infernet_router.serving.request_body import Body
from infernet_router.serving.request_head import MAX_HEAD, Head, parse_head
from infernet_router.serving.responding import Closing, RespondingChannel, last_response

_HEAD_TIMEOUT = 15.0
"""Seconds from the first byte of a head to its last, and from connecting to the first byte."""

_BODY_TIMEOUT = 15.0
"""Seconds from the end of a head to that of its body."""

_READ_TIMEOUT = 60.0
"""Seconds to read a response."""

_CLOSE_TIMEOUT = 2.0
"""Seconds to read an error that ends the connection, and to send a request over the limit."""

_MAX_DISCARDED = 1024 * 1024
"""Bytes that are read and discarded after an error, before the transport is paused."""

_TOO_SLOW = HTTPError(408, f"the request head took longer than {_HEAD_TIMEOUT:g} seconds")
_BODY_TOO_SLOW = HTTPError(408, f"the request body took longer than {_BODY_TIMEOUT:g} seconds")
_TOO_MANY = HTTPError(503, "there are too many connections", RETRY_SOON)
_CUT_OFF = HTTPError(400, "the connection ended within the request")


class ChannelSite(Closing, Protocol):
    """
    What a channel needs of the site that it belongs to.

    :ivar reactor: times the connection.
    :ivar idle_timeout: seconds from the end of a response to the first byte of the next request.
    :ivar reads_bodies: whether bodies are kept for its requests.
    :ivar idle: the channels on which no request is outstanding, and since when, in this order.
    """

    reactor: IReactorTime
    idle_timeout: float
    reads_bodies: bool
    idle: dict["Channel", float]

    def opened(self, channel: "Channel") -> bool:
        """A client connected; returns whether it is over the limit, to be answered 503."""

    def lost(self, channel: "Channel") -> None:
        """The connection of a client ended."""

    def malformed(self, request: bytes, error: HTTPError) -> None:
        """Bytes that may be no request were answered with an error."""


@implementer(IHalfCloseableProtocol)
class Channel(RespondingChannel):
    """One client's connection."""

    factory: ChannelSite
    transport: Any
    _received = b""
    _head: Head | None = None
    """The head of the request whose body is being skipped."""
    body: bytes | None = None
    """The body of the request that comes next, if it has one and the site reads bodies."""
    _deadline: Deadline
    began = 0.0
    """When the request in flight was complete."""
    _over_limit = False
    _is_idle = False
    _is_half_closed = False
    _turn_scheduled = False
    _output_blocked = False
    _ending = False
    _discarded = 0

    # HTTPChannel takes any number of connections.
    def connectionMade(self) -> None:
        super().connectionMade()
        self._deadline = Deadline(self.factory.reactor, self._deadline_passed)
        self._over_limit = self.factory.opened(self)
        self._rest(self._head_timeout)

    @property
    def _head_timeout(self) -> float:
        return _CLOSE_TIMEOUT if self._over_limit else _HEAD_TIMEOUT

    # HTTPChannel leaves a request in flight in a reference cycle with the transport, which keeps
    # what the client has not read in memory until garbage is collected.
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ending = True
        self._deadline.stop()
        requests = tuple(self.requests)
        super().connectionLost(reason)
        for request in requests:
            request.transport = None
        self.factory.idle.pop(self, None)
        self.factory.lost(self)

    # Twisted would otherwise end the connection when a client closes its writing half.
    def readConnectionLost(self) -> None:
        self._is_half_closed = True
        if self._ending:
            self.transport.loseConnection()
        elif not self._turn_scheduled:
            self._take_turn()

    def writeConnectionLost(self) -> None:
        """An error was sent, and the client is to end the connection."""

    # HTTPChannel parses bytes as they come, valid or not, and restarts its timeout.
    def dataReceived(self, data: bytes) -> None:
        if self._ending:
            self._discarded += len(data)
            if self._discarded > _MAX_DISCARDED:
                self.transport.pauseProducing()
            return
        if self._is_idle:
            self._is_idle = False
            self.factory.idle.pop(self, None)
            self._deadline.allow(self._head_timeout)
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
            head = self._next_request()
        except HTTPError as error:
            self._end_with(error)
            return
        if head is None:
            if self._is_half_closed:
                self._end_half_closed()
        elif self._over_limit:
            self._end_with(_TOO_MANY)
        else:
            self._head = None
            self._deadline.clear()
            self.began = self.factory.reactor.seconds()
            super().dataReceived(head.content)

    def _next_request(self) -> Head | None:
        """
        The head of the next request, which has been received as a whole; None if there is none.

        Over the limit, a head is enough.

        :raises HTTPError: when the request is invalid.
        """
        head = self._head
        if head is None:
            head = parse_head(self._received)
            if head is None or self._over_limit:
                return head
            self._received = self._received[head.length :]
            if head.body is None:
                return head
            self._head = head
            if self.factory.reads_bodies:
                head.body.kept = bytearray()
            self._deadline.allow(_BODY_TIMEOUT)
            if head.expects_continue and not self._received:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = cast(Body, head.body)
        self._received = body.skip(self._received)
        if body.ended:
            self.body = None if body.kept is None else bytes(body.kept)
            return head
        self.transport.resumeProducing()  # it is paused if much of the body was waiting
        return None

    def _pause_if_full(self) -> None:
        """Pause the transport while more than a head is waiting."""
        if len(self._received) > MAX_HEAD:
            self.transport.pauseProducing()

    # HTTPChannel answers all pipelined requests in one turn of the reactor.
    def requestDone(self, request: Request) -> None:
        super().requestDone(request)
        if not self._ending:
            self._await_request()

    def _await_request(self) -> None:
        """Wait for the next request, which may have been received already."""
        if self._output_blocked:
            self._deadline.allow(_READ_TIMEOUT)
        elif self._received or self._is_half_closed:
            self._deadline.allow(_HEAD_TIMEOUT)
            self._pause_if_full()
            self._turn_scheduled = True
            self.callLater(0, self._take_turn)
        else:
            self._rest(self.factory.idle_timeout)

    def _rest(self, seconds: float) -> None:
        """Wait for the first byte of a request."""
        self._is_idle = True
        now = self._deadline.allow(seconds)
        if not self._over_limit:
            self.factory.idle[self] = now

    # HTTPChannel lets a client take any time to read a response that is streamed.
    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        self._deadline.allow(_READ_TIMEOUT)

    # HTTPChannel keeps reading requests while one is in flight.
    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._output_blocked = True
        self.transport.pauseProducing()

    # HTTPChannel does not know of the requests that are waiting here.
    def resumeProducing(self) -> None:
        self._output_blocked = False
        super().resumeProducing()
        if not (self.requests or self._turn_scheduled or self._ending):
            self._await_request()

    # HTTPChannel lets a client take any time to read its last response.
    def loseConnection(self) -> None:
        if not self._ending:
            self._end(_READ_TIMEOUT)
        self.transport.loseConnection()

    def close_idle(self) -> None:
        """Close the connection, on which no request is outstanding."""
        self._end(_CLOSE_TIMEOUT)
        self.transport.loseConnection()

    def _end_half_closed(self) -> None:
        """End the connection of a client that will send nothing more, and has all its answers."""
        if self._head or self._received.strip(b"\r\n"):
            self._end_with(_CUT_OFF)
        else:
            self.loseConnection()

    def _end_with(self, error: HTTPError) -> None:
        """
        Answer with an error and end the connection.

        Closing a TCP socket with unread bytes in it resets the connection, and the client may then
        lose the response. So only the writing half is closed, and what the client still sends is
        discarded. TLS has its own closing handshake, which waits for the client.
        """
        head = self._head.content if self._head else self._received
        self.factory.malformed(head, error)
        self.transport.write(last_response(error, to_head=head.startswith(b"HEAD ")))
        self._end(_CLOSE_TIMEOUT)
        if self.isSecure() or self._is_half_closed:
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def _end(self, seconds: float) -> None:
        """Interpret nothing more, and abort the connection if it still exists after this time."""
        self._ending = True
        self._received = b""
        self.factory.idle.pop(self, None)
        self.transport.unregisterProducer()
        self.transport.resumeProducing()  # a paused transport would not notice the client's end
        self._deadline.allow(seconds)

    def _deadline_passed(self) -> None:
        """End the connection."""
        if self._ending or self.requests:
            # A reset shows the client that a response was cut off. HTTP/1.0 would otherwise take
            # the end of the connection for that of the response. A unix socket has no reset, but
            # there the JSON is incomplete.
            self.transport.abortConnection()
        elif self._output_blocked:
            self.close_idle()
        elif self._head:
            self._end_with(_BODY_TOO_SLOW)
        elif self._received:
            self._end_with(_TOO_MANY if self._over_limit else _TOO_SLOW)
        else:
            self.close_idle()


def _half_closeable(wrapper: ProtocolWrapper) -> Channel | None:
    """The channel of a haproxy: endpoint, whose wrapper does not pass a half-close on to it."""
    wrapped = wrapper.wrappedProtocol
    return wrapped if isinstance(wrapped, Channel) and not wrapped.isSecure() else None


registerAdapter(_half_closeable, ProtocolWrapper, IHalfCloseableProtocol)
