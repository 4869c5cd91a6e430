"""What the tests of several modules share: test doubles, and base classes of test cases."""

import json
from collections.abc import Callable, Iterable
from errno import EADDRINUSE
from random import Random
from typing import Any

from treq.testing import StubTreq
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import provider

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.api import Api
from infernet_router.fleet import Fleet
from infernet_router.models import Surveyor
from infernet_router.pieces import LENGTH
from infernet_router.reports import Container, NodeReport
from infernet_router.resources import Resources
from infernet_router.serving import ClosableSite
from infernet_router.sources import Sources
from infernet_router.testing import SimulatedNode

NODE = parse_address("https://node.invalid/prefix/")
OTHER = parse_address("192.0.2.1:4000")
"""The nodes of an ApiTestCase; OTHER is down."""

ADDRESS_IN_USE = OSError(EADDRINUSE, "Address already in use")


def report(
    *external: str, internal: tuple[str, ...] = (), pending: int = 0, description: str = ""
) -> NodeReport:
    """The report of a node that runs these containers, each with this description."""
    return NodeReport(
        containers=(
            *(Container(id, external=True, description=description) for id in external),
            *(Container(id, external=False, description=description) for id in internal),
        ),
        pending={"offchain": pending, "onchain": 0},
        version="1.4.0",
    )


class Socket(StringTransport):
    """A connection that can be half-closed."""

    half_closed = False
    aborted = False

    def write(self, data: bytes) -> None:
        """Pause the producer after more than a buffer, as a client does that does not read."""
        super().write(data)
        if len(data) > LENGTH and self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Ignored: there is no TCP."""

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class DeafReactor(MemoryReactorClock):
    """
    A reactor that cannot listen on TCP ports.

    :param problem: the reason; unless it is given, the ports are taken.
    """

    def __init__(self, problem: OSError = ADDRESS_IN_USE) -> None:
        super().__init__()
        self._problem = problem

    def listenTCP(self, port: int, *arguments: Any, **options: Any) -> Any:
        raise CannotListenError("", port, self._problem)


class BrokenFleet(Fleet):
    """A fleet with a bug: every pick raises ZeroDivisionError."""

    def pick(self, *arguments: object, **options: object) -> Any:
        raise ZeroDivisionError("a bug")


class Nodes(Resource):
    """Simulated nodes at NODE and OTHER, as one resource for StubTreq."""

    isLeaf = True

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.nodes = {
            "node.invalid": SimulatedNode(clock, []),
            "192.0.2.1": SimulatedNode(clock, []),
        }

    def __getitem__(self, address: NodeAddress) -> SimulatedNode:
        return self.nodes["node.invalid" if address == NODE else "192.0.2.1"]

    def render(self, request: Request) -> bytes | int:
        request.path = request.path.removeprefix(b"/prefix")
        return self.nodes[request.getRequestHostname().decode()].render(request)


class ApiTestCase(SynchronousTestCase):
    """Sends requests to an API whose fleet has two nodes, one of which is up."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([NODE, OTHER])
        containers = ("llm", "zum Übersetzen", "a;container=b", "model/7b:q4?")
        self.fleet.observed(NODE, report(*containers))
        self.nodes = Nodes(self.clock)
        self.http = self.serve(self.fleet)

    def serve(self, fleet: Fleet) -> Any:
        """A treq whose requests all go to the API of this fleet."""
        nodes: Any = StubTreq(self.nodes)
        self.resources = Resources(fleet, nodes, self.clock, Random(1))
        self.surveyor = Surveyor(fleet, nodes, self.clock)
        for service in (self.resources, self.surveyor):
            service.startService()
            self.addCleanup(service.stopService)
        self.api = Api(fleet, self.resources, self.surveyor)
        return StubTreq(self.api)

    def ask(self, path: str, method: str = "GET", host: str = "r.invalid") -> Any:
        """The response to a request, its body decoded as JSON."""
        response = self.successResultOf(
            self.http.request(method, f"http://r.invalid{path}", headers={"host": host})
        )
        body = self.successResultOf(response.content())
        self.assertEqual(response.headers.getRawHeaders("content-type"), ["application/json"])
        self.assertEqual(response.headers.getRawHeaders("cache-control"), ["no-store"])
        self.assertEqual(response.length, len(body))
        response.decoded = json.loads(body) if body else None
        return response

    def connect(self) -> tuple[Any, Socket]:
        """A client's connection to the API."""
        channel: Any = ClosableSite(self.api, self.clock, 100).buildProtocol(None)
        socket = Socket()
        channel.makeConnection(socket)
        return channel, socket

    def read(self, path: str, meanwhile: Callable[[], object]) -> Any:
        """
        A streamed response, decoded.

        :param meanwhile: called before the client reads each chunk.
        """
        channel, socket = self.connect()
        channel.dataReceived(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
        self.assertFalse(socket.disconnecting)
        while not socket.disconnecting:
            meanwhile()
            before = len(socket.value())
            channel.resumeProducing()
            self.assertLess(len(socket.value()) - before, 2 * LENGTH)
        head, body = socket.value().split(b"\r\n\r\n")
        headers = head.lower().splitlines()
        self.assertEqual(headers[0], b"http/1.0 200 ok")
        self.assertIn(b"content-type: application/json", headers)
        self.assertIn(b"cache-control: no-store", headers)
        self.assertNotIn(b"content-length", head.lower())
        return json.loads(body)

    def assert_error(self, path: str, status: int, error: str, method: str = "GET") -> Any:
        """The response to a request, which must be this error."""
        response = self.ask(path, method)
        self.assertEqual((response.code, response.decoded), (status, {"error": error}))
        return response


class SourceTestCase(SynchronousTestCase):
    """Checks the addresses that sources give to a fleet, and what they log."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.sources = Sources(self.fleet)
        self.lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "infernet_router.sources":
                self.lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def assert_fleet(self, *texts: str) -> None:
        """These are the nodes, in this order."""
        self.assertEqual([str(address) for address in self.fleet.addresses], list(texts))

    def assert_logged(self, *lines: str) -> None:
        """These lines were logged since the last call."""
        self.assertEqual(self.lines, list(lines))
        self.lines.clear()
