"""Routing policies to compare: this router's, common ones, and ideals with perfect knowledge."""

from collections.abc import Callable
from math import exp, inf
from random import Random

from benchmarks.simulation.scenario import MEAN_WORK
from benchmarks.simulation.world import World
from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import Fleet
from infernet_router.fleet.load import Loads
from infernet_router.reports import Container, NodeReport


class LastReports:
    """A policy that keeps the last report of each node."""

    at_once = False

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.random = random
        self.reported = [0] * world.scenario.nodes

    def observed(self, node: int, pending: int, now: float) -> None:
        self.reported[node] = pending

    def looks(self, node: int) -> tuple[float, ...]:
        return ()


class LeastPending(LastReports):
    """The node with the fewest pending jobs at its last poll, as in earlier releases."""

    at_once = True

    def pick(self, containers: frozenset[str], now: float) -> int:
        return min(self.world.candidates[containers], key=self.reported.__getitem__)


class AtRandom(LastReports):
    """A random node."""

    def pick(self, containers: frozenset[str], now: float) -> int:
        return self.random.choice(self.world.candidates[containers])


class TwoChoices(LastReports):
    """Of two random nodes, the one with fewer pending jobs at its last poll."""

    def pick(self, containers: frozenset[str], now: float) -> int:
        one, other = self.random.choices(self.world.candidates[containers], k=2)
        return one if self.reported[one] <= self.reported[other] else other


class LocalCount(TwoChoices):
    """
    Of two random nodes, the one with fewer jobs: those at its last poll and those assigned since.

    The router of vLLM does this.
    """

    def pick(self, containers: frozenset[str], now: float) -> int:
        node = super().pick(containers, now)
        self.reported[node] += 1
        return node


class Ours(LastReports):
    """This router's own fleet."""

    def __init__(self, world: World, random: Random, max_utilization: float = 1.0) -> None:
        super().__init__(world, random)
        self._addresses = [
            parse_address(f"10.{node >> 16}.{node >> 8 & 255}.{node & 255}:4000")
            for node in range(world.scenario.nodes)
        ]
        self._nodes = {address: node for node, address in enumerate(self._addresses)}
        self._containers = [
            tuple(Container(name, external=True) for name in sorted(names))
            for names in world.containers
        ]
        self.fleet = Fleet(lambda: world.now, random, max_utilization=max_utilization)
        self.fleet.replace(self._addresses)
        for node in range(world.scenario.nodes):
            self.observed(node, 0, 0.0)

    def observed(self, node: int, pending: int, now: float) -> None:
        report = NodeReport(self._containers[node], {"offchain": pending, "onchain": 0})
        self.fleet.observed(self._addresses[node], report)

    def looks(self, node: int) -> tuple[float, ...]:
        looks: Callable[[NodeAddress], tuple[float, ...]] | None
        looks = getattr(self.fleet, "looks", None)  # earlier versions have none
        return looks(self._addresses[node]) if looks else ()

    def pick(self, containers: frozenset[str], now: float) -> int:
        return self._nodes[self.fleet.pick(containers)]


class LeavingOut(Ours):
    """This router with --max-utilization: full nodes are left out while another is not full."""

    def __init__(self, world: World, random: Random) -> None:
        self._utilization = Utilization(world)
        super().__init__(world, random, max_utilization=0.9)

    def observed(self, node: int, pending: int, now: float) -> None:
        super().observed(node, pending, now)
        self.fleet.utilized(self._addresses[node], self._utilization.told(node, now))


class Penalising(LastReports):
    """This router's rule, where a job costs more the fuller a node is, up to twice as much."""

    def __init__(self, world: World, random: Random) -> None:
        super().__init__(world, random)
        self._utilization = Utilization(world)
        self._loads = Loads()
        self._indices = [self._loads.add() for _ in range(world.scenario.nodes)]

    def observed(self, node: int, pending: int, now: float) -> None:
        self._utilization.told(node, now)
        self._loads.reported(self._indices[node], now, pending)

    def pick(self, containers: frozenset[str], now: float) -> int:
        def cost(node: int) -> float:
            index = self._indices[node]
            price: float = self._loads.rate(index) ** -0.6
            return (
                (self._loads.jobs(index, now) + 1.0) * price * (1.0 + self._utilization.last[node])
            )

        candidates = self.world.candidates[containers]
        some = self.random.sample(candidates, 16) if len(candidates) > 16 else candidates
        best = min(some, key=cost)
        self._loads.assign(self._indices[best], now, 1.0)
        return best


class Utilization:
    """The utilization that each node last reported; nodes are asked once a minute."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked = [-inf] * world.scenario.nodes
        self.last = [0.0] * world.scenario.nodes

    def told(self, node: int, now: float) -> float:
        """The last utilization of a node; asks it again when the last answer is a minute old."""
        if now >= self._asked[node] + 60.0:
            self._asked[node] = now
            self.last[node] = 0.95 if self._world.full[node] else 0.3
        return self.last[node]


class Told(LastReports):
    """This router's rule with the true speed of every node: shows the cost of learning speeds."""

    def __init__(self, world: World, random: Random) -> None:
        super().__init__(world, random)
        self._jobs = [0.0] * world.scenario.nodes
        self._at = [0.0] * world.scenario.nodes

    def observed(self, node: int, pending: int, now: float) -> None:
        self._jobs[node], self._at[node] = pending, now

    def pick(self, containers: frozenset[str], now: float) -> int:
        lowest, best, slots = inf, -1, self.world.scenario.slots
        candidates = self.world.candidates[containers]
        for node in self.random.choices(candidates, k=16) if len(candidates) > 16 else candidates:
            rate = self.world.speeds[node] * slots / MEAN_WORK
            jobs, drained = self._jobs[node], (now - self._at[node]) * rate
            straight = min(max(jobs - 1.0, 0.0), drained)
            jobs = (jobs - straight) * exp(straight - drained)
            if (cost := (jobs + 1.0) / rate**0.6) < lowest:
                lowest, best, now_there = cost, node, jobs
        self._jobs[best], self._at[best] = now_there + 1.0, now
        return best


class Oracle(LastReports):
    """The working node with the fewest jobs at this moment; ties are broken at random."""

    def pick(self, containers: frozenset[str], now: float) -> int:
        return self.world.least_busy(self.world.candidates[containers], self.random)
