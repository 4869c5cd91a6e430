"""Tests of infernet_router.fleet.node."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.node import Node, State


class NodeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = Node(parse_address("192.0.2.1:4000"), 7, 50.0)

    def test_new(self) -> None:
        """A new node is unknown since it was added, and belongs in the best tier."""
        self.assertEqual((self.node.index, self.node.since), (7, 50.0))
        self.assertIs(self.node.state, State.UNKNOWN)
        self.assertIs(self.node.due_tier, Tier.NORMAL)

    def test_there(self) -> None:
        """A node is there while it is up or suspect."""
        there = set()
        for state in State:
            self.node.state = state
            if self.node.is_there:
                there.add(state)
        self.assertEqual(there, {State.UP, State.SUSPECT})

    def test_outdated(self) -> None:
        """A report must not be older than the last, or than a failure since."""
        self.assertFalse(self.node.is_outdated(40.0))
        self.node.reported_at = 60.0
        self.assertEqual([self.node.is_outdated(at) for at in (59.9, 60.0)], [True, False])
        self.node.state, self.node.since = State.SUSPECT, 70.0
        self.assertEqual([self.node.is_outdated(at) for at in (69.9, 70.0)], [True, False])
        self.node.state = State.UP
        self.assertFalse(self.node.is_outdated(69.9))

    def test_worst_tier(self) -> None:
        """The worst of the tiers counts: by order, by utilization and by state."""
        self.node.is_full = True
        self.assertIs(self.node.due_tier, Tier.FULL)
        self.node.state = State.SUSPECT
        self.assertIs(self.node.due_tier, Tier.SUSPECT)
        self.node.override = Tier.DRAINED
        self.assertIs(self.node.due_tier, Tier.DRAINED)
