"""
Decisions: keeps the last ones, with what they were based on, for operators to look at.

Everything is kept in arrays of a fixed size, which garbage collection does not look into. To record
a decision takes about a microsecond: it copies the indices of the compared nodes and their costs.
The rates of these nodes are found in the Past; their jobs follow from costs and prices; how the
chosen node's queue turned out is kept by report instead of by decision.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from math import isnan
from struct import Struct

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.node import Node
from infernet_router.fleet.past import Past
from infernet_router.fleet.situations import Situations
from infernet_router.fleet.steps import Steps

KEPT = 20_000
"""How many decisions are kept."""

COMPARED = 32
"""The most compared nodes of a decision that are kept."""

_FACTS = "=dfiiH"
"""When the decision was made, the job's weight, the index of the chosen node, the number of the
situation, and how many nodes were compared; the cost at each of them follows."""

_HEAD = Struct(_FACTS)
_PACK = [Struct(f"{_FACTS}{count}f").pack_into for count in range(COMPARED + 1)]
_SIZE = Struct(f"{_FACTS}{COMPARED}f").size
_MOST = 3e38
"""The highest cost that is kept, which is about the largest number of four bytes."""

_NAMES = 1000
"""The most containers by which decisions are counted."""

_STEP = 20
"""How many decisions are read in one step of a search: about two milliseconds."""

_SCANNED = 2000
"""How many are looked at in one step."""


@frozen
class Compared:
    """A node that was compared, as it was before the job was assigned."""

    node: NodeAddress
    cost: float
    """What the job would have cost there: (jobs + weight) * rate ** -0.6, times 1000 if the node is
    doubted, and divided by the weight that an operator gave it."""
    jobs: float
    """The estimated jobs there."""
    rate: float
    """The learned jobs a second."""


@frozen
class LeftOut:
    """Nodes that were not candidates, by the first reason that applies."""

    down: int
    """Down; the last report had all containers."""
    drained: int
    full: int
    """Over the utilization limit, while there was a better class of nodes."""
    excluded: int
    """By the client."""
    suspect: int
    """Suspect, while there was a better class of nodes."""


@frozen
class After:
    """The chosen node's next report."""

    expected_jobs: float
    """The jobs that it was expected to show."""
    reported_jobs: float
    """The pending jobs that it showed, weighted by kind."""
    age: float
    """Seconds from the decision to this report."""


@frozen
class Decision:
    """One decision."""

    number: int
    """Decisions are counted from 1."""
    time: float
    """When, on the fleet's clock."""
    containers: tuple[str, ...]
    node: NodeAddress
    """The chosen node."""
    candidates: int
    """How many nodes it was chosen from. With a model_id that more than 32 nodes support, it is at
    most so many."""
    left_out: LeftOut
    compared: tuple[Compared, ...]
    """The compared nodes, the cheapest first; 32 at most."""
    margin: float | None
    """How much more the cheapest of the others would have cost; None without another."""
    after: After | None
    """None before the chosen node's next report, and if it was down or removed before that."""


