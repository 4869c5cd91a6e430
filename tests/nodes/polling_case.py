"""A base class of tests of polling, with simulated nodes."""

from collections import defaultdict
from collections.abc import Iterable
from random import Random
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet, NoNode
from infernet_router.nodes.pace import Paces
from infernet_router.nodes.polling import Poller
from infernet_router.reports import Container, NodeReport
from infernet_router.testing import SimulatedNode
from tests.doubles import logged

A, B = parse_address("192.0.2.1:4000"), parse_address("192.0.2.2:4000")
MANY = tuple(parse_address(f"10.0.{n // 250}.{n % 250}") for n in range(2000))
SOME_JOB = NodeReport((Container("llm", external=True),), {"offchain": 1, "onchain": 0})


def url_of(address: NodeAddress) -> str:
    """The URL of a poll of this node."""
    return f"{address.url}/info"


class Nodes(Resource):
    """Simulated nodes by host name, as one resource for StubTreq."""

    isLeaf = True

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.nodes: dict[str, SimulatedNode] = {}
        self.asked: list[tuple[float, str]] = []
        self.headers: dict[str, str] = {}
        """Of each response, in addition."""

    def __getitem__(self, address: NodeAddress) -> SimulatedNode:
        host = str(address).partition(":")[0]
        return self.nodes.setdefault(host, SimulatedNode(self._clock, ["llm"]))

    def render(self, request: Request) -> bytes | int:
        host = request.getRequestHostname().decode()
        self.asked.append((self._clock.seconds(), host))
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return self.nodes[host].render(request)


class Quick:
    """A treq for large fleets: every node answers immediately, with a report or a status."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.statuses: dict[str, int] = {}
        self.asked: defaultdict[str, list[float]] = defaultdict(list)
        """By URL, when it was requested."""
        self.closes = False
        """Whether the last request was to close its connection."""

    def get(self, url: Any, headers: dict[str, str], **options: object) -> Deferred[Any]:
        self.closes = headers.get("connection") == "close"
        self.asked[url.to_text()].append(self._clock.seconds())
        return succeed(QuickResponse(self.statuses.get(url.to_text(), 200)))


class QuickResponse:
    """A response that is already complete."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.headers = Headers()

    def deliverBody(self, protocol: Protocol) -> None:
        protocol.dataReceived(b'{"containers":[],"pending":{"offchain":0,"onchain":0}}')
        protocol.connectionLost(Failure(ResponseDone()))


@implementer(IResource)
class Endless(Resource):
    """A node whose answer begins but never ends."""

    isLeaf = True

    def render(self, request: Request) -> int:
        request.write(b"{")
        return NOT_DONE_YET


class InOrder(Random):
    """No chance at all: nodes keep their order, and phases are evenly spread from now on."""

    def random(self) -> float:
        return 0.0

    def sample(self, population: Any, k: int, *, counts: object = None) -> list[Any]:
        return list(population)[:k]


class PollerTestCase(SynchronousTestCase):
    """Base class: starts pollers of simulated nodes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes = Nodes(self.clock)
        self.counts = Counts()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.lines = logged(self, "infernet_router.nodes.polling")

    def start(
        self,
        addresses: Iterable[NodeAddress],
        *,
        http: Any = None,
        interval: float = 3.0,
        busy_interval: float = 1.1,
        timeout: float = 3.0,
        max_polls: int = 1000,
        at_once: int = 1000,
        paces: Paces | None = None,
        random: Random | None = None,
    ) -> Poller:
        """A running poller of these nodes, after its first polls."""
        addresses = tuple(addresses)
        for address in addresses:
            self.nodes[address]
        self.fleet.replace(addresses)
        stub: Any = http or StubTreq(self.nodes)
        poller = Poller(
            self.fleet,
            stub,
            self.clock,
            interval=interval,
            busy_interval=busy_interval,
            timeout=timeout,
            max_polls=max_polls,
            at_once=at_once,
            paces=paces,
            counts=self.counts,
            random=random or InOrder(),
        )
        poller.startService()
        self.addCleanup(lambda: poller.running and poller.stopService())
        return poller

    def pass_time(self, seconds: float) -> None:
        """Advance the clock in steps of one tick."""
        self.clock.pump([0.02] * round(seconds / 0.02))

    def why_none(self) -> str:
        """The reason why no node is picked."""
        with self.assertRaises(NoNode) as caught:
            self.fleet.pick(["llm"])
        return str(caught.exception)

    def start_many(self, interval: float = 0.5) -> Quick:
        """A poller of 2000 nodes with a limit of 800 polls a second, after two rounds."""
        quick = Quick(self.clock)
        self.start(MANY, http=quick, interval=interval, max_polls=800)
        self.pass_time(5)
        quick.asked.clear()
        return quick

    def times(self, address: NodeAddress) -> list[float]:
        """When a node was polled."""
        return [time for time, host in self.nodes.asked if host == str(address).partition(":")[0]]
