"""Tests of infernet_router.nodes.doubted."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet import Fleet, Outcome
from infernet_router.nodes.doubted import DoubtLog
from tests.doubles import logged, report

A = parse_address("192.0.2.1:4000")


class DoubtLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A])
        self.fleet.observed(A, report("llm"))
        self.lines = logged(self, "infernet_router.nodes.doubted")
        self.doubts = DoubtLog(self.fleet)
        self.line = (
            "warn: 192.0.2.1:4000 is in doubt and gets few jobs: clients reported 3 failed jobs"
        )

    def fail_jobs(self) -> None:
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
            self.doubts.look(A)

    def test_once(self) -> None:
        """It is logged once when a node begins to be in doubt."""
        self.fail_jobs()
        self.assertEqual(self.lines, [self.line])
        self.clock.advance(100)
        self.doubts.look(A)
        self.assertEqual(self.lines, [self.line])

    def test_again(self) -> None:
        """When it begins anew, it is logged again, but not within a minute."""
        self.fail_jobs()
        self.fleet.told(A, Outcome.DONE)
        self.doubts.look(A)
        for _ in range(2):
            self.fail_jobs()  # it takes more, after a false alarm
        self.assertEqual(len(self.lines), 1)
        self.clock.advance(60)
        self.doubts.look(A)
        self.assertEqual(len(self.lines), 2)

    def test_forget(self) -> None:
        """A node that was removed and is added again is new."""
        self.fail_jobs()
        self.fleet.replace([])
        self.doubts.forget(A)
        self.doubts.look(A)
        self.fleet.replace([A])
        self.fleet.observed(A, report("llm"))
        self.fail_jobs()
        self.assertEqual(self.lines, [self.line] * 2)
