"""Tests of infernet_router.serving.site."""

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.counting import Counts
from infernet_router.serving.site import ClosableSite
from tests.doubles import Socket

GET = b"GET / HTTP/1.1\r\nHost: r.invalid\r\n\r\n"


class Slow(Resource):
    """Answers a request when told to."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def render(self, request: Request) -> int:
        self.requests.append(request)
        return NOT_DONE_YET

    def answer(self) -> None:
        request = self.requests.pop()
        request.write(b"answer")
        request.finish()


class Echo(Resource):
    """Answers with the body of the request."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return b"[%b]" % (b"" if request.content is None else request.content.read())


class BodyTests(SynchronousTestCase):
    """What a resource reads of the bodies of requests"""

    SENT = (
        b"PUT / HTTP/1.1\r\nHost: r.invalid\r\nContent-Length: 5\r\n\r\nhello",
        GET,
        b"PUT / HTTP/1.1\r\nHost: r.invalid\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: r.invalid\r\nContent-Length: 0\r\n\r\n",
    )

    def bodies(self, *, reads_bodies: bool, step: int) -> list[bytes]:
        """What the resource read, when the requests arrive in pieces of so many bytes."""
        reactor: Any = MemoryReactorClock()
        site = ClosableSite(Echo(), reactor, 100, reads_bodies=reads_bodies)
        protocol: Any = site.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        sent = b"".join(self.SENT)
        for start in range(0, len(sent), step):
            protocol.dataReceived(sent[start : start + step])
            reactor.advance(0)
        reactor.pump([0] * 10)
        return re.findall(rb"\[.*?\]", transport.value())

    def test_read(self) -> None:
        """Each request has its own body, however it arrives."""
        for step in (1, 7, 1000):
            bodies = self.bodies(reads_bodies=True, step=step)
            self.assertEqual(bodies, [b"[hello]", b"[]", b"[abcde]", b"[]"])

    def test_discarded(self) -> None:
        """By default, no body is kept."""
        self.assertEqual(self.bodies(reads_bodies=False, step=7), [b"[]"] * 4)


class ClosableSiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.slow = Slow()
        self.site = ClosableSite(self.slow, self.reactor, 100)

    def connect(self, sent: bytes) -> tuple[Any, Any]:
        """Connect a client that sends these bytes; returns its protocol and transport."""
        protocol: Any = self.site.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(sent)
        return protocol, transport

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.site.close())

    def drop(self, *connections: tuple[Any, Any]) -> None:
        """Report the loss of the connections that were closed, like a real transport."""
        for protocol, transport in connections:
            if transport.disconnecting:
                protocol.connectionLost(None)

    def test_counts(self) -> None:
        """Responses are counted by path and code, those to malformed requests too."""
        counts = Counts()
        counts.name_paths([b"/a"])
        self.site = ClosableSite(self.slow, self.reactor, 10, counts=counts)
        self.connect(GET.replace(b"/ ", b"/a "))
        self.reactor.advance(0.4)
        (request,) = self.slow.requests
        request.responseHeaders.setRawHeaders(b"Infernet-Decision", [b"id"])
        self.assertEqual(counts.paths["/a"].codes, {})
        self.slow.answer()
        self.assertEqual(counts.paths["/a"].codes, {200: 1})
        self.assertEqual(counts.paths["/a"].seconds.total, 0.4)
        self.assertIn(("id", 0.4), counts.paths["/a"].seconds.examples)
        for sent in (b"GET /a?b HTTP/2.0\r\n", b"\0\r\n", b"nonsense\r\n"):
            protocol: Any = self.site.buildProtocol(None)
            protocol.makeConnection(Socket())
            protocol.dataReceived(sent)
        self.assertEqual(counts.paths["/a"].codes, {200: 1, 505: 1})
        self.assertEqual(counts.paths["other"].codes, {400: 2})

    def test_refused(self) -> None:
        """Connections over the limit are counted, whether they are answered 503 or aborted."""
        counts = Counts()
        self.site = ClosableSite(self.slow, self.reactor, 10, counts=counts)
        for _ in range(12):
            self.site.buildProtocol(None).makeConnection(Socket())
        self.assertEqual((self.site.connections, counts.refused), (10, 3))

    def test_nobody(self) -> None:
        """A site without clients closes at once."""
        self.successResultOf(self.close())

    def test_idle(self) -> None:
        """An idle connection is closed soon."""
        idle = self.connect(b"")
        closed = self.close()
        self.reactor.advance(0.2)
        self.assertTrue(idle[1].disconnecting)
        self.drop(idle)
        self.successResultOf(closed)

    def test_in_flight(self) -> None:
        """A request in flight is answered, and then its connection is closed."""
        busy = self.connect(GET)
        closed = self.close()
        self.reactor.advance(0.5)
        self.assertFalse(busy[1].disconnecting)
        self.slow.answer()
        self.assertIn(b"answer", busy[1].value())
        self.assertTrue(busy[1].disconnecting)
        self.drop(busy)
        self.successResultOf(closed)

    def test_on_its_way(self) -> None:
        """A request that arrives just after closing began is answered too."""
        late = self.connect(b"")
        closed = self.close()
        self.reactor.advance(0.05)
        late[0].dataReceived(GET)
        self.slow.answer()
        self.assertIn(b"onnection: close", late[1].value())
        self.assertIn(b"answer", late[1].value())
        self.assertTrue(late[1].disconnecting)
        self.drop(late)
        self.reactor.advance(0.1)
        self.successResultOf(closed)

    def test_never_answered(self) -> None:
        """A request that takes too long delays closing by less than a second."""
        busy = self.connect(GET)
        closed = self.close()
        began = self.reactor.seconds()
        self.reactor.advance(0.5)
        self.assertNoResult(closed)
        while not closed.called:
            self.reactor.advance(0.01)
        self.successResultOf(closed)
        self.assertLess(self.reactor.seconds() - began, 1)
        self.assertTrue(busy[1].disconnected or busy[1].disconnecting)

    def test_open(self) -> None:
        """Until closing begins, a connection is kept alive for the next request."""
        client = self.connect(GET)
        self.slow.answer()
        self.assertFalse(client[1].disconnecting)
        client[0].dataReceived(GET)
        self.slow.answer()
        self.assertEqual(client[1].value().count(b"answer"), 2)
        client[0].connectionLost(None)
        self.successResultOf(self.close())


