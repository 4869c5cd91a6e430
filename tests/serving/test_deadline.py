"""Tests of infernet_router.serving.deadline."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.serving.deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.passed: list[float] = []
        self.deadline = Deadline(self.clock, lambda: self.passed.append(self.clock.seconds()))

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.5] * round(seconds / 0.5))

    def test_passed(self) -> None:
        """The function is called once when the time is over, whether that is short or long."""
        for seconds in (0.5, 2, 15, 16, 75):
            self.passed.clear()
            began = self.clock.seconds()
            self.deadline.allow(seconds)
            self.wait(200)
            self.assertEqual(self.passed, [began + seconds])

    def test_moved(self) -> None:
        """The last time allowed counts, whether it is longer or shorter than the one before."""
        for first, second in ((2, 60), (60, 2), (1, 3)):
            self.passed.clear()
            self.deadline.allow(first)
            self.wait(0.5)
            began = self.clock.seconds()
            self.deadline.allow(second)
            self.wait(100)
            self.assertEqual(self.passed, [began + second])

    def test_cleared(self) -> None:
        """Without a deadline, any time is allowed."""
        self.deadline.allow(2)
        self.deadline.clear()
        self.wait(100)
        self.assertEqual(self.passed, [])

    def test_stopped(self) -> None:
        """Stopped, it leaves no delayed call."""
        self.deadline.allow(60)
        self.deadline.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
