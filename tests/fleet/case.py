"""Base classes of test cases with a fleet."""

from collections import Counter
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.no_node import NoNode
from tests.doubles import report

A, B, C = (parse_address(f"192.0.2.{number}:4000") for number in (1, 2, 3))


def jobs(fleet: Fleet, address: NodeAddress) -> float:
    """The estimated jobs at a node; 0 if there is no such node."""
    view = fleet.view(address)
    return view.jobs if view else 0.0


class FleetTestCase(SynchronousTestCase):
    """Base class: a fleet of three nodes, which have not been polled yet."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B, C])

    def picks(self, times: int, *containers: str) -> Counter[NodeAddress]:
        """How often each node is picked."""
        return Counter(self.fleet.pick(containers) for _ in range(times))

    def assert_none(self, reason: str, *containers: str) -> None:
        """No node is picked, for this reason."""
        with self.assertRaises(NoNode) as caught:
            self.fleet.pick(containers)
        self.assertEqual(str(caught.exception), reason)


class HundredNodesTestCase(SynchronousTestCase):
    """Base class: a fleet of a hundred nodes, each with one pending job more than the last."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.nodes = [parse_address(f"192.0.2.{number}") for number in range(100)]
        self.fleet.replace(self.nodes)
        for number, node in enumerate(self.nodes):
            self.fleet.observed(node, report("llm", pending=number))
