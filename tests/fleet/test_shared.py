"""Tests of infernet_router.fleet.shared."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import Outcome, State
from infernet_router.fleet.shared import SharedFleet
from tests.doubles import report

A, B = parse_address("192.0.2.1:4000"), parse_address("192.0.2.2:4000")
GONE = parse_address("192.0.2.3:4000")


class Told:
    """A follower that remembers what it was told."""

    def __init__(self) -> None:
        self.all: list[tuple[object, ...]] = []

    def assigned(self, address: NodeAddress, weight: float, jobs: int) -> None:
        self.all.append((address, weight, jobs))

    def told(self, address: NodeAddress, outcome: Outcome) -> None:
        self.all.append((address, outcome))


class SharedFleetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = SharedFleet(self.clock.seconds, Random(1))
        self.fleet.replace([A])
        self.fleet.observed(A, report("llm", "prover"))
        self.follower = Told()

    def state(self) -> State:
        view = self.fleet.view(A)
        assert view is not None
        return view.state

    def test_follower(self) -> None:
        """The follower is told each assignment here, by whichever call, and each outcome."""
        self.fleet.pick(["llm"])
        self.fleet.follower = self.follower
        self.fleet.pick(["llm"])
        self.fleet.pick(["llm", "prover"], jobs=3)
        self.fleet.rank(["llm"], 1)
        self.fleet.peek(["llm"])
        self.fleet.told(A, Outcome.DONE)
        self.assertEqual(self.follower.all, [(A, 1, 1), (A, 2, 3), (A, 1, 1), (A, Outcome.DONE)])

    def test_elsewhere(self) -> None:
        """Jobs that other routers assigned make a node busier; the follower is not told."""
        self.fleet.follower = self.follower
        cursor = self.fleet.follow_assignments()
        self.fleet.replace([A, B])
        self.fleet.observed(B, report("llm"))
        self.fleet.assigned_elsewhere(A, 1.0, 5)
        self.fleet.assigned_elsewhere(GONE, 1.0, 5)
        view = self.fleet.view(A)
        assert view is not None
        self.assertEqual(view.assigned, 5.0)
        self.assertEqual(cursor.read(), [A])
        self.assertEqual({self.fleet.pick(["llm"]) for _ in range(3)}, {B})
        self.assertEqual(self.fleet.decided, 3)

    def test_told_elsewhere(self) -> None:
        """An outcome that another router was told counts as evidence here."""
        self.fleet.follower = self.follower
        for _ in range(4):
            self.fleet.told_elsewhere(A, Outcome.FAILED)
        view = self.fleet.view(A)
        assert view is not None
        self.assertGreater(view.doubt, 1.0)
        self.assertEqual(self.follower.all, [])

    def test_missed_elsewhere(self) -> None:
        """A node that one other router missed is suspect; it is down when that is confirmed."""
        self.clock.advance(1)
        missed = self.fleet.missed_elsewhere(A, "refused", 1.0, is_confirmed=False)
        self.assertEqual((missed, self.state()), (False, State.SUSPECT))
        missed = self.fleet.missed_elsewhere(A, "refused", 1.0, is_confirmed=False)
        self.assertEqual((missed, self.state()), (False, State.SUSPECT))
        missed = self.fleet.missed_elsewhere(A, "no route", 1.0, is_confirmed=True)
        self.assertEqual((missed, self.state()), (True, State.DOWN))
        self.assertEqual(self.fleet.why_none_up(), f"no node is up; {A} is down: no route")
        self.assertFalse(self.fleet.missed_elsewhere(A, "refused", 1.0, is_confirmed=True))

    def test_confirmed_at_once(self) -> None:
        """A node that was thought to be up is down when two routers missed it."""
        self.assertTrue(self.fleet.missed_elsewhere(A, "refused", 1.0, is_confirmed=True))
        self.assertEqual(self.state(), State.DOWN)

    def test_missed_before(self) -> None:
        """A poll that failed before the last report, or of an unknown node, changes nothing."""
        self.clock.advance(1)
        self.fleet.observed(A, report("llm"))
        self.assertFalse(self.fleet.missed_elsewhere(A, "refused", 0.9, is_confirmed=True))
        self.assertEqual(self.state(), State.UP)
        self.assertFalse(self.fleet.missed_elsewhere(GONE, "refused", 2.0, is_confirmed=True))

    def test_own_miss_confirms(self) -> None:
        """A poll of this router that ran out of time confirms what another router found."""
        self.fleet.missed_elsewhere(A, "no answer", 1.0, is_confirmed=False)
        self.assertTrue(self.fleet.missed(A, "no answer", timed_out=True))
        self.assertEqual(self.state(), State.DOWN)
