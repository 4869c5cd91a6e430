"""A discrete-event simulation of nodes, jobs and polls, which compares routing policies."""

from collections.abc import Callable, Sequence
from functools import partial
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
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
    busy_interval: float | None = None
    """Seconds between two polls of a node in use; None for the same as of any other."""
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
    crashing: int = 0
    """Nodes that fail every job from the middle of the run on."""
    stalling: int = 0
    """Nodes that stand still for a minute from the middle on, with 20 phantom jobs pending."""
    boosted: int = 0
    """Nodes that become ten times faster in the middle."""
    watching: float = 0.0
    """Seconds at the start in which all jobs come around the router."""
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
    placed: list[tuple[float, int, bool]] = field(factory=list)
    """Each job that the router placed: when, on which node, and whether it was lost."""
    changed: float = 0.0
    """When nodes changed, in the middle of the run."""
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

    def look_after(self, node: int) -> float | None:
        """Seconds after which a node that was just picked should be polled; None for no hurry."""

    def pick(self, containers: frozenset[str], now: float) -> int:
        """The node for a job that needs these containers."""


class World:
    """The nodes of a scenario and their jobs."""

    def __init__(self, scenario: Scenario, random: Random) -> None:
        self.scenario = scenario
        self.now = 0.0
        nodes = scenario.nodes
        low, high = map(log, scenario.speeds)
        self.speeds = [exp(random.uniform(low, high)) for _ in range(nodes)]
        self.capacity = sum(self.speeds[scenario.failing :]) * scenario.slots
        self.capacity *= 1 - scenario.thrashing * (1 - 1 / THRASHED)
        for node in range(nodes - scenario.quickening, nodes):
            self.speeds[node] /= 8
        self.full = [node < scenario.full * nodes for node in range(nodes)]
        """Whether the GPU memory of each node is in use."""
        self.turns = [(0.0, node) for node in range(nodes) if scenario.thrashing]
        """A heap of the times at which nodes begin or cease to thrash."""
        self.pending = [0] * nodes
        """The jobs that wait or run on each node."""
        self.containers = self._place(random)
        """The containers that each node runs."""
        self.candidates = {
            asked: [node for node in range(nodes) if asked <= self.containers[node]]
            for asked in scenario.asked
        }
        self.failing = set(range(scenario.failing))
        """The nodes that fail every job at once."""
        self.phantoms: dict[int, int] = {}
        """Jobs that nodes report, but that do not exist."""
        self._free = [[0.0] * scenario.slots for _ in range(nodes)]
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

    def crash(self, node: int) -> None:
        """Fail all jobs of a node, now and from now on."""
        self.failing.add(node)
        self._ends = [(end, at) for end, at in self._ends if at != node]
        heapify(self._ends)
        self.pending[node] = 0

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
    return _Run(scenario, policy, seed, queues).outcome()


