"""The fleet: every node the router knows, its state, and which of them to use now."""

from array import array
from collections.abc import Callable, Iterable
from itertools import chain
from random import Random

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.load import STRIDE, Loads, Weights
from infernet_router.quoting import quoted
from infernet_router.reports import NodeReport

_RUN = 8
"""Candidates that are compared in a pick: two runs of eight, each of neighbours at a random place.
Two candidates are far better than one (Mitzenmacher, "The power of two choices in randomized load
balancing", IEEE TPDS 12(10), 2001), and 32 hardly better than 16, which cost the same in a fleet
of any size. Neighbours stand together in memory; two runs are as good as 16 places, one is not."""

_MAX_COMBINATIONS = 256
"""Combinations of containers whose candidates are kept, those asked for last."""


class NoNode(Exception):
    """No node can do the job; the message says why, in words for the client who asked."""


@frozen
class CameUp:
    """A node that was not up is up."""

    away: float | None
    """Seconds since it went down, or None when it had not been down."""


@frozen
class States:
    """How many nodes are in which state."""

    up: int
    down: int
    unknown: int
    """Those whose first poll is not back."""


class _Node:
    """One node, and what is known of it."""

    __slots__ = ("address", "containers", "down_since", "place", "reason")

    def __init__(self, address: NodeAddress, place: int) -> None:
        self.address = address
        self.place = place
        """Of its load."""
        self.containers: dict[str, bool] = {}
        """While it is up: each container it runs, and whether that is external."""
        self.down_since: float | None = None
        """While it is down: since when, on the fleet's clock."""
        self.reason = ""
        """While it is down: why."""

    def takes(self, containers: Iterable[str]) -> bool:
        """Whether it runs all these containers and takes a job for one of them."""
        external = [self.containers.get(container) for container in containers]
        return None not in external and True in external


class _Group:
    """Some of the nodes, by the place of their loads."""

    __slots__ = ("_index", "places")

    def __init__(self) -> None:
        self.places = array("q")
        self._index: dict[int, int] = {}

    def set(self, node: _Node, member: bool) -> None:
        """Let a node be in the group, or not."""
        place = node.place
        if member == (place in self._index):
            return
        if member:
            self._index[place] = len(self.places)
            self.places.append(place)
        else:
            index, last = self._index.pop(place), self.places.pop()
            if last != place:
                self.places[index] = last
                self._index[last] = index

    def sample(self, random: Random) -> "array[int]":
        """Some of the places, each as likely as another; all of them when they are few."""
        count = len(self.places)
        if count <= 2 * _RUN:
            return self.places
        first = int(random.random() * (count + _RUN - 1)) + 1
        second = int(random.random() * (count + _RUN - 1)) + 1
        return (
            self.places[first - _RUN if first > _RUN else 0 : first]
            + self.places[second - _RUN if second > _RUN else 0 : second]
        )


