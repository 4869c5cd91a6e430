"""Runs a scenario under a routing policy."""

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Protocol

from attrs import define, field, frozen

from benchmarks.simulation.polls import Polls
from benchmarks.simulation.scenario import MEAN_WORK, Scenario
from benchmarks.simulation.world import World

STALL = 60.0
"""Seconds for which a stalling node stands still."""


@frozen
class Placed:
    """A job that the router placed."""

    at: float
    """Seconds from the start of the run to its submission."""
    node: int
    lost: bool
    """Whether it failed."""


@define
class Outcome:
    """The result of one run."""

    times: list[float] = field(factory=list)
    """Seconds from submission to end of each measured job, in ascending order."""
    lost: int = 0
    """Measured jobs that failed."""
    placed: list[Placed] = field(factory=list)
    """All jobs that the router placed, in the order of their submission."""
    changed: float = 0.0
    """When nodes changed: halfway through the run."""
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

    def after_change(self, since: float, until: float) -> list[Placed]:
        """The jobs that were placed in this time after the nodes changed, in seconds."""
        return [job for job in self.placed if since <= job.at - self.changed < until]


class Policy(Protocol):
    """A routing policy: it observes reports, and picks a node for each job."""

    at_once: bool
    """Whether all nodes are polled at the same moment, instead of evenly over the interval."""

    def observed(self, node: int, pending: int, now: float) -> None:
        """A poll of a node at `now` reported this many pending jobs."""

    def pick(self, containers: frozenset[str], now: float) -> int:
        """The node for a job that needs these containers."""

    def looks(self, node: int) -> tuple[float, ...]:
        """Seconds from now to each extra poll of a node that was just picked."""


def run(
    scenario: Scenario, policy: Callable[[World, Random], Policy], seed: int, queues: bool = False
) -> Outcome:
    """
    Run a scenario under a policy.

    With the same seed, every policy has the same nodes.

    :param queues: whether to record the queues.
    """
    return Run(scenario, policy, seed, queues).outcome()


class Run:
    """One run: its events, in the order of their times."""

    def __init__(
        self, scenario: Scenario, policy: Callable[[World, Random], Policy], seed: int, queues: bool
    ) -> None:
        self._scenario = scenario
        self._world = world = World(scenario, Random(seed))
        self._random = random = Random(seed + 1)
        self._router = policy(world, Random(seed + 2))
        self._polls = Polls(scenario, self._router.at_once, random)
        self._rate = scenario.load * world.capacity / MEAN_WORK
        """All jobs a second."""
        self.polled = 0
        """How many polls there were."""
        self._around = self._rate * scenario.around
        """Those that bypass the router."""
        self._asking = self._rate * (1 - scenario.around) / (1 - scenario.ghosts)
        """Clients a second that ask the router."""
        self._outcome = Outcome(changed=scenario.watching + scenario.jobs / 2 / self._asking)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        """A heap of what happens when; a number keeps events of the same time in their order."""
        self._numbers = count()
        if queues:
            self.at(0.0, self._record)
        if self._around:
            self.at(random.expovariate(self._around), self._bypass)
        if scenario.watching:
            self.at(0.0, self._watch)
        if world.turns:
            self.at(0.0, self._turn)
        self.at(self._outcome.changed, self._change)

    def outcome(self) -> Outcome:
        """Place all jobs."""
        scenario, random = self._scenario, self._random
        now = scenario.watching
        for number in range(scenario.jobs):
            up = now % 20 < 10
            burst = scenario.burst if up else -scenario.burst
            now += random.expovariate(self._asking * (1 + burst))
            self._pass_time(now)
            asked = random.choice(scenario.asked) if len(scenario.asked) > 1 else scenario.asked[0]
            node = self.pick(asked, now)
            if random.random() < scenario.ghosts:
                continue
            place = partial(self._place, node, number > scenario.jobs * scenario.unmeasured)
            if scenario.late:
                self.at(now + scenario.late, place)
            else:
                place()
        self._outcome.times.sort()
        return self._outcome

    def pick(self, asked: frozenset[str], now: float) -> int:
        """The node for a job that needs these containers."""
        node = self._router.pick(asked, now)
        self._polls.assigned(node, now, self._router.looks(node))
        return node

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a later time."""
        heappush(self._events, (when, next(self._numbers), what))

    def _pass_time(self, until: float) -> None:
        """Let everything happen that happens before this time."""
        events, world = self._events, self._world
        while True:
            event = events[0][0] if events else inf
            poll = self.next_poll
            if min(event, poll) >= until:
                break
            if event <= poll:
                world.advance(event)
                heappop(events)[2]()
            else:
                world.advance(poll)
                self.poll(poll)
        world.advance(until)

    @property
    def next_poll(self) -> float:
        """When the next node is polled."""
        return self._polls.next

    def poll(self, now: float) -> None:
        """Poll the next node."""
        node = self._polls.take()
        pending = self._world.reported(node)
        self._router.observed(node, pending, now)
        self._polls.polled(node, pending, now)
        self.polled += 1

    def _place(self, node: int, measured: bool) -> None:
        """Submit a client's job to the node that the router picked."""
        now, outcome = self._world.now, self._outcome
        end = self._submit(node)
        outcome.placed.append(Placed(now, node, end is None))
        if measured and end is None:
            outcome.lost += 1
        elif measured and end is not None:
            outcome.times.append(end - now)

    def _submit(self, node: int) -> float | None:
        """Submit a job to a node; gives the time at which it ends, or None if it fails."""
        if node in self._world.failing:
            return None
        return self._world.submit(node, self._scenario.work(self._random))

    def _bypass(self) -> None:
        """Submit a job to a random node."""
        self._submit(self._random.randrange(self._scenario.nodes))
        self.at(self._world.now + self._random.expovariate(self._around), self._bypass)

    def _watch(self) -> None:
        """Submit a job that another router placed, which sees every queue."""
        world, random = self._world, self._random
        if world.now < self._scenario.watching:
            self._submit(world.least_busy(range(self._scenario.nodes), random))
            self.at(world.now + random.expovariate(self._rate - self._around), self._watch)

    def _record(self) -> None:
        """Record the queues."""
        self._outcome.queues.append(list(self._world.pending))
        self.at(self._world.now + 1.0, self._record)

    def _turn(self) -> None:
        """Make a node begin or cease to thrash."""
        self._world.turn(self._random)
        self.at(self._world.turns[0][0], self._turn)

    def _change(self) -> None:
        """Change nodes halfway through the run."""
        scenario, world = self._scenario, self._world
        for factor, nodes in ((1 / 8, scenario.slowing), (8, scenario.quickening)):
            for node in range(1, nodes + 1):
                world.change_speed(-node % scenario.nodes, factor)
        for node in range(scenario.boosted):
            world.change_speed(node, 10)
        for node in range(scenario.crashing):
            world.crash(node)
        for node in range(scenario.stalling):
            world.stall(node, STALL)
        self.at(world.now + STALL, world.recover)
