"""Tests of infernet_router.nodes.throttle."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.nodes.throttle import Throttle


class ThrottleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.in_flight: list[Deferred[Any]] = []

    def throttle(self, **limits: Any) -> Throttle[str]:
        """A throttle whose requests end when `end` is called."""

        def ask(item: str, now: float) -> Deferred[Any]:
            self.asked.append(item)
            self.in_flight.append(Deferred())
            return self.in_flight[-1]

        return Throttle(self.clock.seconds, ask, **limits)

    def end(self) -> None:
        """End the oldest request in flight."""
        self.in_flight.pop(0).callback(None)

    def test_due(self) -> None:
        """Items are asked once they are due, in the order of their times."""
        throttle = self.throttle(at_once=9)
        for item, due in (("a", 2.0), ("b", 1.0), ("c", 1.5)):
            throttle.put(item, due)
        throttle.ask_due()
        self.assertEqual(self.asked, [])
        self.clock.advance(1.6)
        throttle.ask_due()
        self.assertEqual(self.asked, ["b", "c"])
        throttle.drop("a")
        self.clock.advance(1.0)
        throttle.ask_due()
        self.assertEqual(self.asked, ["b", "c"])

    def test_late(self) -> None:
        """An item is late once it has been due for long, unless the limit of concurrency is met."""
        throttle = self.throttle(at_once=1)
        throttle.put("a", 2.0)
        throttle.put("b", 5.0, urgent=True)
        self.assertEqual(
            [throttle.is_late(since) for since in (1.9, 2.0, 7.0)], [False, True, True]
        )
        self.clock.advance(3.0)
        throttle.ask_due()
        self.assertFalse(throttle.is_late(7.0))
        self.end()
        self.assertEqual([throttle.is_late(since) for since in (4.9, 5.0)], [False, True])

    def test_at_once(self) -> None:
        """At the limit of concurrent requests, the next is sent as soon as one has ended."""
        throttle = self.throttle(at_once=2)
        for item in "abc":
            throttle.put(item, 0.0)
        throttle.ask_due()
        self.assertEqual(self.asked, ["a", "b"])
        self.end()
        self.assertEqual(self.asked, ["a", "b", "c"])

    def test_rate(self) -> None:
        """The limit a second holds; after a pause, the burst limits how many are asked at once."""
        throttle = self.throttle(at_once=999, rate=20, burst=0.25)
        for number in range(100):
            throttle.put(str(number), 0.0)
        throttle.ask_due()
        self.assertEqual(len(self.asked), 5)
        for _ in range(10):
            self.clock.advance(0.125)
            throttle.ask_due()
        self.assertEqual(len(self.asked), 5 + 25)
        self.clock.advance(60)
        throttle.ask_due()
        self.assertEqual(len(self.asked), 5 + 25 + 5)

    def test_slow(self) -> None:
        """One item may be asked at once even if the limit is less than one a second."""
        throttle = self.throttle(at_once=9, rate=0.5)
        for item in "ab":
            throttle.put(item, 0.0)
        throttle.ask_due()
        self.assertEqual(self.asked, ["a"])
        self.clock.advance(2)
        throttle.ask_due()
        self.assertEqual(self.asked, ["a", "b"])

    def test_urgent(self) -> None:
        """Urgent items alternate with others, and take every place when no other is due."""
        throttle = self.throttle(at_once=9)
        for item in "abc":
            throttle.put(item, 0.0, urgent=True)
        for item in "xy":
            throttle.put(item, 0.0)
        for item, waits in (("x", True), ("a", True), ("nobody", False)):
            self.assertEqual(throttle.is_waiting(item), waits)
        throttle.put("y", 0.0, urgent=True)
        throttle.ask_due()
        self.assertEqual(self.asked, ["a", "x", "b", "y", "c"])

    def test_ends_at_once(self) -> None:
        """Thousands of requests that end immediately do not exhaust the stack."""
        asked = []

        def ask(item: int, now: float) -> Deferred[None]:
            asked.append(item)
            return succeed(None)

        throttle = Throttle(self.clock.seconds, ask, at_once=1)
        for number in range(5000):
            throttle.put(number, 0.0)
        throttle.ask_due()
        self.assertEqual(len(asked), 5000)

    def test_bug(self) -> None:
        """A request that fails is a bug: it is logged, and the next item is asked."""
        throttle = self.throttle(at_once=1)
        for item in "ab":
            throttle.put(item, 0.0)
        throttle.ask_due()
        self.in_flight.pop().errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.asked, ["a", "b"])

    def test_stop(self) -> None:
        """Stopping cancels the requests in flight, and sends no more."""
        throttle = self.throttle(at_once=1)
        for item in "ab":
            throttle.put(item, 0.0)
        throttle.ask_due()
        self.successResultOf(throttle.stop())
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)
        throttle.ask_due()
        self.assertEqual(self.asked, ["a"])
