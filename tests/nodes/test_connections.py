"""Tests of infernet_router.nodes.connections; those over TLS are in tests/integration."""

import gzip
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from infernet_router.nodes.asking import KEEP_ALIVE, NoAnswer, ask
from infernet_router.nodes.connections import NodeAgent, NodeConnections, http_client
from infernet_router.nodes.tls import make_trust
from tests.doubles import ANSWER, Asking


class HTTPClientTests(Asking):
    def assert_refused(self, reason: str, *sent: bytes) -> None:
        """An answer of these bytes is refused for this reason, and its connection closed."""
        answered = self.ask()
        protocol, transport = self.connected()
        for data in sent:
            if not transport.disconnecting:
                protocol.dataReceived(data)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(str(self.failureResultOf(answered, NoAnswer).value), reason)

    def test_where(self) -> None:
        """IP addresses are connected to on the given port, or the default one of the scheme."""
        for url, where in (
            ("http://192.0.2.1:4000/info", ("192.0.2.1", 4000)),
            ("http://192.0.2.1/info", ("192.0.2.1", 80)),
            ("https://192.0.2.1/info", ("192.0.2.1", 443)),
            ("http://[2001:db8::1]:4000/info", ("2001:db8::1", 4000)),
            ("https://[2001:db8::1]/info", ("2001:db8::1", 443)),
        ):
            self.ask(url)
            self.assertEqual(self.reactor.tcpClients[-1][:2], where)

    def test_answer(self) -> None:
        """The body of an answer is returned; the next request uses the same connection."""
        answered = self.ask()
        protocol, transport = self.connected()
        for _ in range(2):
            protocol.dataReceived(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}")
            self.assertEqual(self.successResultOf(answered), b"{}")
            answered = self.ask()
        self.assertEqual(len(self.reactor.tcpClients), 1)
        self.assertEqual(transport.value().count(b"GET /info HTTP/1.1"), 3)

    def test_in_turn(self) -> None:
        """Little is read from a connection at a time, also with TLS."""
        for url in ("http://192.0.2.1/info", "https://192.0.2.1/info"):
            self.ask(url)
            _, transport = self.connected()
            self.assertEqual(transport.bufferSize, 2048)

    def test_shared_host(self) -> None:
        """Nodes behind one proxy share at most eight kept connections."""
        urls = [f"http://192.0.2.1/{number}/info" for number in range(9)]
        connections: list[tuple[Any, Any]] = []
        for _ in range(2):
            answers = [self.ask(url) for url in urls]
            while len(connections) < len(self.reactor.tcpClients):
                connections.append(self.connected(len(connections)))
            for protocol, transport in connections:
                if not transport.disconnecting:
                    protocol.dataReceived(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}")
            for answered in answers:
                self.assertEqual(self.successResultOf(answered), b"{}")
        self.assertEqual(len(connections), 10)

    def test_kept(self) -> None:
        """An idle connection is closed before the node would close it."""
        answered = self.ask()
        protocol, transport = self.connected()
        protocol.dataReceived(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}")
        self.successResultOf(answered)
        self.reactor.advance(KEEP_ALIVE - 0.1)
        self.assertFalse(transport.disconnecting)
        self.reactor.advance(0.2)
        self.assertTrue(transport.disconnecting)
        self.assertLess(KEEP_ALIVE, 5.0)

    def test_not_kept(self) -> None:
        """A connection is closed after the answer if it need not be kept, or too many are."""
        whole = b"HTTP/1.1 200\r\ncontent-length: 2\r\n%s\r\n{}"
        asked = [ask(self.http, "http://192.0.2.1/info", self.reactor, 3.0)]
        protocol, transport = self.connected()
        self.assertIn(b"\r\nConnection: close\r\n", transport.value())
        protocol.dataReceived(whole % b"Connection: close\r\n")
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(Failure(ConnectionDone()))

        few = http_client(self.reactor, NodeConnections(self.reactor, most_kept=2))
        for number in range(3):
            url = f"http://192.0.2.{number}/info"
            asked.append(ask(few, url, self.reactor, 3.0, keep=True))
        transports = []
        for number in (-3, -2, -1):
            protocol, transport = self.connected(number)
            protocol.dataReceived(whole % b"")
            transports.append(transport)
        self.assertEqual([t.disconnecting for t in transports], [False, False, True])
        self.assertEqual([self.successResultOf(body) for body in asked], [b"{}"] * 4)

    def test_asks_for_no_compression(self) -> None:
        """Requests offer no content encoding."""
        self.ask()
        self.assertNotIn(b"encoding", self.connected()[1].value().lower())

    def test_compressed(self) -> None:
        """A compressed answer is refused without being decompressed."""
        bomb = gzip.compress(bytes(10_000_000))
        for encoding in (b"gzip", b"GZIP", b"br", b"identity\r\ncontent-encoding: gzip"):
            self.assert_refused(
                "it sent a compressed answer, which was not asked for",
                b"HTTP/1.1 200\r\ncontent-encoding: %s\r\n" % encoding,
                b"content-length: 99999\r\n\r\n",
                bomb,
            )

    def test_identity(self) -> None:
        """An answer with the content encoding identity is accepted."""
        answered = self.ask()
        self.connected()[0].dataReceived(
            b"HTTP/1.1 200\r\ncontent-encoding: Identity\r\ncontent-length: 2\r\n\r\n{}"
        )
        self.assertEqual(self.successResultOf(answered), b"{}")

    def test_interim(self) -> None:
        """An interim answer is refused at its first bytes, and not logged."""
        interim = b"HTTP/1.1 100 Continue\r\n\r\n" * 5000
        reason = "it sent an interim answer (1xx), which was not asked for"
        with capturedLogs() as logged:
            self.assert_refused(reason, interim)
            self.assert_refused(reason, *(bytes([byte]) for byte in interim))
            self.assert_refused(reason, b"HTTP/1.1 199\n\n")
        self.assertEqual(logged, [])

    def test_later_interim(self) -> None:
        """An interim answer on a kept connection closes it too."""
        first = self.ask()
        protocol, transport = self.connected()
        protocol.dataReceived(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}")
        self.successResultOf(first)
        self.ask()
        protocol.dataReceived(b"HTTP/1.1 100\r\n\r\n")
        self.assertTrue(transport.disconnecting)

    def test_status_line(self) -> None:
        """A malformed status line or an invalid status is refused as not HTTP."""
        for start in (
            b"<html>",
            b"\r\n",
            b"HTTP/2 200\r\n",
            b"HTTP 200",
            b"HTTP/1.1  200",
            b"HTTP/1.1 -1",
            b"HTTP/1.1 +100\r\n\r\n",
            b"HTTP/1.1 099\r\n",
            b"HTTP/1.1 600\r\n",
            b"HTTP/1.1 20\r\n",
            b"HTTP/1.1 2_00\r\n",
            b"HTTP/1.1 20000\r\n",
            b"HTTP/1.1 99999\r\n",
        ):
            self.assert_refused("the answer is not HTTP", start)
            self.assert_refused("the answer is not HTTP", *(bytes([byte]) for byte in start))

    def test_statuses(self) -> None:
        """A status line may have a reason phrase, an empty one or none, and may be split."""
        for line in (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 \r\n", b"HTTP/1.1 200\n"):
            answered = self.ask(f"http://192.0.2.1:{4000 + len(line)}/info")
            protocol, _ = self.connected()
            for byte in line + b"content-length: 2\r\n\r\n{}":
                protocol.dataReceived(bytes([byte]))
            self.assertEqual(self.successResultOf(answered), b"{}")

    def test_too_much(self) -> None:
        """An oversized body closes the connection, whatever its framing."""
        for headers in (
            b"",
            b"content-length: 2000000000\r\n",
            b"transfer-encoding: chunked\r\n",
        ):
            self.assert_refused(
                "its answer is larger than 128 KiB",
                b"HTTP/1.1 200\r\n" + headers + b"\r\n",
                *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 3,
            )

    def test_not_wanted(self) -> None:
        """The body of an error response is not read."""
        for headers in (b"", b"content-length: 9999\r\n", b"transfer-encoding: chunked\r\n"):
            start = b"HTTP/1.1 500\r\n" + headers + b"\r\n"
            self.assert_refused("HTTP 500", start + b"7\r\nnothing\r\n" * 99)

    def test_chunks(self) -> None:
        """An answer in very small chunks is refused before all of them are read."""
        start = b"HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n"
        reason = "its answer comes in more than 1000 chunks"
        self.assert_refused(reason, start + b"1\r\nx\r\n" * 1001)
        answered = self.ask()
        self.connected()[0].dataReceived(start + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
        self.assertEqual(self.successResultOf(answered), b"x" * 1000)

    def test_framing(self) -> None:
        """Chunk headers and trailers are bounded too: by the number of chunks, or by Twisted."""
        start = b"HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n"
        no_http = "the answer is not HTTP (_MalformedChunkedDataError)"
        for more, reason in (
            (b"1;" + b"y" * 998 + b"\r\nx\r\n", "its answer comes in more than 1000 chunks"),
            (b"1;" + b"y" * 9998, no_http),
            (b"0\r\n" + b"x: y\r\n" * 10_000, no_http),
            (b"0\r\n" + b"y" * 10_000, no_http),
        ):
            self.assert_refused(reason, start, *[more * 64] * 20)

    def test_long_head(self) -> None:
        """A head of more than 8 KiB is refused, in one line or many, however it is split."""
        reason = "its headers are longer than 8 KiB"
        for start, more in (
            (b"HTTP/1.1 200 ", b"y"),
            (b"HTTP/1.1 200\r\nx: ", b"y"),
            (b"HTTP/1.1 200\r\n", b"x: y\r\n"),
            (b"HTTP/1.1 200\r\nx: y", b"\r\n "),
        ):
            for count in (1, 100, 10_000):
                self.assert_refused(reason, start, *[more * count] * (10_000 // count))
        self.assert_refused(reason, b"HTTP/1.1 200\r\n" + b"x: y\r\n" * 2000 + b"\r\n")

    def test_longest_head(self) -> None:
        """A head of almost 8 KiB is accepted, with CRLF or LF, even byte by byte."""
        for end in (b"\r\n", b"\n"):
            answered = self.ask()
            protocol, _ = self.connected()
            lines = [b"HTTP/1.1 200", b"x: " + b"y" * 8000, b"content-length: 2", b"", b"{}"]
            for byte in end.join(lines):
                protocol.dataReceived(bytes([byte]))
            self.assertEqual(self.successResultOf(answered), b"{}")
            self.pool.closeCachedConnections()

    def test_many_headers(self) -> None:
        """A hundred headers are accepted; with one more, the answer is refused unparsed."""
        for count in (100, 101):
            head = b"HTTP/1.1 200\r\ncontent-length: 2\r\n" + b"x:\r\n" * (count - 1) + b"\r\n"
            if count == 100:
                answered = self.ask()
                self.connected()[0].dataReceived(head + b"{}")
                self.assertEqual(self.successResultOf(answered), b"{}")
                self.pool.closeCachedConnections()
            else:
                self.assert_refused("it sent more than 100 headers", head + b"{}")

    def test_many_answers(self) -> None:
        """The limits are for each answer: a connection may carry any number of answers."""
        answered = self.ask()
        protocol, _ = self.connected()
        body = b"x" * 100_000
        for _ in range(15):
            protocol.dataReceived(b"HTTP/1.1 200\r\ncontent-length: 100000\r\n\r\n" + body)
            self.assertEqual(self.successResultOf(answered), body)
            answered = self.ask()
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_cookies(self) -> None:
        """A node's cookies are neither kept nor parsed."""
        answered = self.ask()
        protocol, transport = self.connected()
        protocol.dataReceived(
            b"HTTP/1.1 200\r\nset-cookie: a=b; path=/\r\nset-cookie: \xff=\xff; path=/\r\n"
            b"set-cookie2: \xff=\xff; version=1\r\ncontent-length: 2\r\n\r\n{}"
        )
        self.assertEqual(self.successResultOf(answered), b"{}")
        transport.clear()
        self.ask()
        self.assertNotIn(b"cookie", transport.value().lower())

    def test_request(self) -> None:
        """A request has the path, the host as in the URL, and no port when that has none."""
        for url, start in (
            ("http://192.0.2.1/", b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n"),
            ("http://192.0.2.1", b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n"),
            ("http://192.0.2.1:80/a/b?c=d%20e", b"GET /a/b?c=d%20e HTTP/1.1\r\nHost: 192.0.2.1:80"),
            ("http://[2001:db8::1]:4000/info", b"GET /info HTTP/1.1\r\nHost: [2001:db8::1]:4000"),
        ):
            self.ask(url)
            sent = self.connected()[1].value()
            self.assertEqual(sent[: len(start)], start)
            self.assertTrue(sent.endswith(b"\r\n\r\n"))

    def test_malformed_url(self) -> None:
        """A URL that would break a request is refused, and nothing is sent."""
        for url in (
            "ftp://192.0.2.1/",
            "http:///info",
            "http://user@192.0.2.1/",
            "http://192.0.2.1/a b",
            "http://192.0.2.1/\r\nx: y",
            "http://192.0.2.1:port/",
        ):
            self.assertEqual(
                str(self.failureResultOf(self.ask(url), NoAnswer).value),
                "request failed (ValueError)",
            )
        self.assertEqual(self.attempts, 0)

    def test_only_get(self) -> None:
        """The agent sends GET requests without a body, with or without headers."""
        agent = NodeAgent(self.reactor, self.pool, make_trust(None))
        self.assertRaises(ValueError, agent.request, b"POST", b"http://192.0.2.1/")
        agent.request(b"GET", b"http://192.0.2.1/")
        self.assertIn(b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", self.connected()[1].value())

    def test_headers(self) -> None:
        """A request has the headers that it is given, none of which can add a line."""
        agent = NodeAgent(self.reactor, self.pool, make_trust(None))
        agent.request(b"GET", b"http://192.0.2.1/", Headers({b"x": [b"y\r\nz: 1", b"2"]}))
        self.assertIn(b"\r\nX: y z: 1\r\nX: 2\r\n", self.connected()[1].value())

    def test_closed_for_good(self) -> None:
        """When all idle connections have been closed, the Deferred fires and no timer is left."""
        protocol, transport = self.kept()
        self.assertEqual(self.pool.open, 1)
        closed = self.pool.closeCachedConnections()
        self.assertTrue(transport.disconnecting)
        self.assertNoResult(closed)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(closed)
        self.assertEqual(self.pool.open, 0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.successResultOf(self.pool.closeCachedConnections())

    def test_own_connection(self) -> None:
        """A request whose connection is not kept leaves the kept one alone."""
        _, transport = self.kept()
        self.ask(keep=False)
        self.assertEqual(self.attempts, 2)
        answered = self.ask()
        self.assertEqual(self.attempts, 2)
        self.assertNoResult(answered)
        self.assertEqual(transport.value().count(b"GET "), 2)

    def test_too_many_later(self) -> None:
        """A connection that is one too many when its response is complete is closed."""
        self.http = http_client(self.reactor, NodeConnections(self.reactor, most_kept=1))
        self.ask("http://192.0.2.1/info")
        self.ask("http://192.0.2.2/info")
        first, _ = self.connected(0)
        second, transport = self.connected(1)
        second.dataReceived(ANSWER)
        self.assertTrue(transport.disconnecting)
        second.connectionLost(Failure(ConnectionDone()))
        first.dataReceived(ANSWER)
        self.assertFalse(first.transport.disconnecting)
