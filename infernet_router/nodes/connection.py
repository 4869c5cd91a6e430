"""A connection to a node: sends a request, and delivers the response as it arrives."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConnector, IProtocol
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss

# There is no public decoder.
from twisted.web.http import _ChunkedTransferDecoder as ChunkedDecoder
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from infernet_router.nodes.response_head import ResponseHead, find_end

_MAX_READ = 2 * 1024
"""Bytes read from a connection before other connections get their turn. Most reports are shorter,
and parsing this many takes a millisecond at worst, when each byte is a chunk of its own. A TLS
record, of at most 16 KiB, is always read as a whole; parsing one takes three."""

_DONE = Failure(ResponseDone())
_END = Failure(PotentialDataLoss())
"""The ends of a body: where its length says so, or that of the connection."""


def _is_connected() -> None:
    """Cancel nothing."""


class Asked(Protocol):
    """What a connection tells of the request that it sends."""

    message: bytes
    keeps: bool
    """Whether the request says that the connection is kept (RFC 9112, section 9.6)."""

    def answered(self, connection: "NodeConnection", response: "Response") -> None:
        """The head of the response is there; who wants the body calls `deliverBody` now."""

    def failed(self, connection: "NodeConnection", reason: Failure) -> None:
        """There will be no response on this connection, which is closed."""


class Pool(Protocol):
    """What a connection tells of itself."""

    def opened(self, connection: "NodeConnection") -> None:
        """It is connected."""

    def finished(self, connection: "NodeConnection", can_be_kept: bool) -> None:
        """The response is complete. It must be kept or closed now."""

    def closed(self, connection: "NodeConnection") -> None:
        """It is closed."""


@implementer(IResponse)
class Response:
    """A response whose body is delivered by its connection."""

    request = None
    previousResponse = None

    def __init__(self, connection: "NodeConnection", head: ResponseHead) -> None:
        self._connection = connection
        self.version = (b"HTTP", *head.version)
        self.code = head.status
        self.phrase = head.phrase
        self.length = head.length
        self.headers = Headers()
        for name, values in head.fields.items():
            if name not in (b"set-cookie", b"set-cookie2"):  # a malformed one makes treq fail
                self.headers.setRawHeaders(name, values)

    def deliverBody(self, protocol: IProtocol) -> None:
        """Deliver the body to this protocol, whose transport can stop it."""
        self._connection.deliver_to(protocol)

    def setPreviousResponse(self, response: IResponse) -> None:
        """Ignore it: redirects are not followed."""


class NodeConnection(TwistedProtocol):
    """
    A connection, which is used for one request at a time.

    Anything unexpected from the node closes it: a malformed response, one that exceeds a limit,
    bytes after a response, or bytes that were not asked for.

    :param host: where it leads.
    """

    def __init__(self, pool: Pool, host: Any, asked: Asked) -> None:
        self.host = host
        self.opened_at = 0.0
        self.is_reused = False
        """Whether it had another request before."""
        self.cancel_connecting: Callable[[], object] = _is_connected
        self._pool = pool
        self._asked: Asked | None = asked
        self._head = b""
        """The part of a response's head received so far."""
        self._receiver: IProtocol | None = None
        """Gets the body that is being received."""
        self._left: int | None = None
        """The bytes of the body that are missing; None if that is not known."""
        self._chunks: ChunkedDecoder | None = None
        self._persists = False
        self._why: Failure | None = None
        """What was wrong with the response."""
        self._is_closing = False

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and is not lost."""
        return self.transport is not None

    @property
    def is_silent(self) -> bool:
        """Whether the node has sent nothing since the request."""
        return not self._head

    @property
    def _socket(self) -> Any:
        """The transport below TLS."""
        over = self.transport
        return over.transport if isinstance(over, TLSMemoryBIOProtocol) else over

    def connectionMade(self) -> None:
        self.cancel_connecting = _is_connected  # no cycle that only garbage collection would free
        self._socket.bufferSize = _MAX_READ
        self._pool.opened(self)
        self._send()

    def send(self, asked: Asked) -> None:
        """Send another request."""
        self.is_reused = True
        self._asked = asked
        self._send()

    def _send(self) -> None:
        assert self.transport is not None and self._asked is not None
        self.transport.write(self._asked.message)

    def dataReceived(self, data: bytes) -> None:
        if self._is_closing:
            return
        try:
            if self._receiver is None:
                self._receive_head(data)
            else:
                self._receive_body(data)
        except Exception:
            self._why = Failure()
            self.abort()

    def _receive_head(self, data: bytes) -> None:
        if self._asked is None:
            self.abort()
            return
        searched = len(self._head)
        self._head += data
        end = find_end(self._head, searched)
        if end is None:
            return
        head, data = ResponseHead(self._head[:end]), self._head[end:]
        asked, self._asked = self._asked, None
        self._head = b""
        self._left = head.length
        self._persists = head.persists and asked.keeps
        self._chunks = ChunkedDecoder(self._deliver, self._finish) if head.is_chunked else None
        asked.answered(self, Response(self, head))
        if self._receiver is None:
            self.abort()
        elif not self._is_closing:
            self._receive_body(data)

    def deliver_to(self, receiver: IProtocol) -> None:
        """Deliver the body to a protocol."""
        self._receiver = receiver
        receiver.makeConnection(self)  # type: ignore[arg-type]

    def _deliver(self, data: bytes) -> None:
        if self._receiver is not None and data:
            self._receiver.dataReceived(data)

    def _receive_body(self, data: bytes) -> None:
        if self._chunks is not None:
            self._chunks.dataReceived(data)
        elif self._left is None:
            self._deliver(data)
        elif len(data) < self._left:
            self._left -= len(data)
            self._deliver(data)
        else:
            self._deliver(data[: self._left])
            self._finish(data[self._left :])

    def _finish(self, rest: bytes) -> None:
        """Called at the end of a response, with the bytes after it."""
        if self._receiver is None or self._is_closing:
            return
        receiver, self._receiver, self._chunks = self._receiver, None, None
        self._pool.finished(self, self._persists and not rest)
        receiver.connectionLost(_DONE)

    def close(self) -> None:
        """Close it when everything is sent."""
        self._is_closing = True
        assert self.transport is not None
        self.transport.loseConnection()
        if self._socket is not self.transport:
            self._socket.loseConnection()  # Twisted would wait for the node's TLS close

    def abort(self) -> None:
        """Close it at once, whatever is still sent."""
        if self._is_closing:
            return
        self._is_closing = True
        if self.transport is None:
            self.cancel_connecting()
        else:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    stopProducing = abort

    def connecting_failed(self, reason: Failure) -> None:
        """Called when it cannot be opened."""
        asked, self._asked = self._asked, None
        if asked is not None and not self._is_closing:
            self._is_closing = True
            asked.failed(self, reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Notify whoever waits for a response or the rest of a body."""
        self._pool.closed(self)
        reason = self._why or reason
        self.transport = None  # which refers to this protocol
        self._is_closing = True
        receiver, self._receiver = self._receiver, None
        asked, self._asked = self._asked, None
        if receiver is not None:
            ends_so = self._left is None and self._chunks is None and reason.check(ConnectionDone)
            self._chunks = None
            receiver.connectionLost(_END if ends_so else Failure(ResponseFailed([reason])))
        elif asked is not None:
            never = ResponseFailed if self._head else ResponseNeverReceived
            asked.failed(self, Failure(never([reason])))


class ConnectionFactory(ClientFactory):
    """Makes a connection to a host, once."""

    noisy = False

    def __init__(self, connection: NodeConnection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: object) -> NodeConnection:
        return self._connection

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._connection.connecting_failed(reason)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        connector.transport = None  # the transport refers to its connector
