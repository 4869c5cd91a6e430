"""Tests of infernet_router.nodes.rounds."""

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import Event, Fleet
from infernet_router.nodes.rounds import Rounds, Target
from infernet_router.reports import NodeReport

A, B = parse_address("192.0.2.1:4000"), parse_address("192.0.2.2:4000")
IDLE = NodeReport((), {"offchain": 0, "onchain": 0})


class Questions(Rounds[Target]):
    """Rounds that ask each node once, when it is added."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        super().__init__(fleet, clock, interval=3.0, rate=100, at_once=10)
        self.log: list[tuple[str, str]] = []

    def new_target(self, address: NodeAddress) -> Target:
        return Target(address)

    def added(self, targets: list[Target], now: float) -> None:
        for target in targets:
            self.throttle.put(target, now)

    def changed(self, target: Target, event: Event, now: float) -> None:
        self.log.append((event.name, str(target.address)))

    def ask(self, target: Target, now: float) -> Deferred[Any]:
        self.log.append(("asked", str(target.address)))
        return succeed(None)


class RoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A])
        self.fleet.observed(A, IDLE)
        self.questions = Questions(self.fleet, self.clock)
        self.questions.startService()
        self.addCleanup(lambda: self.questions.running and self.questions.stopService())

    def log(self) -> list[tuple[str, str]]:
        """What has happened since the last call, up to the next tick."""
        self.clock.advance(0.1)
        log, self.questions.log = self.questions.log, []
        return log

    def test_follows(self) -> None:
        """Every node of the fleet has a target."""
        self.assertEqual(self.log(), [("UP", "192.0.2.1:4000"), ("asked", "192.0.2.1:4000")])
        gone = self.questions.target_of(A)
        assert gone is not None
        self.assertTrue(self.questions.is_known(gone))
        self.fleet.replace([B])
        self.fleet.replace([A, B])
        self.assertEqual(self.log(), [("asked", "192.0.2.2:4000"), ("asked", "192.0.2.1:4000")])
        self.assertFalse(self.questions.is_known(gone))

    def test_short_stay(self) -> None:
        """A node that is added and removed within a tick is not asked."""
        self.log()
        self.fleet.replace([A, B])
        self.fleet.replace([A])
        self.assertEqual(self.log(), [])
        self.assertIsNone(self.questions.target_of(B))

    def test_many(self) -> None:
        """Changes of many nodes are followed in several ticks, which come sooner then."""
        self.log()
        new_target = self.questions.new_target

        def slow(address: NodeAddress) -> Target:
            self.clock.rightNow += 0.0001
            return new_target(address)

        self.questions.new_target = slow  # type: ignore
        nodes = [parse_address(f"192.0.{n >> 8}.{n & 255}") for n in range(1000)]
        self.fleet.replace(nodes)
        self.clock.advance(0.1)
        followed = sum(self.questions.target_of(node) is not None for node in nodes)
        self.assertLess(followed, 200)
        self.clock.pump([0.01] * 20)
        self.assertTrue(all(map(self.questions.target_of, nodes)))

    def test_respelled(self) -> None:
        """A node has the spelling of the newest list."""
        self.log()
        self.fleet.replace([parse_address("http://192.0.2.1:4000")])
        self.fleet.missed(A, "gone")
        self.assertEqual(self.log(), [("DOWN", "http://192.0.2.1:4000")])

    def test_interval(self) -> None:
        """With more nodes than may be asked in the interval, the interval is longer."""
        self.assertEqual(self.questions.interval, 3.0)
        self.fleet.replace([parse_address(f"192.0.{n >> 8}.{n & 255}") for n in range(500)])
        self.log()
        self.assertEqual(self.questions.interval, 5.0)

    def test_bug(self) -> None:
        """A bug in a tick is logged, and the next tick still comes."""
        self.log()
        self.questions.ticked = lambda now: 1 / 0  # type: ignore
        self.clock.pump([0.1, 0.1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        del self.questions.ticked
        self.fleet.replace([A, B])
        self.assertEqual(self.log(), [("asked", "192.0.2.2:4000")])

    def test_bug_in_one_change(self) -> None:
        """A bug in following one node is logged, and the others are followed."""
        self.log()
        self.questions.changed = lambda *_: 1 / 0  # type: ignore
        self.fleet.missed(A, "connection refused")
        self.fleet.replace([A, B])
        self.assertEqual(self.log(), [("asked", "192.0.2.2:4000")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        """Stopping leaves no delayed calls; a restart asks every node again."""
        self.log()
        self.successResultOf(self.questions.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.questions.startService()
        self.assertEqual(self.log(), [("UP", "192.0.2.1:4000"), ("asked", "192.0.2.1:4000")])
