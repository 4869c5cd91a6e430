"""Tests of infernet_router.load."""

from collections.abc import Callable
from math import exp, isfinite
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.load import Loads, Weights


class SteadyNode:
    """A node that runs one job after the other, each as long as the next."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.work = 0.0
        """Jobs that are there, the one that runs in part."""

    @property
    def pending(self) -> int:
        """The jobs it says are there."""
        return int(-(-self.work // 1))

    def pass_time(self, seconds: float) -> None:
        self.work = max(0.0, self.work - seconds * self.rate)


class LoadsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.loads = Loads()
        self.now = 100.0

    def jobs(self, place: int, later: float = 0.0) -> float:
        """The jobs there in so many seconds."""
        return self.loads.jobs(place, self.now + later)

    def reported(self, place: int, pending: float, later: float = 0.0) -> None:
        """Time passes, and then the node reports."""
        self.now += later
        self.loads.reported(place, self.now, pending)

    def assign(self, place: int, count: int = 1, weight: float = 1.0) -> None:
        for _ in range(count):
            self.loads.assign(place, self.now, weight)

    def live(self, place: int, node: SteadyNode, polls: int, each: int = 2) -> None:
        """A node is polled every three seconds, and each time handed so many jobs before."""
        for _ in range(polls):
            self.assign(place, each)
            node.work += each
            node.pass_time(3.0)
            self.reported(place, node.pending, later=3.0)


class JobsTests(LoadsTestCase):
    def test_new(self) -> None:
        """A node of which nothing is known has no jobs, and gets one done a second."""
        place = self.loads.add()
        self.assertEqual((self.jobs(place), self.loads.rate(place)), (0.0, 1.0))

    def test_assigned(self) -> None:
        """Jobs handed out count beside those the report named."""
        place = self.loads.add()
        self.reported(place, 3)
        self.assign(place, 2)
        self.assertAlmostEqual(self.jobs(place), 5.0)

    def test_drains(self) -> None:
        """The jobs get fewer at the node's rate; when the last one ends is left to chance."""
        place = self.loads.add()
        self.reported(place, 4)
        self.assertAlmostEqual(self.jobs(place, 2.5), 1.5)
        self.assertAlmostEqual(self.jobs(place, 3.0), 1.0)
        self.assertAlmostEqual(self.jobs(place, 5.0), exp(-2.0))
        self.assertEqual(self.jobs(place, 1e9), 0.0)

    def test_report(self) -> None:
        """A report stands for all that was handed out a while before it."""
        place = self.loads.add()
        self.reported(place, 0)
        self.assign(place, 5)
        self.reported(place, 1, later=3.0)
        self.assertAlmostEqual(self.jobs(place), 1.0)

    def test_travelling(self) -> None:
        """A job that was just handed out has not reached the node: it survives the report."""
        place = self.loads.add()
        self.reported(place, 0)
        self.assign(place)
        self.reported(place, 0)
        self.assertAlmostEqual(self.jobs(place), 1.0)

    def test_ghosts(self) -> None:
        """Jobs that never come are gone with the next report."""
        place = self.loads.add()
        self.reported(place, 0)
        self.assign(place, 10)
        self.reported(place, 0, later=3.0)
        self.assertLess(self.jobs(place), 0.01)

    def test_place(self) -> None:
        """A place that is free is used again, and nothing is left there."""
        first, second = self.loads.add(), self.loads.add()
        self.live(first, SteadyNode(4.0), polls=20, each=10)
        self.loads.remove(first)
        self.assertEqual(self.loads.add(), first)
        self.assertEqual(self.jobs(first), 0.0)
        self.assertNotEqual(self.loads.add(), second)


