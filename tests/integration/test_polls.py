"""Tests of polls over real sockets: TLS, persistent connections, and invalid answers."""

import contextlib
import gc
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from threading import Event, Thread
from typing import Any
from unittest import skipUnless

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from infernet_router.addresses import parse_address
from infernet_router.fleet import Fleet
from infernet_router.nodes import NodeConnections, Poller, http_client
from infernet_router.nodes.asking import KEEP_ALIVE, NoAnswer, ask
from infernet_router.testing import SimulatedNode
from tests.integration.programs import IPV6

PRIVATE = trustme.CA()


def nameless(common_name: str) -> trustme.LeafCert:
    """A certificate of the private authority without a subjectAltName."""
    authority: Any = load_pem_private_key(PRIVATE.private_key_pem.bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = x509.CertificateBuilder(
        issuer_name=x509.load_pem_x509_certificate(PRIVATE.cert_pem.bytes()).subject,
        subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=1),
    ).sign(authority, SHA256())
    return trustme.LeafCert(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        certificate.public_bytes(Encoding.PEM),
        [],
    )


class CountingSite(Site):
    """A node's site, which counts the connections to it."""

    connections = 0
    noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        self.connections += 1
        return super().buildProtocol(addr)

    def log(self, request: Any) -> None:
        """Log nothing."""


class Raw(Protocol):
    """A node that sends bytes after a request, or immediately, and may repeat others forever."""

    factory: "RawFactory"

    def connectionMade(self) -> None:
        self.factory.connections += 1
        self.factory.open.add(self)
        if self.factory.at_once:
            self.answer()

    def dataReceived(self, data: bytes) -> None:
        if not self.factory.at_once:
            self.answer()

    def answer(self) -> None:
        assert self.transport is not None
        self.transport.write(self.factory.answer)
        if self.factory.closes:
            self.transport.loseConnection()
        elif self.factory.again:
            self.go_on()

    def go_on(self) -> None:
        assert self.transport is not None
        self.transport.write(self.factory.again)
        self.next = self.factory.reactor.callLater(0.001, self.go_on)

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.open.discard(self)
        if self.factory.again:
            self.next.cancel()


class RawFactory(ServerFactory):
    """Sends the same answer to every request."""

    protocol = Raw  # type: ignore[assignment]
    noisy = False

    def __init__(
        self,
        reactor: Any,
        answer: bytes,
        *,
        at_once: bool = False,
        again: bytes = b"",
        closes: bool = False,
    ) -> None:
        self.reactor = reactor
        self.answer = answer
        self.at_once = at_once
        self.again = again
        self.closes = closes
        self.open: set[Raw] = set()
        self.connections = 0
        """How many connections were ever made to it."""