class _Run:
    """One run: events in the order of their time."""

    def __init__(
        self, scenario: Scenario, policy: Callable[[World, Random], Policy], seed: int, queues: bool
    ) -> None:
        self._scenario = scenario
        self._world = world = World(scenario, Random(seed))
        self._random = random = Random(seed + 1)
        self._router = policy(world, Random(seed + 2))
        self._asks = scenario.load * world.capacity / MEAN_WORK
        self._around = self._asks * scenario.around
        self._routed = (self._asks - self._around) / (1 - scenario.ghosts)
        self._polls = Polls(scenario, self._router.at_once, random)
        self._outcome = Outcome()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._middle = scenario.jobs / 2 / self._routed
        if queues:
            self._at(0.0, self._record)
        if self._around:
            self._at(random.expovariate(self._around), self._around_arrives)
        if scenario.watching:
            self._at(0.0, self._watched_arrives)
        if world.turns:
            self._at(world.turns[0][0], self._turn)
        self._at(self._middle, self._change)

    def _at(self, when: float, what: Callable[[], None]) -> None:
        heappush(self._events, (when, next(self._numbers), what))

    def outcome(self) -> Outcome:
        scenario, world, random = self._scenario, self._world, self._random
        now = scenario.watching
        self._outcome.changed = self._middle
        for number in range(scenario.jobs):
            rising = now % 20 < 10
            rate = self._routed * (1 + (scenario.burst if rising else -scenario.burst))
            now += random.expovariate(rate)
            self._pass_time(now)
            asked = random.choice(scenario.asked) if len(scenario.asked) > 1 else scenario.asked[0]
            node = self._router.pick(asked, now)
            looks = self._router.looks(node)
            self._polls.assigned(node, now, looks)
            if random.random() < scenario.ghosts:
                continue
            measured = number > scenario.jobs / 5
            if scenario.late:
                self._at(now + scenario.late, partial(self._submit, node, measured))
            else:
                self._submit(node, measured)
        self._outcome.times.sort()
        return self._outcome

    def _pass_time(self, until: float) -> None:
        events, polls, world = self._events, self._polls, self._world
        while True:
            event = events[0][0] if events else inf
            poll = polls.next
            if min(event, poll) > until:
                break
            if poll <= event:
                world.advance(poll)
                node = polls.take()
                pending = world.pending[node] + world.phantoms.get(node, 0)
                self._router.observed(node, pending, poll)
                polls.polled(node, pending, poll)
            else:
                world.advance(event)
                heappop(events)[2]()
        world.advance(until)

    def _record(self) -> None:
        self._outcome.queues.append(list(self._world.pending))
        self._at(self._world.now + 1.0, self._record)

    def _around_arrives(self) -> None:
        world, random = self._world, self._random
        world.submit(random.randrange(self._scenario.nodes), self._scenario.work(random))
        self._at(world.now + random.expovariate(self._around), self._around_arrives)

    def _watched_arrives(self) -> None:
        world, random = self._world, self._random
        if world.now > self._scenario.watching:
            return
        world.submit(
            min(range(self._scenario.nodes), key=lambda n: world.pending[n]),
            self._scenario.work(random),
        )
        self._at(world.now + random.expovariate(self._asks), self._watched_arrives)

    def _turn(self) -> None:
        self._world.turn(self._random)
        self._at(self._world.turns[0][0], self._turn)

    def _change(self) -> None:
        """What happens in the middle of the run."""
        scenario, world = self._scenario, self._world
        for factor, nodes in ((1 / 8, scenario.slowing), (8, scenario.quickening)):
            for node in range(1, nodes + 1):
                world.change_speed(-node % scenario.nodes, factor)
        for node in range(scenario.boosted):
            world.change_speed(node, 10)
        for node in range(scenario.crashing):
            world.crash(node)
        for node in range(scenario.stalling):
            world.phantoms[node] = 20
            world.change_speed(node, 1e-9)
        if scenario.stalling:
            self._at(world.now + 60.0, self._recover)

    def _recover(self) -> None:
        for node in self._world.phantoms:
            self._world.change_speed(node, 1e9)
        self._world.phantoms.clear()

    def _submit(self, node: int, measured: bool) -> None:
        """Submit a client's job to the node that the router picked."""
        world = self._world
        lost = node in world.failing
        self._outcome.placed.append((world.now, node, lost))
        if lost:
            self._outcome.lost += measured
            return
        end = world.submit(node, self._scenario.work(self._random))
        if measured:
            self._outcome.times.append(end - world.now)


class Polls:
    """The poller's choice of the nodes to poll and when."""

    def __init__(self, scenario: Scenario, at_once: bool, random: Random) -> None:
        self._interval = scenario.interval
        self._busy = scenario.busy_interval or scenario.interval
        order = random.sample(range(scenario.nodes), scenario.nodes)
        self._due = [0.0] * scenario.nodes
        for place, node in enumerate(order):
            self._due[node] = 0.0 if at_once else scenario.interval * place / len(order)
        self._last = [-inf] * scenario.nodes
        self._heap = [(due, node) for node, due in enumerate(self._due)]
        heapify(self._heap)
        self.count = 0
        self._extra = []
        self._was_extra = False
        self._used = [-inf] * scenario.nodes

    @property
    def next(self) -> float:
        heap, due = self._heap, self._due
        while heap[0][0] != due[heap[0][1]]:
            heappop(heap)
        return min(heap[0][0], self._extra[0][0]) if self._extra else heap[0][0]

    def take(self) -> int:
        if self._extra and self._extra[0][0] <= self._heap[0][0]:
            self._was_extra = True
            return heappop(self._extra)[1]
        self._was_extra = False
        return heappop(self._heap)[1]

    def polled(self, node: int, pending: int, now: float) -> None:
        self.count += 1
        if self._was_extra:
            if pending and self._due[node] > now + self._busy:
                self._put(node, now + self._busy)
            return
        self._last[node] = now
        in_use = pending or now - self._used[node] < _LATELY
        self._put(node, now + (self._busy if in_use else self._interval))

    def assigned(self, node: int, now: float, looks) -> None:
        self._used[node] = now
        if self._busy < self._interval:
            due = max(now + _LOOK, self._last[node] + self._busy)
            if due < self._due[node]:
                self._put(node, due)
        for look in looks:
            heappush(self._extra, (now + look, node))

    def _put(self, node: int, due: float) -> None:
        self._due[node] = due
        heappush(self._heap, (due, node))


import os

_LOOK = float(os.environ.get("LOOK", ".3"))
_LATELY = float(os.environ.get("LATELY", "2.0"))
_SHORTEST = 0.5