class LearningTests(LoadsTestCase):
    def assert_rate(self, place: int, low: float, high: float) -> None:
        self.assertTrue(low <= self.loads.rate(place) <= high, self.loads.rate(place))

    def test_busy(self) -> None:
        """How fast a node is shows in how its queue gets shorter."""
        for rate, each in ((0.2, 1), (1.0, 4), (2.5, 8)):
            place, node = self.loads.add(), SteadyNode(rate)
            self.live(place, node, polls=60, each=each)
            self.assert_rate(place, 0.8 * rate, 1.25 * rate)

    def test_idle_at_times(self) -> None:
        """It shows, too, when the queue is empty now and then."""
        place, node = self.loads.add(), SteadyNode(0.5)
        for _ in range(60):
            self.live(place, node, polls=1, each=2)
            self.live(place, node, polls=1, each=0)
        self.assert_rate(place, 0.4, 0.75)

    def test_scale(self) -> None:
        """It is found whether jobs take milliseconds or minutes."""
        for rate, each in ((200.0, 650), (0.01, 1)):
            self.loads = Loads()
            place, node = self.loads.add(), SteadyNode(rate)
            self.live(place, node, polls=150 if rate > 1 else 15, each=each)
            self.live(place, node, polls=1000 if rate < 1 else 0, each=0)
            self.assert_rate(place, rate / 2, rate * 2)

    def test_slower(self) -> None:
        """A node that becomes eight times slower is noticed within a few polls."""
        place, node = self.loads.add(), SteadyNode(2.0)
        self.live(place, node, polls=60, each=6)
        node.rate /= 8
        self.live(place, node, polls=4, each=3)
        self.assert_rate(place, 0.0, 1.0)

    def test_faster(self) -> None:
        """So is one that becomes faster."""
        place, node = self.loads.add(), SteadyNode(0.5)
        self.live(place, node, polls=60, each=2)
        node.rate *= 8
        self.live(place, node, polls=4, each=9)
        self.assert_rate(place, 1.0, 4.0)

    def test_away(self) -> None:
        """Time without reports teaches nothing: a node that froze is no slower for it."""
        place, node = self.loads.add(), SteadyNode(1.0)
        self.live(place, node, polls=30, each=3)
        before = self.loads.rate(place)
        self.assign(place, 20)
        self.loads.lost(place)
        self.reported(place, 20, later=60.0)
        self.assertAlmostEqual(self.loads.rate(place), before, places=1)

    def beside_ten(self, pending: Callable[[], int]) -> tuple[int, int]:
        """
        A node that says so many jobs are pending, and one of ten others it is beside.

        The others are busy, and get one job done a second.
        """
        odd, *usual = (self.loads.add() for _ in range(11))
        for poll in range(100):
            for place in usual:
                self.assign(place, 3)
            self.assign(odd, 30)
            self.now += 3.0
            for place in usual:
                self.reported(place, 1 + poll % 2)
            self.reported(odd, pending())
        return odd, usual[0]

    def test_never_at_work(self) -> None:
        """A node whose queue is always empty, as if every job failed, is believed to be usual."""
        odd, usual = self.beside_ten(lambda: 0)
        self.assertLess(self.loads.rate(odd), 1.5 * self.loads.rate(usual))
        self.assertApproximates(self.loads.rate(usual), 1.0, 0.3)

    def test_stuck(self) -> None:
        """So is one that always says the same, as if jobs that crashed haunted it."""
        odd, usual = self.beside_ten(lambda: 2)
        self.assertLess(self.loads.rate(odd), 1.5 * self.loads.rate(usual))

    def test_doubted(self) -> None:
        """And it is not taken at its word: another one is cheaper, with a job more even."""
        odd, usual = self.beside_ten(lambda: 0)
        self.reported(odd, 0, later=3.0)
        self.reported(usual, 1)
        self.assertEqual(self.loads.cheapest([odd, usual], self.now, 1.0, Random(1)), usual)

    def test_new_chance(self) -> None:
        """It is given a new chance after a while."""
        odd, usual = self.beside_ten(lambda: 0)
        for _ in range(200):
            self.reported(odd, 0, later=3.0)
        self.reported(usual, 1)
        self.assertEqual(self.loads.cheapest([odd, usual], self.now, 1.0, Random(1)), odd)

    def test_undoubted(self) -> None:
        """A node that is seen at work now and then is taken at its word."""
        odd, usual = self.beside_ten(iter([0, 0, 0, 2] * 25).__next__)
        self.reported(odd, 0, later=3.0)
        self.reported(usual, 1)
        self.assertEqual(self.loads.cheapest([odd, usual], self.now, 1.0, Random(1)), odd)

    def test_fast(self) -> None:
        """One that is seen at work may be fast."""
        odd, usual = self.beside_ten(iter([0, 5, 0, 2] * 25).__next__)
        self.assertGreater(self.loads.rate(odd), 4 * self.loads.rate(usual))

    def test_liar(self) -> None:
        """A node that says what it likes changes little of what is believed of others."""
        _, usual = self.beside_ten(iter([0, 1_000_000] * 50).__next__)
        self.assertApproximates(self.loads.rate(usual), 1.0, 0.5)

    def test_standstill(self) -> None:
        """A fleet that gets nothing done is believed to be slow, and never to be dead."""
        place = self.loads.add()
        self.reported(place, 5)
        for _ in range(30_000):
            self.assign(place)
            self.reported(place, 5, later=3.0)
        self.assertGreater(self.loads.rate(place), 0.0)

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
        """Whatever happens, the jobs are a number and not negative, and the rate is positive."""
        self.loads = Loads()
        place = self.loads.add()
        for what, seconds, pending, weight in history:
            self.now += seconds
            if what == "assign":
                self.assign(place, weight=weight)
            elif what == "report":
                self.reported(place, pending)
            else:
                self.loads.lost(place)
            for later in (0.0, 1.0, 1e6):
                jobs = self.jobs(place, later)
                self.assertTrue(isfinite(jobs) and jobs >= 0.0, jobs)
            rate = self.loads.rate(place)
            self.assertTrue(isfinite(rate) and rate > 0.0, rate)


