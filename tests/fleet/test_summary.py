"""Tests of infernet_router.fleet.summary."""

from collections import Counter
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import Fleet, State, Tier, finish, summary
from tests.doubles import addresses, report

A, B, C, D = addresses("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")


class SummaryTests(SynchronousTestCase):
    def test_counts(self) -> None:
        """Each node counts once: by its state, and by whether an operator drained it."""
        self.patch(summary, "_STEP", 2)
        clock = Clock()
        fleet = Fleet(clock.seconds, Random(1))
        fleet.replace([A, B, C, D])
        for address in (A, B, C):
            fleet.observed(address, report("llm"))
            clock.advance(1)
        fleet.missed(A, "gone")
        fleet.override(B, Tier.DRAINED)
        fleet.override(C, weight=2.0)
        found = finish(fleet.summary())
        self.assertEqual(found.serving, Counter([State.DOWN, State.UP, State.UNKNOWN]))
        self.assertEqual(found.drained, Counter([State.UP]))
        self.assertEqual((found.overridden, found.oldest_report), (2, 2.0))
        fleet.replace([D])
        self.assertEqual(finish(fleet.summary()).oldest_report, 0.0)
