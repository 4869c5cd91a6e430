"""The fleet: every node the router knows, its state, and which of them to use now."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from random import Random

import msgspec
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

_SEARCHED = 256
"""Nodes that are looked at, of some that are given, before it is settled that all are full."""

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


class RunningContainer(msgspec.Struct, frozen=True):
    """A container, and the nodes that are up and run it."""

    id: str
    count: int
    """How many nodes."""
    description: str | None
    """What most of those that describe it say; of two said as often, what sorts first."""


@frozen
class Among:
    """Some of the nodes, to pick from."""

    addresses: Sequence[NodeAddress]
    otherwise: str
    """Why there is no node, in words, when none of them is a candidate but others are."""


class _Node:
    """One node, and what is known of it."""

    __slots__ = ("address", "containers", "descriptions", "down_since", "full", "place", "reason")

    def __init__(self, address: NodeAddress, place: int) -> None:
        self.address = address
        self.place = place
        """Of its load."""
        self.containers: dict[str, bool] = {}
        """While it is up: each container it runs, and whether that is external."""
        self.descriptions: dict[str, str] = {}
        """While it is up: what it says of its containers, where it says something."""
        self.down_since: float | None = None
        """While it is down: since when, on the fleet's clock."""
        self.reason = ""
        """While it is down: why."""
        self.full = False
        """Whether it is left out while another candidate is not full."""

    def takes(self, containers: Iterable[str]) -> bool:
        """Whether it runs all these containers and takes a job for one of them."""
        external = [self.containers.get(container) for container in containers]
        return None not in external and True in external


class _Group:
    """Some of the nodes, by the place of their loads."""

    __slots__ = ("_index", "full", "roomy")

    def __init__(self) -> None:
        self.roomy = array("q")
        """The places of those that are not full."""
        self.full = array("q")
        self._index: dict[int, int] = {}
        """Where each place stands in its array."""

    def __len__(self) -> int:
        return len(self.roomy) + len(self.full)

    def set(self, node: _Node, member: bool) -> None:
        """Let a node be in the group, or not. Before it gets full, or roomy, it has to leave."""
        place, places = node.place, self.full if node.full else self.roomy
        if member == (place in self._index):
            return
        if member:
            self._index[place] = len(places)
            places.append(place)
        else:
            index, last = self._index.pop(place), places.pop()
            if last != place:
                places[index] = last
                self._index[last] = index

    def sample(self, random: Random) -> "array[int]":
        """
        Some of the places, each as likely as another; all of them when they are few.

        They are of nodes that are not full, unless all are.
        """
        places = self.roomy or self.full
        count = len(places)
        if count <= 2 * _RUN:
            return places
        first = int(random.random() * (count + _RUN - 1)) + 1
        second = int(random.random() * (count + _RUN - 1)) + 1
        return (
            places[first - _RUN if first > _RUN else 0 : first]
            + places[second - _RUN if second > _RUN else 0 : second]
        )