class CheapestTests(LoadsTestCase):
    def cheapest(self, *places: int, weight: float = 1.0) -> set[int]:
        """Where jobs are cheapest, in many tries."""
        random = Random(1)
        return {self.loads.cheapest(places, self.now, weight, random) for _ in range(50)}

    def test_fewest(self) -> None:
        """Of nodes as fast as each other, the one with the fewest jobs is cheapest."""
        places = [self.loads.add() for _ in range(3)]
        for place, pending in zip(places, (2, 1, 3), strict=True):
            self.reported(place, pending)
        self.assertEqual(self.cheapest(*places), {places[1]})

    def test_ties(self) -> None:
        """Between nodes that are alike, chance decides."""
        places = [self.loads.add() for _ in range(3)]
        self.assertEqual(self.cheapest(*places), set(places))

    def test_fast(self) -> None:
        """A node that is faster may have some jobs more."""
        slow, fast = self.loads.add(), self.loads.add()
        for place, rate in ((slow, 0.5), (fast, 4.0)):
            self.live(place, SteadyNode(rate), polls=100, each=round(rate * 3) + 1)
        self.now += 1000.0
        self.loads.lost(slow)
        self.loads.lost(fast)
        self.reported(slow, 1)
        self.reported(fast, 2)
        self.assertEqual(self.cheapest(slow, fast), {fast})
        self.reported(fast, 9)
        self.assertEqual(self.cheapest(slow, fast), {slow})


class CheapestFirstTests(LoadsTestCase):
    def test_order(self) -> None:
        """The places stand in the order in which `cheapest` would choose from them."""
        random = Random(2)
        places = [self.loads.add() for _ in range(40)]
        for place in places:
            self.live(place, SteadyNode(random.uniform(0.5, 4.0)), polls=20, each=4)
            self.assign(place, random.randrange(5))
        ranked = self.loads.cheapest_first(places, self.now, 1.0, 40, order=0)
        self.assertEqual(sorted(ranked), sorted(places))
        for number, place in enumerate(ranked):
            rest = ranked[number:]
            self.assertEqual(self.loads.cheapest(rest, self.now, 1.0, random), place)
        self.assertEqual(self.loads.cheapest_first(places, self.now, 1.0, 5, order=0), ranked[:5])
        self.assertEqual(self.loads.cheapest_first(places, self.now, 1.0, 99, order=0), ranked)

    def test_ties(self) -> None:
        """Places that are alike have an order that another chance makes another one."""
        places = [self.loads.add() for _ in range(8)]
        orders = {
            order: tuple(self.loads.cheapest_first(places, self.now, 1.0, 8, order))
            for order in (0, 1 << 4, 1 << 5, 1 << 6)
        }
        self.assertEqual(len(set(orders.values())), 4)
        self.assertEqual(orders[0], tuple(places))
        first = self.loads.cheapest_first(places, self.now, 1.0, 3, order=1 << 6)
        self.assertEqual(tuple(first), orders[1 << 6][:3])


class WeightsTests(LoadsTestCase):
    def test_unnamed(self) -> None:
        """What is not named costs 1; a job for several containers costs the sum."""
        weights = Weights()
        self.assertEqual(weights.of_job(["llm"]), 1.0)
        self.assertEqual(weights.of_job(["llm", "prover"]), 2.0)
        self.assertEqual(weights.of_pending({"offchain": 2, "onchain": 3}), 5.0)

    def test_named(self) -> None:
        """Weights count where they are named."""
        weights = Weights(jobs={"llm": 4.0}, pending={"onchain": 2.5})
        self.assertEqual(weights.of_job(["llm", "prover"]), 5.0)
        self.assertEqual(weights.of_pending({"offchain": 2, "onchain": 2}), 7.0)

    def test_consistent(self) -> None:
        """The jobs a report counts cost what those cost that were handed to the node."""
        place = self.loads.add()
        self.reported(place, 0)
        for _ in range(20):
            self.assign(place, 3, weight=8.0)
            self.reported(place, 3, later=3.0)
        self.assertApproximates(self.jobs(place), 24.0, 0.5)
        self.assign(place, 1, weight=8.0)
        self.assertApproximates(self.jobs(place), 32.0, 0.5)

    def test_rate(self) -> None:
        """How fast a node is is found alike, whatever its jobs weigh."""
        place, node = self.loads.add(), SteadyNode(1.0)
        for _ in range(60):
            self.assign(place, 3, weight=8.0)
            node.work += 3
            node.pass_time(3.0)
            self.reported(place, node.pending, later=3.0)
        self.assertApproximates(self.loads.rate(place), 8.0, 1.0)
