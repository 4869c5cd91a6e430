"""Tests of infernet_router.fleet.load."""

from collections.abc import Callable
from functools import partial
from math import exp, isfinite
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.load import Loads
from infernet_router.fleet.steps import finish


class SteadyNode:
    """A node that runs one job after another; every job takes the same time."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.work = 0.0
        """The jobs at the node; the running one counts in part."""

    @property
    def pending(self) -> int:
        """The jobs that it reports."""
        return int(-(-self.work // 1))

    def pass_time(self, seconds: float) -> None:
        self.work = max(0.0, self.work - seconds * self.rate)


class LoadsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.loads = Loads()
        self.now = 100.0

    def jobs(self, index: int, later: float = 0.0) -> float:
        """The estimated jobs after this many seconds."""
        return self.loads.jobs(index, self.now + later)

    def reported(self, index: int, pending: float, later: float = 0.0) -> None:
        """Advance the clock, and then report."""
        self.now += later
        self.loads.reported(index, self.now, pending)

    def assign(self, index: int, count: int = 1, weight: float = 1.0) -> None:
        for _ in range(count):
            self.loads.assign(index, self.now, weight)

    def live(self, index: int, node: SteadyNode, polls: int, each: int = 2) -> None:
        """Poll a node every three seconds, and assign it this many jobs before each poll."""
        for _ in range(polls):
            self.assign(index, each)
            node.work += each
            node.pass_time(3.0)
            self.reported(index, node.pending, later=3.0)


class JobsTests(LoadsTestCase):
    def test_new(self) -> None:
        """A new node has no jobs, and a rate of one job a second."""
        index = self.loads.add()
        self.assertEqual((self.jobs(index), self.loads.rate(index)), (0.0, 1.0))

    def test_assigned(self) -> None:
        """Assigned jobs are added to those in the report."""
        index = self.loads.add()
        self.reported(index, 3)
        self.assign(index, 2)
        self.assertAlmostEqual(self.jobs(index), 5.0)

    def test_drains(self) -> None:
        """The jobs decrease at the node's rate; below one job, the estimate decays."""
        index = self.loads.add()
        self.reported(index, 4)
        self.assertAlmostEqual(self.jobs(index, 2.5), 1.5)
        self.assertAlmostEqual(self.jobs(index, 3.0), 1.0)
        self.assertAlmostEqual(self.jobs(index, 5.0), exp(-2.0))
        self.assertEqual(self.jobs(index, 1e9), 0.0)

    def test_report(self) -> None:
        """A report includes the jobs that were assigned some time before it."""
        index = self.loads.add()
        self.reported(index, 0)
        self.assign(index, 5)
        self.reported(index, 1, later=3.0)
        self.assertAlmostEqual(self.jobs(index), 1.0)

    def test_travelling(self) -> None:
        """A job assigned just before a report has not reached the node yet: it is added."""
        index = self.loads.add()
        self.reported(index, 0)
        self.assign(index)
        self.reported(index, 0)
        self.assertAlmostEqual(self.jobs(index), 1.0)

    def test_ghosts(self) -> None:
        """Jobs that are never submitted are forgotten at the next report."""
        index = self.loads.add()
        self.reported(index, 0)
        self.assign(index, 10)
        self.reported(index, 0, later=3.0)
        self.assertLess(self.jobs(index), 0.01)

    def test_index(self) -> None:
        """The index of a removed node is used again, without anything of that node."""
        first, second = self.loads.add(), self.loads.add()
        self.live(first, SteadyNode(4.0), polls=20, each=10)
        self.loads.remove(first)
        self.assertEqual(self.loads.add(), first)
        self.assertEqual(self.jobs(first), 0.0)
        self.assertNotEqual(self.loads.add(), second)

    def test_consistent(self) -> None:
        """Each job in a report costs the average of the jobs that were assigned to the node."""
        index = self.loads.add()
        self.reported(index, 0)
        for _ in range(20):
            self.assign(index, 3, weight=8.0)
            self.reported(index, 3, later=3.0)
        self.assertApproximates(self.jobs(index), 24.0, 0.5)
        self.assign(index, 1, weight=8.0)
        self.assertApproximates(self.jobs(index), 32.0, 0.5)

    def test_rate(self) -> None:
        """The rate is learned whatever the weight of the jobs."""
        index, node = self.loads.add(), SteadyNode(1.0)
        for _ in range(60):
            self.assign(index, 3, weight=8.0)
            node.work += 3
            node.pass_time(3.0)
            self.reported(index, node.pending, later=3.0)
        self.assertApproximates(self.loads.rate(index), 8.0, 1.0)


