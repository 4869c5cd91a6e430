"""Tests of infernet_router.fleet.account."""

from math import isnan

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.account import TRAVEL, Account


class AccountTests(SynchronousTestCase):
    def test_new(self) -> None:
        """A new node has reported nothing that its next report could be compared with."""
        self.assertTrue(isnan(Account().reported))
        self.assertEqual(Account().still_travelling(9.0), 0.0)

    def test_travelling(self) -> None:
        """Jobs on their way arrive one by one, and all of them in time."""
        account = Account(travelling=8.0, travelling_at=100.0)
        self.assertEqual(account.still_travelling(100.0), 8.0)
        later = [account.still_travelling(100.0 + TRAVEL * n) for n in range(5)]
        self.assertEqual(later, sorted(later, reverse=True))
        self.assertApproximates(later[1], 8.0 / 2.718, 0.01)
        self.assertLess(account.still_travelling(100.0 + 10 * TRAVEL), 0.001)

    def test_early(self) -> None:
        """None have arrived before they were sent."""
        account = Account(travelling=8.0, travelling_at=100.0)
        self.assertEqual(account.still_travelling(99.0), 8.0)
