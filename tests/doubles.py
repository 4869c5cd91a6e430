"""What the tests of several modules share: test doubles, and base classes of test cases."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from email import message_from_bytes
from email.message import Message
from errno import EADDRINUSE
from random import Random
from typing import Any

from attrs import frozen
from treq.testing import StubTreq
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import provider

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.api import Api, Clients, Decisions, FirstPolls, Outcomes, Readiness
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet
from infernet_router.nodes import NodeConnections, Resources, Surveyor, http_client
from infernet_router.nodes.asking import ask as ask_node
from infernet_router.process import Slices, Turns
from infernet_router.reports import Container, NodeReport
from infernet_router.serving import ClosableSite
from infernet_router.serving.streaming import BUFFER_SIZE
from infernet_router.sources import Sources
from infernet_router.testing import SimulatedNode

NODE = parse_address("https://node.invalid/prefix/")
OTHER = parse_address("192.0.2.1:4000")
"""The nodes of an ApiTestCase; OTHER is down."""

ANSWER = b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}"
"""What a node sends."""

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


def logged(test: SynchronousTestCase, namespace: str) -> list[str]:
    """The list to which the lines of a namespace are added until the test ends: `level: text`."""
    lines: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == namespace:
            lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    globalLogPublisher.addObserver(observe)
    test.addCleanup(globalLogPublisher.removeObserver, observe)
    return lines


class Socket(StringTransport):
    """A socket whose writing half can be closed."""

    half_closed = False
    aborted = False

    def write(self, data: bytes) -> None:
        """Pause the producer when more than a buffer is written, until a test resumes it."""
        super().write(data)
        if len(data) > BUFFER_SIZE and self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Ignore the option."""

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Asking(SynchronousTestCase):
    """Base class: sends requests to nodes, whose connections a test plays."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.pool = NodeConnections(self.reactor, most_kept=300)
        self.http = http_client(self.reactor, self.pool)

    def ask(
        self, url: str = "http://192.0.2.1:4000/info", *, keep: bool = True, timeout: float = 3.0
    ) -> Deferred[bytes]:
        return ask_node(self.http, url, self.reactor, timeout, keep=keep)

    @property
    def attempts(self) -> int:
        """How many connections were begun."""
        return len(self.reactor.tcpClients)

    def connected(self, number: int = -1) -> tuple[Any, Any]:
        """The protocol and transport of one connection, by default the last."""
        _, _, factory, *_ = self.reactor.tcpClients[number]
        protocol, transport = factory.buildProtocol(None), Socket()
        protocol.makeConnection(transport)
        return protocol, transport

    def refused(self, number: int = -1, problem: Exception | None = None) -> None:
        """One connection cannot be made, by default the last."""
        _, _, factory, *_ = self.reactor.tcpClients[number]
        factory.clientConnectionFailed(None, Failure(problem or ConnectionRefusedError()))

    def kept(self) -> tuple[Any, Any]:
        """A connection that was used for a request, and is kept."""
        answered = self.ask()
        protocol, transport = self.connected()
        protocol.dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        self.assertFalse(transport.disconnecting)
        return protocol, transport


class DeafReactor(MemoryReactorClock):
    """A reactor that cannot listen: ports are in use, or there is another problem."""

    def __init__(self, problem: OSError = ADDRESS_IN_USE) -> None:
        super().__init__()
        self._problem = problem

    def listenTCP(self, port: int, *arguments: Any, **options: Any) -> Any:
        raise CannotListenError("", port, self._problem)


class BrokenFleet(Fleet):
    """A fleet with a bug."""

    picks = 0

    def pick(self, *arguments: object, **options: object) -> Any:
        self.picks += 1
        raise ZeroDivisionError("a bug")

    picking = pick


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
    """Asks an API whose fleet has two nodes, one of which is up."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([NODE, OTHER])
        containers = ("llm", "zum Übersetzen", "a;container=b", "model/7b:q4?")
        self.fleet.observed(NODE, report(*containers))
        self.nodes = Nodes(self.clock)
        self.http = self.serve(self.fleet)

    def serve(self, fleet: Fleet) -> Any:
        """A treq client of the API of this fleet."""
        nodes: Any = StubTreq(self.nodes)
        self.resources = Resources(fleet, nodes, self.clock, Random(1))
        self.surveyor = Surveyor(fleet, nodes, self.clock)
        for service in (self.resources, self.surveyor):
            service.startService()
            self.addCleanup(service.stopService)
        self.decisions = Decisions(self.clock.seconds, b"secret")
        client_of = Clients().identify
        outcomes = Outcomes(fleet, self.decisions, client_of, self.clock.seconds)
        self.silence: float | None = None
        self.work_seconds: Callable[[], float] = self.clock.seconds
        turns = Turns(self.clock, lambda: self.work_seconds())
        self.first_polls = FirstPolls(fleet, self.clock, turns)
        self.readiness, self.counts = Readiness(fleet, self.clock.seconds), Counts()
        self.api = Api(
            fleet,
            self.resources,
            self.surveyor,
            self.decisions,
            outcomes,
            client_of,
            turns,
            self.first_polls,
            lambda: self.silence,
            self.readiness,
            self.counts,
        )
        return StubTreq(self.api)

    def jobs(self, address: NodeAddress) -> float:
        """The estimated jobs at a node."""
        view = self.fleet.view(address)
        assert view is not None
        return view.jobs

    def ask(self, path: str, method: str = "GET", host: str = "r.invalid") -> Any:
        """The response to a request, its body decoded as JSON; it ends with a newline."""
        response = self.successResultOf(
            self.http.request(method, f"http://r.invalid{path}", headers={"host": host})
        )
        body = self.successResultOf(response.content())
        self.assertEqual(response.headers.getRawHeaders("content-type"), ["application/json"])
        self.assertEqual(response.headers.getRawHeaders("cache-control"), ["no-store"])
        self.assertEqual(response.length, len(body))
        self.assertEqual(body[-1:], b"" if method == "HEAD" else b"\n")
        response.decoded = json.loads(body) if body else None
        return response

    def connect(self) -> tuple[Any, Socket]:
        """A client's connection to the API: its channel and its socket."""
        channel: Any = ClosableSite(self.api, self.clock, 100).buildProtocol(None)
        socket = Socket()
        channel.makeConnection(socket)
        return channel, socket

    def read(self, path: str, meanwhile: Callable[[], object]) -> Any:
        """A long response, decoded, as a client reads it chunk by chunk."""
        channel, socket = self.connect()
        channel.dataReceived(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
        self.assertFalse(socket.disconnecting)
        while not socket.disconnecting:
            meanwhile()
            before = len(socket.value())
            channel.resumeProducing()
            self.assertLess(len(socket.value()) - before, 2 * BUFFER_SIZE)
        head, body = socket.value().split(b"\r\n\r\n")
        headers = head.lower().splitlines()
        self.assertEqual(headers[0], b"http/1.0 200 ok")
        self.assertIn(b"content-type: application/json", headers)
        self.assertIn(b"cache-control: no-store", headers)
        self.assertNotIn(b"content-length", head.lower())
        self.assertTrue(body.endswith(b"\n"))
        return json.loads(body)

    def assert_error(self, path: str, status: int, error: str, method: str = "GET") -> Any:
        response = self.ask(path, method)
        self.assertEqual((response.code, response.decoded), (status, {"error": error}))
        return response


def addresses(*texts: str) -> tuple[NodeAddress, ...]:
    """Parse these addresses."""
    return tuple(map(parse_address, texts))


class SourceTestCase(SynchronousTestCase):
    """Base class: checks the nodes in the fleet, and what was logged about the sources."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.sources = Sources(self.fleet, Slices(self.clock, seconds=self.clock.seconds))
        self.lines = logged(self, "infernet_router.sources.joining")

    def assert_fleet(self, *texts: str) -> None:
        """The fleet has these nodes, in this order."""
        self.assertEqual([str(address) for address in self.fleet.addresses], list(texts))

    def assert_logged(self, *lines: str) -> None:
        """These lines were logged since the last call; the names of nodes at their ends are cut."""
        plain = [
            re.sub(r"( in all| removed); (added|removed) .*", r"\1", one) for one in self.lines
        ]
        self.assertEqual(plain, list(lines))
        self.lines.clear()


class Threads:
    """Runs calls at once, or keeps them for later while the file system hangs."""

    def __init__(self) -> None:
        self.hangs = False
        self.kept: list[tuple[Callable[[], object], Deferred[Any]]] = []

    def __call__(self, call: Callable[[], object]) -> Deferred[Any]:
        if not self.hangs:
            return maybeDeferred(call)
        self.kept.append((call, Deferred()))
        return self.kept[-1][1]

    def go_on(self) -> None:
        """The file system answers again."""
        self.hangs = False
        while self.kept:
            call, deferred = self.kept.pop()
            maybeDeferred(call).chainDeferred(deferred)


@frozen
class Answer:
    """A response, parsed from the bytes on a connection."""

    status: int
    headers: Message
    body: bytes


def ask(
    root: Resource,
    path: str = "/",
    peer: str = "192.0.2.1",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """
    The answer of a resource to a client.

    :param peer: the client's address, or "unix".
    :param headers: names and values; "|" in a value divides several lines of this name.
    """
    kind = IPv6Address if ":" in peer else IPv4Address
    address = UNIXAddress(None) if peer == "unix" else kind("TCP", peer, 1234)
    protocol: Any = Site(root, reactor=Clock()).buildProtocol(address)
    transport = StringTransport(peerAddress=address)
    protocol.makeConnection(transport)
    lines = [f"{method} {path} HTTP/1.1", "Host: r.invalid", "Connection: close"]
    lines += [f"{name}: {line}" for name, all in (headers or {}).items() for line in all.split("|")]
    protocol.dataReceived("\r\n".join([*lines, "", ""]).encode("latin-1"))
    head, _, body = transport.value().partition(b"\r\n\r\n")
    status, _, rest = head.partition(b"\r\n")
    return Answer(int(status.split()[1]), message_from_bytes(rest), body)