class LearningTests(LoadsTestCase):
    def assert_rate(self, index: int, low: float, high: float) -> None:
        self.assertTrue(low <= self.loads.rate(index) <= high, self.loads.rate(index))

    def test_busy(self) -> None:
        """The rate of a node is learned from how fast its queue drains."""
        for rate, each in ((0.2, 1), (1.0, 4), (2.5, 8)):
            index, node = self.loads.add(), SteadyNode(rate)
            self.live(index, node, polls=60, each=each)
            self.assert_rate(index, 0.8 * rate, 1.25 * rate)

    def test_idle_at_times(self) -> None:
        """It is also learned when the queue is empty from time to time."""
        index, node = self.loads.add(), SteadyNode(0.5)
        for _ in range(60):
            self.live(index, node, polls=1, each=2)
            self.live(index, node, polls=1, each=0)
        self.assert_rate(index, 0.4, 0.75)

    def test_scale(self) -> None:
        """It is learned whether jobs take milliseconds or minutes."""
        for rate, each in ((200.0, 650), (0.01, 1)):
            self.loads = Loads()
            index, node = self.loads.add(), SteadyNode(rate)
            self.live(index, node, polls=150 if rate > 1 else 15, each=each)
            self.live(index, node, polls=1000 if rate < 1 else 0, each=0)
            self.assert_rate(index, rate / 2, rate * 2)

    def test_slower(self) -> None:
        """A node that becomes eight times slower is noticed within a few polls."""
        index, node = self.loads.add(), SteadyNode(2.0)
        self.live(index, node, polls=60, each=6)
        node.rate /= 8
        self.live(index, node, polls=4, each=3)
        self.assert_rate(index, 0.0, 1.0)

    def test_faster(self) -> None:
        """A node that becomes faster is noticed too."""
        index, node = self.loads.add(), SteadyNode(0.5)
        self.live(index, node, polls=60, each=2)
        node.rate *= 8
        self.live(index, node, polls=4, each=9)
        self.assert_rate(index, 1.0, 4.0)

    def test_away(self) -> None:
        """Time without reports teaches nothing: a node that hung is not assumed to be slower."""
        index, node = self.loads.add(), SteadyNode(1.0)
        self.live(index, node, polls=30, each=3)
        before = self.loads.rate(index)
        self.assign(index, 20)
        self.loads.lost(index)
        self.reported(index, 20, later=60.0)
        self.assertAlmostEqual(self.loads.rate(index), before, places=1)

    def beside_ten(self, pending: Callable[[], int]) -> tuple[int, int]:
        """
        A node that reports these numbers of pending jobs, and one of ten busy nodes beside it.

        The busy nodes finish one job a second.
        """
        odd, *usual = (self.loads.add() for _ in range(11))
        for poll in range(100):
            for index in usual:
                self.assign(index, 3)
            self.assign(odd, 30)
            self.now += 3.0
            for index in usual:
                self.reported(index, 1 + poll % 2)
            self.reported(odd, pending())
        return odd, usual[0]

    def test_never_at_work(self) -> None:
        """A node whose queue is always empty, as if every job failed, gets a usual rate."""
        odd, usual = self.beside_ten(lambda: 0)
        self.assertLess(self.loads.rate(odd), 1.5 * self.loads.rate(usual))
        self.assertApproximates(self.loads.rate(usual), 1.0, 0.3)

    def test_doubted(self) -> None:
        """A node is doubted whose queue is always empty or never moves, as if every job failed."""
        for pending in (0, 2):
            self.loads = Loads()
            odd, usual = self.beside_ten(partial(int, pending))
            self.assertGreater(self.loads.doubt(odd), 1.0)
            self.assertLess(self.loads.doubt(usual), 0.5)
            for _ in range(2):
                self.assign(usual, 30)
            self.assertEqual(self.loads.cheapest([odd, usual], self.now, 1.0, Random(1)), usual)

    def test_crashed(self) -> None:
        """So is one that fails every job after it worked: nothing it shows makes it look faster."""
        index, node = self.loads.add(), SteadyNode(1.0)
        for _ in range(30):
            self.live(index, node, polls=1, each=2)
            self.live(index, node, polls=1, each=5)
        before = self.loads.rate(index)
        for _ in range(20):
            self.assign(index, 3)
            self.reported(index, 0, later=3.0)
        self.assertGreater(self.loads.doubt(index), 1.0)
        self.assertApproximates(self.loads.rate(index), before, 0.2)

    def test_stood_still(self) -> None:
        """A node that stood still for minutes is as fast as before once its queue is empty."""
        index, node = self.loads.add(), SteadyNode(1.0)
        other, healthy = self.loads.add(), SteadyNode(1.0)
        self.live(index, node, polls=30, each=3)
        for _ in range(40):
            self.live(other, healthy, polls=1, each=3)
            self.reported(index, 20)
        self.assert_rate(index, 0.0, 0.3)
        self.reported(index, 0, later=3.0)
        self.assert_rate(index, 0.7, 1.5)

    def test_watched(self) -> None:
        """A queue that others fill and that grows does not make the node look slow."""
        index = self.loads.add()
        for pending in range(40):
            self.reported(index, pending, later=3.0)
        self.assertEqual(self.loads.rate(index), 1.0)

    def test_outcomes(self) -> None:
        """Clients whose jobs failed raise the doubt of a node, one whose job was done ends it."""
        index, other = self.loads.add(), self.loads.add()
        for _ in range(3):
            self.assertEqual(self.loads.cheapest([index], self.now, 1.0, Random(1)), index)
            self.loads.failed(index, self.now)
        self.assertEqual(self.loads.doubt(index), 1.0)
        self.reported(other, 50)
        self.assertEqual(self.loads.cheapest([index, other], self.now, 1.0, Random(1)), other)
        self.loads.finished(index)
        self.assertEqual(self.loads.doubt(index), 0.0)
        self.assertEqual(self.loads.cheapest([index, other], self.now, 1.0, Random(1)), index)

    def test_new_chance(self) -> None:
        """A doubted node gets one job after a while, and is doubted again once it has it."""
        odd, usual = self.beside_ten(lambda: 0)
        for _ in range(200):
            self.reported(odd, 0, later=3.0)
        self.reported(usual, 1)
        for best in (odd, usual):
            self.assertEqual(self.loads.cheapest([odd, usual], self.now, 1.0, Random(1)), best)
            self.assign(odd)
        self.assertEqual(len(self.loads.looks(odd)), 3)
        self.assertEqual(self.loads.looks(usual), ())

    def test_undoubted(self) -> None:
        """A node that is seen at work from time to time is not doubted."""
        odd, usual = self.beside_ten(iter([0, 0, 2, 1] * 25).__next__)
        self.reported(odd, 0, later=3.0)
        self.reported(usual, 1)
        self.assertEqual(self.loads.cheapest([odd, usual], self.now, 1.0, Random(1)), odd)

    def test_fast(self) -> None:
        """A node that is seen at work may be fast."""
        odd, usual = self.beside_ten(iter([0, 5, 0, 2] * 25).__next__)
        self.assertGreater(self.loads.rate(odd), 4 * self.loads.rate(usual))

    def test_liar(self) -> None:
        """A node that reports arbitrary numbers hardly changes the rates of the others."""
        _, usual = self.beside_ten(iter([0, 1_000_000] * 50).__next__)
        self.assertApproximates(self.loads.rate(usual), 1.0, 0.5)

    def test_standstill(self) -> None:
        """When a fleet finishes no jobs, its rates become low, but stay positive."""
        index = self.loads.add()
        self.reported(index, 5)
        for _ in range(30_000):
            self.assign(index)
            self.reported(index, 5, later=3.0)
        self.assertGreater(self.loads.rate(index), 0.0)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["assign", "report", "lost"]),
                st.floats(0, 1e5) | st.just(0.0),
                st.integers(0, 16_000_000) | st.integers(0, 5),
                st.floats(0.01, 1000) | st.just(1.0),
            ),
            max_size=40,
        )
    )
    def test_any_history(self, history: list[tuple[str, float, int, float]]) -> None:
        """After any history, the estimate is finite and not negative, and the rate is positive."""
        self.loads = Loads()
        index = self.loads.add()
        for what, seconds, pending, weight in history:
            self.now += seconds
            if what == "assign":
                self.assign(index, weight=weight)
            elif what == "report":
                self.reported(index, pending)
            else:
                self.loads.lost(index)
            for later in (0.0, 1.0, 1e6):
                jobs = self.jobs(index, later)
                self.assertTrue(isfinite(jobs) and jobs >= 0.0, jobs)
            rate = self.loads.rate(index)
            self.assertTrue(isfinite(rate) and rate > 0.0, rate)


