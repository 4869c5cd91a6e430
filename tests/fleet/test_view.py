"""Tests of infernet_router.fleet.view."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.node import State
from infernet_router.fleet.view import NodeView
from tests.doubles import addresses, report

A, B = addresses("192.0.2.1:4000", "192.0.2.2:4000")


class ViewTests(SynchronousTestCase):
    """Views of nodes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(50)
        self.fleet = Fleet(self.clock.seconds, Random(1), max_utilization=0.9)
        self.fleet.replace([A, B])

    def view(self, address: NodeAddress) -> NodeView:
        view = self.fleet.view(address)
        assert view is not None
        return view

    def test_unknown(self) -> None:
        """A node that has not been polled yet is unknown, and has no report."""
        self.clock.advance(2)
        self.assertEqual(
            self.view(A),
            NodeView(
                address=A,
                state=State.UNKNOWN,
                since=50.0,
                reason="",
                containers={},
                pending=None,
                report_age=None,
                jobs=0.0,
                assigned=0.0,
                rate=1.0,
                doubt=0.0,
                utilization=None,
                tier=Tier.NORMAL,
                override=Tier.NORMAL,
                weight=1.0,
            ),
        )

    def test_up(self) -> None:
        """A node that is up has a report, the age of that, and the jobs assigned since."""
        self.fleet.observed(A, report("llm", internal=("prover",), pending=3))
        self.clock.advance(1)
        self.fleet.pick(["llm"])
        view = self.view(A)
        self.assertEqual((view.state, view.since, view.reason), (State.UP, 50.0, ""))
        self.assertEqual(view.containers, {"llm": True, "prover": False})
        self.assertEqual((view.pending, view.report_age, view.assigned), (3, 1.0, 1.0))
        self.assertAlmostEqual(view.jobs, 3.0)

    def test_down(self) -> None:
        """A node that is down has the time since when, a reason, and the age of its last report."""
        self.fleet.observed(A, report("llm", pending=3))
        self.clock.advance(4)
        self.fleet.missed(A, "connection refused")
        self.clock.advance(1)
        self.fleet.missed(A, "HTTP 500")
        view = self.view(A)
        self.assertEqual((view.state, view.since, view.reason), (State.DOWN, 54.0, "HTTP 500"))
        self.assertEqual((view.containers, view.pending, view.report_age), ({}, 3, 5.0))

    def test_ordered(self) -> None:
        """A view has the node's tier and weight."""
        self.fleet.utilized(A, 1.0)
        self.fleet.override(A, weight=0.5)
        self.assertEqual((self.view(A).tier, self.view(A).weight), (Tier.FULL, 0.5))

    def test_views(self) -> None:
        """All nodes are viewed in order; one that is removed before its turn is skipped."""
        views = self.fleet.views()
        self.assertEqual(next(views).address, A)
        self.fleet.replace([A])
        self.assertEqual(list(views), [])
        self.assertEqual([view.address for view in self.fleet.views()], [A])
        self.assertIsNone(self.fleet.view(B))
