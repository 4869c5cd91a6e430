"""Decides when which node is polled in a simulation, as the router's poller does."""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from math import inf
from random import Random

from benchmarks.simulation.scenario import Scenario

_SETTLED = 0.3
"""Seconds from a job for an idle node to the earliest poll that should show it."""

_LATELY = 2.0
"""Seconds for which a node that got a job counts as in use."""


class Polls:
    """
    The polls of all nodes, in the order of their times.

    Each node is polled once an interval, or once a busy interval while it is in use: while its last
    report had pending jobs, or it got a job in the last seconds. A node that is handed out after a
    rest is polled soon. All that happens at fixed turns if there is no busy interval.

    :param at_once: whether the first polls are all at the same moment, instead of spread evenly
        over an interval.
    """

    def __init__(self, scenario: Scenario, at_once: bool, random: Random) -> None:
        self._interval = scenario.interval
        self._busy_interval = scenario.busy_interval or scenario.interval
        spread = 0.0 if at_once else scenario.interval / scenario.nodes
        order = random.sample(range(scenario.nodes), scenario.nodes)
        self._turns = [0.0] * scenario.nodes
        """When each node has its next turn; infinity while it is polled."""
        for place, node in enumerate(order):
            self._turns[node] = spread * place
        self._last_turns = [-inf] * scenario.nodes
        self._assigned = [-inf] * scenario.nodes
        """When each node last got a job."""
        self._heap = [(turn, node, True) for node, turn in enumerate(self._turns)]
        """The times and nodes of turns, including those that were moved, and of extra polls."""
        heapify(self._heap)

    @property
    def next(self) -> float:
        """The time of the next poll."""
        heap, turns = self._heap, self._turns
        while heap[0][2] and heap[0][0] != turns[heap[0][1]]:
            heappop(heap)
        return heap[0][0]

    def take(self) -> int:
        """The node to be polled at the time that `next` gave."""
        now, node, is_turn = heappop(self._heap)
        if is_turn:
            self._last_turns[node] = now
            self._turns[node] = inf
        return node

    def polled(self, node: int, pending: int, now: float) -> None:
        """A poll of a node reported this many pending jobs: schedule its next turn."""
        in_use = pending or now - self._assigned[node] < _LATELY
        self._move(node, now + (self._busy_interval if in_use else self._interval))

    def left(self, node: int, now: float) -> None:
        """A node was left to somebody else: schedule its next turn."""
        self._move(node, now + self._interval)

    def assigned(self, node: int, now: float, looks: Iterable[float]) -> None:
        """
        A job was assigned to a node at `now`.

        :param looks: seconds from now to each extra poll of that node, if it was idle.
        """
        was_idle = now - self._assigned[node] >= _LATELY
        self._assigned[node] = now
        if self._busy_interval < self._interval:
            self._move(node, max(now + _SETTLED, self._last_turns[node] + self._busy_interval))
        for look in looks if was_idle else ():
            heappush(self._heap, (now + look, node, False))

    def _move(self, node: int, turn: float) -> None:
        """Move the next turn of a node to this time, if that is earlier."""
        if turn < self._turns[node]:
            self._turns[node] = turn
            heappush(self._heap, (turn, node, True))
