"""Tests of infernet_router.process.timekeeping."""

import time
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.pollreactor import PollReactor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from infernet_router.process import timekeeping
from infernet_router.process.timekeeping import LoopClock, RealClock, keep_time

STALL = 0.1


class LoopClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.real = Clock()
        self.real.advance(70.0)
        self.clock = LoopClock(1000.0, STALL, self.real.seconds)

    def turn(self, sleep: float | None, took: float) -> float:
        """How far the clock goes in a turn."""
        before = self.clock.seconds()
        self.clock.turn(sleep)
        self.real.advance(took)
        return self.clock.seconds() - before

    def test_usual(self) -> None:
        """It goes on from its start, as the real time does."""
        self.assertEqual(self.clock.seconds(), 1000.0)
        for sleep, took in ((0.0, 0.05), (0.5, 0.5), (0.5, 0.1), (0.5, 0.55), (None, 9.0)):
            self.assertAlmostEqual(self.turn(sleep, took), took)
            self.assertFalse(self.clock.stands)

    def test_stall(self) -> None:
        """Of a turn that takes long, it counts the planned sleep and a moment."""
        for sleep in (0.0, 0.5):
            self.assertAlmostEqual(self.turn(sleep, 7.0), sleep + STALL)
            self.assertTrue(self.clock.stands)
        self.assertAlmostEqual(self.turn(0.2, 0.2), 0.2)
        self.assertFalse(self.clock.stands)

    def test_before(self) -> None:
        """The time before the first turn is a turn, too."""
        self.real.advance(5.0)
        self.assertAlmostEqual(self.clock.seconds(), 1000.0 + STALL)


class LateReactor(PollReactor):
    """A reactor whose sleep can take longer than planned, and then brings no events."""

    late = 0.0

    def __init__(self, real: Clock) -> None:
        self.real = real
        self.read: list[float] = []
        super().__init__()

    def doIteration(self, delay: float | None) -> None:
        if not self.late:
            self.read.append(self.real.seconds())
        self.real.advance(self.late or delay or 0.0)
        self.late = 0.0


class KeepTimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.real = Clock()
        self.patch(timekeeping, "monotonic", self.real.seconds)
        for each in (LoopClock.__init__, RealClock.__init__):
            self.patch(each, "__defaults__", (self.real.seconds,))
        self.system = [1e9]
        self.reactor: Any = LateReactor(self.real)
        self.addCleanup(self.reactor.removeAll)
        self.reactor.seconds = lambda: self.system[0]
        self.called: list[float] = []

    def call(self, delay: float) -> Any:
        return self.reactor.callLater(delay, lambda: self.called.append(self.real.seconds()))

    def turns(self, count: int) -> None:
        self.reactor.running = True
        for _ in range(count):
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(min(self.reactor.timeout() or 0.0, 0.1))

    def test_set_back(self) -> None:
        """When the system's time is set back, timers run in time: those that wait already, too."""
        early = self.call(1.0)
        keep_time(self.reactor, 0.8)
        self.system[0] -= 30.0
        self.call(2.0)
        early.reset(1.5)
        self.assertAlmostEqual(early.getTime() - self.reactor.seconds(), 1.5)
        self.turns(30)
        self.assertEqual([round(at, 6) for at in self.called], [1.5, 2.0])

    def test_stopped(self) -> None:
        """Whoever has a second has it while the loop turns; what came is read before timers run."""
        keep_time(self.reactor, 0.8)
        self.call(1.0)
        self.turns(5)
        self.reactor.late = 60.0
        self.reactor.read.clear()
        self.turns(1)
        self.assertEqual(len(self.reactor.read), 1)
        self.turns(10)
        (at,) = self.called
        self.assertGreater(at, 60.7)
        self.assertLess(at, 62.0)

    def test_appointments(self) -> None:
        """What is to happen at a time of the real world does, also after a stall."""
        appointments: Any = keep_time(self.reactor, 0.8)
        for delay in (0.25, 30.0, 90.0):
            appointments.callLater(delay, lambda: self.called.append(self.real.seconds()))
        self.reactor.doIteration(None)
        self.assertEqual(self.called, [0.25])
        self.reactor.doIteration(0.5)
        self.reactor.late = 60.0
        self.reactor.read.clear()
        self.reactor.doIteration(0.5)
        self.assertEqual((self.called, len(self.reactor.read)), ([0.25, 60.75], 1))
        self.assertEqual(len(appointments.getDelayedCalls()), 1)

    def test_part(self) -> None:
        """A stall counts as a quarter of a second at most, and as an eighth of a node's time."""
        for timeout, counted in ((3.0, 0.25), (0.8, 0.1)):
            self.reactor = LateReactor(self.real)
            self.addCleanup(self.reactor.removeAll)
            keep_time(self.reactor, timeout)
            before = self.reactor.seconds()
            self.reactor.late = 60.0
            self.reactor.doIteration(0.5)
            self.assertAlmostEqual(self.reactor.seconds() - before, 0.5 + counted, places=3)

    def test_twice(self) -> None:
        """A second call changes nothing."""
        appointments = keep_time(self.reactor, 0.8)
        seconds, turn = self.reactor.seconds, self.reactor.doIteration
        self.assertIs(keep_time(self.reactor, 0.8), appointments)
        self.assertEqual((self.reactor.seconds, self.reactor.doIteration), (seconds, turn))

    def test_others(self) -> None:
        """A reactor with a loop of its own keeps its clock."""
        reactor = MemoryReactorClock()
        self.assertIs(keep_time(reactor, 3.0), reactor)
        reactor.advance(3.0)
        self.assertEqual(reactor.seconds(), 3.0)
        verifyObject(IReactorTime, reactor)

    def test_real(self) -> None:
        """The default is the monotonic time."""
        self.assertLess(abs(LoopClock(0.0, STALL, time.monotonic).seconds()), 60.0)
