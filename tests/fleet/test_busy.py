"""Tests of infernet_router.fleet.busy."""

from math import exp, isnan, nan

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.busy import BusyTimes


class BusyTimesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.busy = BusyTimes()
        self.busy.added(0)

    def share(self) -> float:
        (share,) = self.busy.shares(0, 1)
        return share

    def test_unknown(self) -> None:
        """Before the second report, and after reports that say nothing, the share is unknown."""
        self.assertTrue(isnan(self.share()))
        self.busy.reported(0, 10.0, 1.0)
        self.assertTrue(isnan(self.share()))
        self.busy.reported(0, 11.0, nan)
        self.assertTrue(isnan(self.share()))

    def test_average(self) -> None:
        """Old reports count less, as far as a minute has passed since."""
        self.busy.reported(0, 0.0, nan)
        self.busy.reported(0, 10.0, 5.0)
        self.assertEqual(self.share(), 0.5)
        self.busy.reported(0, 70.0, 60.0)
        self.assertAlmostEqual(self.share(), 1.0 - 0.5 * exp(-1.0))

    def test_bounds(self) -> None:
        """A node is at work all of the time at most."""
        self.busy.reported(0, 0.0, nan)
        self.busy.reported(0, 10.0, 99.0)
        self.assertEqual(self.share(), 1.0)

    def test_reused(self) -> None:
        """A new node with the index of a removed one begins anew."""
        self.busy.reported(0, 0.0, nan)
        self.busy.reported(0, 10.0, 5.0)
        self.busy.added(0)
        self.assertTrue(isnan(self.share()))
