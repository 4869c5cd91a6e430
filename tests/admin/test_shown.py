"""Tests of infernet_router.admin.shown; see also those of node_list and routes."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin.shown import Shown, Viewer, rfc3339, rounded, shown
from infernet_router.fleet import State


class ShownTests(SynchronousTestCase):
    def test_states(self) -> None:
        """A drained node is up or suspect; one that is down or unknown stays so."""
        states = [shown(state, is_drained=True) for state in State]
        self.assertEqual(
            dict(zip(State, states, strict=True)),
            {
                State.UNKNOWN: Shown.UNKNOWN,
                State.UP: Shown.DRAINED,
                State.SUSPECT: Shown.DRAINED,
                State.DOWN: Shown.DOWN,
            },
        )
        for state in State:
            self.assertEqual(shown(state, is_drained=False).value, state.value)

    def test_numbers(self) -> None:
        """Numbers have four significant digits."""
        self.assertEqual([rounded(n) for n in (1.23456, 123456.0, 0.0)], [1.235, 123500.0, 0.0])

    def test_next_to_nothing(self) -> None:
        """A number that is next to nothing is 0."""
        self.assertEqual([rounded(n) for n in (4.442e-159, -9.9e-7, 1e-6)], [0.0, 0.0, 1e-6])

    def test_instants(self) -> None:
        """Instants are in UTC, to the millisecond; those of the fleet's clock are converted."""
        self.assertEqual(rfc3339(0.0), "1970-01-01T00:00:00.000Z")
        viewer = Viewer(lambda _: [], lambda: 50.0, lambda: 1000.0)
        self.assertEqual(viewer.instant(40.0), rfc3339(990.0))
