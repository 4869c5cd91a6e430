"""Tests of infernet_router.fleet.whatif, containers and busy."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import containers as containers_module
from infernet_router.fleet.busy import BusyTimes
from infernet_router.fleet.containers import ContainerView
from infernet_router.fleet.events import Outcome
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.steps import finish
from infernet_router.fleet.whatif import Forecast
from tests.doubles import addresses, report

A, B, C, D = addresses(*(f"192.0.2.{number}:4000" for number in range(1, 5)))


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B, C, D])


class ContainerTests(Case):
    def containers(self) -> dict[str, ContainerView]:
        return {view.id: view for view in self.fleet.containers() if view is not None}

    def test_counts(self) -> None:
        """A container has its nodes by state, and their jobs and capacity."""
        self.assertEqual(self.containers(), {})
        self.fleet.observed(A, report("llm", pending=2, description="a model"))
        self.fleet.observed(B, report("llm", internal=("prover",), pending=4))
        self.fleet.observed(C, report("llm", pending=8))
        self.fleet.observed(D, report("gone", "llm"))
        self.fleet.override(A, Tier.DRAINED)
        self.fleet.missed(B, "slow", timed_out=True)
        self.fleet.missed(D, "refused")
        views = self.containers()
        self.assertEqual(list(views), ["llm", "gone", "prover"])
        llm = views["llm"]
        self.assertEqual((llm.up, llm.suspect, llm.drained, llm.down), (1, 1, 1, 1))
        self.assertEqual((llm.nodes, llm.description), (2, "a model"))
        self.assertEqual((llm.jobs, llm.capacity, llm.utilization), (14.0, 2.0, 1.0))
        gone = views["gone"]
        self.assertEqual((gone.nodes, gone.down, gone.jobs), (0, 1, 0.0))
        self.assertIsNone(gone.utilization)

    def test_doubted(self) -> None:
        """A node that seems to fail all jobs adds nothing to the capacity."""
        self.fleet.observed(A, report("llm"))
        self.patch(containers_module, "_STEP", 2)
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
        self.assertEqual((self.containers()["llm"].up, self.containers()["llm"].capacity), (1, 0.0))

    def test_steps(self) -> None:
        """Many nodes are looked at in slices; others may be added meanwhile."""
        self.patch(containers_module, "_STEP", 2)
        for node in (A, B, C):
            self.fleet.observed(node, report("llm", "x", "y"))
        self.fleet.keep_records(Random(1))
        views, nones = [], 0
        new: list[NodeAddress] = []
        for view in self.fleet.containers():
            if view is None:
                nones += 1
                if nones % 2 and len(new) < 4:
                    new += addresses(f"192.0.2.{nones}:7000")
                self.fleet.replace([A, B, C, *new])
                self.fleet.observed((new or [A])[-1], report("llm", "x", "y"))
            else:
                views.append(view.id)
        self.assertEqual(views, ["llm", "x", "y"])
        self.assertGreater(nones, 4)

    def test_utilization(self) -> None:
        """The utilization is the share of the last minute in which the nodes had jobs."""
        self.fleet.keep_records(Random(1))
        for node, pending in ((A, 50), (B, 0)):
            for _ in range(20):
                self.fleet.observed(node, report("llm", pending=pending))
                self.clock.advance(3)
        views = self.containers()
        self.assertAlmostEqual(views["llm"].working, views["llm"].capacity - 1, 0)


class BusyTests(SynchronousTestCase):
    def test_average(self) -> None:
        """The share follows the reports within about a minute; unknown times change nothing."""
        busy = BusyTimes()
        busy.added(0)
        busy.reported(0, 0.0, float("nan"))
        self.assertNotEqual(busy.shares(0, 1)[0], busy.shares(0, 1)[0])
        busy.reported(0, 2.0, 1.0)
        self.assertEqual(busy.shares(0, 1)[0], 0.5)
        busy.reported(0, 62.0, 100.0)
        self.assertAlmostEqual(busy.shares(0, 1)[0], 1 - 0.5 * 0.3679, 3)
        busy.reported(0, 62.0, 1.0)
        busy.reported(0, 70.0, float("nan"))
        self.assertAlmostEqual(busy.shares(0, 1)[0], 1 - 0.5 * 0.3679, 3)
        busy.added(0)
        self.assertNotEqual(busy.shares(0, 1)[0], busy.shares(0, 1)[0])


class WhatIfTests(Case):
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
