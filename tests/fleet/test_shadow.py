"""Tests of infernet_router.fleet.shadow."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.load import Loads
from infernet_router.fleet.shadow import RULES, Shadow


class ShadowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.loads = Loads()
        self.indices = [self.loads.add() for _ in range(3)]
        self.shadow = Shadow(self.loads, Random(1))

    def waits(self) -> list[float]:
        return [self.shadow.wait_seconds[rule] for rule in RULES]

    def test_same(self) -> None:
        """With one candidate, all rules choose it, and wait for its jobs."""
        self.loads.reported(0, 0.0, 5.0)
        self.shadow.compare([0], 0, 0.0)
        self.assertEqual(self.shadow.samples, 1)
        self.assertEqual(self.waits(), [self.loads.jobs(0, 0.0) / self.loads.rate(0)] * 3)

    def test_stale(self) -> None:
        """Least pending goes by the last report, whatever was assigned since."""
        for index, pending in zip(self.indices, (0.0, 4.0, 4.0), strict=True):
            self.loads.reported(index, 0.0, pending)
        self.loads.assign(0, 0.0, 1.0, 9)
        self.shadow.compare(self.indices, 1, 0.0)
        router, _, least_pending = self.waits()
        self.assertGreater(least_pending, router)
