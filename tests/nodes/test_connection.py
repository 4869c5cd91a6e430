"""Tests of infernet_router.nodes.connection; its limits are tested in test_connections."""

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface.verify import verifyObject

from infernet_router.nodes.asking import NoAnswer
from infernet_router.nodes.connections import NodeAgent
from infernet_router.nodes.tls import make_trust
from tests.doubles import ANSWER, Asking

CHUNKED = b"HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n"


class ConnectionTests(Asking):
    def test_framings(self) -> None:
        """A body ends where its length, its last chunk or the connection ends, however split."""
        for answer, ends in (
            (ANSWER, True),
            (CHUNKED + b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\nx: y\r\n\r\n", True),
            (b"HTTP/1.1 200\r\n\r\n{}", False),
        ):
            for step in (1, 5, len(answer)):
                answered = self.ask(keep=False)
                protocol, _ = self.connected()
                for start in range(0, len(answer), step):
                    protocol.dataReceived(answer[start : start + step])
                if not ends:
                    self.assertNoResult(answered)
                    protocol.connectionLost(Failure(ConnectionDone()))
                self.assertEqual(self.successResultOf(answered), b"{}")

    def test_cut(self) -> None:
        """A body whose end is missing has failed; without a length also when the node resets."""
        closed = "it closed the connection before the answer was complete"
        for answer, reason in (
            (ANSWER[:-1], ConnectionDone()),
            (CHUNKED + b"2\r\n{}\r\n", ConnectionDone()),
            (b"HTTP/1.1 200\r\n\r\n{}", ConnectionLost()),
        ):
            answered = self.ask(keep=False)
            protocol, _ = self.connected()
            protocol.dataReceived(answer)
            protocol.connectionLost(Failure(reason))
            self.assertEqual(str(self.failureResultOf(answered, NoAnswer).value), closed)

    def test_empty(self) -> None:
        """An empty body is complete at once."""
        for answer in (
            b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
            CHUNKED + b"0\r\n\r\n",
        ):
            answered = self.ask()
            self.connected()[0].dataReceived(answer)
            self.assertEqual(self.successResultOf(answered), b"")
            self.pool.closeCachedConnections()

    def test_kept(self) -> None:
        """A connection is used again after a length or chunks, and not after anything else."""
        for answer, is_kept in (
            (ANSWER, True),
            (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", True),
            (ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), False),
            (ANSWER.replace(b"1.1", b"1.0"), False),
            (ANSWER + b"x", False),
            (ANSWER + ANSWER, False),
            (CHUNKED + b"2\r\n{}\r\n0\r\n\r\nx", False),
        ):
            answered = self.ask()
            protocol, transport = self.connected()
            protocol.dataReceived(answer)
            self.assertEqual(self.successResultOf(answered), b"{}")
            self.assertEqual(transport.disconnecting, not is_kept, answer)
            self.pool.closeCachedConnections()

    def test_unasked(self) -> None:
        """Bytes between two responses close the connection; the next request uses another."""
        protocol, transport = self.kept()
        protocol.dataReceived(ANSWER)
        self.assertTrue(transport.aborted)
        protocol.dataReceived(ANSWER)
        protocol.connectionLost(Failure(ConnectionDone()))
        answered = self.ask()
        self.assertEqual(self.attempts, 2)
        self.assertNoResult(answered)
        self.assertEqual(self.pool.open, 0)

    def test_failed(self) -> None:
        """A connection is not used again after an error, even if the node goes on."""
        answered = self.ask()
        protocol, transport = self.connected()
        protocol.dataReceived(b"HTTP/1.1 503\r\ncontent-length: 0\r\n\r\n" + ANSWER)
        self.assertEqual(str(self.failureResultOf(answered, NoAnswer).value), "HTTP 503")
        self.assertTrue(transport.aborted)
        self.ask()
        self.assertEqual(self.attempts, 2)

    def test_timeout(self) -> None:
        """A timeout closes the connection, in the head and in the body."""
        for part in (b"", ANSWER[:9], ANSWER[:-1]):
            answered = self.ask()
            protocol, transport = self.connected()
            protocol.dataReceived(part)
            self.reactor.advance(3)
            self.assertEqual(
                str(self.failureResultOf(answered, NoAnswer).value), "timeout after 3 s"
            )
            self.assertTrue(transport.aborted)
            protocol.connectionLost(Failure(ConnectionDone()))

    def test_response(self) -> None:
        """A response is what Twisted's agents give, and is lost when nobody reads it."""
        agent = NodeAgent(self.reactor, self.pool, make_trust(None))
        got = agent.request(b"GET", b"http://192.0.2.1/", Headers({b"x": [b"y"]}))
        protocol, transport = self.connected()
        protocol.dataReceived(
            b"HTTP/1.1 200 Fine\r\nA: 1\r\na: 2\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\n{}"
        )
        response = self.successResultOf(got)
        verifyObject(IResponse, response)
        response.setPreviousResponse(response)
        self.assertEqual(
            (response.version, response.code, response.phrase, response.length),
            ((b"HTTP", 1, 1), 200, b"Fine", 2),
        )
        self.assertEqual(response.headers.getRawHeaders(b"a"), [b"1", b"2"])
        self.assertFalse(response.headers.hasHeader(b"set-cookie"))
        self.assertTrue(transport.aborted)

    def test_stopped(self) -> None:
        """Who reads a body can stop it; there is no end of it until the connection is closed."""
        ends: list[Any] = []

        class Reader(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.stopProducing()  # type: ignore[attr-defined]

            def connectionLost(self, reason: Any = None) -> None:
                ends.append(reason)

        agent = NodeAgent(self.reactor, self.pool, make_trust(None))
        agent.request(b"GET", b"http://192.0.2.1/").addCallback(
            lambda response: response.deliverBody(Reader())
        )
        protocol, transport = self.connected()
        protocol.dataReceived(ANSWER)
        self.assertTrue(transport.aborted)
        self.assertEqual(ends, [])
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(ends), 1)

    def test_once(self) -> None:
        """A connection that is lost before it could be used has failed like any other."""
        answered = self.ask()
        protocol, _ = self.connected()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(answered, NoAnswer)
        self.assertEqual(self.attempts, 1)
