"""A base class of test cases of how replicas divide polls."""

from collections import defaultdict
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import State
from infernet_router.fleet.shared import SharedFleet
from infernet_router.replicas.polling import SharedPoller
from infernet_router.replicas.shares import Share, Shares
from infernet_router.reports import NodeReport
from tests.doubles import logged, report

NODES = [parse_address(f"10.0.0.{n}:4000") for n in range(1, 61)]
MEMBERS = [Random(n).getrandbits(64) for n in range(3)]
ME, ONE, TWO = MEMBERS
INTERVAL = 3.0


class Response:
    """A complete response with a report of no pending job."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.headers = Headers()

    def deliverBody(self, protocol: Protocol) -> None:
        protocol.dataReceived(
            b'{"containers":[{"id":"llm","external":true,"description":""}],'
            b'"pending":{"offchain":0,"onchain":0}}'
        )
        protocol.connectionLost(Failure(ResponseDone()))


class Http:
    """A treq that answers at once, refuses, or keeps silent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.down = set[str]()
        self.silent = set[str]()
        self.limited = set[str]()
        self.asked: defaultdict[str, list[float]] = defaultdict(list)

    def get(self, url: Any, **options: object) -> Deferred[Any]:
        node = url.to_text().removeprefix("http://").partition("/")[0]
        self.asked[node].append(self._clock.seconds())
        if node in self.down:
            return fail(ConnectionRefusedError())
        if node in self.silent:
            return Deferred()
        return succeed(Response(429 if node in self.limited else 200))


class Teller:
    """Remembers what it is to tell."""

    def __init__(self) -> None:
        self.told: list[tuple[NodeAddress, object]] = []

    def reported(self, share: Share, report: NodeReport) -> None:
        self.told.append((share.address, report))

    def missed(self, share: Share, reason: str) -> None:
        self.told.append((share.address, reason))


class SharedPollerTestCase(SynchronousTestCase):
    """A poller that shares with others, of which the tests say what they do."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.http = Http(self.clock)
        self.slow = self.late = 0.0
        self.fleet = SharedFleet(self.seconds, Random(1))
        self.shares = Shares(ME)
        self.teller = Teller()
        self.lines = logged(self, "infernet_router.nodes.polling")

    def seconds(self) -> float:
        """The time, of which each look may take some."""
        self.late += self.slow
        return self.clock.seconds() + self.late

    def start(self, nodes: list[NodeAddress], *others: int, **options: Any) -> SharedPoller:
        """A running poller of these nodes, after its first polls."""
        self.fleet.replace(nodes)
        http: Any = self.http
        self.shares.set_members(others)
        self.poller = SharedPoller(
            self.fleet,
            http,
            self.clock,
            self.shares,
            self.teller,
            Random(2),
            interval=INTERVAL,
            **options,
        )
        self.poller.startService()
        self.addCleanup(lambda: self.poller.running and self.poller.stopService())
        self.pass_time(0.2)
        self.forget()
        return self.poller

    def forget(self) -> None:
        self.http.asked.clear()
        self.teller.told.clear()

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.02] * round(seconds / 0.02))

    def share(self, address: NodeAddress) -> Share:
        share = self.shares.of(address)
        assert share is not None
        return share

    def hear(self, address: NodeAddress, member: int = ONE, pending: int = 0) -> None:
        """Hear that another member has a report of a node."""
        self.poller.reported_elsewhere(
            self.share(address), member, report("llm", pending=pending), self.clock.seconds()
        )

    def hear_miss(self, address: NodeAddress, member: int, reason: str = "no route") -> None:
        """Hear that another member missed a node."""
        self.poller.missed_elsewhere(self.share(address), member, reason, self.clock.seconds())

    def mine(self, *others: int) -> NodeAddress:
        """A node that this member owns, when it shares with these others."""
        shares = Shares(ME)
        shares.set_members(others)
        return next(address for address in NODES if shares.owner(shares.add(address)) == ME)

    def of(self, member: int, *others: int) -> NodeAddress:
        """A node that another member owns."""
        shares = Shares(ME)
        shares.set_members({member, *others})
        return next(address for address in NODES if shares.owner(shares.add(address)) == member)

    def state(self, address: NodeAddress) -> State:
        view = self.fleet.view(address)
        assert view is not None
        return view.state

    def polls(self, address: NodeAddress) -> int:
        return len(self.http.asked[str(address)])