class Fleet:
    """
    The nodes, each unknown until its first poll is back, then up or down.

    :param seconds: tells the time, in seconds.
    :param random: chooses whom to compare, and breaks ties.
    :param weights: what jobs cost.
    :param max_utilization: a node is full while its utilization is over this share; none is by
        default.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        random: Random,
        weights: Weights | None = None,
        max_utilization: float = 1.0,
    ) -> None:
        self._seconds = seconds
        self._random = random
        self._weights = weights or Weights()
        self._max_utilization = max_utilization
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
        self._descriptions: dict[str, dict[str, tuple[str, int]]] = {}
        """By container, each text that nodes that are up say of it: the one copy that all of them
        have, and how many they are."""
        self._listing: tuple[RunningContainer, ...] | None = ()
        """What runs, or None when that has to be listed anew."""
        self._assigned: set[int] = set()
        """The places of nodes that were handed out since somebody asked for them."""
        self._order = random.getrandbits(32)
        """Puts nodes that are alike in an order of chance, but the same for all pages of a list."""
        self.addresses: tuple[NodeAddress, ...] = ()
        """The nodes' addresses; another tuple whenever the nodes are replaced."""
        self.learned = 0
        """How often it was told of a node that it did not know."""

    def replace(self, addresses: Iterable[NodeAddress]) -> None:
        """Make these the nodes: what is known of one that stays is kept."""
        nodes: dict[NodeAddress, _Node] = {}
        for address in addresses:
            node = nodes[address] = self._nodes.get(address) or self._new(address)
            node.address = self._at[node.place // STRIDE] = address
        for gone in self._nodes.keys() - nodes.keys():
            node = self._nodes[gone]
            self._set_containers(node, {})
            self._describe(node, {})
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
        texts = {c.id: c.description for c in report.containers if c.description}
        if texts != node.descriptions:
            self._describe(node, texts)
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
        self._describe(node, {})
        self._up.discard(node)
        self._down[node] = None
        return True

    def utilized(self, address: NodeAddress, share: float | None) -> bool:
        """
        A node's utilization is this, or is not known. True when the node gets full, or roomy again.

        A full node is left out of a choice in which a candidate is not full. It stays full while
        it is down: when it is back, nothing newer is known of it.
        """
        node = self._nodes.get(address)
        full = share is not None and share > self._max_utilization
        if node is None or node.full == full:
            return False
        containers = node.containers
        self._set_containers(node, {})
        node.full = full
        self._set_containers(node, containers)
        return True

    def pick(self, containers: Iterable[str], among: Among | None = None) -> NodeAddress:
        """
        The best node for a job that needs all these containers; the job is counted as assigned.

        :param among: nodes to choose from, if not from all.
        :raises NoNode: when there is none.
        """
        asked, now = tuple(dict.fromkeys(containers)), self._seconds()
        weight = self._weights.of_job(asked)
        place = self._best(asked, now, weight, among)
        self._loads.assign(place, now, weight)
        self._assigned.add(place)
        return self._address(place)

    def peek(self, containers: Iterable[str], among: Among | None = None) -> NodeAddress:
        """A node that `pick` might choose now; nothing is counted. Raises as `pick` does."""
        asked = tuple(dict.fromkeys(containers))
        return self._address(self._best(asked, self._seconds(), self._weights.of_job(asked), among))

    def rank(
        self,
        containers: Iterable[str],
        count: int,
        offset: int = 0,
        among: Among | None = None,
        *,
        assign: bool = True,
    ) -> list[NodeAddress]:
        """
        The best nodes for a job that needs all these containers, best first; none if there is none.
        Those that are full come after all others.

        All candidates are looked at, not a sample of them: that takes some milliseconds for 10,000.

        :param count: how many at most.
        :param offset: how many better ones to leave out.
        :param assign: whether the job is counted as assigned to the first.
        """
        asked, now = tuple(dict.fromkeys(containers)), self._seconds()
        weight = self._weights.of_job(asked)
        roomy, full = self._all(asked, among)
        if not count or offset >= len(roomy) + len(full):
            return []
        wanted, order = offset + count, self._order
        best = self._loads.cheapest_first(roomy, now, weight, wanted, order)
        if full and len(best) < wanted:
            best += self._loads.cheapest_first(full, now, weight, wanted - len(best), order)
        del best[:offset]
        if assign:
            self._loads.assign(best[0], now, weight)
            self._assigned.add(best[0])
        return [self._address(place) for place in best]

    def take_assigned(self) -> list[NodeAddress]:
        """The nodes that were handed out since the last call, of those that are still known."""
        addresses = [self._at[place // STRIDE] for place in self._assigned]
        self._assigned.clear()
        return [address for address in addresses if address is not None]

    def can(self, containers: Iterable[str]) -> bool:
        """Whether any node can do a job that needs all these containers."""
        return bool(self._candidates(tuple(dict.fromkeys(containers))))

    def jobs(self, address: NodeAddress) -> float:
        """The router's estimate of the jobs at a node now; 0 if there is no such node."""
        node = self._nodes.get(address)
        return self._loads.jobs(node.place, self._seconds()) if node else 0.0

    def why_none_up(self) -> str:
        """Why no node is up, when none is."""
        if not self._nodes:
            return "no node is known"
        states = self.states
        if states.unknown:
            return "the first polls are not back yet"
        example = next(iter(self._down))
        more = f"; {states.down - 1} more" if states.down > 1 else ""
        return f"no node is up; {example.address} is down: {example.reason}{more}"

    @property
    def running(self) -> tuple[RunningContainer, ...]:
        """Every container that an up node runs, sorted by id."""
        if self._listing is None:
            counts = Counter[str]()
            for groups in (self._external, self._internal):
                for container, group in groups.items():
                    counts[container] += len(group)
            self._listing = tuple(
                RunningContainer(container, count, self._description(container))
                for container, count in sorted(counts.items())
            )
        return self._listing

    @property
    def up(self) -> list[NodeAddress]:
        """The nodes that are up."""
        return [node.address for node in self._nodes.values() if node in self._up]

    def is_full(self, address: NodeAddress) -> bool:
        """Whether a node is full; no, if there is no such node."""
        node = self._nodes.get(address)
        return node is not None and node.full

    def is_up(self, address: NodeAddress) -> bool:
        """Whether a node is up; no, if there is no such node."""
        return self._nodes.get(address) in self._up

    @property
    def states(self) -> States:
        """How many nodes are in which state."""
        up, down = len(self._up), len(self._down)
        return States(up=up, down=down, unknown=len(self._nodes) - up - down)

    def _new(self, address: NodeAddress) -> _Node:
        """A node that nothing is known of."""
        self.learned += 1
        node = _Node(address, self._loads.add())
        if node.place == len(self._at) * STRIDE:
            self._at.append(address)
        return node

    def _address(self, place: int) -> NodeAddress:
        """The address of the node whose load is at a place."""
        address = self._at[place // STRIDE]
        assert address is not None
        return address

    def _best(self, asked: tuple[str, ...], now: float, weight: float, among: Among | None) -> int:
        """Of a sample of the candidates, the place of the one where the job costs least."""
        candidates = self._candidates(asked)
        if candidates is None or not (candidates.roomy or candidates.full):
            raise NoNode(self._why_none(asked))
        sample: Sequence[int]
        if among is None:
            sample = candidates.sample(self._random)
        else:
            sample = self._sample(asked, among.addresses, bool(candidates.roomy))
            if not sample:
                raise NoNode(among.otherwise)
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

    def _sample(
        self, asked: tuple[str, ...], addresses: Sequence[NodeAddress], any_roomy: bool
    ) -> list[int]:
        """
        Of these nodes, the places of some that are candidates, if there are any.

        They are not full if one of those that are looked at is not.

        :param any_roomy: whether it is worth a search: any candidate is not full.
        """
        for count in (2 * _RUN, _SEARCHED):
            if len(addresses) <= count:
                break
            roomy, full = self._places(asked, self._random.sample(addresses, count))
            if roomy or (full and (not any_roomy or count == _SEARCHED)):
                return roomy or full
        roomy, full = self._places(asked, addresses)
        return roomy or full

    def _all(
        self, asked: tuple[str, ...], among: Among | None
    ) -> tuple[Sequence[int], Sequence[int]]:
        """The places of all candidates: of those that are not full, and of those that are."""
        if among is not None:
            return self._places(asked, among.addresses)
        group = self._candidates(asked)
        return (group.roomy, group.full) if group else ((), ())

    def _places(
        self, asked: tuple[str, ...], addresses: Iterable[NodeAddress]
    ) -> tuple[list[int], list[int]]:
        """Of these nodes, the places of the candidates: those that are not full, and those."""
        roomy: list[int] = []
        full: list[int] = []
        for node in map(self._nodes.get, addresses):
            if node is not None and node.takes(asked):
                (full if node.full else roomy).append(node.place)
        return roomy, full

    def _running(self, container: str) -> list["array[int]"]:
        """The places of the nodes that are up and run a container, in parts."""
        groups = self._external.get(container), self._internal.get(container)
        return [places for group in groups if group for places in (group.roomy, group.full)]

    def _set_containers(self, node: _Node, containers: dict[str, bool]) -> None:
        """A node runs these containers from now on: keep every group right."""
        self._listing = None
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
                if not group:
                    del groups[container]
        for together, group in self._together.items():
            if not changed.isdisjoint(together):
                group.set(node, node.takes(together))

    def _describe(self, node: _Node, texts: dict[str, str]) -> None:
        """A node says this of its containers from now on; many say the same, so it is kept once."""
        self._listing = None
        for container, text in node.descriptions.items():
            said = self._descriptions[container]
            kept, count = said.pop(text)
            if count > 1:
                said[kept] = kept, count - 1
            elif not said:
                del self._descriptions[container]
        node.descriptions = {}
        for container, text in texts.items():
            said = self._descriptions.setdefault(container, {})
            kept, count = said.get(text, (text, 0))
            said[kept] = kept, count + 1
            node.descriptions[container] = kept

    def _description(self, container: str) -> str | None:
        """What most of the nodes that are up and describe a container say of it."""
        said = self._descriptions.get(container, {})
        return min(said, key=lambda text: (-said[text][1], text), default=None)

    def _why_none(self, asked: tuple[str, ...]) -> str:
        """Why no node is a candidate for these containers."""
        states = self.states
        if not states.up:
            return self.why_none_up()
        why = self._what_is_missing(asked)
        if states.unknown:
            why += f"; the first polls of {states.unknown} more are not back"
        return why

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
