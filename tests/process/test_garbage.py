"""Tests of infernet_router.process.garbage."""

import gc
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet import Fleet
from infernet_router.process import garbage
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
        self.frozen_before = gc.get_freeze_count()  # 0 up to Python 3.11
        gc.disable()  # collections happen when a test says so
        self.addCleanup(gc.enable)
        self.fleet = Fleet(lambda: 0.0, Random(1))
        self.start()
        self.addCleanup(lambda: self.stop())

    def start(self) -> None:
        self.freezer = Freezer(self.fleet)
        self.freezer.startService()

    def stop(self) -> None:
        if self.freezer.running:
            self.freezer.stopService()

    def test_start(self) -> None:
        """The objects that exist at the start are frozen."""
        self.assertGreater(gc.get_freeze_count(), 10_000)

    def test_nodes(self) -> None:
        """The objects of many new nodes are frozen after a full collection, but only once."""
        gc.collect()
        self.fleet.replace(MANY)
        before = gc.get_freeze_count()
        mine = [Cycle()]
        gc.collect(1)
        self.assertLessEqual(gc.get_freeze_count(), before)  # some frozen objects may be freed
        gc.collect()
        self.assertFalse(any(found is mine for found in gc.get_objects()))
        later = [Cycle()]
        gc.collect()
        self.assertTrue(any(found is later for found in gc.get_objects()))

    def test_few_nodes(self) -> None:
        """For fewer than 1000 new nodes, nothing is frozen."""
        self.fleet.replace(MANY[:999])
        mine = [Cycle()]
        gc.collect()
        self.assertTrue(any(found is mine for found in gc.get_objects()))
        self.fleet.replace(MANY)
        gc.collect()
        self.fleet.replace([*MANY, *MORE[:999]])
        before = gc.get_freeze_count()
        gc.collect()
        self.assertLessEqual(gc.get_freeze_count(), before)

    def test_other_nodes(self) -> None:
        """Now and then, garbage among the frozen objects is freed before more are frozen."""
        self.stop()
        self.patch(garbage, "_FREEZES", 1)
        self.start()
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

    def test_long_work(self) -> None:
        """During long work there is no full collection; then the many new objects are frozen."""
        gc.enable()
        gc.collect()
        thresholds = gc.get_threshold()
        with self.freezer.freezing_later(), self.freezer.freezing_later():
            self.assertGreater(gc.get_threshold()[2], 10**6)
            mine = [Cycle() for _ in range(150 * thresholds[0])]
        self.assertEqual(gc.get_threshold(), thresholds)
        self.assertFalse(any(found is mine for found in gc.get_objects()))

    def test_little_work(self) -> None:
        """After work that made few objects, nothing is frozen."""
        gc.collect()
        with self.freezer.freezing_later():
            mine = [Cycle()]
        self.assertTrue(any(found is mine for found in gc.get_objects()))

    def test_work_after_stop(self) -> None:
        """Work that ends after the service leaves nothing frozen."""
        gc.enable()
        thresholds = gc.get_threshold()
        with self.freezer.freezing_later():
            self.stop()
            mine = [Cycle() for _ in range(100_000)]
        self.assertEqual(gc.get_threshold(), thresholds)
        self.assertTrue(any(found is mine for found in gc.get_objects()))

    def test_stop(self) -> None:
        """Stopping unfreezes everything."""
        self.stop()
        after = gc.get_freeze_count()
        self.assertLessEqual(after, self.frozen_before)
        self.fleet.replace(MANY)
        gc.collect()
        self.assertLessEqual(gc.get_freeze_count(), after)
