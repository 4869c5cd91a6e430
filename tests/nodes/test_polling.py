"""Tests of infernet_router.nodes.polling."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from math import inf
from random import Random
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet, NoNode, Outcome
from infernet_router.nodes.asking import LIMITED
from infernet_router.nodes.pace import Paces
from infernet_router.nodes.polling import Poller
from infernet_router.reports import Container, NodeReport
from infernet_router.testing import SimulatedContainer, SimulatedNode
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


class PollerTests(SynchronousTestCase):
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

    def test_random_phases(self) -> None:
        """Routers that start at the same moment poll the same nodes at different moments."""
        moments = []
        for seed in (1, 2):
            self.nodes.asked = []
            poller = self.start(MANY[:30], random=Random(seed))
            self.pass_time(3.0)
            del self.nodes.asked[:30]  # at once
            self.pass_time(3.0)
            began = self.clock.seconds() - 3.0
            moments.append({host: at - began for at, host in self.nodes.asked})
            self.successResultOf(poller.stopService())
            self.fleet.replace([])
        first, second = moments
        self.assertEqual(first.keys(), second.keys())
        apart = [abs(first[host] - second[host]) for host in first]
        self.assertGreater(sum(apart) / len(apart), 0.5)

    def test_once_an_interval(self) -> None:
        """A node is polled at once, then once an interval; stopping leaves no delayed calls."""
        poller = self.start([A])
        self.clock.pump([1] * 8)
        self.assertEqual(self.nodes[A].polls, 3)
        self.successResultOf(poller.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_restart(self) -> None:
        """A stopped poller can be started again."""
        poller = self.start([A])
        self.successResultOf(poller.stopService())
        self.pass_time(10)
        self.assertEqual(self.nodes[A].polls, 1)
        poller.startService()
        self.pass_time(0.1)
        self.assertEqual(self.nodes[A].polls, 2)

    def test_stall(self) -> None:
        """After a stall that the reactor's clock leaves out, all nodes that are due are polled."""
        now = Clock()
        self.fleet = Fleet(now.seconds, Random(1))
        self.start(MANY[:12])
        for _ in range(20):
            now.advance(0.1)
            self.clock.advance(0.1)
        for node in self.nodes.nodes.values():
            node.silent = True
        before = len(self.nodes.asked)
        now.advance(60.0)
        self.clock.advance(0.1)
        self.assertEqual(len(self.nodes.asked) - before, 12)
        self.clock.pump([0.1] * 29)
        self.assertEqual((self.fleet.states.up, self.fleet.states.suspect), (12, 0))
        self.clock.pump([0.1] * 2)
        self.assertEqual(self.fleet.states.suspect, 12)

    def test_silence(self) -> None:
        """Polls that do not go out for several intervals, although they are due, are noticed."""

        def broken(now: float) -> None:
            raise ZeroDivisionError

        for interval, first, second in ((0.5, 4.0, 9.0), (3.0, 8.0, 12.0), (3600.0, 3610.0, 30.0)):
            poller = self.start([A], interval=interval)
            self.assertIsNone(poller.silence)
            ticked, poller.ticked = poller.ticked, broken  # type: ignore[method-assign]
            self.clock.advance(first)
            self.assertIsNone(poller.silence)
            self.clock.advance(second)
            silence = poller.silence
            assert silence is not None
            self.assertAlmostEqual(silence, first + second)
            self.flushLoggedErrors(ZeroDivisionError)
            poller.ticked = ticked  # type: ignore[method-assign]
            self.clock.advance(1.0)
            self.assertIsNone(poller.silence)
            self.successResultOf(poller.stopService())
            self.assertIsNone(poller.silence)

    def test_no_silence(self) -> None:
        """While the limits keep polls from going out, all is well."""
        poller = self.start(MANY[:3], interval=0.5, timeout=60.0, at_once=2)
        for node in self.nodes.nodes.values():
            node.silent = True
        for _ in range(100):
            self.clock.advance(1.0)
            self.assertIsNone(poller.silence)

    def test_paced(self) -> None:
        """The nodes' turns are spread evenly over the interval."""
        addresses = [parse_address(f"192.0.2.{number}") for number in range(30)]
        self.start(addresses)
        self.pass_time(0.1)
        self.assertEqual(len(self.nodes.asked), 30, "each new node is asked at once")
        self.pass_time(3.26)
        self.nodes.asked.clear()
        self.pass_time(3)
        hosts = [host for _, host in self.nodes.asked]
        self.assertEqual(sorted(hosts), sorted(map(str, addresses)))
        times = [time for time, _ in self.nodes.asked]
        gaps = [after - before for before, after in pairwise(times)]
        self.assertLess(max(gaps), 0.13)
        self.assertGreater(min(gaps), 0.07)

    def test_no_burst(self) -> None:
        """The limit on polls a second holds, even after the clock has jumped."""
        addresses = [parse_address(f"10.0.{n // 250}.{n % 250}") for n in range(1000)]
        self.start(addresses)
        self.pass_time(0.5)
        self.assertIn(len(self.nodes.asked), range(550, 602))
        self.pass_time(3)
        self.nodes.asked.clear()
        self.clock.advance(60)
        self.assertEqual(len(self.nodes.asked), 100)

    def start_many(self, interval: float = 0.5) -> Quick:
        """A poller of 2000 nodes with a limit of 800 polls a second, after two rounds."""
        quick = Quick(self.clock)
        self.start(MANY, http=quick, interval=interval, max_polls=800)
        self.pass_time(5)
        quick.asked.clear()
        return quick

    def test_many(self) -> None:
        """In a fleet too large for the interval, each node is polled at a longer interval."""
        quick = self.start_many()
        self.pass_time(5.1)
        self.assertEqual(len(quick.asked), 2000)
        for times in quick.asked.values():
            for before, after in pairwise(times):
                self.assertApproximates(after - before, 2.5, 0.1)

    def test_many_retried(self) -> None:
        """In a large fleet too, a node that fails is polled again after a second."""
        quick = self.start_many()
        url = url_of(MANY[1000])
        quick.statuses[url] = 500
        while url not in quick.asked:
            self.pass_time(0.02)
        self.pass_time(1.2)
        first, second = quick.asked[url]
        self.assertApproximates(second - first, 1, 0.1)

    def test_many_assigned(self) -> None:
        """In a large fleet, a node that got a job is polled after the usual interval."""
        quick = self.start_many()
        self.nodes[MANY[0]]
        while url_of(MANY[0]) not in quick.asked:
            self.pass_time(0.02)
        self.fleet.observed(MANY[0], SOME_JOB)
        self.assertEqual(self.fleet.pick(["llm"]), MANY[0])
        self.pass_time(0.6)
        first, second = quick.asked[url_of(MANY[0])]
        self.assertApproximates(second - first, 0.5, 0.1)

    def test_many_removed(self) -> None:
        """A node of a large fleet that is removed after a job was assigned to it is not polled."""
        quick = self.start_many()
        self.fleet.observed(MANY[0], SOME_JOB)
        self.assertEqual(self.fleet.pick(["llm"]), MANY[0])
        self.fleet.replace(MANY[1:])
        quick.asked.clear()
        self.pass_time(6)
        self.assertEqual(quick.asked[url_of(MANY[0])], [])
        self.assertEqual(len(quick.asked), 2000)

    def test_many_new(self) -> None:
        """In a large fleet, a new node is polled immediately."""
        quick = self.start_many()
        new = parse_address("10.1.0.1")
        self.fleet.replace([*MANY, new])
        self.pass_time(0.1)
        self.assertEqual(len(quick.asked[url_of(new)]), 1)

    def test_many_urgent(self) -> None:
        """However many nodes are urgent, the others are polled within twice the interval."""
        quick = self.start_many()
        for address in MANY[:1000]:
            quick.statuses[url_of(address)] = 500
        self.pass_time(20)
        for address in MANY[1000:]:
            for before, after in pairwise(quick.asked[url_of(address)]):
                self.assertLess(after - before, 5.1)

    def times(self, address: NodeAddress) -> list[float]:
        """When a node was polled."""
        return [time for time, host in self.nodes.asked if host == str(address).partition(":")[0]]

    def test_busy(self) -> None:
        """A node with pending jobs is polled about every second, an idle one once an interval."""
        self.nodes[A].speed = 0.1
        self.nodes[A].submit(["llm"])
        self.start([A, B])
        self.pass_time(9)
        for before, after in pairwise(self.times(A)):
            self.assertApproximates(after - before, 1.1, 0.12)
        self.assertLess(len(self.times(B)), 5)

    def test_assigned(self) -> None:
        """A node is polled soon after a job was assigned to it, and while the job may be there."""
        self.start([A])
        self.pass_time(4)
        self.nodes.asked.clear()
        assigned = self.clock.seconds()
        self.fleet.pick(["llm"])
        self.pass_time(2.8)
        first, second = self.times(A)[:2]
        self.assertApproximates(first - assigned, 0.4, 0.12)
        self.assertApproximates(second - first, 1.1, 0.12)

    def test_idle_again(self) -> None:
        """Two seconds after the last job, a node without pending ones is polled as any idle one."""
        self.start([A])
        self.fleet.pick(["llm"])
        self.pass_time(6)
        self.nodes.asked.clear()
        self.pass_time(9)
        self.assertEqual(len(self.times(A)), 3)

    def test_busy_interval(self) -> None:
        """With a busy interval as long as the interval, a node in use is polled as any other."""
        self.nodes[A].speed = 0.01
        self.nodes[A].submit(["llm"])
        self.start([A], interval=2, busy_interval=5)
        self.pass_time(9)
        self.assertEqual(len(self.times(A)), 5)

    def test_looks(self) -> None:
        """A doubted node is polled several times soon after it was assigned a job to try it."""
        self.start([A])
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
        self.pass_time(6.5)
        self.nodes.asked.clear()
        assigned = self.clock.seconds()
        self.fleet.pick(["llm"])
        self.pass_time(1.4)
        delays = [round(time - assigned, 1) for time in self.times(A)]
        self.assertEqual(len(delays), 3, delays)
        for delay, look in zip(delays, (0.1, 0.4, 1.2), strict=True):
            self.assertApproximates(delay, look + 0.1, 0.11)

    def test_doubted(self) -> None:
        """A report of a node that is in doubt is the occasion to log that."""
        lines = logged(self, "infernet_router.nodes.doubted")
        self.start([A])
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
        self.pass_time(20)
        self.assertEqual(len(lines), 1)

    def test_looks_bounded(self) -> None:
        """While it gets job after job, a doubted node is polled no more often than any in use."""
        self.start([A])
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
        for _ in range(100):
            self.fleet.pick(["llm"])
            self.pass_time(0.1)
        self.assertLess(len(self.times(A)), 14)

    def test_many_asked_too_often(self) -> None:
        """In a large fleet, a node that answers 429 stays up for three of the longer intervals."""
        quick = self.start_many()
        self.lines.clear()
        quick.statuses = {url_of(address): 429 for address in MANY[:20]}
        self.pass_time(4.9)
        self.assertEqual(self.lines, [])
        self.pass_time(5.2)
        self.assertEqual(len(self.lines), 20)

    def test_grown(self) -> None:
        """When a large fleet grows, its nodes are still polled in turn."""
        quick = self.start_many()
        self.pass_time(20)
        quick.asked.clear()
        self.fleet.replace([*MANY, *(parse_address(f"10.1.0.{n}") for n in range(40))])
        self.pass_time(8)
        for address in MANY:
            for before, after in pairwise(quick.asked[url_of(address)]):
                self.assertApproximates(after - before, 2.55, 0.3)

    def test_connections(self) -> None:
        """Connections are kept if they will be used again before nodes close them."""
        for interval, kept in ((4.0, True), (5.0, False)):
            quick = self.start_many(interval)
            self.pass_time(interval)
            self.assertEqual(quick.closes, not kept)

    def test_at_once(self) -> None:
        """The limit on concurrent polls holds."""
        for address in MANY[:100]:
            self.nodes[address].silent = True
        self.start(MANY[:200], at_once=40)
        self.pass_time(2.9)
        self.assertEqual(len(self.nodes.asked), 40)
        self.pass_time(12)
        self.assertEqual(len({host for _, host in self.nodes.asked}), 200)

    def test_up(self) -> None:
        """A node that reports is up, which is logged once."""
        self.nodes[A].containers = [SimulatedContainer("llm"), SimulatedContainer("a\nb")]
        self.start([A])
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.pass_time(10)
        self.assertEqual(
            self.lines,
            ["info: 192.0.2.1:4000 is up: version '1.4.0', containers 'llm', 'a\\nb'"],
        )

    def test_fields(self) -> None:
        """The event has what the node reported as values, for the log as JSON."""
        self.nodes[A].containers = [SimulatedContainer(str(number)) for number in range(12)]
        with capturedLogs() as events:
            self.start([A])
        (event,) = [event for event in events if event.get("event") == "node.up"]
        first_ten = [str(number) for number in range(10)]
        self.assertEqual((event["version"], event["containers"]), ("1.4.0", first_ten))

    def test_many_containers(self) -> None:
        """The log lists ten containers of a node, and counts the rest."""
        self.nodes[A].containers = [SimulatedContainer(str(number)) for number in range(12)]
        self.nodes[B].containers = []
        self.start([A, B])
        self.pass_time(0.1)
        self.assertTrue(self.lines[0].endswith("'8', '9' and 2 more"), self.lines[0])
        self.assertTrue(self.lines[1].endswith("containers none"), self.lines[1])

    def test_down_and_back(self) -> None:
        """After a failed poll a node is down, after a successful one up; each is logged once."""
        self.start([A])
        self.nodes[A].status = 500
        self.pass_time(10)
        self.assertEqual(self.why_none(), "no node is up; 192.0.2.1:4000 is down: HTTP 500")
        self.nodes[A].status = 200
        self.pass_time(3)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.assertEqual(self.lines[1], "warn: 192.0.2.1:4000 is down: HTTP 500")
        self.assertRegex(self.lines[2], r"info: 192\.0\.2\.1:4000 is back after \d+\.\d s: ver")
        self.assertEqual(len(self.lines), 3)

    def test_back_off(self) -> None:
        """A node that fails is polled after 1, 2 and 4 s, and then at its usual times."""
        self.nodes[A].status = 500
        self.start([A], interval=5)
        self.pass_time(25)
        times = [time for time, _ in self.nodes.asked]
        gaps = [after - before for before, after in pairwise(times)]
        self.assertEqual([round(gap) for gap in gaps], [1, 2, 4, 3, 5, 5])

    def test_many_fail(self) -> None:
        """When many nodes fail at once, their polls are soon spread evenly again."""
        quick = Quick(self.clock)
        addresses = [parse_address(f"10.0.{n // 250}.{n % 250}") for n in range(300)]
        quick.statuses = {f"{address.url}/info": 500 for address in addresses}
        self.start(addresses, http=quick)
        self.pass_time(12)
        quick.asked.clear()
        self.pass_time(9)
        tenths = Counter(int(time / 0.3) for times in quick.asked.values() for time in times)
        self.assertEqual(tenths.total(), 900)
        self.assertLess(max(tenths.values()), 40)

    def test_soon_again(self) -> None:
        """A node that fails once is up again after a second, whatever the interval."""
        self.nodes[A].status = 500
        self.start([A], interval=60)
        self.nodes[A].status = 200
        self.pass_time(1.1)
        self.assertEqual(self.fleet.pick(["llm"]), A)

    def test_counted(self) -> None:
        """Each poll is counted by its result, with its time; the fleet's clock may be another."""
        self.fleet = Fleet(lambda: self.clock.seconds() - 1e6, Random(1))
        self.start([A], interval=1, timeout=0.5)
        for result, knobs in (
            ("ok", {}),
            ("status", {"status": 500}),
            ("report", {"status": 200, "info": b"{}"}),
            ("limited", {"status": 429, "info": None}),
            ("timeout", {"status": 200, "silent": True}),
        ):
            for name, value in knobs.items():
                setattr(self.nodes[A], name, value)
            before = self.counts.polls[result]
            self.pass_time(5)
            self.assertGreater(self.counts.polls[result], before, result)
        self.assertEqual(sum(self.counts.poll_seconds.counts), self.counts.polls.total())
        self.assertGreater(self.counts.poll_seconds.total, 0.4)
        self.assertLess(self.counts.poll_seconds.total, 30)

    def test_bad_reports(self) -> None:
        """A node with a malformed report is down, and still polled."""
        bodies = {
            b"<html>": "the report is not JSON: JSON is malformed: invalid character (byte 0)",
            b"{}": "containers is missing",
            b'{"containers": [], "pending": {"onchain": 0, "offchain": "5"}}': (
                "pending.offchain is not a number"
            ),
            b"\xff": None,
            b"": None,
            b"[" * 100_000: None,
            b"0" * 100_000: None,
        }
        self.start([A], interval=1)
        for body, reason in bodies.items():
            self.nodes[A].info = body
            self.pass_time(2)
            self.assertIn("is down", self.why_none())
            if reason:
                self.assertTrue(self.why_none().endswith(f": {reason}"), self.why_none())
            self.nodes[A].info = None
            self.pass_time(2)
            self.assertEqual(self.fleet.pick(["llm"]), A)

    def test_silent(self) -> None:
        """A node that does not answer in time is down, and delays no other."""
        self.nodes[A].silent = True
        self.start([A, B], timeout=2)
        self.pass_time(1.9)
        self.assertEqual(self.fleet.pick(["llm"]), B)
        self.assertEqual(len(self.lines), 1)
        self.pass_time(0.2)
        self.assertEqual(self.lines[1:], ["warn: 192.0.2.1:4000 is down: timeout after 2 s"])
        self.pass_time(10)
        self.assertGreaterEqual(self.nodes[B].polls, 4)

    def test_suspect(self) -> None:
        """A node that was up is a suspect after a timeout, and polled again a second later."""
        self.start([A], timeout=0.5)
        for blips in range(1, 4):
            self.nodes[A].silent = True
            for _ in range(40):
                self.pass_time(0.1)
                if self.fleet.states.suspect:
                    break
            self.assertEqual(self.fleet.states.suspect, 1, blips)
            self.assertEqual(self.fleet.peek(["llm"]), A)
            self.nodes[A].silent = False
            self.pass_time(1.1)
            self.assertEqual(self.fleet.states.up, 1)
        self.assertEqual(len(self.lines), 1, "blips are not logged")

    def test_still_down(self) -> None:
        """A changed reason of a node that stays down is logged, at most once a minute."""
        self.start([A])
        self.lines.clear()
        for code in (500, 501, 502):
            self.nodes[A].status = code
            self.pass_time(20)
        self.assertEqual(self.lines, [f"warn: {A} is down: HTTP 500"])
        self.pass_time(60)
        self.assertEqual(self.lines[1:], [f"warn: {A} is still down: HTTP 502"])

    def test_suspect_down(self) -> None:
        """It is down when that poll fails, too, which is logged once."""
        self.start([A], timeout=0.5)
        self.nodes[A].silent = True
        self.pass_time(6)
        self.assertEqual(self.fleet.states.down, 1)
        self.assertEqual(self.lines[1:], ["warn: 192.0.2.1:4000 is down: timeout after 0.5 s"])

    def test_body_never_ends(self) -> None:
        """The timeout covers the body too."""
        self.start([A], http=StubTreq(Endless()))
        self.pass_time(3.1)
        self.assertEqual(self.lines, ["warn: 192.0.2.1:4000 is down: timeout after 3 s"])

    def test_one_poll_at_a_time(self) -> None:
        """A slow node is not polled again while a poll is in flight."""
        self.nodes[A].silent = True
        self.start([A], interval=1, timeout=10)
        self.pass_time(9)
        self.assertEqual(self.nodes[A].polls, 1)

    def test_asked_too_often(self) -> None:
        """A node that answers 429 stays up until its last report is three intervals old."""
        self.start([A])
        self.nodes[A].status = 429
        self.pass_time(8.9)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.pass_time(4)
        self.assertIn("HTTP 429", self.why_none())
        self.assertEqual(self.lines[1:], [f"warn: 192.0.2.1:4000 is down: {LIMITED}"])

    def test_limited_at_first(self) -> None:
        """A node whose first polls are answered 429 is not down but unknown; it is said once."""
        self.nodes[A].status = 429
        self.start([A])
        self.pass_time(20)
        self.assertEqual(self.fleet.states.unknown, 1)
        self.assertIn("it limits the rate of requests (HTTP 429)", self.why_none())
        self.nodes[A].status = 200
        self.pass_time(6.1)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.assertEqual(
            self.lines,
            [
                "warn: 192.0.2.1:4000 has not reported yet: it limits the rate of requests"
                " (HTTP 429)",
                "info: 192.0.2.1:4000 is up: version '1.4.0', containers 'llm'",
            ],
        )

    def test_limited_while_down(self) -> None:
        """A node that is down stays down while it answers 429, for this reason."""
        self.start([A])
        self.nodes[A].status = 500
        self.pass_time(4)
        self.nodes[A].status = 429
        self.pass_time(3)
        self.assertEqual(self.fleet.states.down, 1)
        self.assertIn("HTTP 429", self.why_none())
        self.assertEqual(self.lines[1:], ["warn: 192.0.2.1:4000 is down: HTTP 500"])

    def test_limited_while_suspect(self) -> None:
        """A suspect that answers 429 stays a suspect: its last report is still valid."""
        self.start([A], timeout=0.5)
        self.nodes[A].silent = True
        self.pass_time(3.6)
        self.assertEqual(self.fleet.states.suspect, 1)
        self.nodes[A].silent = False
        self.nodes[A].status = 429
        self.pass_time(4)
        self.assertEqual(self.fleet.states.suspect, 1)
        self.pass_time(2)
        self.assertEqual(self.fleet.states.down, 1)

    def test_retry_after(self) -> None:
        """A node is not polled until its Retry-After has passed, whatever its last report says."""
        self.start([A])
        self.nodes[A].status = 429
        self.nodes.headers = {"retry-after": "30"}
        self.pass_time(3.1)
        self.nodes.asked.clear()
        self.pass_time(5.5)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.pass_time(1)
        self.assertIn("HTTP 429", self.why_none())
        self.nodes[A].status = 200
        self.pass_time(23)
        self.assertEqual(self.nodes.asked, [])
        self.pass_time(2)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.nodes.headers = {}
        self.pass_time(60)
        self.nodes.asked.clear()
        self.pass_time(30)
        self.assertGreaterEqual(len(self.nodes.asked), 9)

    def test_absurd_retry_after(self) -> None:
        """A node that says a day is down once its report is old, and polled after five minutes."""
        self.start([A])
        self.nodes[A].status = 429
        self.nodes.headers = {"retry-after": "86400"}
        self.pass_time(10)
        self.assertEqual(self.fleet.states.down, 1)
        self.nodes[A].status = 200
        self.pass_time(300)
        self.assertEqual(self.fleet.states.up, 1)

    def test_nearly_used_up(self) -> None:
        """A node is polled less often while few requests remain, and as usual when many do."""
        self.nodes[A].speed = 0.001
        self.nodes[A].submit(["llm"])
        self.start([A])
        self.pass_time(5)
        for fields, polls in (
            ({"ratelimit-remaining": "5", "ratelimit-reset": "20"}, 6),
            ({"ratelimit": '"default";r=0;t=999999'}, 4),
            ({"ratelimit": '"default";r=50;t=10'}, 21),
        ):
            self.nodes.headers = fields
            self.pass_time(6.5)
            self.nodes.asked.clear()
            self.pass_time(24)
            self.assertApproximates(len(self.nodes.asked), polls, 1)
        self.assertEqual(len(self.lines), 1)

    def test_shared(self) -> None:
        """Other questions wait, too, while a node refuses polls; removed nodes are forgotten."""
        paces = Paces()
        self.start([A], paces=paces)
        self.nodes[A].status = 429
        self.nodes.headers = {"retry-after": "30"}
        self.pass_time(3.1)
        self.assertApproximates(paces.others_until(A), 33.0, 0.2)
        self.fleet.replace([])
        self.pass_time(0.2)
        self.assertEqual(paces.others_until(A), -inf)

    def test_pause(self) -> None:
        """A busy node that answers 429 is polled less often, and more often again by and by."""
        self.nodes[A].speed = 0.001
        self.nodes[A].submit(["llm"])
        self.start([A])
        self.pass_time(4)
        self.nodes[A].status = 429
        self.pass_time(1)
        self.nodes[A].status = 200
        self.nodes.asked.clear()
        self.pass_time(40)
        gaps = [after - before for before, after in pairwise(self.times(A))]
        self.assertGreater(gaps[0], 1.6)
        self.assertApproximates(gaps[-1], 1.1, 0.12)
        self.assertEqual(len(self.lines), 1)

    def test_paced_looks(self) -> None:
        """A node whose limit is nearly used up is polled no sooner after a job or a failure."""
        self.start([A])
        self.nodes.headers = {"ratelimit": '"default";r=1;t=6'}
        self.pass_time(7)
        self.nodes.asked.clear()
        self.fleet.pick(["llm"])
        self.pass_time(3)
        self.nodes[A].status = 500
        self.pass_time(20)
        gaps = [after - before for before, after in pairwise(self.times(A))]
        self.assertGreater(len(gaps), 2)
        self.assertGreaterEqual(min(gaps), 5.9)

    def test_replaced(self) -> None:
        """New nodes are polled immediately, others in turn; removed ones are not polled."""
        self.start([A])
        self.pass_time(1)
        self.nodes[B]
        self.fleet.replace([A, B])
        self.pass_time(0.1)
        self.assertEqual((self.nodes[A].polls, self.nodes[B].polls), (1, 1))
        self.fleet.replace([B])
        self.pass_time(10)
        self.assertEqual(self.nodes[A].polls, 1)
        self.assertEqual(self.nodes[B].polls, 4)

    def test_gone_in_flight(self) -> None:
        """The answer of a node that was removed in the meantime is ignored."""
        self.nodes[A].silent = True
        self.start([A])
        self.fleet.replace([B])
        self.nodes[B]
        self.pass_time(10)
        self.assertEqual(len(self.lines), 1)
        self.assertEqual(self.nodes[A].polls, 1)

    def test_rewritten(self) -> None:
        """The log uses the spelling of the newest list."""
        self.start([A])
        self.fleet.replace([parse_address("http://192.0.2.1:4000/")])
        self.nodes[A].status = 500
        self.pass_time(4)
        self.assertEqual(self.lines[1:], ["warn: http://192.0.2.1:4000 is down: HTTP 500"])

    def test_stop_cancels(self) -> None:
        """Stopping cancels the polls in flight, and does not log their nodes as down."""
        self.nodes[A].silent = True
        poller = self.start([A])
        self.successResultOf(poller.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.lines, [])

    def test_bug(self) -> None:
        """A bug in a poll is logged, and the node is polled again."""
        real = self.fleet.observed
        broken = True

        def observed(*arguments: Any) -> Any:
            return 1 / 0 if broken else real(*arguments)

        self.fleet.observed = observed  # type: ignore
        self.start([A])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        broken = False
        self.pass_time(3.1)
        self.assertEqual(self.fleet.pick(["llm"]), A)

    def test_headers(self) -> None:
        """A poll has Accept and User-Agent headers, but no Upgrade and no cookies."""
        asked: list[Any] = []

        class Curious(Resource):
            isLeaf = True

            def render(self, request: Request) -> bytes:
                asked.append((request.method, request.uri, request.requestHeaders))
                return json.dumps({}).encode()

        self.start([parse_address("http://192.0.2.1/node/")], http=StubTreq(Curious()))
        method, uri, headers = asked[0]
        self.assertEqual((method, uri), (b"GET", b"/node/info"))
        self.assertEqual(headers.getRawHeaders("accept"), ["application/json"])
        self.assertRegex(headers.getRawHeaders("user-agent")[0], "^infernet-router/")
        self.assertFalse(headers.hasHeader("upgrade"))
        self.assertFalse(headers.hasHeader("cookie"))

    def test_log_levels(self) -> None:
        """A malformed report is a warning in the log, not an error of the router."""
        self.nodes[A].info = b"\xff"
        self.start([A])
        self.pass_time(5)
        levels = [LogLevel.levelWithName(line.partition(":")[0]) for line in self.lines]
        self.assertEqual(levels, [LogLevel.warn])
