"""Tests of infernet_router.load."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.load import Load


class LoadTests(SynchronousTestCase):
    def test_new(self) -> None:
        """A node of which nothing is known has no jobs."""
        self.assertEqual(Load().jobs, 0)

    def test_assigned(self) -> None:
        """Jobs handed out count beside those the report named."""
        load = Load()
        load.reported(3)
        load.assign()
        load.assign()
        self.assertEqual((load.pending, load.assigned, load.jobs), (3, 2, 5))

    def test_report(self) -> None:
        """A new report stands for everything handed out before it."""
        load = Load()
        load.assign()
        load.reported(1)
        self.assertEqual(load.jobs, 1)
