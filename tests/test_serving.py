"""Tests of infernet_router.serving."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.serving import CannotServe, ClosableSite, Server

GET = b"GET / HTTP/1.1\r\nHost: r.invalid\r\n\r\n"


class Slow(Resource):
    """Answers a request when it is told to."""

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


class ClosableSiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.slow = Slow()
        self.site = ClosableSite(self.slow, self.reactor)

    def connect(self, sent: bytes) -> tuple[Any, Any]:
        """A client's connection on which this was sent: protocol and transport."""
        protocol: Any = self.site.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(sent)
        return protocol, transport

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.site.close())

    def drop(self, *connections: tuple[Any, Any]) -> None:
        """Lose the connections that were closed, as a real transport would tell."""
        for protocol, transport in connections:
            if transport.disconnecting:
                protocol.connectionLost(None)

    def test_nobody(self) -> None:
        """Without a client, it is closed at once."""
        self.successResultOf(self.close())

    def test_idle(self) -> None:
        """An idle client's connection is closed soon."""
        idle = self.connect(b"")
        closed = self.close()
        self.reactor.advance(0.2)
        self.assertTrue(idle[1].disconnecting)
        self.drop(idle)
        self.successResultOf(closed)

    def test_in_flight(self) -> None:
        """A request in flight is answered, and told that the connection ends."""
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
        """A request that arrives just after the end began is answered too."""
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
        """A request that takes too long does not keep the process alive."""
        busy = self.connect(GET)
        closed = self.close()
        self.reactor.advance(0.5)
        self.assertNoResult(closed)
        self.reactor.advance(0.5)
        self.successResultOf(closed)
        self.assertTrue(busy[1].disconnected or busy[1].disconnecting)

    def test_open(self) -> None:
        """Before the end, a connection is kept for the next request."""
        client = self.connect(GET)
        self.slow.answer()
        self.assertFalse(client[1].disconnecting)
        client[0].dataReceived(GET)
        self.slow.answer()
        self.assertEqual(client[1].value().count(b"answer"), 2)
        client[0].connectionLost(None)
        self.successResultOf(self.close())


class TakenReactor(MemoryReactorClock):
    """A reactor all of whose ports are taken."""

    def listenTCP(self, port: int, *arguments: Any, **options: Any) -> Any:
        raise CannotListenError("", port, OSError(98, "in other words"))


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.site = ClosableSite(Resource(), self.reactor)

    def test_listens(self) -> None:
        """It listens on every endpoint from start to stop."""
        server = Server(self.site, ["tcp:4000", "tcp6:4001:interface=\\:\\:1"], self.reactor)
        server.privilegedStartService()
        server.startService()
        self.assertEqual([listening[0] for listening in self.reactor.tcpServers], [4000, 4001])
        self.successResultOf(server.stopService())

    def test_bad_endpoint(self) -> None:
        """A description of no endpoint is refused, naming it."""
        for endpoint in ("nonsense:1", "tcp:x", "", "ssl:1:privateKey=/nowhere"):
            with self.assertRaises(CannotServe) as caught:
                Server(self.site, ["tcp:4000", endpoint], self.reactor)
            self.assertIn(f"cannot listen on {endpoint!r}: ", str(caught.exception))

    def test_no_systemd(self) -> None:
        """A socket that systemd did not pass is told as such."""
        with self.assertRaises(CannotServe) as caught:
            Server(self.site, ["systemd:domain=INET:index=0"], self.reactor)
        self.assertIn("systemd passed no such socket", str(caught.exception))

    def test_taken(self) -> None:
        """A port that is taken is named."""
        reactor: Any = TakenReactor()
        server = Server(self.site, ["tcp:4000"], reactor)
        with self.assertRaises(CannotServe) as caught:
            server.privilegedStartService()
        self.assertEqual(
            str(caught.exception), "cannot listen on port 4000: Address already in use"
        )
