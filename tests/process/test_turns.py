"""Tests of infernet_router.process.turns."""

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import Steps
from infernet_router.process.turns import Turns


class TurnClock(Clock):
    """A clock that, like a reactor, calls in the next turn what is to be called at once."""

    def callLater(self, delay: float, *call: Any, **options: Any) -> Any:
        return super().callLater(delay or 1.0, *call, **options)


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.real = TurnClock(), Clock()
        self.turns = Turns(self.clock, self.real.seconds)
        self.done: list[str] = []

    def work(self, name: str, steps: int, error: Exception | None = None) -> Steps[str]:
        """Work in steps of a millisecond."""
        for _ in range(steps):
            self.real.advance(0.001)
            self.done.append(name)
            yield
        if error:
            raise error
        return name

    def run_turn(self) -> str:
        """What is done in the next turn of the reactor."""
        self.done.clear()
        self.clock.advance(1.0)
        return "".join(self.done)

    def test_short(self) -> None:
        """Short work is done at once, and leaves nothing behind."""
        self.assertEqual(self.turns.run(self.work("a", 3)), "a")
        self.assertRaises(KeyError, self.turns.run, self.work("b", 0, KeyError()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_long(self) -> None:
        """Long work is done in slices, a job after the other; a failure ends only its own."""
        jobs: list[Any] = [
            self.turns.run(self.work("a", 12)),
            self.turns.run(self.work("b", 2, KeyError())),
            self.turns.run(self.work("c", 4)),
        ]
        self.assertEqual("".join(self.done), "aaaaa")
        self.assertEqual(self.run_turn(), "aaaaa")
        self.assertEqual(self.run_turn(), "aabbc")
        self.assertEqual(self.successResultOf(jobs[0]), "a")
        self.failureResultOf(jobs[1], KeyError)
        self.assertEqual(self.run_turn(), "ccc")
        self.assertEqual(self.successResultOf(jobs[2]), "c")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many(self) -> None:
        """Much short work in one turn waits for the next; after a pause, work is done at once."""
        self.assertEqual(self.turns.run(self.work("a", 4)), "a")
        self.assertEqual(self.turns.run(self.work("b", 4)), "b")
        late = self.turns.run(self.work("c", 4))
        self.assertNoResult(late)
        self.assertEqual(self.run_turn(), "cccc")
        self.assertEqual(self.successResultOf(late), "c")
        self.real.advance(0.01)
        self.assertEqual(self.turns.run(self.work("d", 4)), "d")

    def test_gone(self) -> None:
        """Work that nobody waits for any more is dropped."""
        first, second = self.turns.run(self.work("a", 50)), self.turns.run(self.work("b", 50))
        for each in (second, first):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.run_turn(), "")
        self.assertEqual(self.clock.getDelayedCalls(), [])
