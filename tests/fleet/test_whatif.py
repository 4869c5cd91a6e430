"""Tests of infernet_router.fleet.whatif."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.events import Outcome
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.steps import finish
from infernet_router.fleet.whatif import Forecast
from tests.doubles import addresses, report

A, B, C, D = addresses(*(f"192.0.2.{number}:4000" for number in range(1, 5)))


class WhatIfTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B, C, D])

    def whatif(self, *drained: NodeAddress) -> Forecast:
        return finish(self.fleet.whatif(drained))

    def test_capacity(self) -> None:
        """By container: nodes, capacity and utilization, now and then; the fullest first."""
        self.fleet.observed(A, report("llm", "prover", pending=9))
        self.fleet.observed(B, report("llm", pending=9))
        self.fleet.observed(C, report("other"))
        forecast = self.whatif(A)
        llm, other, prover = forecast.containers
        self.assertEqual((llm.id, llm.nodes, llm.capacity), ("llm", (2, 1), (2.0, 1.0)))
        self.assertEqual(llm.utilization, (1.0, 2.0))
        self.assertEqual((other.id, other.nodes, other.utilization), ("other", (1, 1), (0.0, 0.0)))
        self.assertEqual((prover.nodes, prover.capacity), ((1, 0), (1.0, 0.0)))
        self.assertEqual(prover.utilization, (1.0, None))
        self.assertEqual(
            forecast.notes,
            (
                "the nodes left for 'llm' could not do its jobs: queues would grow",
                "no up node would be left that runs 'prover'",
                "too few jobs were seen at 1 of the nodes that would be left for 'llm':"
                " they are taken to be about as fast as the others",
            ),
        )

    def test_learned(self) -> None:
        """Nothing is said of nodes whose speed was learned, and that have time enough."""
        for node in (A, B, C):
            for pending in (0, 30, 20, 10, 0, 1):
                self.fleet.observed(node, report("llm", pending=pending))
                self.clock.advance(5)
        self.clock.advance(60)
        self.assertEqual(self.whatif(A).notes, ())

    def test_high(self) -> None:
        """It is said when the nodes that are left would be very busy, or seem to fail."""
        for node, pending in ((A, 9), (B, 9), (C, 0), (D, 0)):
            self.fleet.observed(node, report("llm", pending=pending))
        self.assertIn(
            "the nodes left for 'llm' would be busy 100% of the time", self.whatif(C, D).notes
        )
        for _ in range(3):
            self.fleet.told(B, Outcome.FAILED)
        self.assertIn(
            "the nodes that would be left for 'llm' seem to fail all jobs",
            self.whatif(A, C, D).notes,
        )

    def test_no_change(self) -> None:
        """Nodes that are unknown, down or drained already change nothing, and that is said."""
        self.fleet.observed(A, report("llm"))
        self.fleet.override(A, Tier.DRAINED)
        self.fleet.missed(B, "gone")
        gone = addresses("192.0.2.9:1")[0]
        forecast = self.whatif(A, B, C, gone, A)
        self.assertEqual(forecast.containers, ())
        self.assertEqual(
            forecast.notes,
            (
                "192.0.2.1:4000 is drained already",
                "192.0.2.2:4000 is down, so it does no jobs now either",
                "192.0.2.3:4000 is unknown, so it does no jobs now either",
                "192.0.2.9:1 is not known",
            ),
        )
