"""Records: what a fleet remembers for operators only: decisions, accuracy, ups and downs."""

from array import array
from collections.abc import Collection, Sequence
from heapq import nsmallest
from math import nan
from random import Random

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.accuracy import Accuracy
from infernet_router.fleet.busy import BusyTimes
from infernet_router.fleet.candidates import Candidates
from infernet_router.fleet.decisions import COMPARED, Decisions
from infernet_router.fleet.history import History
from infernet_router.fleet.load import Loads
from infernet_router.fleet.node import Node
from infernet_router.fleet.past import Past
from infernet_router.fleet.shadow import Shadow
from infernet_router.fleet.situations import Situations

_SAMPLED = 100
"""One decision in so many, on average, is compared with other rules and with later reports."""


class Records:
    """
    What a fleet remembers for operators. A fleet without them decides in the same way.

    :param nodes: every node, by its index.
    :param candidates: the nodes that are up.
    :param absent: the nodes that are down, by the containers in their last report.
    :param random: chooses which decisions are looked at closely.
    :param first: the number of the last decision so far.
    """

    def __init__(
        self,
        nodes: Sequence[Node | None],
        candidates: Candidates,
        absent: Candidates,
        loads: Loads,
        random: Random,
        first: int,
    ) -> None:
        self._candidates = candidates
        self._loads = loads
        self._random = random
        self._past = Past()
        self.situations = Situations(candidates, absent)
        self.decisions = Decisions(nodes, self.situations, self._past, first, self._look_closely)
        self.accuracy = Accuracy()
        self.shadow = Shadow(loads, random)
        self.history = History()
        self.busy = BusyTimes()
        for index in range(loads.size):
            self.added(index)

    def decided_among(
        self,
        number: int,
        now: float,
        asked: tuple[str, ...],
        weight: float,
        index: int,
        sample: Sequence[int],
        costs: list[float],
        excluded: Collection[int],
        among: int | None,
    ) -> None:
        """
        Record a decision on some of the candidates, or on all in their order.

        :param sample: the compared nodes, any number.
        :param excluded: the indices of nodes not to choose.
        :param among: how many nodes there were to choose from; None for all.
        """
        if among is None and not excluded:
            situation = self.situations.number(asked)
        else:
            counted = len(sample) if among is not None and among <= COMPARED else None
            situation = self.situations.add(asked, excluded, among, counted)
        if len(sample) > COMPARED:
            cheapest = nsmallest(COMPARED, range(len(sample)), key=costs.__getitem__)
            sample, costs = [sample[at] for at in cheapest], [costs[at] for at in cheapest]
        compared = array("i", sample)
        self.decisions.add(number, now, asked, weight, index, compared, costs, situation)

    def priced(self, index: int, rate: float, price: float) -> None:
        """The rate and price of a node were set."""
        self._past.priced(index, rate, price, self.decisions.last)

    def reported(
        self,
        index: int,
        at: float,
        *,
        expected: float,
        pending: float,
        weight: float,
        busy: float,
        is_used: bool,
    ) -> None:
        """
        A node reported.

        :param expected: the pending jobs that it was expected to report; NaN if that is unknown.
        :param pending: the pending jobs that it reported, weighted by kind.
        :param weight: the mean weight of its jobs.
        :param busy: the seconds that it was at work since its last report; NaN if that is unknown.
        :param is_used: whether jobs were assigned to it since its last report.
        """
        if is_used:
            self.decisions.reported(index, at, expected, pending)
        self.accuracy.reported(index, expected, pending, weight)
        self.busy.reported(index, at, busy)

    def lost(self, index: int) -> None:
        """A node failed to report."""
        self.accuracy.lost(index)

    def added(self, index: int) -> None:
        """A node was added."""
        loads = self._loads
        self._past.added(index, loads.rate(index), loads.price(index), self.decisions.last)
        self.busy.added(index)

    def removed(self, index: int, address: NodeAddress) -> None:
        """A node is removed."""
        self._past.removed(index, address, self.decisions.last)
        self.decisions.reported(index, nan, nan, nan)
        self.accuracy.lost(index)
        self.history.forget(index)

    def _look_closely(
        self,
        now: float,
        asked: tuple[str, ...],
        index: int,
        sample: "array[int]",
        costs: list[float],
    ) -> int:
        """
        Compare a decision with other rules now, and with reports later.

        :return: how many decisions later the next one is looked at closely.
        """
        candidates = self._candidates.of(asked)
        assert candidates is not None
        self.shadow.compare(candidates.best, index, now)
        if self.accuracy.has_room:
            at = sample.index(index)
            order = [at, *range(at), *range(at + 1, len(sample))]
            indices = [sample[at] for at in order]
            prices = [self._loads.price(index) for index in indices]
            self.accuracy.watch(indices, [costs[at] for at in order], prices)
        return 1 + int(self._random.random() * (2 * _SAMPLED - 1))
