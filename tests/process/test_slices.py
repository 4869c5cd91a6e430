"""Tests of infernet_router.process.slices."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.process.slices import Slices


class TurningClock(Clock):
    """Calls a function whenever a call is scheduled."""

    def turn(self) -> None:
        """Called before."""

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> Any:
        self.turn()
        return super().callLater(delay, callable, *args, **kw)


class SlicesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Any = TurningClock()
        self.seconds = 0.0
        self.done = 0
        self.contexts: list[str] = []

    def steps(self, count: int) -> Iterator[None]:
        """Steps of a millisecond each."""
        for _ in range(count):
            self.seconds += 0.001
            self.done += 1
            yield

    @contextmanager
    def during(self) -> Iterator[None]:
        self.contexts.append("begin")
        yield
        self.contexts.append("end")

    def take(self, count: int) -> Deferred[None]:
        slices = Slices(self.clock, self.during, lambda: self.seconds)
        return Deferred.fromCoroutine(slices.take(self.steps(count)))

    def test_short(self) -> None:
        """Work of less than a slice is done at once."""
        self.successResultOf(self.take(2))
        self.assertEqual((self.done, self.contexts), (2, []))

    def test_long(self) -> None:
        """Between two slices the reactor has a turn; the rest is done in the context."""
        turns: list[int] = []
        self.clock.turn = lambda: turns.append(self.done)
        work = self.take(10)
        self.assertNoResult(work)
        self.clock.advance(0)
        self.successResultOf(work)
        self.assertEqual((self.done, self.contexts), (10, ["begin", "end"]))
        slices = [after - before for before, after in pairwise([0, *turns, 10])]
        self.assertGreaterEqual(len(slices), 3)
        self.assertLessEqual(max(slices), 4)

    def test_cancelled(self) -> None:
        """Work can be given up between two slices."""
        work = self.take(10)
        work.addErrback(lambda _: None)
        work.cancel()
        self.clock.advance(0)
        self.assertLess(self.done, 10)
        self.assertEqual(self.clock.getDelayedCalls(), [])
