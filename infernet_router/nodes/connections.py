"""Connections to nodes: opens them, keeps them for the next request, and sends treq's requests."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from attrs import frozen
from hyperlink import EncodedURL
from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from infernet_router.nodes.asking import KEEP_ALIVE
from infernet_router.nodes.connection import ConnectionFactory, NodeConnection
from infernet_router.nodes.deadlines import Deadlines
from infernet_router.nodes.exchange import MAX_AGE, Exchange
from infernet_router.nodes.hostnames import NodeEndpoint
from infernet_router.nodes.tls import VerifiedTLS, make_trust
from infernet_router.quoting import host_port

_MOST_PER_HOST = 8
"""The most idle connections to a host. A node needs one, as it gets one poll at a time, but nodes
with path prefixes behind one proxy share those of the proxy."""

_PATIENCE = 1.0

_URL = re.compile(rb"(https?)://(\[([^]]+)\]|([^][/?#:@]+))(?::([0-9]{1,5}))?(/[!-~]*)?")

log = Logger()


class Host(NamedTuple):
    """Where a connection leads: two requests to the same host may use the same one."""

    has_tls: bool
    name: str
    port: int

    def __str__(self) -> str:
        return host_port(self.name, self.port)


class NodeConnections:
    """
    The connections to nodes, of which the idle ones are kept for the next request.

    An idle connection is closed slightly before a node would close it.

    :param most_kept: while there are more connections than this, none is kept.
    :param patience: seconds without an answer after which a connection may be dead.
    """

    def __init__(self, reactor: Any, *, most_kept: int, patience: float = _PATIENCE) -> None:
        self.open = 0
        """How many connections there are, idle or in use."""
        self.seconds: Callable[[], float] = reactor.seconds
        self._most_kept = most_kept
        self._kept: dict[Host, list[NodeConnection]] = {}
        """The idle connections, the last used at the end."""
        self._distrusted: dict[Host, float] = {}
        """Hosts to which no connection is kept, and until when."""
        self._locked_once: set[Host] = set()
        """Hosts that may handle one connection at a time."""
        self._idle = Deadlines[NodeConnection](reactor, KEEP_ALIVE, self._close)
        self._waiting = Deadlines[Exchange](reactor, patience, Exchange.no_answer)
        self._closing: set[NodeConnection] = set()
        self._all_closed: Deferred[None] | None = None

    def keeps(self, host: Host) -> bool:
        """Whether connections to a host are kept now."""
        return self.open <= self._most_kept and self._distrusted.get(host, 0.0) <= self.seconds()

    def take(self, host: Host, max_age: float = MAX_AGE) -> NodeConnection | None:
        """Take the idle connection to a host that was used last, if it is not too old."""
        kept = self._kept.get(host)
        if kept is None or self._age(kept[-1]) >= max_age:
            return None
        connection = kept[-1]
        self._forget(connection)
        return connection

    def watch(self, exchange: Exchange) -> None:
        """Call `no_answer` when this exchange has not ended after some time."""
        self._waiting.add(exchange)

    def unwatch(self, exchange: Exchange) -> None:
        """Do not call `no_answer`."""
        self._waiting.discard(exchange)

    def close_only(self, host: Host) -> bool:
        """
        Close the idle connection to a host, if there is exactly one.

        A host to which there are two has answered on one while the other was open.
        """
        kept = self._kept.get(host, ())
        if len(kept) != 1:
            return False
        self._close(kept[0])
        return True

    def distrust(self, host: Host, seconds: float, reason: str) -> None:
        """Keep no connections to a host for some time."""
        now = self.seconds()
        self._distrusted = {
            other: until for other, until in self._distrusted.items() if until > now
        }
        self._distrusted[host] = now + seconds
        for connection in tuple(self._kept.get(host, ())):
            self._close(connection)
        log.info(
            "no connections to {host} are kept for a while: {reason}",
            event="node.not_kept",
            host=host,
            reason=reason,
        )

    def seems_locked(self, host: Host, seconds: float) -> None:
        """
        A host answered as soon as its kept connection was closed.

        Once may be chance, if it is slow; after the second time, no connections to it are kept for
        some time.
        """
        if host in self._locked_once:
            self._locked_once.discard(host)
            self.distrust(host, seconds, "it handles one connection at a time")
        else:
            self._locked_once.add(host)

    def handles_several(self, host: Host) -> None:
        """A host answered on a new connection: while another was open, if one is kept."""
        if host in self._kept:
            self._locked_once.discard(host)

    def opened(self, connection: NodeConnection) -> None:
        """A connection is open."""
        self.open += 1
        connection.opened_at = self.seconds()

    def finished(self, connection: NodeConnection, can_be_kept: bool) -> None:
        """Keep a connection whose response is complete, or close it."""
        if not can_be_kept or not self.keeps(connection.host):
            connection.close()
            return
        kept = self._kept.setdefault(connection.host, [])
        kept.append(connection)
        self._idle.add(connection)
        for other in kept[:-1]:
            if len(kept) > _MOST_PER_HOST or self._age(other) >= MAX_AGE:
                self._close(other)

    def closed(self, connection: NodeConnection) -> None:
        """A connection is closed, for whatever reason."""
        self.open -= 1
        self._forget(connection)
        self._closing.discard(connection)
        if self._all_closed is not None and not self._closing:
            all_closed, self._all_closed = self._all_closed, None
            all_closed.callback(None)

    def closeCachedConnections(self) -> Deferred[None]:
        """Close all idle connections; fires when they are closed."""
        for kept in tuple(self._kept.values()):
            for connection in tuple(kept):
                self._closing.add(connection)
                self._close(connection)
        self._idle.rest()
        self._waiting.rest()
        if not self._closing:
            return succeed(None)
        self._all_closed = Deferred()
        return self._all_closed

    def _age(self, connection: NodeConnection) -> float:
        """Seconds since a connection was opened."""
        return self.seconds() - connection.opened_at

    def _close(self, connection: NodeConnection) -> None:
        """Close an idle connection."""
        self._forget(connection)
        connection.close()

    def _forget(self, connection: NodeConnection) -> None:
        """Remove a connection from the idle ones, if it is one of them."""
        kept = self._kept.get(connection.host)
        if kept is not None and connection in kept:
            self._idle.discard(connection)
            kept.remove(connection)
            if not kept:
                del self._kept[connection.host]


def http_client(reactor: Any, pool: NodeConnections, ca_file: Path | None = None) -> HTTPClient:
    """
    A treq client for requests to nodes.

    :param ca_file: PEM certificates to trust in addition to the platform's.
    :raises BadCertificates: when `ca_file` cannot be read or has no certificates.
    """
    return NodeClient(NodeAgent(reactor, pool, make_trust(ca_file)))


class NodeClient(HTTPClient):
    """
    A treq client that sends nothing but plain GET requests, straight to its agent.

    No request has cookies, is redirected, or asks for a compressed response. What treq does about
    these takes a fifth of the time of a poll.
    """

    def get(  # type: ignore[override]
        self, url: EncodedURL, *, headers: Mapping[str, str | list[str]], **options: bool
    ) -> Deferred[IResponse]:
        """
        Send a request.

        :param options: ignored, as they only say what is always so: `unbuffered` and that redirects
            are not followed.
        """
        fields = Headers()
        for name, value in headers.items():
            fields.setRawHeaders(name, [value] if isinstance(value, str) else value)
        uri = url.to_text().encode("ascii")
        asked: Deferred[IResponse] = self._agent.request(b"GET", uri, fields)
        return asked


@implementer(IAgent)
@frozen
class NodeAgent:
    """
    Sends GET requests to nodes.

    A request takes half of the time that it takes with Twisted's agent, whose connections have four
    more layers, and leaves nothing to garbage collection. What a node may send is limited more.
    """

    reactor: Any
    pool: NodeConnections
    trust: SSL.Context

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """
        Send a request, without what treq adds to it to accept compressed responses.

        The connection is kept unless the headers say `Connection: close`.
        """
        found = _URL.fullmatch(uri)
        if method != b"GET" or bodyProducer is not None or found is None:
            raise ValueError("not a GET of an absolute URL")
        headers = headers or Headers()
        scheme, authority, ipv6, name, port, path = found.groups()
        host = Host(
            scheme == b"https",
            (ipv6 or name).decode("ascii"),
            int(port) if port else 443 if scheme == b"https" else 80,
        )
        lines = [b"GET %s HTTP/1.1" % (path or b"/"), b"Host: " + authority]
        if port:
            lines[1] += b":" + port
        keeps = not headers.hasHeader(b"connection") and self.pool.keeps(host)
        for field, values in headers.getAllRawHeaders():
            if field not in (b"Accept-Encoding", b"Connection"):
                lines += [b"%s: %s" % (field, value) for value in values]
        if not keeps:
            lines.append(b"Connection: close")
        message = b"\r\n".join([*lines, b"", b""])
        return Exchange(self.pool, self, host, message, keeps=keeps).start()

    def connect(self, connection: NodeConnection) -> None:
        """Begin to open a connection."""
        host, factory = connection.host, ConnectionFactory(connection)
        if not host.has_tls and (isIPAddress(host.name) or isIPv6Address(host.name)):
            # Whoever asks limits the time for the whole answer.
            connector = self.reactor.connectTCP(host.name, host.port, factory, timeout=None)
            connection.cancel_connecting = connector.stopConnecting
        else:
            connecting: Deferred[Any] = self._endpoint(host).connect(factory)
            connection.cancel_connecting = connecting.cancel
            connecting.addErrback(connection.connecting_failed)

    def _endpoint(self, host: Host) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint
        if isIPAddress(host.name):
            endpoint = TCP4ClientEndpoint(self.reactor, host.name, host.port)
        elif isIPv6Address(host.name):
            endpoint = TCP6ClientEndpoint(self.reactor, host.name, host.port)
        else:
            endpoint = NodeEndpoint(self.reactor, host.name, host.port)
        if host.has_tls:
            endpoint = wrapClientTLS(VerifiedTLS(host.name, self.trust), endpoint, self.reactor)
        return endpoint
