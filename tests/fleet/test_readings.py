"""Tests of infernet_router.fleet.readings."""

from random import Random

from infernet_router.fleet.catalogue import RunningContainer
from infernet_router.fleet.events import Change, Event
from infernet_router.fleet.node import State
from infernet_router.fleet.roster import States
from infernet_router.fleet.steps import finish
from tests.doubles import report
from tests.fleet.case import A, B, C, FleetTestCase


class ReadingsTests(FleetTestCase):
    def test_counted(self) -> None:
        """Every container of an up node is listed, by id, with the number of nodes that run it."""
        self.assertEqual(self.fleet.running, ())
        self.fleet.observed(A, report("llm", internal=("b",)))
        self.fleet.observed(B, report("b", "a"))
        self.assertEqual(
            self.fleet.running,
            (
                RunningContainer("a", 1, None),
                RunningContainer("b", 2, None),
                RunningContainer("llm", 1, None),
            ),
        )
        self.fleet.missed(B, "gone")
        self.fleet.replace([B, C])
        self.assertEqual(self.fleet.running, ())

    def test_described(self) -> None:
        """A container has its most frequent description; of several, the alphabetically first."""
        for said, description in (
            (("", "", ""), None),
            (("y", "", ""), "y"),
            (("y", "x", ""), "x"),
            (("y", "x", "y"), "y"),
            (("z", "x", "y"), "x"),
        ):
            for address, text in zip((A, B, C), said, strict=True):
                self.fleet.observed(address, report("llm", description=text))
            self.assertEqual(self.fleet.running, (RunningContainer("llm", 3, description),))
        self.fleet.missed(B, "gone")
        self.assertEqual(self.fleet.running, (RunningContainer("llm", 2, "y"),))

    def test_up(self) -> None:
        """The up nodes are listed in the order of the fleet."""
        for address in (C, A):
            self.fleet.observed(address, report())
        self.assertEqual(self.fleet.up, [A, C])
        self.assertEqual([self.fleet.is_up(node) for node in (A, B, C)], [True, False, True])
        self.fleet.missed(A, "gone")
        self.fleet.replace([B, C])
        self.assertEqual(self.fleet.up, [C])
        self.assertFalse(self.fleet.is_up(A))

    def test_views(self) -> None:
        """Views are made as they are read; nodes that are removed meanwhile are skipped."""
        self.fleet.observed(B, report("llm"))
        views = self.fleet.views()
        self.assertEqual(next(views), self.fleet.view(A))
        self.fleet.replace([A, B])
        self.fleet.missed(B, "gone")
        self.assertEqual(list(views), [self.fleet.view(B)])
        self.assertIsNone(self.fleet.view(C))

    def test_changes_nothing(self) -> None:
        """To read everything assigns no job, and makes no decision."""
        self.fleet.keep_records(Random(2))
        self.fleet.observed(A, report("llm"))
        before = self.fleet.view(A)
        finish(self.fleet.explain(["llm"], node=A))
        finish(self.fleet.whatif([A]))
        finish(self.fleet.summary())
        list(self.fleet.containers())
        self.assertEqual(self.fleet.view(A), before)
        self.assertEqual(self.fleet.decided, 0)

    def test_changes(self) -> None:
        """A cursor begins with the present state, and goes on with what happens."""
        self.fleet.observed(A, report("llm"))
        cursor = self.fleet.follow_changes()
        self.assertEqual(
            cursor.read(),
            [*(Change(Event.ADDED, node) for node in (A, B, C)), Change(Event.UP, A)],
        )
        self.fleet.missed(A, "gone")
        self.assertEqual(cursor.read(), [Change(Event.DOWN, A)])

    def test_why_none_up(self) -> None:
        """The reason why no node is up is that of a pick."""
        self.assertEqual(self.fleet.why_none_up(), "the first polls are not back yet")

    def test_counts(self) -> None:
        """Nodes are counted by state, and each change of state is."""
        self.fleet.observed(A, report("llm"))
        self.fleet.missed(A, "slow", timed_out=True)
        self.fleet.missed(B, "gone")
        self.assertEqual(self.fleet.states, States(up=0, suspect=1, down=1, unknown=1))
        self.assertEqual(self.fleet.awaited, 1)
        self.assertEqual(
            dict(self.fleet.transitions), {State.UP: 1, State.SUSPECT: 1, State.DOWN: 1}
        )
        self.assertEqual(self.fleet.history(A), [])  # it has no records
