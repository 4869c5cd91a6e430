"""Tests of infernet_router.admin.census."""

from infernet_router.admin.census import Count, nodes_of
from infernet_router.admin.shown import Shown
from infernet_router.fleet import Tier
from tests.admin.case import A, AdminTestCase, B


class CensusTests(AdminTestCase):
    def counted(self) -> Count:
        done = self.census.count()
        self.clock.advance(0)
        return self.successResultOf(done)

    def test_counts(self) -> None:
        """Each node counts in one state, and for each container that it runs."""
        self.clock.advance(2)
        self.fleet.override(B, Tier.DRAINED)
        count = self.counted()
        states = {Shown.UP: 1, Shown.SUSPECT: 0, Shown.DOWN: 1, Shown.UNKNOWN: 0, Shown.DRAINED: 1}
        self.assertEqual(count.nodes, states)
        self.assertEqual(count.oldest_report, 2.0)
        self.assertEqual(count.overridden, 1)
        llm, prover = count.containers
        self.assertEqual((llm.id, prover.id), ("llm", "prover"))
        self.assertEqual(nodes_of(llm), {Shown.UP: 1, Shown.DRAINED: 1})
        view = self.fleet.view(A)
        assert view is not None
        self.assertEqual(llm.capacity, view.rate)
        self.assertEqual((prover.capacity, prover.utilization), (0.0, None))

    def test_cached(self) -> None:
        """The nodes are counted once a second at most."""
        first = self.counted()
        self.assertIs(self.counted(), first)
        self.clock.advance(1)
        self.assertIsNot(self.counted(), first)
