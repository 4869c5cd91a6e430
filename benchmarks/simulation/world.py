"""The nodes of a simulation and their jobs."""

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace
from math import exp, log
from random import Random

from benchmarks.simulation.scenario import Scenario

THRASHED = 3.0
"""The factor by which jobs take longer on a node that thrashes."""

PHANTOMS = 20
"""The jobs that a node reports while it stands still, but that do not exist."""

_REMEMBERED = 20
"""Jobs that a node remembers after their end."""


class World:
    """The nodes of a scenario and their jobs."""

    def __init__(self, scenario: Scenario, random: Random) -> None:
        self.scenario = scenario
        self.now = 0.0
        count = scenario.nodes
        low, high = map(log, scenario.speeds)
        self.speeds = [exp(random.uniform(low, high)) for _ in range(count)]
        self.capacity = sum(self.speeds[scenario.failing :]) * scenario.slots
        self.capacity *= 1 - scenario.thrashing * (1 - 1 / THRASHED)
        for node in range(count - scenario.quickening, count):
            self.speeds[node] /= 8
        self.full = [node < scenario.full * count for node in range(count)]
        """Whether the GPU memory of each node is in use."""
        self.turns = [(0.0, node) for node in range(count) if scenario.thrashing]
        """A heap of the times at which nodes begin or cease to thrash."""
        self.pending = [0] * count
        """The jobs that wait or run on each node."""
        self.failing = set(range(scenario.failing))
        """The nodes that fail every job."""
        self.stalled: set[int] = set()
        """The nodes that stand still."""
        self.ended: list[deque[tuple[int, float]]]
        self.ended = [deque(maxlen=_REMEMBERED) for _ in range(count)]
        """The last jobs that ended on each node: the jobs that were there before, and seconds from
        submission to end."""
        self.containers = self._place(random)
        """The containers that each node runs."""
        self.candidates = {
            asked: [node for node in range(count) if asked <= self.containers[node]]
            for asked in scenario.asked
        }
        self._free = [[0.0] * scenario.slots for _ in range(count)]
        self._ends: list[tuple[float, int, float, int]] = []
        """A heap of jobs: when it ends, its node, when it was submitted, the jobs before it."""

    def advance(self, now: float) -> None:
        """Move time forward to `now`, and end the jobs that are done by then."""
        ends = self._ends
        while ends and ends[0][0] <= now:
            end, node, submitted, before = heappop(ends)
            self.pending[node] -= 1
            self.ended[node].append((before, end - submitted))
        self.now = now

    def submit(self, node: int, work: float) -> float:
        """Submit a job to a node; gives the time at which it ends."""
        free = self._free[node]
        end = max(self.now, free[0]) + work / self.speeds[node]
        heapreplace(free, end)
        heappush(self._ends, (end, node, self.now, self.pending[node]))
        self.pending[node] += 1
        return end

    def reported(self, node: int) -> int:
        """The pending jobs that a node reports now."""
        return self.pending[node] + (PHANTOMS if node in self.stalled else 0)

    def least_busy(self, nodes: Iterable[int], random: Random) -> int:
        """The node with the fewest jobs of those that work; ties are broken at random."""
        pending, broken = self.pending, self.failing | self.stalled
        working = [node for node in nodes if node not in broken] if broken else list(nodes)
        fewest = min(map(pending.__getitem__, working))
        return random.choice([node for node in working if pending[node] == fewest])

    def change_speed(self, node: int, factor: float) -> None:
        """Change the speed of a node, for its present jobs too."""
        self.speeds[node] *= factor
        self._free[node] = [self._stretched(free, factor) for free in self._free[node]]
        self._ends = [
            (self._stretched(end, factor) if at == node else end, at, submitted, before)
            for end, at, submitted, before in self._ends
        ]
        heapify(self._ends)

    def _stretched(self, end: float, factor: float) -> float:
        return self.now + max(0.0, end - self.now) / factor

    def crash(self, node: int) -> None:
        """Lose the present jobs of a node, and fail all later ones."""
        self.failing.add(node)
        self.pending[node] = 0
        self._ends = [job for job in self._ends if job[1] != node]
        heapify(self._ends)

    def stall(self, node: int, seconds: float) -> None:
        """Make a node stand still for this time; it reports phantom jobs until `recover`."""
        self.stalled.add(node)
        self._free[node] = [max(self.now, free) + seconds for free in self._free[node]]
        self._ends = [
            (end + seconds if at == node else end, at, submitted, before)
            for end, at, submitted, before in self._ends
        ]
        heapify(self._ends)

    def recover(self) -> None:
        """End the phantom jobs of all nodes that stood still."""
        self.stalled.clear()

    def turn(self, random: Random) -> None:
        """Make the next node begin or cease to thrash. At time zero, each draws its first state."""
        when, node = heappop(self.turns)
        part, episode = self.scenario.thrashing, self.scenario.episode
        if thrashes := (random.random() < part if when == 0.0 else not self.full[node]):
            self.change_speed(node, 1 / THRASHED)
        elif self.full[node]:
            self.change_speed(node, THRASHED)
        self.full[node] = thrashes
        usual = episode if thrashes else episode * (1 - part) / part
        heappush(self.turns, (when + random.expovariate(1 / usual), node))

    def _place(self, random: Random) -> list[frozenset[str]]:
        """Draw the containers of every node; none is left without any."""
        names = sorted(frozenset().union(*self.scenario.asked))
        if self.scenario.placed == 1.0:
            return [frozenset(names)] * self.scenario.nodes
        return [
            frozenset(name for name in names if random.random() < self.scenario.placed)
            or frozenset(names)
            for _ in range(self.scenario.nodes)
        ]
