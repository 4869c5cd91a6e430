"""Connections to nodes: kept open for reuse, with limits on what a response may contain."""

import re
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from infernet_router.nodes.asking import KEEP_ALIVE, NoAnswer, abandon
from infernet_router.nodes.tls import VerifiedTLS, make_trust

_MAX_HEAD = 8 * 1024
"""The longest response head, in bytes: the limit nginx has for upstream servers."""

_MAX_HEADERS = 100
"""The most headers in a response, as in Python's http.client. Parsing a MiB of headers takes half a
second and 20 MiB."""

_MAX_READ = 2 * 1024
"""Bytes read from a connection before other connections get their turn. Most reports are shorter,
and parsing this many takes a millisecond at worst, when each byte is a chunk of its own. A TLS
record, of at most 16 KiB, is always read as a whole; parsing one takes three."""

_HEAD_END = re.compile(rb"\n\r?\n")

_START = b"HTTP/0.0 000 "
"""The start of a response, with a 0 for each digit. The status may also end the line."""

_TO_ZERO = bytes.maketrans(b"123456789\r\n", b"000000000  ")


class NodeConnections(HTTPConnectionPool):
    """
    A pool that keeps idle connections for slightly less long than nodes do.

    It keeps a few connections for each host and port. A node needs one, as it gets one request at
    a time, but nodes with path prefixes behind one proxy share those of the proxy.

    :param most_kept: how many idle connections are kept in all.
    """

    maxPersistentPerHost = 8
    cachedConnectionTimeout = KEEP_ALIVE  # type: ignore[assignment]

    def __init__(self, reactor: Any, *, most_kept: int) -> None:
        self._most_kept = most_kept
        self.open = 0
        """How many connections there are, idle or in use."""
        super().__init__(reactor)

    @property
    def persistent(self) -> bool:
        """Whether the connection of a request that is sent now is kept afterwards."""
        return self.open <= self._most_kept

    @persistent.setter
    def persistent(self, value: bool) -> None:
        """Ignore the constant that Twisted's constructor sets."""


def http_client(reactor: Any, pool: NodeConnections, ca_file: Path | None = None) -> HTTPClient:
    """
    A treq client for requests to nodes.

    :param ca_file: PEM certificates to trust in addition to the platform's.
    :raises BadCertificates: when `ca_file` cannot be read or has no certificates.
    """
    endpoints = _Endpoints(reactor, make_trust(ca_file), pool)
    agent = Agent.usingEndpointFactory(reactor, endpoints, pool)
    return HTTPClient(_PlainAgent(agent))


@implementer(IAgent)
@frozen
class _PlainAgent:
    """An agent that offers no compression, refuses compressed responses and drops cookies."""

    agent: IAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        headers = headers or Headers()
        headers.removeHeader(b"accept-encoding")
        asked: Deferred[IResponse] = self.agent.request(method, uri, headers, bodyProducer)
        return asked.addCallback(_make_plain)


def _make_plain(response: IResponse) -> IResponse:
    """
    Remove what treq would act on.

    A small body can be huge once it is decompressed, and a malformed cookie makes treq fail.
    """
    encodings = b",".join(response.headers.getRawHeaders(b"content-encoding", ()))
    if encodings.strip().lower() not in (b"", b"identity"):
        abandon(response)
        raise NoAnswer("it sent a compressed answer, which was not asked for")
    response.headers.removeHeader(b"set-cookie")
    response.headers.removeHeader(b"set-cookie2")
    return response


@implementer(IAgentEndpointFactory)
@frozen
class _Endpoints:
    """Chooses the endpoint for a URL: by IP address or host name, with TLS for https."""

    reactor: Any
    trust: SSL.Context
    pool: NodeConnections

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        endpoint: IStreamClientEndpoint
        if isIPAddress(host):
            endpoint = TCP4ClientEndpoint(self.reactor, host, uri.port)
        elif isIPv6Address(host):
            endpoint = TCP6ClientEndpoint(self.reactor, host, uri.port)
        else:
            endpoint = HostnameEndpoint(self.reactor, host, uri.port)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(VerifiedTLS(host, self.trust), endpoint, self.reactor)
        return _BoundedEndpoint(endpoint, self.pool)


@implementer(IStreamClientEndpoint)
@frozen
class _BoundedEndpoint:
    """An endpoint whose connections are bounded, and counted."""

    endpoint: IStreamClientEndpoint
    pool: NodeConnections

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        bounded = WrappingFactory(factory)
        bounded.protocol = partial(_Bounded, self.pool)
        bounded.noisy = False
        factory.noisy = False  # type: ignore[attr-defined]
        connected: Deferred[Any] = self.endpoint.connect(bounded)
        return connected.addCallback(lambda connection: connection.wrappedProtocol)


class _Bounded(ProtocolWrapper):
    """One connection, closed when the head of a response is malformed or too long."""

    _head: bytes | None = b""
    """The part of a response's head received so far; None once the whole head was passed on."""
    _why: Failure | None = None

    def __init__(self, pool: NodeConnections, *wrapped: Any) -> None:
        super().__init__(*wrapped)
        self._pool = pool

    def connectionMade(self) -> None:
        self._pool.open += 1
        self._socket.bufferSize = _MAX_READ
        super().connectionMade()

    @property
    def _socket(self) -> Any:
        """The transport below TLS."""
        over = self.transport
        return over.transport if isinstance(over, TLSMemoryBIOProtocol) else over

    def writeSequence(self, data: list[bytes]) -> None:
        """Send a request; the head of its response is checked."""
        self._head = b""
        super().writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        if self._head is not None:
            searched = max(0, len(self._head) - 2)
            data = self._head = self._head + data
            end = _HEAD_END.search(data, searched, _MAX_HEAD)
            if why := _bad_start(data[: len(_START)]) or _too_long(data, end):
                self._why = Failure(NoAnswer(why))
                self.abortConnection()
                return
            if end is None:
                return
            self._head = None
        super().dataReceived(data)

    def loseConnection(self) -> None:
        """Close the socket too: Twisted would wait for the node's TLS close, maybe for ever."""
        super().loseConnection()
        if self._socket is not self.transport:
            self._socket.loseConnection()

    def stopProducing(self) -> None:
        """Close at once when the response is abandoned, whatever the node still sends."""
        self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._pool.open -= 1
        super().connectionLost(self._why or reason)


def _bad_start(start: bytes) -> str | None:
    """
    What is wrong with the first bytes of a response, however few; None when nothing is.

    Twisted accepts any number as a status, and logs every interim response.
    """
    status = start[9:10]
    if not _START.startswith(start.translate(_TO_ZERO)) or status not in b"12345":
        return "the answer is not HTTP"
    if status == b"1":
        return "it sent an interim answer (1xx), which was not asked for"
    return None


def _too_long(head: bytes, end: re.Match[bytes] | None) -> str | None:
    """Which limit a head, or what has arrived of it when `end` is None, exceeds; or None."""
    if end is None:
        too_long = len(head) >= _MAX_HEAD
        return f"its headers are longer than {_MAX_HEAD // 1024} KiB" if too_long else None
    too_many = head.count(b"\n", 0, end.end()) > _MAX_HEADERS + 2
    return f"it sent more than {_MAX_HEADERS} headers" if too_many else None
