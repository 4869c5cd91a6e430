"""Tests of infernet_router.fleet.history."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import history as history_module
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.history import History, Transition
from infernet_router.fleet.node import State
from tests.doubles import addresses, report

A, B = addresses("192.0.2.1:4000", "192.0.2.2:4000")


class HistoryTests(SynchronousTestCase):
    def test_fleet(self) -> None:
        """The ups and downs of a node have times and reasons, and are counted for all nodes."""
        clock = Clock()
        fleet = Fleet(clock.seconds, Random(1))
        fleet.replace([A, B])
        self.assertEqual(fleet.history(A), [])
        fleet.keep_records(Random(2))
        self.assertEqual(fleet.history(A), [])
        fleet.observed(A, report("llm"))
        for seconds, reason, timed_out in ((1, "slow", True), (3, "still slow", True)):
            clock.advance(seconds)
            fleet.missed(A, reason, timed_out=timed_out)
        clock.advance(1)
        fleet.missed(A, "refused")
        fleet.observed(A, report("llm"))
        self.assertEqual(
            fleet.history(A),
            [
                Transition(5.0, State.UP, ""),
                Transition(4.0, State.DOWN, "still slow"),
                Transition(1.0, State.SUSPECT, "slow"),
                Transition(0.0, State.UP, ""),
            ],
        )
        self.assertEqual(fleet.history(B), [])
        self.assertEqual(fleet.transitions, {State.UP: 2, State.SUSPECT: 1, State.DOWN: 1})
        fleet.replace([B])
        fleet.replace([B, A])
        self.assertEqual(fleet.history(A), [])

    def test_last(self) -> None:
        """The last 20 transitions of a node are shown, of those that are kept."""
        history = History()
        self.patch(history_module, "_KEPT", 50)
        self.patch(history_module, "_MAX_TEXTS", 4)
        for count in range(100):
            history.add(count % 3 > 0, float(count), State.DOWN, f"reason {count % 8}")
        for index, length in ((0, 17), (1, 20)):
            transitions = history.of(index)
            self.assertEqual(len(transitions), length)
            for transition in transitions:
                self.assertEqual(transition.reason, f"reason {int(transition.time) % 8}")
                self.assertEqual(int(transition.time) % 3 > 0, index)
