"""Replicas in memory, and a base class of test cases of how they share a fleet."""

from collections.abc import Iterable
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.simulation.hub import Hub
from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet.shared import SharedFleet
from infernet_router.replicas.batches import Batch, decode
from infernet_router.replicas.shares import Share, Shares
from infernet_router.replicas.sharing import Sharing
from infernet_router.reports import NodeReport
from tests.doubles import logged, report

NODES = [parse_address(f"10.0.0.{n}:4000") for n in range(1, 21)]
A, B = NODES[:2]


class Orders:
    """Orders that remember what they hear."""

    digest = 5

    def __init__(self) -> None:
        self.heard_digests: list[int] = []
        self.connections = 0
        self.told = True

    def has_told(self, address: NodeAddress) -> bool:
        return self.told

    def connected(self) -> None:
        self.connections += 1

    def heard(self, digest: int) -> None:
        self.heard_digests.append(digest)


class Replica:
    """A router without polls: its tests say what it learns."""

    def __init__(self, number: int, clock: Clock, hub: Hub, nodes: Iterable[NodeAddress]) -> None:
        offset = 1000.0 * number
        self.fleet = SharedFleet(lambda: clock.seconds() + offset, Random(number))
        self.fleet.replace(nodes)
        self.sender = b"router %d" % number
        self.shares = Shares(int.from_bytes(self.sender, "big"))
        for address in self.fleet.addresses:
            self.fleet.observed(address, report("llm"))
            self.shares.add(address)
        self.link = hub.link()
        self.sharing = Sharing(self.fleet, self.link, clock, self.shares, self.sender)
        self.sharing.hear_with(self)
        self.changes = 0
        """How often the members changed."""
        self.sharing.startService()

    def share(self, address: NodeAddress) -> Share:
        share = self.shares.of(address)
        assert share is not None
        return share

    def report(self, address: NodeAddress, pending: int = 0) -> None:
        """A poll of this router brings a report."""
        self.fleet.observed(address, report("llm", pending=pending))
        self.sharing.reported(self.share(address), report("llm", pending=pending))

    def view(self, address: NodeAddress) -> Any:
        return self.fleet.view(address)

    def reported_elsewhere(self, share: Share, member: int, report: NodeReport, at: float) -> None:
        self.fleet.observed(share.address, report, at)

    def missed_elsewhere(self, share: Share, member: int, reason: str, at: float) -> None:
        self.fleet.missed_elsewhere(share.address, reason, at, is_confirmed=False)

    def unshared(self, share: Share) -> None:
        share.for_all = True

    def members_changed(self) -> None:
        self.changes += 1


class SharingTestCase(SynchronousTestCase):
    """Replicas that share a fleet through a hub in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = Hub(self.clock)
        self.replicas: list[Replica] = []
        self.lines = logged(self, "infernet_router.replicas.sharing")
        self.addCleanup(self.stop)

    def stop(self) -> None:
        for replica in self.replicas:
            if replica.sharing.running:
                replica.sharing.stopService()
        self.clock.advance(5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def start(self, count: int, nodes: Iterable[NodeAddress] = NODES) -> list[Replica]:
        """So many more replicas, which share after a second."""
        new = [
            Replica(len(self.replicas) + number, self.clock, self.hub, nodes)
            for number in range(count)
        ]
        self.replicas += new
        self.pass_time(1.1)
        return new

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.002] * round(seconds / 0.002))

    def counts(self, *replicas: Replica) -> list[int]:
        return [replica.sharing.members for replica in replicas]

    def batches(self) -> list[Batch]:
        """What is published from now on is kept; what was until now."""
        self.hub.keeps = True
        batches = [decode(message) for message in self.hub.messages]
        self.hub.messages.clear()
        return batches
