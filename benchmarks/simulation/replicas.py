"""Several routers that place the jobs of a scenario, joined by the batches that replicas send."""

from collections.abc import Callable
from enum import Enum
from functools import partial
from random import Random
from typing import Any

from attrs import frozen

from benchmarks.simulation.hub import Hub
from benchmarks.simulation.polls import Polls
from benchmarks.simulation.runs import Run
from benchmarks.simulation.scenario import Scenario
from benchmarks.simulation.world import World
from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet.shared import SharedFleet
from infernet_router.replicas.shares import Share, Shares
from infernet_router.replicas.sharing import Sharing
from infernet_router.reports import Container, NodeReport

AWAY = 60.0
"""Seconds for which the server is away, and then there again."""


_LEAST, _MORE = 0.0005, 0.001
"""The seconds that a batch takes from one router to another: at least, and more on average."""


class Event(Enum):
    """What happens halfway through a run."""

    NOTHING = "nothing"
    DEATH = "one dies"
    AWAY = "Redis away"
    """It is away for a minute, and again every other minute; only these minutes are measured."""
    NEVER = "Redis never there"
    """Only the same minutes are measured."""


@frozen
class Setting:
    """How many routers there are, and what happens to them."""

    replicas: int
    event: Event = Event.NOTHING


class _Clock:
    """The clock of a run, as the reactor's."""

    def __init__(self, run: "Replicated", world: World) -> None:
        self._run = run
        self._world = world

    def seconds(self) -> float:
        return self._world.now

    def callLater(self, delay: float, what: Callable[..., Any], *args: Any) -> "_Call":
        call = _Call(partial(what, *args))
        self._run.at(self._world.now + delay, call)
        return call


class _Call:
    """Something to do later."""

    def __init__(self, what: Callable[[], Any]) -> None:
        self._what: Callable[[], Any] | None = what

    def __call__(self) -> None:
        if self._what is not None:
            what, self._what = self._what, None
            what()

    def active(self) -> bool:
        return self._what is not None

    def cancel(self) -> None:
        self._what = None


class _Fleet(SharedFleet):
    """A fleet that says when it hears of a job."""

    heard: Callable[[NodeAddress], None]

    def assigned_elsewhere(
        self, address: NodeAddress, weight: float, jobs: int, *, is_followed: bool = True
    ) -> None:
        super().assigned_elsewhere(address, weight, jobs, is_followed=is_followed)
        self.heard(address)


class _Router:
    """One of the routers, with a clock that shows another time than those of the others."""

    def __init__(self, run: "Replicated", number: int, random: Random) -> None:
        world, offset = run.world, random.uniform(0, 1e6)
        self._run = run
        self.fleet = _Fleet(lambda: world.now + offset, random)
        self.fleet.heard = partial(self._heard, number)
        sender = random.randbytes(8)
        self.shares = Shares(int.from_bytes(sender, "big"))
        clock: Any = run.clock
        self.link = run.hub.link()
        self.sharing = Sharing(self.fleet, self.link, clock, self.shares, sender)
        self.sharing.hear_with(self)
        self.polls = Polls(run.scenario, at_once=False, random=random)
        self.shares_of = []
        self.fleet.replace(run.addresses)
        for node, address in enumerate(run.addresses):
            self.shares_of.append(self.shares.add(address))
            self.fleet.observed(address, run.report(node, 0))
        self.is_dead = False

    def _heard(self, number: int, address: NodeAddress) -> None:
        self.assigned(self._run.node_of[address])

    def assigned(self, node: int) -> None:
        """A job was assigned to a node."""
        if not self.is_dead:
            address = self._run.addresses[node]
            self.polls.assigned(node, self._run.world.now, self.fleet.looks(address))

    def poll(self, now: float) -> bool:
        """Poll the next node, if it is this router's turn; returns whether it is."""
        node = self.polls.take()
        share = self.shares_of[node]
        if self.is_dead or not self.shares.is_mine(share):
            self.polls.left(node, now)
            return False
        pending = self._run.world.reported(node)
        report = self._run.report(node, pending)
        self.fleet.observed(share.address, report)
        self.sharing.reported(share, report)
        self.polls.polled(node, pending, now)
        return True

    def die(self) -> None:
        """Stop without a word."""
        self.is_dead = self.link.is_deaf = self.link.is_mute = True

    def reported_elsewhere(self, share: Share, member: int, report: NodeReport, at: float) -> None:
        self.fleet.observed(share.address, report, at)

    def missed_elsewhere(self, share: Share, member: int, reason: str, at: float) -> None:
        raise NotImplementedError

    def unshared(self, share: Share) -> None:
        raise NotImplementedError

    def members_changed(self) -> None:
        """Each poll asks whose turn it is anew."""


class _Nobody:
    """The policy of a run whose routers are elsewhere."""

    at_once = False

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.random = random

    def observed(self, node: int, pending: int, now: float) -> None:
        raise NotImplementedError

    pick = looks = observed


class Replicated(Run):
    """
    A run of a scenario; with the same seed, it has the same nodes as under any policy.

    :param setting: the routers.
    """

    def __init__(self, scenario: Scenario, setting: Setting, seed: int) -> None:
        super().__init__(scenario, _Nobody, seed, queues=False)  # type: ignore[arg-type]
        self.scenario = scenario
        self.world = self._world
        self._setting = setting
        self.addresses = [
            parse_address(f"10.{node >> 16}.{node >> 8 & 255}.{node & 255}:4000")
            for node in range(scenario.nodes)
        ]
        self.node_of = {address: node for node, address in enumerate(self.addresses)}
        self._containers = [
            tuple(Container(name, external=True) for name in sorted(names))
            for names in self.world.containers
        ]
        clock: Any = _Clock(self, self.world)
        self.clock = clock
        random = self._chance = Random(seed + 2)
        self.hub = Hub(clock, lambda: _LEAST + random.expovariate(1 / _MORE))
        self.hub.is_up = setting.event is not Event.NEVER
        self.routers = [
            _Router(self, number, Random(seed + 3 + number)) for number in range(setting.replicas)
        ]
        for router in self.routers:
            router.sharing.startService()
        if setting.event is Event.DEATH:
            self.at(self._outcome.changed, self.routers[0].die)
        elif setting.event is Event.AWAY:
            self.at(self._outcome.changed, self._lose)

    def report(self, node: int, pending: int) -> NodeReport:
        return NodeReport(self._containers[node], {"offchain": pending, "onchain": 0})

    def pick(self, asked: frozenset[str], now: float) -> int:
        router = self._chance.choice([router for router in self.routers if not router.is_dead])
        node = self.node_of[router.fleet.pick(asked)]
        router.assigned(node)
        return node

    @property
    def next_poll(self) -> float:
        return min(router.polls.next for router in self.routers)

    def poll(self, now: float) -> None:
        router = min(self.routers, key=lambda router: router.polls.next)
        self.polled += router.poll(now)

    def _place(self, node: int, measured: bool) -> None:
        if self._setting.event in (Event.AWAY, Event.NEVER):
            since = self.world.now - self._outcome.changed
            measured = measured and since >= 0.0 and since % (2 * AWAY) < AWAY
        super()._place(node, measured)

    def _lose(self) -> None:
        """Lose the server for a minute."""
        self.hub.stop()
        self.at(self.world.now + AWAY, self.hub.start)
        self.at(self.world.now + 2 * AWAY, self._lose)
