"""The fleet: what is learned of any node goes in here, and the best node for a job comes out."""

from collections.abc import Callable, Collection, Iterable, Iterator
from random import Random

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.choosing import Choosing
from infernet_router.fleet.events import CameUp, Outcome
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.node import State
from infernet_router.fleet.records import Records
from infernet_router.fleet.roster import Ordered
from infernet_router.fleet.weights import Weights
from infernet_router.reports import NodeReport


class Fleet(Choosing):
    """
    The nodes, each unknown until its first poll ends, then up or down, or suspect in between.

    :param seconds: the monotonic time, in seconds.
    :param random: chooses which candidates are compared, and breaks ties.
    :param weights: what jobs cost.
    :param max_utilization: a node is full while its utilization is over this share; by default, no
        node ever is.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        random: Random,
        weights: Weights | None = None,
        max_utilization: float = 1.0,
    ) -> None:
        super().__init__(seconds, random, weights or Weights(), max_utilization)

    def keep_records(self, random: Random) -> Records:
        """
        Remember for operators what is decided and what becomes of it, from now on.

        This makes no difference to what is decided. It takes about 10 MB, and 1.3 µs a pick.

        :param random: chooses which decisions are looked at closely.
        """
        roster = self._roster
        records = Records(
            self._by_index, roster.candidates, roster.absent, self._loads, random, self.decided
        )
        self.records = roster.records = self._loads.witness = records
        return records

    def replace(self, addresses: Iterable[NodeAddress]) -> None:
        """Replace the nodes; those that stay keep their state and load."""
        for _ in self.replacing(addresses):
            pass

    def replacing(self, addresses: Iterable[NodeAddress]) -> Iterator[None]:
        """
        Replace the nodes in steps of one node each; one replacement at a time.

        New nodes come first, so that those they replace are there until then. Of an address that
        occurs more than once, the first spelling is used.
        """
        return self._roster.replacing(addresses)

    def observed(
        self, address: NodeAddress, report: NodeReport, at: float | None = None
    ) -> CameUp | None:
        """
        Record a report: the node is up. Returns CameUp if it was down or unknown before.

        :param at: when the node made it, on the fleet's clock: now by default, and at most a moment
            ago. One that is older than the last report, or than what made the node suspect or down,
            is ignored.
        """
        node, now = self._roster.nodes.get(address), self._seconds()
        if node is None:
            return None
        at = now if at is None else min(at, now)
        is_old = node.reported_at is not None and at < node.reported_at
        if is_old or (at < node.since and node.state in (State.SUSPECT, State.DOWN)):
            return None
        came_up = None
        if node.state is not State.UP:
            if not node.is_there:
                came_up = CameUp(away=now - node.since if node.state is State.DOWN else None)
            self._roster.set_state(node, State.UP)
        containers = {container.id: container.external for container in report.containers}
        if containers != node.containers:
            self._roster.set_containers(node, containers)
        texts = {c.id: c.description for c in report.containers if c.description}
        if texts != node.descriptions:
            node.descriptions = self._roster.catalogue.describe(node.descriptions, texts)
        was_quiet = node.pending == 0
        node.pending = sum(report.pending.values())
        node.quiet_since = node.reported_at if was_quiet and not node.pending else None
        node.reported_at = self._roster.reported_at[node.index] = at
        self._loads.reported(node.index, at, self._weights.of_pending(report.pending))
        return came_up

    def missed(self, address: NodeAddress, reason: str, *, timed_out: bool = False) -> bool:
        """
        Record a failed poll. Returns whether the node went down.

        :param timed_out: whether it only ran out of time: a node that was up is suspect then.
        """
        node = self._roster.nodes.get(address)
        if node is None:
            return False
        node.reason = reason
        if node.state is State.DOWN:
            return False
        self._loads.lost(node.index)
        if timed_out and node.state is State.UP:
            self._roster.set_state(node, State.SUSPECT)
            return False
        self._roster.set_state(node, State.DOWN)
        return True

    def limited(self, address: NodeAddress) -> bool:
        """
        Record a poll that was refused as the node limits the rate of requests, while no report of
        it is valid. Returns whether it stays unknown, as it never made a report.
        """
        node = self._roster.nodes.get(address)
        if node is None or node.state is not State.UNKNOWN:
            return False
        node.reason = "it limits the rate of requests (HTTP 429)"
        self._roster.limit(node)
        return True

    def utilized(self, address: NodeAddress, share: float | None) -> bool | None:
        """
        Record a node's utilization, or None if it is unknown, and whether that makes the node full.

        A full node stays full while it is down: when it comes back, nothing newer is known of it.

        :return: whether it is full now, if that has changed; None otherwise.
        """
        node = self._roster.nodes.get(address)
        is_full = share is not None and share > self._max_utilization
        if node is None:
            return None
        node.utilization = share
        if node.is_full == is_full:
            return None
        node.is_full = is_full
        self._roster.set_tier(node)
        return is_full

    def override(
        self, address: NodeAddress, tier: Tier = Tier.NORMAL, weight: float | None = None
    ) -> bool:
        """
        Set an operator's order for an address, in place of the last; by default, end it.

        It applies to the node with this address, as soon as there is one. Returns whether there is
        one now.

        :param tier: the best tier in which it may be.
        :param weight: it gets this many times the share of an ordinary node; None for the weight
            that its address has.
        """
        return self._roster.override(address, Ordered(tier, weight))

    def serves_alone(self, address: NodeAddress) -> list[str]:
        """The containers that would be without a node that is up if this one got no jobs."""
        return self._roster.serves_alone(address)

    def told(self, address: NodeAddress, outcome: Outcome) -> None:
        """Record what came of a job that was assigned to a node, as its client says."""
        node = self._roster.nodes.get(address)
        if node is None:
            return
        if outcome is Outcome.DONE:
            self._loads.finished(node.index)
        else:
            self._loads.failed(node.index, self._seconds())

    def suspected(self, address: NodeAddress, containers: Collection[str]) -> None:
        """
        Record that containers of a node may have crashed: they said what resources they have, and
        do not any more.
        """
        node = self._roster.nodes.get(address)
        if node is not None and not node.containers.keys().isdisjoint(containers):
            self._loads.suspected(node.index, self._seconds())

    def looks(self, address: NodeAddress) -> tuple[float, ...]:
        """Seconds after a job was assigned to a node at which a report of it would say most."""
        node = self._roster.nodes.get(address)
        return () if node is None else self._loads.looks(node.index)
