"""Tests of infernet_router.admin.results."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin.results import Results
from infernet_router.fleet import Steps
from infernet_router.process.turns import Turns


class ResultsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.time = 0.0
        self.results = Results(Turns(self.clock, lambda: self.time, 0.002), self.clock)
        self.made = 0

    def work(self, steps: int = 10) -> Steps[int]:
        """Work in steps of a millisecond."""
        self.made += 1
        for _ in range(steps):
            self.time += 0.001
            yield
        return self.made

    def test_make(self) -> None:
        """What is made takes several turns of the reactor."""
        made = self.results.make(self.work())
        self.assertNoResult(made)
        self.clock.pump([0] * 20)
        self.assertEqual(self.successResultOf(made), 1)

    def test_once(self) -> None:
        """All that ask within a second get one result, also while it is being made."""
        first, second = (self.results.once("a", self.work) for _ in range(2))
        other = self.results.once("b", self.work)
        self.clock.pump([0] * 20)
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))
        self.assertNotEqual(self.successResultOf(other), self.successResultOf(first))
        self.clock.advance(0.9)
        self.successResultOf(self.results.once("a", self.work))
        self.assertEqual(self.made, 2)
        self.clock.advance(0.2)
        again = self.results.once("a", self.work)
        self.clock.pump([0] * 20)
        self.assertEqual(self.successResultOf(again), 3)

    def test_failure(self) -> None:
        """Work that fails fails for all that wait, and is done again for the next."""

        def broken() -> Steps[int]:
            yield
            raise ZeroDivisionError

        waiting = [self.results.once("a", broken) for _ in range(2)]
        self.clock.pump([0] * 5)
        for one in waiting:
            self.failureResultOf(one, ZeroDivisionError)
        good = self.results.once("a", self.work)
        self.clock.pump([0] * 20)
        self.assertEqual(self.successResultOf(good), 1)

    def test_gone(self) -> None:
        """Whoever does not wait any longer does not disturb the others."""
        gone, waiting = (self.results.once("a", self.work) for _ in range(2))
        gone.addErrback(lambda _: None)
        gone.cancel()
        self.clock.pump([0] * 20)
        self.assertEqual(self.successResultOf(waiting), 1)

    def test_bounded(self) -> None:
        """Few results are kept."""
        for name in range(20):
            self.results.once(name, lambda: self.work(1))
            self.clock.pump([0] * 3)
        self.assertEqual(self.made, 20)
        self.results.once(0, lambda: self.work(1))
        self.clock.pump([0] * 3)
        self.assertEqual(self.made, 21)
        self.results.once(19, lambda: self.work(1))
        self.assertEqual(self.made, 21)
