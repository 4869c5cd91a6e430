"""Tests of infernet_router.nodes.schedule."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.nodes.schedule import Schedule


class ScheduleTests(SynchronousTestCase):
    def test_first(self) -> None:
        """The earliest item that is due is returned, and stays scheduled until it is dropped."""
        schedule = Schedule[str]()
        self.assertIsNone(schedule.first(9.0))
        schedule.put("b", 2.0)
        schedule.put("a", 1.0)
        self.assertIsNone(schedule.first(0.9))
        self.assertEqual(schedule.first(1.0), "a")
        self.assertEqual(schedule.first(1.0), "a")
        schedule.drop("a")
        self.assertIsNone(schedule.first(1.0))
        self.assertEqual(schedule.first(2.0), "b")

    def test_at_the_same_time(self) -> None:
        """Items that are due at the same time are returned in the order they were added in."""
        schedule = Schedule[str]()
        for item in "hello"[:3]:
            schedule.put(item, 1.0)
        self.assertEqual(schedule.first(1.0), "h")

    def test_again(self) -> None:
        """An item that was dropped can be scheduled again, at a new time."""
        schedule = Schedule[str]()
        schedule.put("a", 1.0)
        schedule.drop("a")
        self.assertNotIn("a", schedule)
        schedule.put("a", 3.0)
        self.assertIn("a", schedule)
        self.assertIsNone(schedule.first(2.9))
        self.assertEqual(schedule.first(3.0), "a")

    def test_drop_unknown(self) -> None:
        """Dropping an item that is not scheduled does nothing."""
        Schedule[str]().drop("a")

    def test_many_removed(self) -> None:
        """After many items were removed, another is found, though perhaps only by a later call."""
        schedule = Schedule[int]()
        for item in range(2500):
            schedule.put(item, 1.0)
        for item in range(2499):
            schedule.drop(item)
        self.assertEqual([schedule.first(1.0) for _ in range(4)], [None, None, 2499, 2499])

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 9))))
    def test_model(self, steps: list[tuple[int, int]]) -> None:
        """It agrees with a dict that is searched; a negative time drops the item."""
        schedule, model = Schedule[int](), dict[int, int]()
        for item, due in steps:
            schedule.drop(item)
            model.pop(item, None)
            if due >= 0:
                schedule.put(item, due)
                model[item] = due
            for now in (2, 5, 9):
                expected = min(model, key=model.__getitem__, default=None)
                if expected is not None and model[expected] > now:
                    expected = None
                self.assertEqual(schedule.first(now), expected)
