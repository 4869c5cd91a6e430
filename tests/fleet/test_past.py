"""Tests of infernet_router.fleet.past."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.past import Past
from tests.doubles import addresses

A, B = addresses("192.0.2.1:4000", "192.0.2.2:4000")


class PastTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.past = Past()
        self.past.added(0, 1.0, 2.0, last=0)

    def test_pace(self) -> None:
        """A decision saw the rate and price that were set before it."""
        self.past.priced(0, 3.0, 4.0, last=5)
        self.past.priced(0, 5.0, 6.0, last=7)
        paces = [self.past.pace(0, decision) for decision in (5, 6, 7, 8)]
        self.assertEqual(paces, [(1.0, 2.0), (3.0, 4.0), (3.0, 4.0), (5.0, 6.0)])

    def test_small_change(self) -> None:
        """A change of the price by a thousandth is not kept."""
        self.past.priced(0, 3.0, 2.002, last=5)
        self.assertEqual(self.past.pace(0, 9), (1.0, 2.0))

    def test_address(self) -> None:
        """An index is reused, but a decision names the node that it stood for then."""
        self.past.removed(0, A, last=5)
        self.past.added(0, 1.0, 2.0, last=6)
        self.assertEqual(self.past.address(0, 5, B), A)
        self.assertIsNone(self.past.address(0, 6, B))
        self.assertEqual(self.past.address(0, 7, B), B)

    def test_unseen(self) -> None:
        """A node that no decision saw is not remembered."""
        self.past.removed(0, A, last=0)
        self.assertIsNone(self.past.address(0, 1, None))