class CheapestTests(LoadsTestCase):
    def cheapest(self, *nodes: int, weight: float = 1.0) -> set[int]:
        """The nodes where a job is cheapest, over many tries."""
        random = Random(1)
        return {self.loads.cheapest(nodes, self.now, weight, random) for _ in range(50)}

    def test_weight(self) -> None:
        """A node of weight 2 is as cheap as one of weight 1 when its queue is twice as long."""
        light, heavy = self.loads.add(), self.loads.add()
        self.loads.set_share(heavy, 2.0)
        for jobs, cheaper in ((2, {heavy}), (3, {light, heavy}), (4, {light})):
            self.reported(light, 1)
            self.reported(heavy, jobs)
            self.assertEqual(self.cheapest(light, heavy), cheaper)
            self.assertEqual(self.loads.rate(light), self.loads.rate(heavy))

    def test_fewest(self) -> None:
        """Of equally fast nodes, the one with the fewest jobs is cheapest."""
        nodes = [self.loads.add() for _ in range(3)]
        for index, pending in zip(nodes, (2, 1, 3), strict=True):
            self.reported(index, pending)
        self.assertEqual(self.cheapest(*nodes), {nodes[1]})

    def test_ties(self) -> None:
        """Ties between equal nodes are broken at random."""
        nodes = [self.loads.add() for _ in range(3)]
        self.assertEqual(self.cheapest(*nodes), set(nodes))

    def test_fast(self) -> None:
        """A faster node is cheapest even with a few jobs more."""
        slow, fast = self.loads.add(), self.loads.add()
        for index, rate in ((slow, 0.5), (fast, 4.0)):
            self.live(index, SteadyNode(rate), polls=100, each=round(rate * 3) + 1)
        self.now += 1000.0
        self.loads.lost(slow)
        self.loads.lost(fast)
        self.reported(slow, 1)
        self.reported(fast, 2)
        self.assertEqual(self.cheapest(slow, fast), {fast})
        self.reported(fast, 9)
        self.assertEqual(self.cheapest(slow, fast), {slow})


class CheapestFirstTests(LoadsTestCase):
    def first(self, nodes: list[int], count: int, order: int = 0) -> list[int]:
        """The best of these nodes."""
        return finish(self.loads.cheapest_first(nodes, self.now, 1.0, count, order))

    def test_order(self) -> None:
        """The nodes are in the order in which `cheapest` would choose them."""
        random = Random(2)
        nodes = [self.loads.add() for _ in range(40)]
        for index in nodes:
            self.live(index, SteadyNode(random.uniform(0.5, 4.0)), polls=20, each=4)
            self.assign(index, random.randrange(5))
        ranked = self.first(nodes, 40)
        self.assertEqual(sorted(ranked), sorted(nodes))
        for number, index in enumerate(ranked):
            rest = ranked[number:]
            self.assertEqual(self.loads.cheapest(rest, self.now, 1.0, random), index)
        for count in (1, 5, 99):
            self.assertEqual(self.first(nodes, count), ranked[:count])
