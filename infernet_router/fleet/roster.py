"""The roster: which nodes there are, what state each is in, and which containers it runs."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import inf
from random import Random

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.candidates import Candidates
from infernet_router.fleet.catalogue import Catalogue
from infernet_router.fleet.events import Change, Event
from infernet_router.fleet.groups import Candidate, Tier
from infernet_router.fleet.journal import Cursor, Journal
from infernet_router.fleet.load import Loads
from infernet_router.fleet.no_node import NoNode, Reason
from infernet_router.fleet.node import Node, State
from infernet_router.fleet.records import Records


@frozen
class States:
    """How many nodes are in which state."""

    up: int
    suspect: int
    down: int
    unknown: int


@frozen
class Ordered:
    """What an operator ordered of a node, as far as it decides who gets jobs."""

    tier: Tier = Tier.NORMAL
    """The best tier in which it may be."""
    weight: float | None = None
    """It gets this many times the share of an ordinary node; None for what its address says."""


_NOTHING = Ordered()


class Roster:
    """
    The nodes of a fleet.

    :param seconds: the monotonic time, in seconds.
    :param random: chooses which candidates are compared.
    :param loads: keeps the load of each node.
    """

    def __init__(self, seconds: Callable[[], float], random: Random, loads: Loads) -> None:
        self._seconds = seconds
        self._loads = loads
        self.nodes: dict[NodeAddress, Node] = {}
        self.orders: dict[NodeAddress, Ordered] = {}
        """What operators ordered, also of nodes that are not in the fleet."""
        self.by_index: list[Node | None] = []
        """Every node at its index; None where an index is free."""
        self.reported_at = array("d")
        """When each node made its last report, by index; infinity for nodes that are down, and
        while there is none."""
        self.drained: dict[Node, None] = {}
        """The nodes that are to get no job, by an operator's order."""
        self.candidates = Candidates(self.by_index, random)
        """Finds the nodes that are up or suspect by the containers they run."""
        self._left: dict[int, Candidate] = {}
        """By index of a node that is down: the containers in its last report."""
        self.absent = Candidates(self._left, random)
        """Finds the nodes that are down by the containers in their last report."""
        self.catalogue = Catalogue(lambda: self.candidates.running, self.candidates.count)
        self.records: Records | None = None
        self.transitions = Counter[State]()
        """How often a node entered each state."""
        self.membership = 0
        """How often a node was added, removed or respelled."""
        self.by_state = Counter[State]()
        """How many nodes are in which state."""
        self._down: dict[Node, None] = {}
        """The nodes that are down, in the order in which they went down."""
        self._limited: dict[Node, None] = {}
        """The unknown nodes that have refused a poll, as they limit the rate of requests."""
        self._changes = Journal[Change]()

    def replacing(self, addresses: Iterable[NodeAddress]) -> Iterator[None]:
        """Replace the nodes, as Fleet.replacing describes it."""
        nodes: dict[NodeAddress, Node] = {}
        for address in addresses:
            if address not in nodes:
                node = self.nodes.get(address)
                if node is None:
                    node = self.nodes[address] = self._add(address)
                nodes[address] = node
                was, node.address = node.address, address
                if was.text != address.text:
                    self.membership += 1
                    self._changes.write(Change(Event.RESPELLED, address))
                if was.weight != address.weight:
                    self._obey(node)
            yield
        rest = list(self.nodes)
        while rest:
            address = rest.pop()
            if address not in nodes:
                self._remove(self.nodes.pop(address))
            yield
        self.nodes = nodes

    def limit(self, node: Node) -> None:
        """An unknown node has refused a poll, as it limits the rate of requests."""
        self._limited[node] = None

    def set_state(self, node: Node, state: State) -> None:
        """Move a node to another state, other than unknown."""
        self.by_state[node.state] -= 1
        self.by_state[state] += 1
        self.transitions[state] += 1
        if state is State.DOWN:
            self._down[node] = None
            self.reported_at[node.index] = inf
        else:
            self._down.pop(node, None)
        self._limited.pop(node, None)
        node.state, node.since = state, self._seconds()
        self.set_tier(node)
        if state is State.DOWN:
            left = self._left[node.index] = Candidate(node.index)
            self.absent.set_containers(left, node.containers)
            self._forget_containers(node)
        else:
            self._forget_left(node)
        if self.records is not None:
            reason = "" if state is State.UP else node.reason
            self.records.history.add(node.index, node.since, state, reason)
        self._changes.write(Change(Event[state.name], node.address))

    def set_containers(self, node: Node, containers: dict[str, bool]) -> None:
        """Set the containers that a node runs."""
        self.candidates.set_containers(node, containers)
        self._situation_changed()

    def set_tier(self, node: Node) -> None:
        """Put a node in the tier that it should be in now."""
        tier = node.due_tier
        if tier is not node.tier:
            self.candidates.set_tier(node, tier)
            self._situation_changed()

    def override(self, address: NodeAddress, ordered: Ordered) -> bool:
        """Set an operator's order, as Fleet.override describes it."""
        if ordered == _NOTHING:
            self.orders.pop(address, None)
        else:
            self.orders[address] = ordered
        node = self.nodes.get(address)
        if node is not None:
            self._obey(node)
        return node is not None

    def _obey(self, node: Node) -> None:
        """Do with a node what an operator ordered, or else what its address says."""
        ordered = self.orders.get(node.address, _NOTHING)
        node.override = ordered.tier
        if node.override is Tier.DRAINED:
            self.drained[node] = None
        else:
            self.drained.pop(node, None)
        weights = (ordered.weight, node.address.weight, 1.0)
        self._loads.set_share(node.index, next(weight for weight in weights if weight is not None))
        self.set_tier(node)

    def serves_alone(self, address: NodeAddress) -> list[str]:
        """The containers that only this node serves, as Fleet.serves_alone describes it."""
        node = self.nodes.get(address)
        if node is None or not node.is_there or node.tier is Tier.DRAINED:
            return []
        alone = []
        for container in node.containers:
            others = -(node.tier < Tier.SUSPECT)
            for group in self.candidates.by_container(container):
                others += sum(group.counts[: Tier.SUSPECT])
            if not others:
                alone.append(container)
        return alone

    def follow_changes(self) -> Cursor[Change]:
        """A cursor over the events of all nodes, as Fleet.follow_changes describes it."""
        added = (Change(Event.ADDED, address) for address in self.addresses)
        up = (Change(Event.UP, address) for address in self.up)
        return self._changes.follow(chain(added, up))

    def last_containers(self, node: Node) -> dict[str, bool]:
        """The containers in the last report of a node, also while it is down."""
        left = self._left.get(node.index)
        return node.containers if left is None else left.containers

    def indices(self, addresses: Iterable[NodeAddress]) -> set[int]:
        """The indices of these nodes, as far as they are in the fleet."""
        nodes = map(self.nodes.get, addresses)
        return {node.index for node in nodes if node is not None}

    @property
    def addresses(self) -> tuple[NodeAddress, ...]:
        """The addresses of all nodes, as they are written now."""
        return tuple(node.address for node in self.nodes.values())

    @property
    def up(self) -> list[NodeAddress]:
        """The nodes that are up or suspect."""
        return [node.address for node in self.nodes.values() if node.is_there]

    @property
    def awaited(self) -> int:
        """How many nodes' first polls are not back."""
        return self.by_state[State.UNKNOWN] - len(self._limited)

    @property
    def states(self) -> States:
        """How many nodes are in which state."""
        counts = self.by_state
        return States(
            up=counts[State.UP],
            suspect=counts[State.SUSPECT],
            down=counts[State.DOWN],
            unknown=counts[State.UNKNOWN],
        )

    def none_up(self) -> NoNode:
        """Why no node is up; call it only when that is so."""
        if not self.nodes:
            return NoNode("no node is known", Reason.NO_NODE_KNOWN)
        states, limited = self.states, len(self._limited)
        if self.awaited:
            return NoNode("the first polls are not back yet", Reason.FIRST_POLLS)
        if limited:
            example = next(iter(self._limited))
            more = f"; {limited - 1} more" if limited > 1 else ""
            more += f"; {states.down} down" if states.down else ""
            message = (
                f"no node is up; {example.address} has not reported yet: {example.reason}{more}"
            )
            return NoNode(message, Reason.NONE_UP)
        example = next(iter(self._down))
        more = f"; {states.down - 1} more" if states.down > 1 else ""
        message = f"no node is up; {example.address} is down: {example.reason}{more}"
        return NoNode(message, Reason.NONE_UP)

    def no_candidate(self, asked: tuple[str, ...]) -> NoNode:
        """Why no node is a candidate for these containers."""
        states = self.states
        if not states.up and not states.suspect:
            return self.none_up()
        (why, reason), limited = self.candidates.why_none(asked), len(self._limited)
        if waiting := self.awaited:
            why += f"; the first polls of {waiting} more are not back"
        if limited:
            why += f"; {limited} more limit the rate of requests and have not reported yet"
        return NoNode(why, reason)

    def _add(self, address: NodeAddress) -> Node:
        """Add a new node, which is unknown."""
        node = Node(address, self._loads.add(), self._seconds())
        if node.index == len(self.by_index):
            self.by_index.append(node)
            self.reported_at.append(inf)
        else:
            self.by_index[node.index] = node
        if self.records is not None:
            self.records.added(node.index)
        if address in self.orders or address.weight is not None:
            self._obey(node)
        self.by_state[node.state] += 1
        self.membership += 1
        self._changes.write(Change(Event.ADDED, address))
        return node

    def _remove(self, node: Node) -> None:
        """Forget a node."""
        self._forget_containers(node)
        self._forget_left(node)
        self.candidates.set_tier(node, Tier.NORMAL)  # another may get its index
        self.by_state[node.state] -= 1
        self._down.pop(node, None)
        self._limited.pop(node, None)
        self.drained.pop(node, None)
        self.reported_at[node.index] = inf
        if self.records is not None:
            self.records.removed(node.index, node.address)
        self._loads.remove(node.index)
        self.by_index[node.index] = None
        self.membership += 1
        self._changes.write(Change(Event.REMOVED, node.address))

    def _forget_containers(self, node: Node) -> None:
        """Forget which containers a node runs."""
        self.set_containers(node, {})
        node.descriptions = self.catalogue.describe(node.descriptions, {})

    def _forget_left(self, node: Node) -> None:
        """Forget which containers a node ran before it went down."""
        left = self._left.get(node.index)
        if left is not None:
            self.absent.set_containers(left, {})
            del self._left[node.index]
            self._situation_changed()

    def _situation_changed(self) -> None:
        if self.records is not None:
            self.records.situations.changed()
