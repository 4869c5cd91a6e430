"""The connections to nodes: kept for reuse, bounded in what they take, verified when TLS."""

import re
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

from attrs import frozen
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from treq.client import HTTPClient
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from infernet_router.asking import KEEP_ALIVE, NoAnswer, abandon

_MAX_HEAD = 8 * 1024
"""The longest head of an answer, in bytes: as much as nginx takes from a server."""

_MAX_HEADERS = 100
"""Headers of an answer at most, as in Python's http.client. To read a MiB of them takes half a
second and 20 MiB."""

_MAX_READ = 2 * 1024
"""Bytes that are read of an answer before others have their turn. Most reports are no longer, and
to parse as many takes a millisecond at worst: in chunks of one byte. TLS comes in records of 16 KiB
at most, each read at once: that takes three."""

_HEAD_END = re.compile(rb"\n\r?\n")

_START = b"HTTP/0.0 000 "
"""How an answer starts, with a 0 for each digit. The status may also be all of its line."""

_TO_ZERO = bytes.maketrans(b"123456789\r\n", b"000000000  ")


class BadCertificates(Exception):
    """A file gives no certificates to trust; the message says why."""


class NodeConnections(HTTPConnectionPool):
    """
    A pool that keeps idle connections, not quite as long as nodes do.

    It keeps a few for each host and port. A node needs one, as it is asked one thing at a time;
    but nodes with path prefixes behind one proxy share those of the proxy.

    :param most_kept: connections that are kept, in all.
    """

    maxPersistentPerHost = 8
    cachedConnectionTimeout = KEEP_ALIVE  # type: ignore[assignment]

    def __init__(self, reactor: Any, most_kept: int = 300) -> None:
        self._most_kept = most_kept
        self.open = 0
        """Connections there are, idle or in use."""
        super().__init__(reactor)

    @property
    def persistent(self) -> bool:
        """Whether to keep the connection on which a request is sent now."""
        return self.open <= self._most_kept

    @persistent.setter
    def persistent(self, value: bool) -> None:
        """Twisted sets what it was told, which counts for nothing here."""


def http_client(reactor: Any, pool: NodeConnections, ca_file: Path | None = None) -> HTTPClient:
    """
    A treq client for asking nodes.

    :param ca_file: PEM certificates to trust in addition to the platform's.
    :raises BadCertificates: when `ca_file` holds none that can be read.
    """
    endpoints = _Endpoints(reactor, _trust(ca_file), pool)
    agent = Agent.usingEndpointFactory(reactor, endpoints, pool)
    return HTTPClient(_Plain(agent))


def _trust(ca_file: Path | None) -> SSL.Context:
    """The one TLS context of all connections, with every certificate that is trusted."""
    context = CertificateOptions(trustRoot=platformTrust()).getContext()
    if ca_file is not None:
        store = context.get_cert_store()
        assert store is not None
        try:
            ca_file.read_bytes()
            store.load_locations(str(ca_file))
        except OSError as error:
            raise BadCertificates(f"cannot read {ca_file}: {error.strerror}") from None
        except crypto.Error:
            raise BadCertificates(f"{ca_file} holds no PEM certificate") from None
    return context


@implementer(IAgent)
@frozen
class _Plain:
    """An agent that asks for no compression, and passes on no compressed answer and no cookies."""

    agent: IAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        if headers is not None:
            headers.removeHeader(b"accept-encoding")
        asked: Deferred[IResponse] = self.agent.request(method, uri, headers, bodyProducer)
        return asked.addCallback(_make_plain)


