"""Tests of infernet_router.serving.channel: requests, errors and timeouts."""

from twisted.internet.interfaces import ISSLTransport
from zope.interface import directlyProvides

from tests.doubles import Socket
from tests.serving.case import GET, SLOW, ChannelTestCase, with_fields


class RequestTests(ChannelTestCase):
    def test_bytewise(self) -> None:
        """A request that arrives byte by byte is answered."""
        for byte in GET:
            self.assertEqual(self.socket.value(), b"")
            self.send(bytes([byte]))
        self.assertTrue(self.socket.value().endswith(b"answer"))

    def test_pipelined(self) -> None:
        """Pipelined requests are answered one after another."""
        self.send(GET * 2 + SLOW + GET[:5])
        self.send(GET[5:] + GET[:9])
        self.assertEqual(self.resource.asked, [b"/"])
        self.reactor.advance(0)
        self.assertEqual(self.resource.asked, [b"/", b"/", b"/slow"])
        self.resource.answer()
        self.reactor.advance(0)
        self.assertEqual(self.resource.asked, [b"/", b"/", b"/slow", b"/"])
        self.assertEqual(self.socket.value().count(b"answer"), 4)
        self.wait(15)
        self.assert_refused(408)

    def test_turns(self) -> None:
        """Pipelined requests of two clients are answered in turn."""
        other = self.connect(Socket())
        self.send(GET * 3)
        other.dataReceived(GET.replace(b"/", b"/other", 1) * 3)
        self.reactor.advance(0)
        self.assertEqual(self.resource.asked, [b"/", b"/other"] * 3)

    def test_gone_between(self) -> None:
        """The pipelined requests of a client that is gone are dropped."""
        self.send(GET * 2)
        self.channel.connectionLost(None)
        self.reactor.advance(0)
        self.assertEqual(self.resource.asked, [b"/"])

    def test_expect(self) -> None:
        """Expect: 100-continue gets no 100 Continue, as there is no body."""
        self.send(GET.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        self.assertTrue(self.socket.value().startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertFalse(self.socket.disconnecting)

    def test_last(self) -> None:
        """The last response says Connection: close, and nothing more is interpreted."""
        for last in (
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
            with_fields(b"Connection: close"),
            with_fields(b"Connection: close, TE"),
            with_fields(b"Connection: TE,\tCLOSE "),
            with_fields(b"Connection: TE", b"Connection: Close"),
        ):
            self.setUp()
            self.send(last + GET, GET)
            self.reactor.advance(1)
            self.assertEqual(self.resource.asked, [b"/"])
            self.assertIn(b"\r\nConnection: close\r\n", self.socket.value())
            self.assert_gone()

    def test_kept(self) -> None:
        """HTTP/1.1 connections are kept unless told otherwise, HTTP/1.0 ones when asked for."""
        for first, told in (
            (with_fields(b"Connection: TE, closed"), False),
            (with_fields(b"Connection:"), False),
            (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
            (b"HEAD / HTTP/1.0\r\nConnection: TE, keep-alive\r\n\r\n", True),
            (b"HEAD /long HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
            (b"GET /nothing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        ):
            self.setUp()
            self.send(first)
            self.assertEqual(b"\r\nConnection: keep-alive\r\n" in self.socket.value(), told)
            self.send(GET)
            self.assertTrue(self.socket.value().endswith(b"answer"))
            self.assertEqual(len(self.resource.asked), 2)

    def test_endless(self) -> None:
        """HTTP/1.0 ends the connection after a response whose length is not known before."""
        self.send(b"GET /long HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertIn(b"\r\nConnection: close\r\n", self.socket.value())
        for _ in range(3):
            self.channel.resumeProducing()
        self.assert_gone()

    def test_server(self) -> None:
        """Every response names the server, and no version."""
        for sent in (GET, b"OPTIONS *" + GET[5:], b"\0", b"PUT *" + GET[5:], SLOW[:-4] + b"\0\n"):
            self.setUp()
            self.send(sent)
            head = self.socket.value().partition(b"\r\n\r\n")[0]
            servers = [line for line in head.split(b"\r\n") if line.startswith(b"Server:")]
            self.assertEqual(servers, [b"Server: infernet-router"])

    def test_url(self) -> None:
        """A request whose target is a URL is one for its path."""
        self.send(b"GET http://r.invalid/a?b HTTP/1.1\r\nHost: other\r\n\r\n" + GET)
        self.reactor.advance(0)
        self.assertEqual(self.resource.asked, [b"/a?b", b"/"])

    def test_never_read(self) -> None:
        """A client that does not read its last response in time is cut off."""
        self.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(self.socket.disconnecting)
        self.wait(59.75)
        self.assertFalse(self.socket.aborted)
        self.wait(0.25)
        self.assertTrue(self.socket.aborted)
        self.assert_gone()


class RefusalTests(ChannelTestCase):
    def test_garbage(self) -> None:
        """A malformed request is refused, and nothing after it is interpreted."""
        self.send(b"\x16\x03\x01" + GET, GET)
        self.assertEqual(self.assert_refused(400), "malformed method")
        self.assertEqual(self.socket.value().count(b"HTTP/1.1 "), 1)
        self.assertEqual(self.resource.asked, [])

    def test_after_another(self) -> None:
        """A request before a malformed one is answered first."""
        self.send(SLOW + b"\0")
        self.resource.answer()
        self.reactor.advance(0)
        self.assertIn(b"late answer", self.socket.value())
        self.assert_refused(400)
        self.assertEqual(self.socket.value().count(b"HTTP/1.1"), 2)

    def test_after_much(self) -> None:
        """After an error, a paused transport is resumed, so that it notices the client's end."""
        self.send(GET + b"\0" * 20_000)
        self.assertEqual(self.socket.producerState, "paused")
        self.reactor.advance(0)
        self.assert_refused(414)
        self.assertEqual(self.socket.producerState, "producing")

    def test_head(self) -> None:
        """The error for HEAD has no body."""
        self.send(b"HEAD / HTTP/1.1\r\n\r\n")
        self.assertTrue(self.socket.value().startswith(b"HTTP/1.1 400 "))
        self.assertTrue(self.socket.value().endswith(b"\r\n\r\n"))

    def test_drained(self) -> None:
        """After an error, what the client sends is discarded, up to 1 MiB and for 2 seconds."""
        self.send(with_fields(b"Content-Length: 1000000000"))
        self.assert_refused(413)
        self.assertTrue(self.socket.half_closed)
        self.assertFalse(self.socket.disconnecting)
        answer = self.socket.value()
        for _ in range(16):
            self.assertEqual(self.socket.producerState, "producing")
            self.send(bytes(65536))
        self.send(b"!")
        self.assertEqual(self.socket.producerState, "paused")
        self.assertEqual(self.socket.value(), answer)
        self.wait(2)
        self.assertTrue(self.socket.aborted)
        self.assert_gone()

    def test_tls(self) -> None:
        """A TLS connection is closed by the closing handshake of TLS, in both directions."""
        self.socket = Socket()
        directlyProvides(self.socket, ISSLTransport)
        self.channel = self.connect(self.socket)
        self.send(b"\0")
        self.assert_refused(400)
        self.assertTrue(self.socket.disconnecting)
        self.assertFalse(self.socket.half_closed)
        self.wait(2)
        self.assertTrue(self.socket.aborted)

    def test_closed_site(self) -> None:
        """A site that closes does not wait for a client that was refused."""
        self.send(b"\0")
        self.channel.loseConnection()
        self.assert_gone()


class TimeTests(ChannelTestCase):
    def test_idle(self) -> None:
        """A connection without a request is closed after 15 seconds, without a response."""
        self.wait(14.75)
        self.assertFalse(self.socket.disconnecting)
        self.wait(0.25)
        self.assertEqual(self.socket.value(), b"")
        self.assert_gone()

    def test_idle_after_answer(self) -> None:
        """A client has 75 seconds to begin its next request."""
        self.send(GET)
        answer = self.socket.value()
        self.wait(74.75)
        self.assertFalse(self.socket.disconnecting)
        self.wait(0.25)
        self.assertEqual(self.socket.value(), answer)
        self.assert_gone()

    def test_idle_timeout(self) -> None:
        """The time that a connection may be idle can be chosen; it begins with the last answer."""
        for seconds in (1, 20, 3600):
            self.setUp()
            self.site.idle_timeout = seconds
            for _ in range(2):
                self.send(GET)
                self.wait(seconds - 0.25)
                self.assertFalse(self.socket.disconnecting)
            self.wait(0.25)
            self.assert_gone()

    def test_idle_after_reading(self) -> None:
        """A client that has read an answer late has the same time for its next request."""
        self.send(SLOW)
        self.channel.pauseProducing()
        self.resource.answer()
        self.wait(50)
        self.channel.resumeProducing()
        self.wait(74.75)
        self.assertFalse(self.socket.disconnecting)
        self.wait(0.25)
        self.assert_gone()

    def test_trickle(self) -> None:
        """A head has to be complete within 15 seconds, however its bytes arrive."""
        for seconds in (0, 14, 50):
            self.setUp()
            if seconds == 50:
                self.send(GET)
            self.wait(seconds)
            for index in range(15):
                self.send(GET[index : index + 1])
                self.assertFalse(self.socket.half_closed)
                self.wait(1)
            self.assertIn("15 seconds", self.assert_refused(408))
            self.wait(2)
            self.assertTrue(self.socket.aborted)
            self.assert_gone()

    def test_in_flight(self) -> None:
        """A request in flight has no timeout."""
        self.send(SLOW)
        self.wait(200)
        self.resource.answer()
        self.assertIn(b"late answer", self.socket.value())
        self.assertFalse(self.socket.disconnecting)

    def test_read_in_time(self) -> None:
        """A client that keeps sending requests is never cut off."""
        for _ in range(10):
            self.send(GET)
            self.wait(50)
        self.assertFalse(self.socket.disconnecting)
        self.assertEqual(len(self.resource.asked), 10)


class OverLimitTests(ChannelTestCase):
    most_connections = 10

    def setUp(self) -> None:
        """Connect one client more than the limit."""
        super().setUp()
        for _ in range(9):
            self.socket = Socket()
            self.channel = self.connect(self.socket)

    def test_told(self) -> None:
        """A request over the limit gets a 503, and is not rendered."""
        self.send(GET[:9], GET[9:])
        self.assertEqual(self.assert_refused(503), "there are too many connections")
        self.assertEqual(self.resource.asked, [])

    def test_silent(self) -> None:
        """A connection over the limit has 2 seconds to send its request."""
        self.wait(1)
        self.send(GET[:9])
        self.wait(1.75)
        self.assertEqual(self.socket.value(), b"")
        self.wait(0.25)
        self.assert_refused(503)