class SocketTestCase(TestCase):
    """Serves nodes on its own sockets, and asks them."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.pool = NodeConnections(reactor, most_kept=300)
        ca_file = Path(self.mktemp())
        PRIVATE.cert_pem.write_to_path(str(ca_file))
        self.http = http_client(reactor, self.pool, ca_file)
        self.node = SimulatedNode(reactor, ["llm"])
        self.addCleanup(self.pool.closeCachedConnections)

    def serve(self, factory: Any, certificate: trustme.LeafCert | None = None) -> str:
        """Serve on a loopback port, with TLS if there is a certificate; returns host and port."""
        if certificate is None:
            listening = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            pem = certificate.private_key_and_cert_chain_pem.bytes()
            options = ssl.PrivateCertificate.loadPEM(pem).options()
            listening = self.reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        return f"127.0.0.1:{listening.getHost().port}"

    async def why(self, url: str, timeout: float = 5.0) -> str:
        """The reason why a request fails."""
        try:
            body = await ask(self.http, url, self.reactor, timeout)
        except NoAnswer as reason:
            return str(reason)
        raise AssertionError(f"answered {body[:100]!r}")

    async def closed(self, node: RawFactory) -> None:
        """Wait until a node has no open connections."""
        await self.wait(lambda: not node.open)

    async def wait(self, condition: Callable[[], object]) -> None:
        for _ in range(1000):
            if condition():
                return
            await deferLater(self.reactor, 0.02)
        raise AssertionError("it did not happen")


class TLSTests(SocketTestCase):
    def https(self, certificate: trustme.LeafCert, host: str = "127.0.0.1") -> str:
        """The URL of a node that has this certificate."""
        address = self.serve(CountingSite(self.node), certificate)
        return f"https://{address.replace('127.0.0.1', host)}/info"

    async def test_trusted(self) -> None:
        """A certificate of the private authority for this host is accepted."""
        for host in ("127.0.0.1", "localhost"):
            url = self.https(PRIVATE.issue_cert("127.0.0.1", "localhost"), host)
            body = await ask(self.http, url, self.reactor, 5.0)
            self.assertIn(b'"llm"', body)
        self.assertEqual(self.node.polls, 2)

    async def test_other_host(self) -> None:
        """A certificate for another host is refused."""
        for host in ("127.0.0.1", "localhost"):
            url = self.https(PRIVATE.issue_cert("node.invalid"), host)
            self.assertEqual(await self.why(url), "the certificate is not for this host")
        self.assertEqual(self.node.polls, 0)

    async def test_no_host(self) -> None:
        """A certificate without a subjectAltName is refused, whatever its common name."""
        for host in ("127.0.0.1", "localhost"):
            self.assertEqual(
                await self.why(self.https(nameless(host), host)),
                "the certificate has no valid subjectAltName",
            )
        self.assertEqual(self.node.polls, 0)

    async def test_expired(self) -> None:
        """A certificate that has expired is refused."""
        yesterday = datetime.now(UTC) - timedelta(days=1)
        certificate = PRIVATE.issue_cert(
            "127.0.0.1", not_before=yesterday - timedelta(days=9), not_after=yesterday
        )
        self.assertEqual(
            await self.why(self.https(certificate)),
            "the certificate is not trusted: certificate has expired",
        )

    async def test_unknown_authority(self) -> None:
        """A certificate of an unknown authority is refused."""
        url = self.https(trustme.CA().issue_cert("127.0.0.1"))
        self.assertRegex(await self.why(url), "^the certificate is not trusted: .*issuer")

    async def test_default_trust(self) -> None:
        """Without a CA file, a private authority is not trusted."""
        self.http = http_client(self.reactor, self.pool)
        url = self.https(PRIVATE.issue_cert("127.0.0.1"))
        self.assertRegex(await self.why(url), "^the certificate is not trusted: .*issuer")

    async def test_no_tls(self) -> None:
        """When a node does not speak TLS on an https address, the reason says so."""
        address = self.serve(RawFactory(self.reactor, b"HTTP/1.1 400 \r\n\r\n"))
        self.assertEqual(
            await self.why(f"https://{address}/info"),
            "TLS failed: there is no TLS at this port (wrong version number)",
        )

    async def test_no_end(self) -> None:
        """A connection is closed even if the node does not answer the closing TLS handshake."""
        context = SSLContext(PROTOCOL_TLS_SERVER)
        PRIVATE.issue_cert("127.0.0.1").configure_cert(context)
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        done = Event()
        self.addCleanup(done.set)

        def answer_once() -> None:
            with listening.accept()[0] as plain, context.wrap_socket(plain, True) as tls:
                tls.recv(1024)
                tls.sendall(b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n{}")
                done.wait()

        Thread(target=answer_once, daemon=True).start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/info"
        self.assertEqual(await ask(self.http, url, self.reactor, 5.0), b"{}")
        closed: Deferred[Any] = self.pool.closeCachedConnections()
        await closed.addTimeout(30.0, self.reactor)

    async def test_kept(self) -> None:
        """A TLS connection is kept for the next poll."""
        site = CountingSite(self.node)
        address = self.serve(site, PRIVATE.issue_cert("127.0.0.1"))
        for _ in range(3):
            await ask(self.http, f"https://{address}/info", self.reactor, 5.0, keep=True)
        self.assertEqual(site.connections, 1)


class AnswerTests(SocketTestCase):
    async def test_bad(self) -> None:
        """An invalid answer is refused, with a reason."""
        ok = b"HTTP/1.1 200 \r\n"
        for answer, reason in (
            (b"<html>\r\n\r\n", "the answer is not HTTP"),
            (b"HTTP/2 200\r\n\r\n", "the answer is not HTTP"),
            (
                b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
                "it sent an interim answer (1xx), which was not asked for",
            ),
            (ok + b"content-length: x\r\n\r\n", "the answer is not HTTP (ValueError)"),
            (
                ok + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
                "the answer is not HTTP (_MalformedChunkedDataError)",
            ),
            (ok + b"x: " + b"y" * 2_000_000, "its headers are longer than 8 KiB"),
            (
                b"HTTP/1.1 429 \r\nretry-after: 9, 9\r\ncontent-length: 0\r\n\r\n",
                "HTTP 429 (it limits the rate of requests)",
            ),
            (
                b"HTTP/1.1 301 \r\nlocation: http://127.0.0.1/\r\n\r\n",
                "HTTP 301 (redirects are not followed)",
            ),
            (
                ok + b"content-encoding: gzip\r\ncontent-length: 999\r\n\r\n",
                "it sent a compressed answer, which was not asked for",
            ),
        ):
            node = RawFactory(self.reactor, answer)
            reasons = await self.why(f"http://{self.serve(node)}/info")
            self.assertEqual((answer, reasons), (answer, reason))
            await self.closed(node)

    async def test_cut(self) -> None:
        """When a connection ends before the answer is complete, the reason says so."""
        for answer in (
            b"",
            b"HTTP/1.1 200 \r\ncontent-le",
            b"HTTP/1.1 200 \r\ncontent-length: 99\r\n\r\n{",
            b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
        ):
            address = self.serve(RawFactory(self.reactor, answer, closes=True))
            self.assertEqual(
                await self.why(f"http://{address}/info"),
                "it closed the connection before the answer was complete",
            )

    async def test_hangs(self) -> None:
        """An answer that is missing or incomplete ends with the timeout."""
        for answer in (b"", b"HTTP/1.1 200 \r\nx: y", b"HTTP/1.1 200 \r\n\r\n{"):
            node = RawFactory(self.reactor, answer)
            url = f"http://{self.serve(node)}/info"
            self.assertEqual(await self.why(url, 0.2), "timeout after 0.2 s")
            await self.closed(node)

    async def test_endless(self) -> None:
        """An endless answer is refused once it exceeds a limit."""
        for answer, reason in (
            (b"HTTP/1.1 200 \r\n", "its headers are longer than 8 KiB"),
            (b"HTTP/1.1 200 \r\n\r\n", "its answer is larger than 128 KiB"),
        ):
            node = RawFactory(self.reactor, answer, again=b"x: " + b"y" * 999 + b"\r\n")
            url = f"http://{self.serve(node)}/info"
            self.assertEqual(await self.why(url, 30.0), reason)
            await self.closed(node)

    async def test_before_request(self) -> None:
        """An answer that arrives before the request is accepted or refused; nothing breaks."""
        answer = b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n{}"
        address = self.serve(RawFactory(self.reactor, answer, at_once=True))
        for _ in range(2):
            await ask(self.http, f"http://{address}/info", self.reactor, 5.0).addErrback(
                lambda failure: failure.trap(NoAnswer)
            )


class Once(Raw):
    """A node that answers only the first request on a connection."""

    def answer(self) -> None:
        super().answer()
        self.answer = lambda: None  # type: ignore[method-assign]


class KeptTests(SocketTestCase):
    """Connections that are kept, by a router that waits for little."""

    def setUp(self) -> None:
        super().setUp()
        self.pool = NodeConnections(self.reactor, most_kept=300, patience=0.1)
        self.http = http_client(self.reactor, self.pool)
        self.addCleanup(self.pool.closeCachedConnections)

    async def test_silent(self) -> None:
        """When a kept connection has gone silent, the request is answered on a new one."""
        node = RawFactory(self.reactor, b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n{}")
        node.protocol = Once
        url = f"http://{self.serve(node)}/info"
        for _ in range(2):
            self.assertEqual(await ask(self.http, url, self.reactor, 30.0, keep=True), b"{}")
        self.assertEqual(node.connections, 2)
        await self.closed(node)

    async def test_serial(self) -> None:
        """A node that handles one connection at a time is not locked by a kept one."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def answer() -> None:
            while True:
                with contextlib.suppress(OSError), listening.accept()[0] as connection:
                    while connection.recv(1024):
                        connection.sendall(b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n{}")

        Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/info"
        patience = KEEP_ALIVE - 0.5  # the kept connection would be closed after that
        self.assertEqual(await ask(self.http, url, self.reactor, patience, keep=True), b"{}")
        self.assertEqual(await ask(self.http, url, self.reactor, patience), b"{}")

    async def test_no_garbage(self) -> None:
        """Requests leave nothing that only garbage collection could free."""
        url = f"http://{self.serve(CountingSite(self.node))}/info"
        for keep in (True, False):
            await ask(self.http, url, self.reactor, 30.0, keep=keep)
            gc.collect()
            for _ in range(100):
                await ask(self.http, url, self.reactor, 30.0, keep=keep)
            await self.wait(lambda: self.pool.open <= 1)
            self.assertLess(gc.collect(), 100)


class PollerTests(SocketTestCase):
    async def polled(self, address: str, interval: float) -> Fleet:
        """A fleet of one node, which is being polled."""
        fleet = Fleet(self.reactor.seconds, Random(1))
        fleet.replace([parse_address(address)])
        poller = Poller(fleet, self.http, self.reactor, interval=interval)
        poller.startService()
        self.addCleanup(poller.stopService)
        return fleet

    async def test_kept(self) -> None:
        """All polls of a node use one connection."""
        site = CountingSite(self.node)
        await self.polled(self.serve(site), 0.1)
        await self.wait(lambda: self.node.polls >= 10)
        self.assertEqual(site.connections, 1)

    async def test_closed_by_node(self) -> None:
        """When a node closes a kept connection, it stays up."""
        body = b'{"containers":[{"id":"llm","external":true}],"pending":{"offchain":0,"onchain":0}}'
        answer = b"HTTP/1.1 200 \r\ncontent-length: %d\r\n\r\n" % len(body) + body
        node = RawFactory(self.reactor, answer, closes=True)
        fleet = await self.polled(self.serve(node), 0.2)
        await self.wait(lambda: "not back" not in _why_none(fleet))
        while node.connections < 10:
            self.assertTrue(fleet.pick(["llm"]))
            await deferLater(self.reactor, 0.03)

    async def test_stopped(self) -> None:
        """Stopping cancels the polls in flight and closes their connections."""
        node = RawFactory(self.reactor, b"")
        fleet = Fleet(self.reactor.seconds, Random(1))
        fleet.replace([parse_address(self.serve(node))])
        poller = Poller(fleet, self.http, self.reactor)
        poller.startService()
        await self.wait(lambda: node.open)
        stopped: Deferred[Any] = poller.stopService()
        await stopped
        await self.closed(node)

    @skipUnless(IPV6, "there is no ::1")
    async def test_ipv6(self) -> None:
        """A node with an IPv6 address is polled like any other."""
        listening = self.reactor.listenTCP(0, CountingSite(self.node), interface="::1")
        self.addCleanup(listening.stopListening)
        address = f"[::1]:{listening.getHost().port}"
        fleet = await self.polled(address, 1.0)
        await self.wait(lambda: self.node.polls)
        await self.wait(lambda: "not back" not in _why_none(fleet))
        self.assertEqual(str(fleet.pick(["llm"])), address)


def _why_none(fleet: Fleet) -> str:
    try:
        fleet.peek(["llm"])
    except Exception as error:
        return str(error)
    return ""
