"""Tests of infernet_router.admin.traffic."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin.traffic import Traffic, percentile
from infernet_router.counting import Counts


class PercentileTests(SynchronousTestCase):
    def test_interpolated(self) -> None:
        """A percentile lies within its bucket, in proportion."""
        self.assertEqual(percentile((1.0, 2.0, 4.0), [50, 50, 0, 0], 0.5), 1.0)
        self.assertEqual(percentile((1.0, 2.0, 4.0), [0, 0, 100, 0], 0.5), 3.0)
        self.assertEqual(percentile((1.0, 2.0, 4.0), [0, 0, 0, 7], 0.99), 4.0)
        self.assertIsNone(percentile((1.0,), [0, 0], 0.99))


class TrafficTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.counts = Counts()
        self.counts.name_paths([b"/api/v1/ip", b"/health"])
        self.decided = 0
        self.traffic = Traffic(self.counts, lambda: self.decided, lambda: 7, self.clock)
        self.traffic.startService()
        self.addCleanup(self.traffic.stopService)

    def test_rates(self) -> None:
        """Rates are those of the last seconds; health checks are no part of the percentile."""
        self.assertIsNone(self.traffic.rates.p99)
        for _ in range(20):
            self.counts.answered(b"/api/v1/ip", 200, 0.0009)
            self.counts.answered(b"/health", 200, 4.0)
            self.decided += 1
            self.counts.no_node["excluded"] += 1
            self.clock.pump([0.1] * 10)
        rates = self.traffic.rates
        self.assertAlmostEqual(rates.requests, 2.0)
        self.assertAlmostEqual(rates.decisions, 1.0)
        self.assertAlmostEqual(rates.no_node, 1.0)
        self.assertTrue(0.0007 < (rates.p99 or 0) <= 0.001)
        self.assertEqual(rates.up, 7)

    def test_history(self) -> None:
        """The history has a point for every 5 seconds of the last 15 minutes."""
        self.clock.pump([0.1] * 12_000)
        history = self.traffic.history()
        self.assertEqual(history["interval_seconds"], 5.0)
        for name in ("requests", "decisions", "no_node"):
            self.assertEqual(history[f"{name}_per_second"], [0.0] * 180)
        self.assertEqual(history["up"], [7] * 180)
        self.assertEqual(history["p99_seconds"], [None] * 180)

    def test_delay(self) -> None:
        """Each tick counts how late it is."""
        self.clock.pump([0.1] * 5)
        self.assertLess(self.traffic.lateness, 0.001)
        self.clock.advance(0.35)
        self.assertAlmostEqual(self.traffic.lateness, 0.25)
        self.assertEqual(sum(self.traffic.delay.counts), 7)
