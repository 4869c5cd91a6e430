"""Tests of infernet_router.fleet.events."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet.events import Change, Event
from infernet_router.fleet.fleet import Fleet
from tests.doubles import addresses, report

A, B, C = addresses("192.0.2.1:4000", "192.0.2.2:4000", "192.0.2.3:4000")


class EventTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fleet = Fleet(Clock().seconds, Random(1))
        self.fleet.replace([A, B, C])

    def test_changes_journal(self) -> None:
        """The journal has each change of a node, once."""
        self.fleet.observed(A, report("llm"))
        cursor = self.fleet.follow_changes()
        self.assertEqual(
            cursor.read(),
            [*(Change(Event.ADDED, address) for address in (A, B, C)), Change(Event.UP, A)],
        )
        self.fleet.observed(A, report("llm"))
        self.fleet.missed(B, "connection refused")
        self.fleet.missed(B, "connection refused")
        self.fleet.observed(B, report("llm"))
        self.assertEqual(
            cursor.read(),
            [Change(Event.DOWN, B, reason="connection refused"), Change(Event.UP, B)],
        )
        respelled, new = parse_address("http://192.0.2.1:4000"), parse_address("192.0.2.4:4000")
        self.fleet.replace([respelled, B, new])
        changes = cursor.read()
        self.assertEqual(
            changes,
            [
                Change(Event.RESPELLED, respelled),
                Change(Event.ADDED, new),
                Change(Event.REMOVED, C),
            ],
        )
        self.assertIs(changes[0].address, respelled)
        self.fleet.replace([respelled, B, new])
        self.assertEqual(cursor.read(), [])
