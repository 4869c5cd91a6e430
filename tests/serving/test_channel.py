"""Tests of infernet_router.serving.channel."""

import gc
import json
from typing import Any, cast
from weakref import ref

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import directlyProvides

from infernet_router.fleet import finish
from infernet_router.serving.site import ClosableSite
from infernet_router.serving.streaming import BUFFER_SIZE, send
from tests.doubles import Socket

GET = b"GET / HTTP/1.1\r\nHost: r.invalid\r\n\r\n"
SLOW = GET.replace(b"/", b"/slow", 1)
LONG = GET.replace(b"/", b"/long", 1)
LONG_CHUNK = b"x" * (BUFFER_SIZE + 1)
SIZED = b"Content-Length: 2"
CHUNKED = b"Transfer-Encoding: chunked"
EXPECT = b"Expect: 100-continue"


def with_fields(*fields: bytes, request: bytes = GET) -> bytes:
    """The head of a request with more header fields."""
    return b"\r\n".join((request[:-4], *fields, b"", b""))


class Answering(Resource):
    """Answers at once, when told to, or with a long response."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []
        self.waiting: list[Request] = []

    def render(self, request: Request) -> bytes | int:
        self.asked.append(request.uri)
        if request.path == b"/slow":
            self.waiting.append(request)
            return NOT_DONE_YET
        if request.path == b"/long" and request.method != b"HEAD":
            sent = send(request, LONG_CHUNK, iter([LONG_CHUNK] * 2), finish)
            sent.addCallback(lambda _: request.finish())
            return NOT_DONE_YET
        if request.path == b"/nothing":
            request.setResponseCode(204)
            return b""
        return b"answer"

    def answer(self) -> None:
        request = self.waiting.pop()
        request.write(b"late answer")
        request.finish()


class ChannelTestCase(SynchronousTestCase):
    most_connections = 1000

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.resource = Answering()
        self.site = ClosableSite(self.resource, self.reactor, self.most_connections)
        self.socket = Socket()
        self.channel = self.connect(self.socket)

    def connect(self, socket: Socket) -> Any:
        channel: Any = self.site.buildProtocol(None)
        channel.makeConnection(socket)
        return channel

    def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.channel.dataReceived(chunk)

    def wait(self, seconds: float) -> None:
        """Advance the clock in small steps, as in a real reactor."""
        self.reactor.pump([0.25] * round(seconds / 0.25))

    def assert_refused(self, status: int, socket: Socket | None = None) -> str:
        """The last response is a complete JSON error with this status; returns its message."""
        head, _, body = (socket or self.socket).value().rpartition(b"\r\n\r\n")
        line, *fields = head[head.rindex(b"HTTP/1.1 ") :].decode("ascii").split("\r\n")
        self.assertTrue(line.startswith(f"HTTP/1.1 {status} "), line)
        headers = dict(field.split(": ") for field in fields)
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertTrue(body.endswith(b"}\n"), body)
        self.assertEqual(headers["Content-Length"], str(len(body)))
        self.assertEqual(headers["Cache-Control"], "no-store")
        self.assertEqual(headers["Connection"], "close")
        self.assertEqual("Retry-After" in headers, status == 503)
        (error,) = json.loads(body).items()
        self.assertEqual(error[0], "error")
        return str(error[1])

    def assert_gone(self) -> None:
        """The connection was closed, and leaves no delayed call."""
        self.assertTrue(self.socket.disconnecting)
        self.channel.connectionLost(None)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


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


class BodyTests(ChannelTestCase):
    def test_skipped(self) -> None:
        """A small body is skipped, with any method, and the next request is answered."""
        for method in (b"GET", b"HEAD", b"POST", b"OPTIONS"):
            for field, body in (
                (SIZED, b"{}"),
                (CHUNKED, b"0\r\n\r\n"),
                (CHUNKED, b"2\r\n{}\r\n0\r\n\r\n"),
                (b"Content-Length: 65536", (GET * 2000)[:65536]),
            ):
                self.setUp()
                self.send(method + with_fields(field)[3:] + body + GET)
                self.reactor.advance(0)
                self.assertEqual(self.resource.asked, [b"/"] * 2, (method, field))
                self.assertTrue(self.socket.value().endswith(b"answer"))
                self.assertFalse(self.socket.disconnecting)

    def test_slow(self) -> None:
        """A request is answered once its body has arrived, which has 15 seconds."""
        for field, body in ((SIZED, b"{}"), (CHUNKED, b"2\r\n{}\r\n0\r\n\r\n")):
            self.setUp()
            self.wait(14)
            self.send(with_fields(field))
            for byte in body:
                self.assertEqual(self.socket.value(), b"")
                self.wait(1)
                self.send(bytes([byte]))
            self.assertTrue(self.socket.value().endswith(b"answer"))
            self.send(GET)
            self.assertEqual(len(self.resource.asked), 2)

    def test_too_slow(self) -> None:
        """A body that takes longer is refused."""
        for method, answer in ((b"GET", True), (b"HEAD", False)):
            self.setUp()
            self.send(method + with_fields(b"Content-Length: 100")[3:])
            for _ in range(14):
                self.wait(1)
                self.send(b"x")
            self.assertEqual(self.socket.value(), b"")
            self.wait(1)
            if answer:
                self.assertIn("body took longer", self.assert_refused(408))
            self.assertEqual(self.socket.value().endswith(b"}\n"), answer)
            self.assertEqual(self.resource.asked, [])

    def test_continue(self) -> None:
        """A client that expects 100 Continue gets it once, unless the body has arrived anyway."""
        for sent, count in (
            ((with_fields(SIZED, EXPECT), b"{", b"}"), 1),
            ((with_fields(CHUNKED, EXPECT), b"0\r\n", b"\r\n"), 1),
            ((with_fields(SIZED, EXPECT) + b"{", b"}"), 0),
            ((with_fields(SIZED), b"{", b"}"), 0),
            ((with_fields(SIZED, EXPECT).replace(b"1.1", b"1.0"), b"{}"), 0),
        ):
            self.setUp()
            self.send(*sent)
            self.assertEqual(self.socket.value().count(b"HTTP/1.1 100 Continue\r\n\r\n"), count)
            self.assertTrue(self.socket.value().endswith(b"answer"))

    def test_refused(self) -> None:
        """A large or malformed body is refused, and nothing after it is interpreted."""
        for status, sent in (
            (413, with_fields(b"Content-Length: 65537", EXPECT)),
            (413, with_fields(CHUNKED) + b"10001\r\n"),
            (400, with_fields(CHUNKED) + b"\r\n"),
            (400, with_fields(CHUNKED) + b"1\r\n" + GET),
            (400, with_fields(CHUNKED, SIZED) + b"0\r\n\r\n"),
            (501, with_fields(b"Transfer-Encoding: x")),
        ):
            self.setUp()
            self.send(sent + GET)
            self.assert_refused(status)
            self.assertEqual(self.socket.value().count(b"HTTP/1.1 "), 1)
            self.send(GET)
            self.assertEqual(self.resource.asked, [])

    def test_in_flight(self) -> None:
        """While a request is in flight, the body of the next one waits."""
        self.send(SLOW, with_fields(b"Content-Length: 65536") + bytes(65535))
        self.assertEqual(self.socket.producerState, "paused")
        self.resource.answer()
        self.reactor.advance(0)
        self.assertEqual(self.socket.producerState, "producing")
        self.send(b"!" + SLOW + with_fields(SIZED) + b"{}" + GET)
        self.reactor.advance(0)
        self.resource.answer()
        self.reactor.pump([0, 0])
        self.assertEqual(self.resource.asked, [b"/slow", b"/", b"/slow", b"/", b"/"])


class HalfClosedTests(ChannelTestCase):
    def half_close(self) -> None:
        self.channel.readConnectionLost()
        self.channel.writeConnectionLost()

    def test_answered(self) -> None:
        """All requests are answered, and then the connection ends."""
        for pieces in ((GET,), (GET * 3,), (SLOW,), (GET, SLOW + GET + b"\r\n")):
            self.setUp()
            self.send(*pieces)
            self.half_close()
            for _ in range(3):
                self.reactor.advance(0)
                if self.resource.waiting:
                    self.half_close()
                    self.assertFalse(self.socket.disconnecting)
                    self.resource.answer()
            sent = b"".join(pieces)
            self.assertEqual(self.socket.value().count(b"answer"), sent.count(b"GET"))
            self.assertNotIn(b"400", self.socket.value())
            self.assert_gone()

    def test_idle(self) -> None:
        """An idle connection ends at once."""
        for sent in (b"", GET):
            self.setUp()
            self.send(sent)
            self.half_close()
            self.reactor.advance(0)
            self.assertEqual(self.site.idle, {})
            self.assert_gone()

    def test_incomplete(self) -> None:
        """An incomplete request is refused."""
        for sent in (GET[:-2], with_fields(SIZED) + b"{"):
            self.setUp()
            self.send(GET + sent)
            self.half_close()
            self.reactor.advance(0)
            self.assertEqual(self.assert_refused(400), "the connection ended within the request")
            self.assertEqual(self.socket.value().count(b"HTTP/1.1"), 2)
            self.assert_gone()

    def test_unread(self) -> None:
        """The client has its time to read the answers."""
        self.send(LONG)
        self.half_close()
        for _ in range(3):
            self.assertFalse(self.socket.disconnecting)
            self.channel.resumeProducing()
        self.reactor.advance(0)
        self.assert_gone()

    def test_refused(self) -> None:
        """A refused client ends the connection by closing its writing half."""
        self.send(b"\0")
        self.assertTrue(self.socket.half_closed)
        self.assertFalse(self.socket.disconnecting)
        self.half_close()
        self.assert_gone()

    def test_wrapped(self) -> None:
        """A haproxy: endpoint wraps the connection; TLS, which does too, has no half-close."""
        for socket, half_closes in ((Socket(), True), (Socket(), False)):
            if not half_closes:
                directlyProvides(socket, ISSLTransport)
            wrapper: Any = WrappingFactory(self.site).buildProtocol(cast(Any, None))
            wrapper.makeConnection(socket)
            found = IHalfCloseableProtocol(wrapper, None)
            self.assertIs(found, wrapper.wrappedProtocol if half_closes else None)
        other = ProtocolWrapper(WrappingFactory(self.site), Protocol())
        self.assertIsNone(IHalfCloseableProtocol(other, None))


class BackPressureTests(ChannelTestCase):
    def test_unread(self) -> None:
        """While a client does not read, its requests wait, and nothing is read from it."""
        self.send(GET * 3)
        self.channel.pauseProducing()
        self.assertEqual(self.socket.producerState, "paused")
        self.reactor.advance(0)
        self.send(GET)
        self.assertEqual(self.resource.asked, [b"/"])
        self.channel.resumeProducing()
        self.assertEqual(self.socket.producerState, "producing")
        self.reactor.advance(0)
        self.assertEqual(self.resource.asked, [b"/"] * 4)

    def test_unread_for_long(self) -> None:
        """A client that does not read a response in time is cut off, without another response."""
        for more in (b"", GET):
            self.setUp()
            self.send(SLOW)
            self.channel.pauseProducing()
            self.resource.answer()
            self.send(more)
            self.wait(59.75)
            self.assertFalse(self.socket.disconnecting)
            self.wait(0.25)
            self.assertTrue(self.socket.disconnecting)
            self.wait(2)
            self.assertTrue(self.socket.aborted)
            self.assertEqual(self.socket.value().count(b"HTTP/1.1 "), 1)
            self.assert_gone()

    def test_long(self) -> None:
        """A long response is sent as its client reads it, and is followed by the next."""
        self.send(LONG + GET)
        for count in (1, 2, 3):
            self.assertEqual(self.socket.value().count(LONG_CHUNK), count)
            self.assertEqual(self.resource.asked, [b"/long"])
            self.channel.resumeProducing()
        self.reactor.advance(0)
        self.assertEqual(self.resource.asked, [b"/long", b"/"])
        self.assertTrue(self.socket.value().endswith(b"answer"))
        self.assertEqual(self.socket.producerState, "producing")

    def test_long_read_slowly(self) -> None:
        """A long response that is not read in time is cut off by a reset."""
        for sent in ((LONG,), (LONG, GET), (LONG.replace(b"1.1", b"1.0"),)):
            self.setUp()
            self.send(*sent)
            self.wait(30)
            self.channel.resumeProducing()
            self.wait(29.75)
            self.assertFalse(self.socket.aborted)
            self.wait(0.25)
            self.assertTrue(self.socket.aborted)
            self.assertEqual(self.socket.value().count(LONG_CHUNK), 2)
            self.assertEqual(self.socket.value().count(b"HTTP/1."), 1)
            self.assert_gone()

    def test_long_gone(self) -> None:
        """The unread response of a client that is gone is freed without garbage collection."""
        socket = Socket()
        channel = self.connect(socket)
        channel.dataReceived(LONG)
        self.assertIn(LONG_CHUNK, socket.value())
        unread = ref(socket)
        gc.disable()
        self.addCleanup(gc.enable)
        channel.connectionLost(Failure(ConnectionDone()))
        socket.producer = None  # as a real one does
        del channel, socket
        self.assertIsNone(unread())

    def test_soon_read(self) -> None:
        """Requests have only one turn scheduled, even if their client reads at once."""
        self.send(GET * 3)
        self.channel.pauseProducing()
        self.channel.resumeProducing()
        self.assertEqual(self.resource.asked, [b"/"])
        self.reactor.advance(0)
        self.assertEqual(self.resource.asked, [b"/"] * 3)

    def test_busy(self) -> None:
        """While a request is in flight, hardly more than the next head is read."""
        self.send(SLOW)
        sent = 0
        while self.socket.producerState == "producing":
            self.send(GET)
            sent += 1
        self.assertLess(sent * len(GET), 17_000)
        self.resource.answer()
        self.reactor.advance(0)
        self.assertEqual(len(self.resource.asked), 1 + sent)
        self.assertEqual(self.socket.producerState, "producing")


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
