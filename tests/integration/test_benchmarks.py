"""Tests of benchmarks that start routers."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.replicas import measure


class ReplicasTests(SynchronousTestCase):
    def test_measure(self) -> None:
        """Routers that share are measured: together they poll, and send messages through Redis."""
        case, polls, gap, messages, received, sent, *_ = measure(2, 10, rate=20, seconds=2)
        self.assertEqual(case, "2 x 10")
        self.assertRegex(gap, r"^\d+\.\d s$")
        for figure in (polls, messages, received, sent):
            self.assertGreater(float(figure.replace(",", "")), 0)