class Fleet:
    """
    The nodes, each unknown until its first poll is back, then up or down.

    :param seconds: tells the time, in seconds.
    :param random: chooses whom to compare, and breaks ties.
    :param weights: what jobs cost.
    """

    def __init__(
        self, seconds: Callable[[], float], random: Random, weights: Weights | None = None
    ) -> None:
        self._seconds = seconds
        self._random = random
        self._weights = weights or Weights()
        self._loads = Loads()
        self._nodes: dict[NodeAddress, _Node] = {}
        self._at: list[NodeAddress | None] = []
        """By place of their loads, the nodes' addresses: all that a pick needs of its node."""
        self._up: set[_Node] = set()
        self._down: dict[_Node, None] = {}
        self._external: dict[str, _Group] = {}
        """By container, the nodes that are up and take a job for it."""
        self._internal: dict[str, _Group] = {}
        """By container, the nodes that are up and run it, but only for jobs that another takes."""
        self._together: dict[frozenset[str], _Group] = {}
        """By several containers asked for, their candidates: the combinations asked for last."""
        self.addresses: tuple[NodeAddress, ...] = ()
        """The nodes' addresses; another tuple whenever the nodes are replaced."""

    def replace(self, addresses: Iterable[NodeAddress]) -> None:
        """Make these the nodes: what is known of one that stays is kept."""
        nodes: dict[NodeAddress, _Node] = {}
        for address in addresses:
            node = nodes[address] = self._nodes.get(address) or self._new(address)
            node.address = self._at[node.place // STRIDE] = address
        for gone in self._nodes.keys() - nodes.keys():
            node = self._nodes[gone]
            self._set_containers(node, {})
            self._up.discard(node)
            self._down.pop(node, None)
            self._at[node.place // STRIDE] = None
            self._loads.remove(node.place)
        self._nodes = nodes
        self.addresses = tuple(node.address for node in nodes.values())

    def observed(self, address: NodeAddress, report: NodeReport) -> CameUp | None:
        """A poll brought this report: the node is up. Says so when it was not up before."""
        node = self._nodes.get(address)
        if node is None:
            return None
        now, came_up = self._seconds(), None
        if node not in self._up:
            came_up = CameUp(away=None if node.down_since is None else now - node.down_since)
            node.down_since = None
            self._down.pop(node, None)
            self._up.add(node)
        containers = {container.id: container.external for container in report.containers}
        if containers != node.containers:
            self._set_containers(node, containers)
        self._loads.reported(node.place, now, self._weights.of_pending(report.pending))
        return came_up

    def missed(self, address: NodeAddress, reason: str) -> bool:
        """A poll brought no report: the node is down. True when it was not down before."""
        node = self._nodes.get(address)
        if node is None:
            return False
        node.reason = reason
        if node.down_since is not None:
            return False
        node.down_since = self._seconds()
        self._loads.lost(node.place)
        self._set_containers(node, {})
        self._up.discard(node)
        self._down[node] = None
        return True

    def pick(self, containers: Iterable[str]) -> NodeAddress:
        """
        The best node for a job that needs all these containers; the job is counted as assigned.

        :raises NoNode: when there is none.
        """
        asked, now = tuple(dict.fromkeys(containers)), self._seconds()
        weight = self._weights.of_job(asked)
        place = self._best(asked, now, weight)
        self._loads.assign(place, now, weight)
        return self._address(place)

    def peek(self, containers: Iterable[str]) -> NodeAddress:
        """A node that `pick` might choose now; nothing is counted. Raises as `pick` does."""
        asked = tuple(dict.fromkeys(containers))
        return self._address(self._best(asked, self._seconds(), self._weights.of_job(asked)))

    def jobs(self, address: NodeAddress) -> float:
        """The router's estimate of the jobs at a node now; 0 if there is no such node."""
        node = self._nodes.get(address)
        return self._loads.jobs(node.place, self._seconds()) if node else 0.0

    @property
    def states(self) -> States:
        """How many nodes are in which state."""
        up, down = len(self._up), len(self._down)
        return States(up=up, down=down, unknown=len(self._nodes) - up - down)

    def _new(self, address: NodeAddress) -> _Node:
        """A node that nothing is known of."""
        node = _Node(address, self._loads.add())
        if node.place == len(self._at) * STRIDE:
            self._at.append(address)
        return node

    def _address(self, place: int) -> NodeAddress:
        """The address of the node whose load is at a place."""
        address = self._at[place // STRIDE]
        assert address is not None
        return address

    def _best(self, asked: tuple[str, ...], now: float, weight: float) -> int:
        """Of a sample of the candidates, the place of the one where the job costs least."""
        candidates = self._candidates(asked)
        if candidates is None or not candidates.places:
            raise NoNode(self._why_none(asked))
        sample = candidates.sample(self._random)
        return self._loads.cheapest(sample, now, weight, self._random)

    def _candidates(self, asked: tuple[str, ...]) -> _Group | None:
        """The nodes that are up, run all these containers, and take a job for one of them."""
        if len(asked) == 1:
            return self._external.get(asked[0])
        together = frozenset(asked)
        group = self._together.pop(together, None)
        if group is None:
            running = [self._running(container) for container in asked]
            fewest = min(running, key=lambda groups: sum(map(len, groups)), default=[])
            if not fewest:
                return None
            group = _Group()
            for place in chain(*fewest):
                node = self._nodes[self._address(place)]
                group.set(node, node.takes(asked))
            if len(self._together) == _MAX_COMBINATIONS:
                del self._together[next(iter(self._together))]
        self._together[together] = group
        return group

    def _running(self, container: str) -> list["array[int]"]:
        """The places of the nodes that are up and run a container, in two parts."""
        groups = self._external.get(container), self._internal.get(container)
        return [group.places for group in groups if group]

    def _set_containers(self, node: _Node, containers: dict[str, bool]) -> None:
        """A node runs these containers from now on: keep every group right."""
        before, node.containers = node.containers, containers
        changed = {
            container
            for container in before.keys() | containers.keys()
            if before.get(container) is not containers.get(container)
        }
        for groups, kind in ((self._external, True), (self._internal, False)):
            for container in changed:
                member = containers.get(container) is kind
                if not member and container not in groups:
                    continue
                group = groups.setdefault(container, _Group())
                group.set(node, member)
                if not group.places:
                    del groups[container]
        for together, group in self._together.items():
            if not changed.isdisjoint(together):
                group.set(node, node.takes(together))

    def _why_none(self, asked: tuple[str, ...]) -> str:
        """Why no node is a candidate for these containers."""
        if not self._nodes:
            return "no node is known"
        states = self.states
        if states.up:
            why = self._what_is_missing(asked)
            if states.unknown:
                why += f"; the first polls of {states.unknown} more are not back"
            return why
        if states.unknown:
            return "the first polls are not back yet"
        example = next(iter(self._down))
        more = f"; {states.down - 1} more" if states.down > 1 else ""
        return f"no node is up; {example.address} is down: {example.reason}{more}"

    def _what_is_missing(self, asked: tuple[str, ...]) -> str:
        """What the nodes that are up lack for these containers."""
        absent = [
            quoted(container)
            for container in asked
            if container not in self._external and container not in self._internal
        ]
        if absent:
            return f"no up node runs {' or '.join(absent)}"
        if len(asked) == 1:
            return f"no up node takes jobs for {quoted(asked[0])}, which is not external"
        return (
            f"no single up node runs all of {', '.join(map(quoted, asked))}"
            " and takes jobs for one of them"
        )
