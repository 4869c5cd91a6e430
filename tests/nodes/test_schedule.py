"""Tests of infernet_router.nodes.schedule."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.nodes.schedule import Schedule


class ScheduleTests(SynchronousTestCase):
    def test_first(self) -> None:
        """What is due first comes first, but not before it is due; it waits until it is dropped."""
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
        """What is due at the same time comes in the order in which it was put there."""
        schedule = Schedule[str]()
        for item in "hello"[:3]:
            schedule.put(item, 1.0)
        self.assertEqual(schedule.first(1.0), "h")

    def test_again(self) -> None:
        """What was dropped may be put there again, and then only that counts."""
        schedule = Schedule[str]()
        schedule.put("a", 1.0)
        schedule.drop("a")
        self.assertNotIn("a", schedule)
        schedule.put("a", 3.0)
        self.assertIn("a", schedule)
        self.assertIsNone(schedule.first(2.9))
        self.assertEqual(schedule.first(3.0), "a")

    def test_drop_unknown(self) -> None:
        """What does not wait may be dropped, too."""
        Schedule[str]().drop("a")

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 9))))
    def test_model(self, steps: list[tuple[int, int]]) -> None:
        """It does what a dict that is searched does; a negative time drops the item."""
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
