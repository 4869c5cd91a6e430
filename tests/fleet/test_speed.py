"""Tests of infernet_router.fleet.speed; those of what it learns over time are in test_load."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.speed import Pace, Speed


class SpeedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pace, self.speed = Pace(), Speed()

    def learn(
        self, done: float, expected: float = 3.0, *, is_busy: bool = True, is_used: bool = True
    ) -> float:
        """Learn from a report, 3 seconds after the last; returns the rate after it."""
        rate = expected / 3.0 or 1.0
        self.speed.learn(self.pace, rate, 1.0, done, expected, is_busy=is_busy, is_used=is_used)
        return self.speed.rate(self.pace, 1.0)

    def test_new(self) -> None:
        """A new node is as fast as the others."""
        self.pace.learn(96.0, 46.0)
        self.assertAlmostEqual(self.speed.rate(self.pace, 1.0), self.pace.rate)
        self.assertAlmostEqual(self.pace.rate, 2.0, 2)

    def test_busy(self) -> None:
        """A node that is seen at work is as fast as what it finished."""
        self.assertGreater(self.learn(9.0), 1.5)

    def test_empty(self) -> None:
        """What it finished to the last job counts only once it is seen at work."""
        self.learn(9.0, is_busy=False)
        self.assertEqual(self.speed.done, 0.0)
        self.learn(1.0)
        self.assertEqual((self.speed.done, self.speed.busy), (10.0, 6.0))

    def test_standstill(self) -> None:
        """Time in which it finished nothing counts in full, but not for ever."""
        for _ in range(20):
            rate = self.learn(0.0)
        self.assertEqual(self.speed.standing, 60.0)
        self.assertLess(rate, 0.1)
        self.assertGreater(self.learn(3.0), 0.4)
        self.assertEqual((self.speed.standing, self.speed.busy), (0.0, 7.0))

    def test_others(self) -> None:
        """A queue that only others filled, and that grew, says nothing."""
        self.learn(-5.0, is_used=False)
        self.assertEqual((self.speed, self.pace.rate), (Speed(), 1.0))

    def test_bounded(self) -> None:
        """No rate is out of bounds, and no node sways the pace of the fleet."""
        self.assertLessEqual(self.learn(1e9), 20.0 * self.pace.rate)
        self.assertLess(self.pace.rate, 3.0)