class LimitTests(SynchronousTestCase):
    """With a limit of 20 connections, 18 are served."""

    def setUp(self) -> None:
        self.slow = Slow()
        self.reactor: Any = MemoryReactorClock()
        self.site = ClosableSite(self.slow, self.reactor, 20)
        self.connections = [self.connect() for _ in range(18)]

    def connect(self) -> tuple[Any, Socket]:
        protocol: Any = self.site.buildProtocol(None)
        socket = Socket()
        protocol.makeConnection(socket)
        return protocol, socket

    def test_served(self) -> None:
        """All clients within the limit are served."""
        for protocol, _ in self.connections:
            protocol.dataReceived(GET)
        self.assertEqual(len(self.slow.requests), 18)

    def test_turned_away(self) -> None:
        """A client over the limit gets a 503; once another has left, new clients are served."""
        refused, told = self.connect()
        self.connections[0][0].connectionLost(None)
        refused.dataReceived(GET)
        self.assertIn(b"HTTP/1.1 503 Service Unavailable\r\n", told.value())
        self.assertIn(b"\r\nRetry-After: 1\r\n", told.value())
        refused.connectionLost(None)
        self.connect()[0].dataReceived(GET)
        self.assertEqual(len(self.slow.requests), 1)

    def test_closed(self) -> None:
        """When the reserved connections are in use too, new connections are aborted."""
        for _ in range(2):
            self.assertFalse(self.connect()[1].aborted)
        for _ in range(2):
            self.assertTrue(self.connect()[1].aborted)

    def idle_for(self, seconds: float) -> None:
        """One client is served, one has sent a part of a request, and the others are idle."""
        self.connections[0][0].dataReceived(GET)
        self.connections[1][0].dataReceived(GET[:9])
        self.connections[3][0].dataReceived(GET)
        self.slow.answer()
        self.reactor.advance(seconds)

    def closed(self) -> list[int]:
        """Which of the first connections were closed, by their number."""
        return [n for n, (_, socket) in enumerate(self.connections) if socket.disconnecting]

    def test_replaced(self) -> None:
        """When all connections are in use, those that have been idle longest make room."""
        self.idle_for(0.1)
        with capturedLogs() as logged:
            for count in range(1, 10):
                new, socket = self.connect()
                new.dataReceived(GET)
                self.assertEqual(socket.value(), b"")
                self.assertEqual(self.closed(), [2, *range(4, 12)][:count])
        self.assertEqual(len(self.slow.requests), 10)
        self.assertEqual(
            [formatEvent(event) for event in logged],
            ["18 clients are connected: idle connections are closed to make room"],
        )

    def test_replaced_at_once(self) -> None:
        """No more than half are replaced until they are gone."""
        self.idle_for(0.1)
        for _ in range(9):
            self.connect()
        refused, told = self.connect()
        refused.dataReceived(GET)
        self.assertIn(b"503 Service", told.value())
        refused.connectionLost(None)
        self.connections[2][0].connectionLost(None)
        self.connect()[0].dataReceived(GET)
        self.assertEqual(len(self.slow.requests), 2)
        self.assertEqual(self.closed(), [2, *range(4, 13)])

    def test_reserved_in_use(self) -> None:
        """Idle connections make room even if the reserved ones are in use."""
        refused = [self.connect() for _ in range(2)]
        self.idle_for(0.1)
        self.assertEqual(len(refused), 2)
        new, socket = self.connect()
        new.dataReceived(GET)
        self.assertFalse(socket.aborted)
        self.assertEqual(len(self.slow.requests), 2)
        self.assertEqual(self.closed(), [2])

    def test_not_idle(self) -> None:
        """Connections in use, and those that were in use just now, are not replaced."""
        self.idle_for(0.01)
        refused, told = self.connect()
        refused.dataReceived(GET)
        self.assertIn(b"503 Service", told.value())
        self.assertEqual(self.closed(), [])

    def leave(self, clients: int) -> None:
        for _ in range(clients):
            self.connections.pop()[0].connectionLost(None)

    def test_logged(self) -> None:
        """A full site is logged once, and again only after a tenth of its clients have left."""
        with capturedLogs() as logged:
            for arriving, leaving in ((2, 3), (2, 3), (3, 0)):
                self.connections += [self.connect() for _ in range(arriving)]
                self.leave(leaving)
        full, room = (
            "18 clients are connected: others are refused",
            "fewer clients are connected: all are served",
        )
        self.assertEqual([formatEvent(event) for event in logged], [full, room, full])

    def test_protocols(self) -> None:
        """Only HTTP/1.1 is offered over TLS."""
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])
