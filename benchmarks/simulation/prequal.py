"""Prequal, a routing policy that probes nodes live, to compare this router with."""

from collections import defaultdict, deque
from math import floor
from random import Random

from attrs import define

from benchmarks.simulation.policies import LastReports
from benchmarks.simulation.world import World

_PROBES = 3
"""Nodes probed for each job."""

_POOL = 16
"""The most probe results that are kept."""

_REMOVED = 1
"""Probe results removed for each job."""

_ADDED = 1.0
"""Probe results by which the pool shall grow for each job, while it is not full."""

_OLDEST = 1.0
"""Seconds for which a probe result is valid."""

_HOT = 2**-0.25
"""The quantile of jobs in flight from which a node is hot: 0.84."""

_RECENT = 128
"""Probe results from which the quantile is taken."""

_UNLIMITED = 1e9


@define
class _Probe:
    """What a node answered to a probe."""

    node: int
    at: float
    uses: int
    """The jobs for which it may still be used."""
    in_flight: int
    """Jobs at the node, including those for which this result was used."""
    slowness: float
    """Seconds that a job took there, divided by the jobs that it met, itself included."""

    @property
    def latency(self) -> float:
        """Seconds that one more job should take."""
        return self.slowness * (self.in_flight + 1)


class Prequal(LastReports):
    """
    Of the nodes that were probed lately, a cold one with the least latency.

    Wydrowski, Kleinberg, Rumble and Archer, "Load is not what you should balance: introducing
    Prequal", NSDI 2024. Three random nodes are probed for each job, and the last 16 results are
    kept, one for each node. A node with more jobs in flight than most is hot. Of the cold nodes,
    the one with the least latency gets the job; if all are hot, the one with the fewest jobs in
    flight. A result is removed when it is too old or was used too often, and one more for each job:
    by turns the oldest and the worst.

    These details are ours, and most favour Prequal. Probes take no time, and their results are used
    at once. The latency is that of the node's last 20 jobs, scaled from the jobs that they met to
    those in flight now; the paper takes the jobs that met about as many as now, which are too few
    here. It is 0 for a node that finished no job, and grows with each job for which the result is
    used. The quantile is that of the last 128 results, and nodes that reach it are hot, save idle
    ones: in the base scenario, the mean is lower than if only those above it were. In a fleet
    of up to 24 nodes, results are used without limit, as the paper's formula for the uses has no
    solution there. The paper's guard against nodes that fail fast is left out; jobs that fail do
    not count in the latency.
    """

    def __init__(self, world: World, random: Random) -> None:
        super().__init__(world, random)
        self._pools: dict[frozenset[str], list[_Probe]] = defaultdict(list)
        """For each set of containers, the valid results from candidates, the oldest first."""
        self._in_flight: deque[int] = deque(maxlen=_RECENT)
        """The jobs in flight of the last results."""
        self._remove_oldest = False
        grows = (1 - _POOL / world.scenario.nodes) * _PROBES - _REMOVED
        self._uses = max(1.0, (1 + _ADDED) / grows) if grows > 0 else _UNLIMITED

    def pick(self, containers: frozenset[str], now: float) -> int:
        candidates, pool = self.world.candidates[containers], self._pools[containers]
        probed = self.random.sample(candidates, min(_PROBES, len(candidates)))
        pool[:] = [
            probe for probe in pool if probe.node not in probed and probe.at >= now - _OLDEST
        ]
        pool += [self._probe(node, now) for node in probed]
        del pool[:-_POOL]
        hot = sorted(self._in_flight)[int(_HOT * len(self._in_flight))]

        def rank(probe: _Probe) -> tuple[bool, float]:
            is_hot = probe.in_flight >= max(hot, 1)
            return is_hot, probe.in_flight if is_hot else probe.latency

        best = min(pool, key=rank)
        best.in_flight += 1
        best.uses -= 1
        if not best.uses:
            pool.remove(best)
        if len(pool) > 1:
            pool.remove(pool[0] if self._remove_oldest else max(pool, key=rank))
            self._remove_oldest = not self._remove_oldest
        return best.node

    def _probe(self, node: int, now: float) -> _Probe:
        """Probe a node."""
        in_flight = self.world.reported(node)
        self._in_flight.append(in_flight)
        ended = self.world.ended[node]
        met, seconds = sum(before + 1 for before, _ in ended), sum(time for _, time in ended)
        slowness = seconds / met if met else 0.0
        uses = floor(self._uses + self.random.random())  # rounded up or down at random
        return _Probe(node, now, uses, in_flight, slowness)
