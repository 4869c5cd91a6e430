"""Tests of infernet_router.serving.channel: bodies, half-closed connections and slow readers."""

import gc
from typing import Any, cast
from weakref import ref

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from tests.doubles import Socket
from tests.serving.case import (
    CHUNKED,
    EXPECT,
    GET,
    LONG,
    LONG_CHUNK,
    SIZED,
    SLOW,
    ChannelTestCase,
    with_fields,
)


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
