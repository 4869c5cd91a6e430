"""Choosing: finds the best node for a job, and assigns the job to it."""

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.among import Among
from infernet_router.fleet.candidates import without
from infernet_router.fleet.journal import Cursor, Journal
from infernet_router.fleet.no_node import NoNode, Reason, all_excluded
from infernet_router.fleet.node import Node
from infernet_router.fleet.readings import Readings
from infernet_router.fleet.steps import Steps, finish
from infernet_router.fleet.weights import Weights


class Choosing(Readings):
    """The part of a Fleet that chooses nodes; its parameters are those of Fleet."""

    def __init__(
        self,
        seconds: Callable[[], float],
        random: Random,
        weights: Weights,
        max_utilization: float,
    ) -> None:
        super().__init__(seconds, random, weights, max_utilization)
        self._assignments = Journal[NodeAddress]()

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
        if among is not None:
            return finish(self.picking(containers, among, exclude=exclude, jobs=jobs))
        asked, now = tuple(containers), self._seconds()
        if len(asked) > 1:
            asked = tuple(dict.fromkeys(asked))
        weight, sample = self._weights.of_job(asked), self._sample(asked, exclude)
        if self.records is None:
            index = self._loads.cheapest(sample, now, weight * jobs, self._random)
        else:
            index = self._decide(sample, asked, now, weight * jobs, None, exclude)
        return self._assign(index, now, weight, jobs)

    def picking(
        self,
        containers: Iterable[str],
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
        jobs: int = 1,
    ) -> Steps[NodeAddress]:
        """
        The same in steps, as `among` may have many nodes.

        :param jobs: 0 for a node that `pick` might choose now.
        """
        asked = tuple(dict.fromkeys(containers))
        weight = self._weights.of_job(asked)
        sample: Sequence[int] | None = None
        if among is not None:
            sample = yield from self._sample_among(asked, among, self._roster.indices(exclude))
        now = self._seconds()
        if sample is None:
            sample = self._sample(asked, exclude)
        if self.records is None or not jobs:
            index = self._loads.cheapest(sample, now, weight * max(jobs, 1), self._random)
        else:
            index = self._decide(sample, asked, now, weight * jobs, among, exclude)
        return self._assign(index, now, weight, jobs) if jobs else self._address(index)

    def peek(
        self,
        containers: Iterable[str],
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
    ) -> NodeAddress:
        """A node that `pick` might choose now, without assigning the job. Raises as `pick` does."""
        return finish(self.picking(containers, among, exclude=exclude, jobs=0))

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

        This compares all candidates, not a sample: that takes 3 ms for 10,000.

        :param count: the most nodes to return.
        :param offset: how many better ones to skip.
        :param exclude: nodes to leave out.
        :param assign: whether to assign the job to the first node returned.
        """
        return finish(
            self.ranking(containers, count, offset, among, exclude=exclude, assign=assign)
        )

    def ranking(
        self,
        containers: Iterable[str],
        count: int,
        offset: int = 0,
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
        assign: bool = True,
    ) -> Steps[list[NodeAddress]]:
        """The same in steps. Nodes that go down, or away, while they are compared are left out."""
        asked, now = tuple(dict.fromkeys(containers)), self._seconds()
        weight = self._weights.of_job(asked)
        classes: Iterable[Sequence[int]] = self._candidates.classes(asked)
        if among is not None:
            some, find = among.addresses, self._finder(among)
            classes = yield from self._candidates.classes_among(asked, some, find)
        excluded = self._roster.indices(exclude)
        best: list[int] = []
        for equals in classes if count else ():
            yield
            left = without(excluded, equals)
            if offset < len(left):
                ranked = yield from self._loads.cheapest_first(
                    left, now, weight, offset + count - len(best), self._page_order
                )
                best += ranked[offset:]
            offset = max(0, offset - len(left))
            if len(best) == count:
                break
        there = [index for index in best if self._candidates.gets(index, asked)]
        if assign and there:
            now = self._seconds()
            if self.records is not None:
                equals = self._candidates.equals_of(there[0], there, asked[0])
                costs = [self._loads.cost(index, now, weight) for index in equals]
                self._record(now, asked, weight, there[0], equals, costs, among, exclude)
            self._assign(there[0], now, weight, 1)
        return [self._address(index) for index in there]

    def is_quick(self, containers: Sequence[str]) -> bool:
        """Whether to pick a node takes microseconds: such jobs are usual. Otherwise, use steps."""
        return self._candidates.is_cached(containers)

    def can(self, containers: Iterable[str]) -> bool:
        """Whether any node can do a job that needs all these containers."""
        return self._candidates.can(tuple(dict.fromkeys(containers)))

    def follow_assignments(self) -> Cursor[NodeAddress]:
        """Follow assignments from now on: the address of the node, once for each job."""
        return self._assignments.follow()

    def _address(self, index: int) -> NodeAddress:
        """The address of the node whose load has this index."""
        node = self._by_index[index]
        assert node is not None
        return node.address

    def _sample(self, asked: tuple[str, ...], exclude: Collection[NodeAddress]) -> Sequence[int]:
        """
        A sample of the candidates, to choose from.

        :raises NoNode: when there is no candidate.
        """
        candidates = self._candidates.of(asked)
        sample: Sequence[int] = candidates.sample(self._random) if candidates else ()
        if not sample:
            raise self._roster.no_candidate(asked)
        if exclude:
            excluded = self._roster.indices(exclude)
            sample = without(excluded, sample)
            sample = sample or self._candidates.sample_without(excluded, asked)
            if not sample:
                raise all_excluded(asked)
        return sample

    def _sample_among(
        self, asked: tuple[str, ...], among: Among, excluded: set[int]
    ) -> Steps[Sequence[int]]:
        """
        A sample of the candidates among these nodes without the excluded ones.

        :raises NoNode: when there are none.
        """
        if not self._candidates.can(asked):
            raise self._roster.no_candidate(asked)
        yield
        some, find = among.addresses, self._finder(among)
        sample = yield from self._candidates.sample_among(asked, some, find, excluded)
        if sample:
            return sample
        if excluded and (yield from self._candidates.sample_among(asked, some, find)):
            raise all_excluded(asked)
        raise NoNode(among.otherwise, Reason.MODEL)

    def _finder(self, among: Among) -> Callable[[NodeAddress], Node | None]:
        """Finds the node of an address, if it is meant."""
        nodes, includes = self._roster.nodes, among.includes
        if includes is None:
            return nodes.get
        return lambda address: nodes.get(address) if includes(address) else None

    def _assign(self, index: int, now: float, weight: float, jobs: int) -> NodeAddress:
        """Assign so many jobs of this weight to a node; returns its address."""
        self._loads.assign(index, now, weight, jobs)
        self.decided += 1
        self.decided_at = now
        node = self._by_index[index]
        assert node is not None
        self._assignments.write(node.address)
        return node.address

    def _decide(
        self,
        sample: Sequence[int],
        asked: tuple[str, ...],
        now: float,
        weight: float,
        among: Among | None,
        exclude: Collection[NodeAddress],
    ) -> int:
        """The node of a sample where the job costs least, as a decision that is recorded."""
        assert self.records is not None
        costs: list[float] = []
        index = self._loads.cheapest_of(sample, now, weight, self._random, costs)
        if type(sample) is array:  # it is a sample of all candidates
            number = self.decided + 1
            self.records.decisions.add(number, now, asked, weight, index, sample, costs)
        else:
            self._record(now, asked, weight, index, sample, costs, among, exclude)
        return index

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