class Decisions:
    """
    The last decisions of a fleet.

    :param nodes: every node of the fleet, by its index.
    :param first: the number of the last decision before those to be kept.
    :param look_closely: called with one decision in a while, of those on all candidates, and
        returns how many decisions later it wants another: see Records.
    """

    def __init__(
        self,
        nodes: Sequence[Node | None],
        situations: Situations,
        past: Past,
        first: int,
        look_closely: "Callable[[float, tuple[str, ...], int, array[int], list[float]], int]",
    ) -> None:
        self._nodes = nodes
        self._current = situations.current
        self._look_closely = look_closely
        self._next_look = first + 1
        self._situations = situations
        self._past = past
        self._first = self.last = first
        self.by_container: dict[str, int] = {}
        """How many decisions there were, by the first container asked for."""
        self.of_others = 0
        """How many there were for other containers, once 1000 are counted."""
        self._facts = bytearray(_SIZE * KEPT)
        self._compared = array("i", bytes(4 * COMPARED * KEPT))
        self._chosen: list[NodeAddress | None] = [None] * KEPT
        self._reports = 0
        """How many reports followed decisions. The arrays below are a ring of the last ones."""
        self._reported_after = array("q", bytes(8 * KEPT))
        """The number of the last decision before the report."""
        self._reporting = array("i", bytes(4 * KEPT))
        """The index of the node."""
        self._reported_at = array("d", bytes(8 * KEPT))
        self._expected = array("f", bytes(4 * KEPT))
        """NaN if the report could not be compared with an estimate."""
        self._pending = array("f", bytes(4 * KEPT))

    def add(
        self,
        number: int,
        now: float,
        asked: tuple[str, ...],
        weight: float,
        index: int,
        compared: "array[int]",
        costs: list[float],
        situation: int | None = None,
    ) -> None:
        """
        Record a decision, before the job is assigned. This is done once a request.

        :param number: the number after that of the last decision.
        :param weight: what the job costs.
        :param index: that of the chosen node.
        :param compared: the indices of the compared nodes, 32 at most.
        :param costs: what the job would cost at each of them.
        :param situation: the number of the situation, unless the decision is on all candidates.
        """
        self.last = number
        if situation is None:
            situation = self._current.get(asked) or self._situations.number(asked)
            if number >= self._next_look:
                self._next_look = number + self._look_closely(now, asked, index, compared, costs)
        slot, count = number % KEPT, len(costs)
        try:
            _PACK[count](self._facts, slot * _SIZE, now, weight, index, situation, count, *costs)
        except OverflowError:
            weight, costs = min(weight, _MOST), [min(cost, _MOST) for cost in costs]
            _PACK[count](self._facts, slot * _SIZE, now, weight, index, situation, count, *costs)
        at = slot * COMPARED
        self._compared[at : at + count] = compared
        self._chosen[slot] = self._nodes[index].address  # type: ignore[union-attr]
        try:
            self.by_container[asked[0]] += 1
        except KeyError:
            if len(self.by_container) < _NAMES:
                self.by_container[asked[0]] = 1
            else:
                self.of_others += 1

    def reported(self, index: int, at: float, expected: float, pending: float) -> None:
        """Record a report of a node that was chosen since its last one, or that it was removed."""
        slot = self._reports % KEPT
        self._reports += 1
        self._reported_after[slot] = self.last
        self._reporting[slot] = index
        self._reported_at[slot] = at
        self._expected[slot] = expected
        self._pending[slot] = pending

    def get(self, number: int) -> Decision | None:
        """A decision by its number; None if it was not made yet, or is not kept any more."""
        if not self._oldest <= number <= self.last:
            return None
        slot = number % KEPT
        time, weight, index, situation_number, count = self._facts_of(number)
        situation, address = self._situations.at(situation_number), self._chosen[slot]
        if situation is None or address is None:
            return None
        costs = Struct(f"={count}f").unpack_from(self._facts, slot * _SIZE + _HEAD.size)
        indices = self._compared[slot * COMPARED : slot * COMPARED + count]
        compared = []
        others = list(costs)
        others.remove(cost_here := costs[indices.index(index)])
        # The chosen node comes first among equals.
        for cost, is_other, other in sorted(
            (cost, other != index, other) for cost, other in zip(costs, indices, strict=True)
        ):
            present = self._nodes[other]
            at_present = None if present is None else present.address
            node = self._past.address(other, number, at_present) if is_other else address
            if node is not None:
                rate, price = self._past.pace(other, number)
                compared.append(Compared(node, cost, max(cost / price - weight, 0.0), rate))
        return Decision(
            number=number,
            time=time,
            containers=situation.containers,
            node=address,
            candidates=situation.candidates,
            left_out=LeftOut(
                down=situation.down,
                drained=situation.drained,
                full=situation.full,
                excluded=situation.excluded,
                suspect=situation.suspect,
            ),
            compared=tuple(compared),
            margin=min(others) - cost_here if others else None,
            after=self._after(number, index, time),
        )

    def newest(
        self, container: str | None = None, node: NodeAddress | None = None, limit: int = 50
    ) -> Steps[list[Decision]]:
        """
        The last decisions, newest first, in steps of some milliseconds.

        :param container: only those for this container, perhaps with others.
        :param node: only those that chose this node.
        """
        found: list[Decision] = []
        scanned = 0
        for number in range(self.last, self._oldest - 1, -1):
            scanned += 1
            if not scanned % _SCANNED:
                yield
            if len(found) >= limit:
                break
            if node is not None and self._chosen[number % KEPT] != node:
                continue
            if container is not None and not self._is_for(number, container):
                continue
            decision = self.get(number)
            if decision is not None:
                found.append(decision)
                if not len(found) % _STEP:
                    yield
        return found

    @property
    def _oldest(self) -> int:
        """The number of the oldest decision that is kept."""
        return max(self._first, self.last - KEPT) + 1

    def _facts_of(self, number: int) -> tuple[float, float, int, int, int]:
        """The facts of a decision, without the costs."""
        facts: tuple[float, float, int, int, int]
        facts = _HEAD.unpack_from(self._facts, number % KEPT * _SIZE)
        return facts

    def _is_for(self, number: int, container: str) -> bool:
        """Whether a decision was for this container, among others."""
        situation = self._situations.at(self._facts_of(number)[3])
        return situation is not None and container in situation.containers

    def _after(self, number: int, index: int, time: float) -> After | None:
        """The next report of the node that a decision chose."""
        serials = range(max(self._reports - KEPT, 0), self._reports)
        first = bisect_left(serials, number, key=lambda serial: self._reported_after[serial % KEPT])
        for start, stop in _slots(serials[first:]):
            try:
                slot = self._reporting.index(index, start, stop)
            except ValueError:
                continue
            expected = self._expected[slot]
            if isnan(expected):
                return None
            return After(expected, self._pending[slot], self._reported_at[slot] - time)
        return None


def _slots(serials: range) -> Iterator[tuple[int, int]]:
    """The slots of a ring that entries with these serial numbers are in: where from, where to."""
    if serials:
        start, stop = serials.start % KEPT, (serials.stop - 1) % KEPT + 1
        if start < stop:
            yield start, stop
        else:
            yield start, KEPT
            yield 0, stop
