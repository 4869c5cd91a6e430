"""Tests of infernet_router.nodes.deadlines."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.nodes.deadlines import Deadlines


class DeadlinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[tuple[float, str]] = []
        self.deadlines = Deadlines[str](self.clock, 3.0, self.expire)

    def expire(self, item: str) -> None:
        self.expired.append((self.clock.seconds(), item))

    def test_in_turn(self) -> None:
        """Each item expires its time after it was added; one timer serves all."""
        for item in "abc":
            self.deadlines.add(item)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
            self.clock.advance(1)
        self.clock.pump([0.5] * 8)
        self.assertEqual(self.expired, [(3, "a"), (4, "b"), (5, "c")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_discarded(self) -> None:
        """A discarded item does not expire; one that was added again expires later."""
        for item in "abc":
            self.deadlines.add(item)
        self.deadlines.discard("a")
        self.deadlines.discard("b")
        self.deadlines.discard("unknown")
        self.clock.advance(1)
        self.deadlines.add("a")
        self.clock.pump([1] * 5)
        self.assertEqual(self.expired, [(3, "c"), (4, "a")])

    def test_again(self) -> None:
        """An item may be added again when it expires."""
        deadlines = Deadlines[str](self.clock, 3.0, lambda item: again(item))

        def again(item: str) -> None:
            self.expire(item)
            deadlines.add(item)

        deadlines.add("a")
        self.clock.pump([1] * 7)
        self.assertEqual(self.expired, [(3, "a"), (6, "a")])

    def test_after_a_pause(self) -> None:
        """After a pause of the process, what its sockets have received comes first."""
        self.deadlines.add("a")
        self.deadlines.add("b")
        self.clock.callLater(3, self.deadlines.discard, "a")  # after the timer
        self.clock.rightNow += 100
        self.clock.advance(0)
        self.assertEqual(self.expired, [(100, "b")])

    def test_rest(self) -> None:
        """The timer stops only when nothing is waited for; it starts again with the next item."""
        self.deadlines.rest()
        self.deadlines.add("a")
        self.deadlines.rest()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.deadlines.discard("a")
        self.deadlines.rest()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.deadlines.add("b")
        self.clock.advance(3)
        self.assertEqual(self.expired, [(3, "b")])
