"""Tests of infernet_router.process.lingering."""

import signal
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.process.lingering import linger


class ThreadClock(Clock):
    """A clock that can be called from signal handlers."""

    def callFromThread(self, callable: Callable[[], object]) -> None:
        self.callLater(0, callable)


class LingerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadClock()
        self.before = signal.getsignal(signal.SIGTERM)
        self.over = Deferred.fromCoroutine(linger(self.clock, 10))

    def test_over(self) -> None:
        """It ends after its time, and restores the signal handlers there were."""
        self.clock.advance(9.9)
        self.assertNoResult(self.over)
        self.assertNotEqual(signal.getsignal(signal.SIGTERM), self.before)
        self.clock.advance(0.1)
        self.successResultOf(self.over)
        self.assertEqual(signal.getsignal(signal.SIGTERM), self.before)

    def test_second_signal(self) -> None:
        """Another signal ends it at once; a third changes nothing."""
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        self.clock.advance(0)
        self.successResultOf(self.over)
        self.assertEqual(self.clock.getDelayedCalls(), [])
