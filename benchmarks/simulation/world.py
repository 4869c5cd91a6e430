"""A discrete-event simulation of nodes, jobs and polls, which compares routing policies."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from math import exp, inf, log
from random import Random
from typing import Protocol

from attrs import define, field, frozen

THRASHED = 3.0
"""The factor by which jobs take longer on a node that thrashes."""

MEAN_WORK = 2.0
"""Mean seconds a job takes at speed 1."""


@frozen
class Lognormal:
    """Lognormal job sizes, whose coefficient of variation is sqrt(exp(sigma²) - 1)."""

    sigma: float

    def __call__(self, random: Random) -> float:
        """The size of the next job."""
        return random.lognormvariate(log(MEAN_WORK) - self.sigma**2 / 2, self.sigma)


@frozen
class Scenario:
    """A fleet and its load. Times are in seconds; work is in seconds at speed 1."""

    name: str
    nodes: int = 50
    load: float = 0.8
    """Arriving work as a share of the capacity of all nodes."""
    interval: float = 5.0
    """Time between two polls of a node."""
    work: Callable[[Random], float] = Lognormal(0.7)
    speeds: tuple[float, float] = (0.4, 2.5)
    """The slowest and the fastest; speeds are log-uniform between them."""
    slots: int = 1
    """Jobs a node runs concurrently."""
    around: float = 0.0
    """The share of jobs that reach random nodes without asking the router."""
    ghosts: float = 0.0
    """The share of clients that ask the router but never submit a job."""
    late: float = 0.0
    """Time from the router's response to the submission of the job."""
    failing: int = 0
    """Nodes that fail every job immediately."""
    slowing: int = 0
    """Nodes that become eight times slower halfway through the run."""
    quickening: int = 0
    """Nodes that become eight times faster halfway through the run."""
    full: float = 0.0
    """The share of nodes whose GPU memory is permanently in use, without slowing their jobs."""
    thrashing: float = 0.0
    """The share of nodes that thrash at any time: their GPU memory is in use, and jobs take three
    times as long."""
    episode: float = 300.0
    """Mean time for which a node thrashes."""
    burst: float = 0.0
    """The load alternates every ten seconds between this share more and this share less."""
    asked: Sequence[frozenset[str]] = (frozenset({"a"}),)
    """The sets of containers that jobs need, all equally likely."""
    placed: float = 1.0
    """The share of nodes that run a given container."""
    jobs: int = 50_000
    """Jobs in a run. The first fifth is not measured."""


@define
class Outcome:
    """The result of one run."""

    times: list[float] = field(factory=list)
    """Seconds from submission to end of each job that the router placed, in ascending order."""
    lost: int = 0
    """Jobs that failed."""
    queues: list[list[int]] = field(factory=list)
    """The pending jobs of each node, once a second."""

    @property
    def mean(self) -> float:
        """The mean time, or infinity if no job ended."""
        return sum(self.times) / len(self.times) if self.times else inf

    def quantile(self, part: float) -> float:
        """The time within which this share of the jobs ended, or infinity if none did."""
        return self.times[int(part * len(self.times))] if self.times else inf

    @property
    def share_lost(self) -> float:
        """The share of jobs that were lost."""
        return self.lost / (self.lost + len(self.times))


class Policy(Protocol):
    """A routing policy: it observes reports, and picks a node for each job."""

    at_once: bool
    """Whether all nodes are polled at the same moment, instead of evenly over the interval."""

    def observed(self, node: int, pending: int, now: float) -> None:
        """A poll of a node at `now` reported this many pending jobs."""

    def pick(self, containers: frozenset[str], now: float) -> int:
        """The node for a job that needs these containers."""


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
        self.containers = self._place(random)
        """The containers that each node runs."""
        self.candidates = {
            asked: [node for node in range(count) if asked <= self.containers[node]]
            for asked in scenario.asked
        }
        self._free = [[0.0] * scenario.slots for _ in range(count)]
        self._ends: list[tuple[float, int]] = []

    def advance(self, now: float) -> None:
        """Move time forward to `now`, and end the jobs that are done by then."""
        ends = self._ends
        while ends and ends[0][0] <= now:
            self.pending[heappop(ends)[1]] -= 1
        self.now = now

    def submit(self, node: int, work: float) -> float:
        """Submit a job to a node; gives the time at which it ends."""
        free = self._free[node]
        end = max(self.now, free[0]) + work / self.speeds[node]
        heapreplace(free, end)
        heappush(self._ends, (end, node))
        self.pending[node] += 1
        return end

    def change_speed(self, node: int, factor: float) -> None:
        """Change the speed of a node, for its present jobs too."""
        self.speeds[node] *= factor

        def moved(end: float) -> float:
            return self.now + max(0.0, end - self.now) / factor

        self._free[node] = [moved(free) for free in self._free[node]]
        self._ends = [(moved(end) if at == node else end, at) for end, at in self._ends]
        heapify(self._ends)

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


