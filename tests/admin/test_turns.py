"""Tests of infernet_router.admin.turns."""

from itertools import pairwise
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin.turns import Turns, Work


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.time = 0.0
        self.turns = Turns(self.clock, lambda: self.time)
        self.made = 0

    def work(self, steps: int = 10) -> Work[int]:
        """Work in steps of a millisecond."""
        self.made += 1
        for _ in range(steps):
            self.time += 0.001
            yield
        return self.made

    def test_slices(self) -> None:
        """Work is done over several turns of the reactor, a few milliseconds in each."""
        turns: list[float] = []
        clock = Clock()
        schedule = clock.callLater

        def noted(*arguments: Any, **named: Any) -> Any:
            turns.append(self.time)
            return schedule(*arguments, **named)

        self.patch(clock, "callLater", noted)
        done = Turns(clock, lambda: self.time).do(self.work())
        clock.advance(0)
        self.assertEqual(self.successResultOf(done), 1)
        slices = [after - before for before, after in pairwise(turns)]
        self.assertGreater(len(slices), 2)
        self.assertLess(max(slices), 0.0031)

    def test_busy(self) -> None:
        """Slices are longer when the reactor has long turns, so that the work ends soon."""
        done = self.turns.do(self.work(50))
        turns = 0
        while not done.called:
            call: Any = self.clock.getDelayedCalls()[0]
            turn, arguments = call.func, call.args
            call.cancel()
            self.time += 0.5
            before = self.time
            turn(*arguments)
            self.assertLess(self.time - before, 0.0095)
            turns += 1
        self.assertLess(turns, 9)

    def test_once(self) -> None:
        """All that ask within a second get one result, also while it is being made."""
        first, second = (self.turns.once("a", self.work) for _ in range(2))
        other = self.turns.once("b", self.work)
        self.clock.pump([0] * 20)
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))
        self.assertNotEqual(self.successResultOf(other), self.successResultOf(first))
        self.clock.advance(0.9)
        self.successResultOf(self.turns.once("a", self.work))
        self.assertEqual(self.made, 2)
        self.clock.advance(0.2)
        again = self.turns.once("a", self.work)
        self.clock.pump([0] * 20)
        self.assertEqual(self.successResultOf(again), 3)

    def test_failure(self) -> None:
        """Work that fails fails for all that wait, and is done again for the next."""

        def broken() -> Work[int]:
            yield
            raise ZeroDivisionError

        waiting = [self.turns.once("a", broken) for _ in range(2)]
        self.clock.pump([0] * 5)
        for one in waiting:
            self.failureResultOf(one, ZeroDivisionError)
        good = self.turns.once("a", self.work)
        self.clock.pump([0] * 20)
        self.assertEqual(self.successResultOf(good), 1)

    def test_gone(self) -> None:
        """Whoever does not wait any longer does not disturb the others."""
        gone, waiting = (self.turns.once("a", self.work) for _ in range(2))
        gone.addErrback(lambda _: None)
        gone.cancel()
        self.clock.pump([0] * 20)
        self.assertEqual(self.successResultOf(waiting), 1)

    def test_bounded(self) -> None:
        """Few results are kept."""
        for name in range(20):
            self.turns.once(name, lambda: self.work(1))
            self.clock.pump([0] * 3)
        self.assertEqual(self.made, 20)
        self.turns.once(0, lambda: self.work(1))
        self.clock.pump([0] * 3)
        self.assertEqual(self.made, 21)
        self.turns.once(19, lambda: self.work(1))
        self.assertEqual(self.made, 21)
