"""Tests of infernet_router.fleet.sorting."""

from collections.abc import Sequence
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import finish
from infernet_router.fleet.sorting import lowest_first


class SortingTests(SynchronousTestCase):
    def setUp(self) -> None:
        random = Random(1)
        self.costs = [random.uniform(1e-6, 1e6) for _ in range(20_000)]
        self.nodes = list(range(0, 20_000, 2))

    def costs_of(self, some: Sequence[int]) -> list[float]:
        return [self.costs[index] for index in some]

    def first(self, count: int, order: int = 0) -> list[int]:
        return finish(lowest_first(self.nodes, self.costs_of, count, order))

    def test_order(self) -> None:
        """The indices come by their costs, however many there are and are wanted."""
        ranked = sorted(self.nodes, key=self.costs.__getitem__)
        for count in (1, 3, 300, 3000, 10_000, 10_001):
            self.assertEqual(self.first(count), ranked[:count])

    def test_ties(self) -> None:
        """Many ties are ordered by the exclusive or of index and order, with any count."""
        self.costs = [float(1 + index % 3) for index in range(20_000)]
        for order in (0, 9, (1 << 24) + 9):
            known = order & 0xFFFFFF
            ranked = sorted(self.nodes, key=lambda index: (self.costs[index], index ^ known))
            for count in (3, 300, 7000, 10_000):
                self.assertEqual(self.first(count, order), ranked[:count])

    def test_same(self) -> None:
        """Costs that differ by less than the last bits of a float are ties."""
        self.nodes, self.costs = [0, 1], [1.0 + 2.0**-40, 1.0]
        self.assertEqual(self.first(2), [0, 1])
        self.costs = [1.0 + 2.0**-20, 1.0]
        self.assertEqual(self.first(2), [1, 0])

    def test_steps(self) -> None:
        """Many nodes are sorted in steps; the list may change meanwhile."""
        steps = lowest_first(self.nodes, self.costs_of, 10_000, 0)
        next(steps)
        self.nodes.clear()
        self.assertEqual(len(finish(steps)), 10_000)