def _make_plain(response: IResponse) -> IResponse:
    """
    Keep from treq what it would act on.

    A small answer can be huge once it is unpacked, and a cookie can be one that cannot be read.
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
    """Where an address leads: its IP address or name, over TCP, and TLS for https."""

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
            endpoint = wrapClientTLS(_VerifiedTLS(host, self.trust), endpoint, self.reactor)
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
    """One connection; it ends when the head of an answer is none, or too long."""

    _head: bytes | None = b""
    """What there is of the head of an answer, until it is whole and passed on."""
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
        """The transport without TLS."""
        over = self.transport
        return over.transport if isinstance(over, TLSMemoryBIOProtocol) else over

    def writeSequence(self, data: list[bytes]) -> None:
        self._head = b""
        super().writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        if self._head is not None:
            searched = max(0, len(self._head) - 2)
            data = self._head = self._head + data
            end = _HEAD_END.search(data, searched, _MAX_HEAD)
            if why := _no_answer_starts_so(data[: len(_START)]) or _too_long(data, end):
                self._why = Failure(NoAnswer(why))
                self.abortConnection()
                return
            if end is None:
                return
            self._head = None
        super().dataReceived(data)

    def loseConnection(self) -> None:
        """Close, without waiting until the node, too, says that TLS ends, which it may never do."""
        super().loseConnection()
        if self._socket is not self.transport:
            self._socket.loseConnection()

    def stopProducing(self) -> None:
        """No more of this answer is wanted: close at once, whatever the node still sends."""
        self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._pool.open -= 1
        if reason.check(SSL.Error) and isinstance(self.transport, TLSMemoryBIOProtocol):
            self._why = _verification_failure(self.transport.getHandle())
        super().connectionLost(self._why or reason)


def _no_answer_starts_so(start: bytes) -> str | None:
    """
    What is wrong with the first bytes of an answer, however few they are.

    Twisted takes any number for a status, and logs each interim answer.
    """
    status = start[9:10]
    if not _START.startswith(start.translate(_TO_ZERO)) or status not in b"12345":
        return "the answer is not HTTP"
    if status == b"1":
        return "it sent an interim answer (1xx), which was not asked for"
    return None


def _too_long(head: bytes, end: re.Match[bytes] | None) -> str | None:
    """What there is too much of in a head, of which so much is there, with its end or not yet."""
    if end is None:
        too_long = len(head) >= _MAX_HEAD
        return f"its headers are longer than {_MAX_HEAD // 1024} KiB" if too_long else None
    too_many = head.count(b"\n", 0, end.end()) > _MAX_HEADERS + 2
    return f"it sent more than {_MAX_HEADERS} headers" if too_many else None


def _verification_failure(connection: SSL.Connection) -> Failure | None:
    """Why OpenSSL does not trust the node's certificate, or None if that is not what failed."""
    chain = connection.get_peer_cert_chain()
    store = connection.get_context().get_cert_store()
    if not chain or store is None:
        return None
    try:
        crypto.X509StoreContext(store, chain[0], chain[1:]).verify_certificate()
    except crypto.X509StoreContextError as error:
        return Failure(NoAnswer(f"the certificate is not trusted: {error.args[0]}"))
    return None


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class _VerifiedTLS:
    """
    TLS that verifies the node's certificate and host name.

    Twisted's own (optionsForClientTLS) builds a context with all of the platform's certificates
    for each host: 7 ms and 0.9 MB; here all connections share one. And in Twisted 26.10, it
    takes a certificate that names no host at all to be good for every host.
    """

    host: str
    trust: SSL.Context

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self.trust)
        if isIPAddress(self.host) or isIPv6Address(self.host):
            wanted: DNS_ID | IPAddress_ID = IPAddress_ID(self.host)
        else:
            wanted = DNS_ID(self.host)
            connection.set_tlsext_host_name(self.host.encode("ascii"))
        weak_protocol = ref(tlsProtocol)  # it holds the connection, which holds `verify`

        def verify(_: SSL.Connection, cert: crypto.X509, error: int, depth: int, ok: int) -> bool:
            """Whether a certificate of the chain is good: trusted, and the node's for this host."""
            if not ok or depth > 0:
                return bool(ok)
            try:
                verify_service_identity(extract_patterns(cert), [wanted], [])
            except VerificationError:
                why = "the certificate is not for this host"
            except Exception:  # what reads it may raise anything
                why = "the certificate has no valid subjectAltName"
            else:
                return True
            if (protocol := weak_protocol()) is not None:
                protocol.failVerification(Failure(NoAnswer(why)))
            return False

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection
