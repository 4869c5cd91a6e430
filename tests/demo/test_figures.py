"""Tests of infernet_router.demo.figures."""

from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.demo.figures import Figures, line, ratio, shown, verdict
from infernet_router.demo.sides import Job, Side
from tests.demo.case import place
from tests.demo.test_rule import Hosts


class FigureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fast, self.slow = self.side(1, 1.0), self.side(2, 0.25)

    def side(self, number: int, speed: float) -> Side:
        one = place(self.clock, number)
        one.node.speed = speed
        http: Any = StubTreq(Hosts({one.address[:-5]: one.node}))

        async def ask(*_: object) -> str:
            return str(one.address)

        return Side([one], ask, http, self.clock, [])

    def submit(self, seconds: int) -> None:
        for side in (self.fast, self.slow):
            side.submit(Job(("llm",), 1.0))
        self.clock.pump([1.0] * seconds)

    def test_shown(self) -> None:
        """Times and ratios are for people."""
        self.assertEqual(
            [shown(s) for s in (None, 0.04, 99.94, 100.2)], ["-", "0.0 s", "99.9 s", "100 s"]
        )
        self.assertEqual(ratio(2.0, 7.0), "3.5 times as long")
        self.assertEqual((ratio(None, 1.0), ratio(1.0, None)), ("", ""))

    def test_figures(self) -> None:
        """They are those of the jobs that ended, or of all so far."""
        self.submit(1)
        self.assertEqual(Figures.of(self.slow), Figures(None, None, 0, 1, 0))
        self.assertEqual(Figures.of(self.slow, so_far=True), Figures(1.0, 1.0, 0, 1, 0))
        self.assertEqual(
            line(self.fast, self.slow),
            "router: mean 1.0 s, p99 1.0 s, 0 waiting; least pending: mean -, p99 -, 1 waiting",
        )

    def test_verdict(self) -> None:
        """The faster side wins; a job that still waits counts with its time so far."""
        self.assertEqual(
            verdict(self.fast, self.slow),
            (False, ["no job was done, so there is nothing to compare"]),
        )
        self.submit(3)
        won, lines = verdict(self.fast, self.slow)
        self.assertTrue(won)
        self.assertEqual(
            lines[-1], "With least pending, a job takes 3.0 times as long as with this router."
        )
        self.assertLessEqual(max(map(len, lines)), 79)
        self.clock.advance(1.0)
        won, lines = verdict(self.slow, self.fast)
        self.assertFalse(won)
        self.assertIn("The router lost", lines[-1])
        self.assertEqual(verdict(self.fast, self.fast)[0], False)
