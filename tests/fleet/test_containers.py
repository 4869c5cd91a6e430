"""Tests of infernet_router.fleet.containers."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import containers as containers_module
from infernet_router.fleet.containers import ContainerView
from infernet_router.fleet.events import Outcome
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from tests.doubles import addresses, report

A, B, C, D = addresses(*(f"192.0.2.{number}:4000" for number in range(1, 5)))


class ContainerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B, C, D])

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
