"""Tests of infernet_router.process.garbage."""

import gc
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet import Fleet
from infernet_router.process.garbage import Freezer

MANY, MORE = (
    [parse_address(f"10.{net}.{n >> 8}.{n & 255}") for n in range(1000)] for net in (1, 2)
)


class Cycle:
    """An object that only garbage collection frees."""

    def __init__(self) -> None:
        self.itself = self


class FreezerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fleet = Fleet(lambda: 0.0, Random(1))
        self.freezer = Freezer(self.fleet)
        self.freezer.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        if self.freezer.running:
            self.freezer.stopService()

    def test_start(self) -> None:
        """What is there at the start is frozen."""
        self.assertGreater(gc.get_freeze_count(), 10_000)

    def test_nodes(self) -> None:
        """What belongs to the nodes is frozen once all objects were looked at, and only once."""
        gc.collect()
        self.fleet.replace(MANY)
        before = gc.get_freeze_count()
        mine = [Cycle()]
        gc.collect(1)
        self.assertEqual(gc.get_freeze_count(), before)
        gc.collect()
        self.assertFalse(any(found is mine for found in gc.get_objects()))
        later = [Cycle()]
        gc.collect()
        self.assertTrue(any(found is later for found in gc.get_objects()))

    def test_few_nodes(self) -> None:
        """For a few nodes, or a few more, it is not worth it."""
        self.fleet.replace(MANY[:999])
        mine = [Cycle()]
        gc.collect()
        self.assertTrue(any(found is mine for found in gc.get_objects()))
        self.fleet.replace(MANY)
        gc.collect()
        self.fleet.replace([*MANY, *MORE[:999]])
        before = gc.get_freeze_count()
        gc.collect()
        self.assertEqual(gc.get_freeze_count(), before)

    def test_other_nodes(self) -> None:
        """For other nodes it starts anew, and what was frozen though it was to go is freed."""
        self.fleet.replace(MANY)
        gone = [Cycle()]
        gc.collect()
        gone.clear()
        gc.collect()
        self.fleet.replace(MORE)
        gc.collect()
        self.assertEqual(gc.get_freeze_count(), 0)
        self.assertTrue(any(isinstance(found, Cycle) for found in gc.get_objects()))
        gc.collect()
        self.assertGreater(gc.get_freeze_count(), 10_000)
        gc.unfreeze()
        self.assertFalse(any(isinstance(found, Cycle) for found in gc.get_objects()))

    def test_stop(self) -> None:
        """At the end all is as it was before."""
        self.stop()
        self.assertEqual(gc.get_freeze_count(), 0)
        self.fleet.replace(MANY)
        gc.collect()
        self.assertEqual(gc.get_freeze_count(), 0)