def run(
    scenario: Scenario, policy: Callable[[World, Random], Policy], seed: int, queues: bool = False
) -> Outcome:
    """
    Run a scenario under a policy.

    With the same seed, every policy has the same nodes.

    :param queues: whether to record the queues.
    """
    world = World(scenario, Random(seed))
    random = Random(seed + 1)
    router = policy(world, Random(seed + 2))
    asks = scenario.load * world.capacity / MEAN_WORK
    routed = asks * (1 - scenario.around) / (1 - scenario.ghosts)
    polls = _polls(scenario, router.at_once, random)
    around = asks * scenario.around
    next_poll, next_around = next(polls), random.expovariate(around) if around else inf
    next_look, change = 0.0 if queues else inf, scenario.jobs / 2 / routed
    if not scenario.slowing and not scenario.quickening:
        change = inf
    travelling: deque[tuple[float, int, bool]] = deque()
    outcome, now = Outcome(), 0.0
    for number in range(scenario.jobs):
        up = now % 20 < 10
        now += random.expovariate(routed * (1 + (scenario.burst if up else -scenario.burst)))
        while True:
            arrival = travelling[0][0] if travelling else inf
            turn = world.turns[0][0] if world.turns else inf
            event = min(now, next_poll[0], next_around, arrival, next_look, change, turn)
            world.advance(event)
            if event == now:
                break
            if event == turn:
                world.turn(random)
            elif event == next_poll[0]:
                router.observed(next_poll[1], world.pending[next_poll[1]], event)
                next_poll = next(polls)
            elif event == next_around:
                world.submit(random.randrange(scenario.nodes), scenario.work(random))
                next_around += random.expovariate(around)
            elif event == arrival:
                _, node, measured = travelling.popleft()
                _submit(world, node, random, outcome if measured else None)
            elif event == next_look:
                outcome.queues.append(list(world.pending))
                next_look += 1.0
            else:
                change = inf
                for node in range(1, scenario.slowing + 1):
                    world.change_speed(-node % scenario.nodes, 1 / 8)
                for node in range(1, scenario.quickening + 1):
                    world.change_speed(-node % scenario.nodes, 8)
        asked = random.choice(scenario.asked) if len(scenario.asked) > 1 else scenario.asked[0]
        node = router.pick(asked, now)
        if random.random() < scenario.ghosts:
            continue
        measured = number > scenario.jobs / 5
        if scenario.late:
            travelling.append((now + scenario.late, node, measured))
        else:
            _submit(world, node, random, outcome if measured else None)
    outcome.times.sort()
    return outcome


def _submit(world: World, node: int, random: Random, outcome: Outcome | None) -> None:
    """Submit a client's job to the node that the router picked."""
    if node < world.scenario.failing:
        if outcome:
            outcome.lost += 1
        return
    end = world.submit(node, world.scenario.work(random))
    if outcome:
        outcome.times.append(end - world.now)


def _polls(scenario: Scenario, at_once: bool, random: Random) -> Iterator[tuple[float, int]]:
    """The time and the node of each poll, in order."""
    order = random.sample(range(scenario.nodes), scenario.nodes)
    start = 0.0
    while True:
        for place, node in enumerate(order):
            yield start + (0.0 if at_once else scenario.interval * place / len(order)), node
        start += scenario.interval
