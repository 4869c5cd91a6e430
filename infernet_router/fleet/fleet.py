"""The fleet: what is learned of any node goes in here, and the best node for a job comes out."""

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.candidates import Tier, without
from infernet_router.fleet.events import CameUp, Outcome
from infernet_router.fleet.journal import Cursor, Journal
from infernet_router.fleet.no_node import NoNode, Reason
from infernet_router.fleet.node import State
from infernet_router.fleet.readings import Among, Readings
from infernet_router.fleet.records import Records
from infernet_router.fleet.weights import Weights
from infernet_router.quoting import quoted
from infernet_router.reports import NodeReport


class Fleet(Readings):
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
        self._assignments = Journal[NodeAddress]()

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
        self._roster.replace(addresses)

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
        node.pending = sum(report.pending.values())
        node.reported_at = at
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

    def override(self, address: NodeAddress, tier: Tier = Tier.NORMAL, weight: float = 1.0) -> bool:
        """
        Set an operator's order for a node, in place of the last; False if there is no such node.

        :param tier: the best tier in which it may be.
        :param weight: it gets this many times the share of an ordinary node.
        """
        node = self._roster.nodes.get(address)
        if node is None:
            return False
        node.override = tier
        self._loads.set_share(node.index, weight)
        self._roster.set_tier(node)
        return True

    def pick(
        self,
        containers: Iterable[str],
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
        jobs: int = 1,
    ) -> NodeAddress:
        """
        Assign a job that needs all these containers to the best node; returns its address.

        :param among: the nodes to choose from; all by default.
        :param exclude: nodes not to choose.
        :param jobs: how many such jobs to assign.
        :raises NoNode: when no node can do the job.
        """
        asked, now = tuple(containers), self._seconds()
        if len(asked) > 1:
            asked = tuple(dict.fromkeys(asked))
        weight = self._weights.of_job(asked)
        sample, records = self._sample(asked, among, exclude), self.records
        if records is None:
            index = self._loads.cheapest(sample, now, weight * jobs, self._random)
        else:
            costs: list[float] = []
            index = self._loads.cheapest_of(sample, now, weight * jobs, self._random, costs)
            if type(sample) is array:  # it is a sample of all candidates
                records.decisions.add(
                    self.decided + 1, now, asked, weight * jobs, index, sample, costs
                )
            else:
                self._record(now, asked, weight * jobs, index, sample, costs, among, exclude)
        self._loads.assign(index, now, weight, jobs)
        self.decided += 1
        self.decided_at = now
        node = self._by_index[index]
        assert node is not None
        self._assignments.write(node.address)
        return node.address

    def peek(
        self,
        containers: Iterable[str],
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
    ) -> NodeAddress:
        """A node that `pick` might choose now, without assigning the job. Raises as `pick` does."""
        asked = tuple(dict.fromkeys(containers))
        weight, sample = self._weights.of_job(asked), self._sample(asked, among, exclude)
        return self._address(self._loads.cheapest(sample, self._seconds(), weight, self._random))

    def rank(
        self,
        containers: Iterable[str],
        count: int,
        offset: int = 0,
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
        assign: bool = True,
    ) -> list[NodeAddress]:
        """
        The best nodes for a job that needs all these containers, best first; empty if no node can
        do the job.

        This compares all candidates, not a sample: that takes some milliseconds for 10,000.

        :param count: the most nodes to return.
        :param offset: how many better ones to skip.
        :param exclude: nodes to leave out.
        :param assign: whether to assign the job to the first node returned.
        """
        asked, now = tuple(dict.fromkeys(containers)), self._seconds()
        weight = self._weights.of_job(asked)
        some = None if among is None else map(self._roster.nodes.get, among.addresses)
        classes = without(self._roster.indices(exclude), self._candidates.serving(asked, some))
        if not count or offset >= sum(map(len, classes)):
            return []
        wanted = offset + count
        best: list[int] = []
        for equals in classes:
            if len(best) < wanted:
                best += self._loads.cheapest_first(
                    equals, now, weight, wanted - len(best), self._page_order
                )
        del best[:offset]
        if assign:
            if self.records is not None:
                equals = self._candidates.equals_of(best[0], best, asked[0])
                costs = [self._loads.cost(index, now, weight) for index in equals]
                self._record(now, asked, weight, best[0], equals, costs, among, exclude)
            self._loads.assign(best[0], now, weight)
            self.decided += 1
            self.decided_at = now
            self._assignments.write(self._address(best[0]))
        return [self._address(index) for index in best]

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

    def can(self, containers: Iterable[str]) -> bool:
        """Whether any node can do a job that needs all these containers."""
        return any(self._candidates.serving(tuple(dict.fromkeys(containers))))

    def follow_assignments(self) -> Cursor[NodeAddress]:
        """Follow assignments from now on: the address of the node, once for each job."""
        return self._assignments.follow()

    def _address(self, index: int) -> NodeAddress:
        """The address of the node whose load has this index."""
        node = self._by_index[index]
        assert node is not None
        return node.address

    def _sample(
        self, asked: tuple[str, ...], among: Among | None, exclude: Collection[NodeAddress]
    ) -> Sequence[int]:
        """
        A sample of the candidates, to choose from.

        :raises NoNode: when there is no candidate.
        """
        candidates = self._candidates.of(asked)
        sample: Sequence[int] = candidates.sample(self._random) if candidates else ()
        if not sample:
            raise self._none(self._roster.no_candidate(asked))
        if among is not None:
            sample = self._candidates.sample_of(asked, among.addresses, self._roster.nodes.get)
            if not sample:
                raise self._none(NoNode(among.otherwise, Reason.MODEL))
        if exclude:
            some = None if among is None else map(self._roster.nodes.get, among.addresses)
            excluded = self._roster.indices(exclude)
            sample = self._candidates.sample_without(excluded, sample, asked, some)
            if not sample:
                named = ", ".join(map(quoted, asked))
                message = f"every up node that runs {named} is excluded"
                raise self._none(NoNode(message, Reason.EXCLUDED))
        return sample

    def _none(self, error: NoNode) -> NoNode:
        """Count an error; returns it."""
        if self.records is not None:
            self.records.no_node[error.reason] += 1
        return error

    def _record(
        self,
        now: float,
        asked: tuple[str, ...],
        weight: float,
        index: int,
        sample: Sequence[int],
        costs: list[float],
        among: Among | None,
        exclude: Collection[NodeAddress],
    ) -> None:
        """Record a decision on some of the candidates, or on all in their order."""
        assert self.records is not None
        self.records.decided_among(
            self.decided + 1,
            now,
            asked,
            weight,
            index,
            sample,
            costs,
            self._roster.indices(exclude),
            None if among is None else len(among.addresses),
        )
