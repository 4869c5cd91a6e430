"""Tests of infernet_router.fleet.steps."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.steps import Steps, finish


class StepsTests(SynchronousTestCase):
    def test_finish(self) -> None:
        """All steps are done, and their result is returned."""
        done = []

        def steps() -> Steps[str]:
            for number in range(3):
                done.append(number)
                yield
            return "result"

        self.assertEqual(finish(steps()), "result")
        self.assertEqual(done, [0, 1, 2])
