"""Tests of infernet_router.fleet.among."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import Fleet, NoNode, Reason
from infernet_router.fleet.among import Among
from tests.doubles import addresses, report

A, B = addresses("192.0.2.1:4000", "192.0.2.2:4000")


class AmongTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fleet = Fleet(Clock().seconds, Random(1))
        self.fleet.replace([A, B])
        for address in (A, B):
            self.fleet.observed(address, report("llm"))

    def test_chosen(self) -> None:
        """Only nodes that are meant are chosen."""
        for _ in range(9):
            self.assertEqual(self.fleet.pick(["llm"], Among([B], "none")), B)
            only_a = Among([A, B], "none", includes=lambda address: address == A)
            self.assertEqual(self.fleet.pick(["llm"], only_a), A)

    def test_none(self) -> None:
        """When none of them is a candidate, the error is the one given."""
        with self.assertRaises(NoNode) as caught:
            self.fleet.pick(["llm"], Among([], "no node supports it"))
        self.assertEqual(str(caught.exception), "no node supports it")
        self.assertIs(caught.exception.reason, Reason.MODEL)
