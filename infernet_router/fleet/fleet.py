"""The fleet: what is learned of any node goes in here, and the best node for a job comes out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from random import Random

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.candidates import Candidates, Tier, without
from infernet_router.fleet.catalogue import Catalogue, RunningContainer
from infernet_router.fleet.events import CameUp, Change, Event, Outcome
from infernet_router.fleet.journal import Cursor, Journal
from infernet_router.fleet.load import Loads, Weights
from infernet_router.fleet.no_node import NoNode, Reason
from infernet_router.fleet.node import Node, State
from infernet_router.fleet.view import NodeView
from infernet_router.quoting import quoted
from infernet_router.reports import NodeReport


@frozen
class States:
    """How many nodes are in which state."""

    up: int
    suspect: int
    down: int
    unknown: int


@frozen
class Among:
    """Some of the nodes, to choose from."""

    addresses: Sequence[NodeAddress]
    otherwise: str
    """The error message when none of them is a candidate, but other nodes are."""


class Fleet:
    """
    The nodes, each unknown until its first poll ends, then up or down, or suspect in between.

    :param seconds: the monotonic time, in seconds.
    :param random: chooses which candidates are compared, and breaks ties.
    :param weights: what jobs cost.
    :param max_utilization: a node is full while its utilization is over this share; by default, no
        node ever is.
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
        self._nodes: dict[NodeAddress, Node] = {}
        self._by_index: list[Node | None] = []
        self._candidates = Candidates(self._by_index, random)
        self._catalogue = Catalogue(self._candidates.counts)
        self._counts = Counter[State]()
        """How many nodes are in which state."""
        self._down: dict[Node, None] = {}
        """The nodes that are down, in the order in which they went down."""
        self._page_order = random.getrandbits(32)
        """Breaks ties in `rank`: random, but the same for all pages of a list."""
        self._changes = Journal[Change]()
        self._assignments = Journal[NodeAddress]()

    def replace(self, addresses: Iterable[NodeAddress]) -> None:
        """Replace the nodes; those that stay keep their state and load."""
        nodes: dict[NodeAddress, Node] = {}
        for address in addresses:
            node = self._nodes.get(address) or nodes.get(address) or self._add(address)
            nodes[address] = node
            if node.address.text != address.text:
                node.address = address
                self._changes.write(Change(Event.RESPELLED, address))
        for address in self._nodes.keys() - nodes.keys():
            self._remove(self._nodes[address])
        self._nodes = nodes

    def observed(
        self, address: NodeAddress, report: NodeReport, at: float | None = None
    ) -> CameUp | None:
        """
        Record a report: the node is up. Returns CameUp if it was down or unknown before.

        :param at: when the node made it, on the fleet's clock: now by default, and at most a moment
            ago. One that is older than the last report, or than what made the node suspect or down,
            is ignored.
        """
        node, now = self._nodes.get(address), self._seconds()
        if node is None:
            return None
        at = now if at is None else min(at, now)
        is_old = node.reported_at is not None and at < node.reported_at
        if is_old or (at < node.since and node.state in (State.SUSPECT, State.DOWN)):
            return None
        came_up = None
        if node.state is not State.UP:
            if not node.is_there:
                came_up = CameUp(away=now - node.since if node.state is State.DOWN else None)
            self._set_state(node, State.UP)
        containers = {container.id: container.external for container in report.containers}
        if containers != node.containers:
            self._set_containers(node, containers)
        texts = {c.id: c.description for c in report.containers if c.description}
        if texts != node.descriptions:
            node.descriptions = self._catalogue.describe(node.descriptions, texts)
        node.pending = sum(report.pending.values())
        was_used = self._loads.assigned(node.index) > 0
        node.quiet = 0 if node.pending else 1 if was_used else node.quiet + 1
        node.reported_at = at
        self._loads.reported(node.index, at, self._weights.of_pending(report.pending))
        return came_up

    def missed(self, address: NodeAddress, reason: str, *, timed_out: bool = False) -> bool:
        """
        Record a failed poll. Returns whether the node went down.

        :param timed_out: whether it only ran out of time: a node that was up is suspect then.
        """
        node = self._nodes.get(address)
        if node is None:
            return False
        node.reason = reason
        if node.state is State.DOWN:
            return False
        self._loads.lost(node.index)
        if timed_out and node.state is State.UP:
            self._set_state(node, State.SUSPECT)
            return False
        self._set_state(node, State.DOWN)
        self._forget_containers(node)
        return True

    def utilized(self, address: NodeAddress, share: float | None) -> bool | None:
        """
        Record a node's utilization, or None if it is unknown, and whether that makes the node full.

        A full node stays full while it is down: when it comes back, nothing newer is known of it.

        :return: whether it is full now, if that has changed; None otherwise.
        """
        node = self._nodes.get(address)
        is_full = share is not None and share > self._max_utilization
        if node is None or node.is_full == is_full:
            return None
        node.is_full = is_full
        self._set_tier(node)
        return is_full

    def override(self, address: NodeAddress, tier: Tier = Tier.NORMAL, weight: float = 1.0) -> bool:
        """
        Set an operator's order for a node, in place of the last; False if there is no such node.

        :param tier: the best tier in which it may be.
        :param weight: it gets this many times the share of an ordinary node.
        """
        node = self._nodes.get(address)
        if node is None:
            return False
        node.override = tier
        self._loads.set_share(node.index, weight)
        self._set_tier(node)
        return True

    def pick(
        self,
        containers: Iterable[str],
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
        jobs: int = 1,
    ) -> NodeAddress:
        """
        Assign a job that needs all these containers to the best node; returns its address.

        :param among: the nodes to choose from; all by default.
        :param exclude: nodes not to choose.
        :param jobs: how many such jobs to assign.
        :raises NoNode: when no node can do the job.
        """
        asked, now = tuple(dict.fromkeys(containers)), self._seconds()
        weight = self._weights.of_job(asked)
        index = self._best(asked, now, weight * jobs, among, exclude)
        return self._assign(index, now, weight, jobs)

    def peek(
        self,
        containers: Iterable[str],
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
    ) -> NodeAddress:
        """A node that `pick` might choose now, without assigning the job. Raises as `pick` does."""
        asked = tuple(dict.fromkeys(containers))
        weight = self._weights.of_job(asked)
        return self._address(self._best(asked, self._seconds(), weight, among, exclude))

    def rank(
        self,
        containers: Iterable[str],
        count: int,
        offset: int = 0,
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
        assign: bool = True,
    ) -> list[NodeAddress]:
        """
        The best nodes for a job that needs all these containers, best first; empty if no node can
        do the job.

        This compares all candidates, not a sample: that takes some milliseconds for 10,000.

        :param count: the most nodes to return.
        :param offset: how many better ones to skip.
        :param exclude: nodes to leave out.
        :param assign: whether to assign the job to the first node returned.
        """
        asked, now = tuple(dict.fromkeys(containers)), self._seconds()
        weight = self._weights.of_job(asked)
        some = None if among is None else map(self._nodes.get, among.addresses)
        classes = without(self._indices(exclude), self._candidates.serving(asked, some))
        if not count or offset >= sum(map(len, classes)):
            return []
        wanted = offset + count
        best: list[int] = []
        for equals in classes:
            if len(best) < wanted:
                best += self._loads.cheapest_first(
                    equals, now, weight, wanted - len(best), self._page_order
                )
        del best[:offset]
        if assign:
            self._assign(best[0], now, weight, 1)
        return [self._address(index) for index in best]

    def told(self, address: NodeAddress, outcome: Outcome) -> None:
        """Record what came of a job that was assigned to a node, as its client says."""
        node = self._nodes.get(address)
        if node is None:
            return
        if outcome is Outcome.DONE:
            self._loads.finished(node.index)
        else:
            self._loads.failed(node.index, self._seconds())

    def suspected(self, address: NodeAddress, containers: Collection[str]) -> None:
        """
        Record that containers of a node may have crashed: they said what resources they have, and
        do not any more.
        """
        node = self._nodes.get(address)
        if node is not None and not node.containers.keys().isdisjoint(containers):
            self._loads.suspected(node.index, self._seconds())

    def looks(self, address: NodeAddress) -> tuple[float, ...]:
        """Seconds after a job was assigned to a node at which a report of it would say most."""
        node = self._nodes.get(address)
        return () if node is None else self._loads.looks(node.index)

    def can(self, containers: Iterable[str]) -> bool:
        """Whether any node can do a job that needs all these containers."""
        return any(self._candidates.serving(tuple(dict.fromkeys(containers))))

    def view(self, address: NodeAddress) -> NodeView | None:
        """A node as it is now; None if there is no such node."""
        node = self._nodes.get(address)
        return None if node is None else self._view(node, self._seconds())

    def views(self) -> Iterator[NodeView]:
        """
        Every node, as it is when the iteration reaches it: 3 µs each.

        A node that is removed before that is skipped; one that is added may be missing.
        """
        for address in self.addresses:
            if (view := self.view(address)) is not None:
                yield view

    def follow_changes(self) -> Cursor[Change]:
        """
        Follow the events of all nodes from now on.

        The first entries describe the present state: ADDED for each node, then UP for each that is
        up or suspect.
        """
        added = (Change(Event.ADDED, address) for address in self.addresses)
        up = (Change(Event.UP, address) for address in self.up)
        return self._changes.follow(chain(added, up))

    def follow_assignments(self) -> Cursor[NodeAddress]:
        """Follow assignments from now on: the address of the node, once for each job."""
        return self._assignments.follow()

    def why_none_up(self) -> str:
        """Why no node is up; call it only when that is so."""
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
        return self._catalogue.running

    @property
    def addresses(self) -> tuple[NodeAddress, ...]:
        """The addresses of all nodes, as they are written now."""
        return tuple(node.address for node in self._nodes.values())

    @property
    def up(self) -> list[NodeAddress]:
        """The nodes that are up or suspect."""
        return [node.address for node in self._nodes.values() if node.is_there]

    def is_up(self, address: NodeAddress) -> bool:
        """Whether a node is up or suspect; False if there is no such node."""
        node = self._nodes.get(address)
        return node is not None and node.is_there

    @property
    def states(self) -> States:
        """How many nodes are in which state."""
        counts = self._counts
        return States(
            up=counts[State.UP],
            suspect=counts[State.SUSPECT],
            down=counts[State.DOWN],
            unknown=counts[State.UNKNOWN],
        )

    def _add(self, address: NodeAddress) -> Node:
        """Add a new node, which is unknown."""
        node = Node(address, self._loads.add(), self._seconds())
        if node.index == len(self._by_index):
            self._by_index.append(node)
        else:
            self._by_index[node.index] = node
        self._counts[node.state] += 1
        self._changes.write(Change(Event.ADDED, address))
        return node

    def _address(self, index: int) -> NodeAddress:
        """The address of the node whose load has this index."""
        node = self._by_index[index]
        assert node is not None
        return node.address

    def _remove(self, node: Node) -> None:
        """Forget a node."""
        self._forget_containers(node)
        self._counts[node.state] -= 1
        self._down.pop(node, None)
        self._loads.remove(node.index)
        self._by_index[node.index] = None
        self._changes.write(Change(Event.REMOVED, node.address))

    def _set_state(self, node: Node, state: State) -> None:
        """Move a node to another state, other than unknown."""
        self._counts[node.state] -= 1
        self._counts[state] += 1
        if state is State.DOWN:
            self._down[node] = None
        else:
            self._down.pop(node, None)
        node.state, node.since = state, self._seconds()
        self._set_tier(node)
        reason = node.reason if state is not State.UP else ""
        self._changes.write(Change(Event[state.name], node.address, node.since, reason))

    def _set_containers(self, node: Node, containers: dict[str, bool]) -> None:
        """Set the containers that a node runs."""
        self._candidates.set_containers(node, containers)
        self._catalogue.changed()

    def _forget_containers(self, node: Node) -> None:
        """Forget which containers a node runs."""
        self._set_containers(node, {})
        node.descriptions = self._catalogue.describe(node.descriptions, {})

    def _set_tier(self, node: Node) -> None:
        """Put a node in the tier that it should be in now."""
        tier = node.due_tier
        if tier is not node.tier:
            self._candidates.set_tier(node, tier)

    def _best(
        self,
        asked: tuple[str, ...],
        now: float,
        weight: float,
        among: Among | None,
        exclude: Collection[NodeAddress],
    ) -> int:
        """The index of the node where the job costs least, of a sample of the candidates."""
        candidates = self._candidates.of(asked)
        sample: Sequence[int] = candidates.sample(self._random) if candidates else ()
        if not sample:
            raise self._no_node(asked)
        if among is not None:
            sample = self._candidates.sample_of(asked, among.addresses, self._nodes.get)
            if not sample:
                raise NoNode(among.otherwise, Reason.MODEL)
        if exclude:
            some = None if among is None else map(self._nodes.get, among.addresses)
            excluded = self._indices(exclude)
            sample = self._candidates.sample_without(excluded, sample, asked, some)
            if not sample:
                named = ", ".join(map(quoted, asked))
                raise NoNode(f"every up node that runs {named} is excluded", Reason.EXCLUDED)
        return self._loads.cheapest(sample, now, weight, self._random)

    def _indices(self, addresses: Collection[NodeAddress]) -> set[int]:
        """The indices of these nodes, as far as they are in the fleet."""
        nodes = map(self._nodes.get, addresses)
        return {node.index for node in nodes if node is not None}

    def _assign(self, index: int, now: float, weight: float, jobs: int) -> NodeAddress:
        """Assign so many jobs of this weight to a node; returns its address."""
        self._loads.assign(index, now, weight, jobs)
        address = self._address(index)
        self._assignments.write(address)
        return address

    def _no_node(self, asked: tuple[str, ...]) -> NoNode:
        """Why no node is a candidate for these containers."""
        states = self.states
        if not states.up and not states.suspect:
            none_up = Reason.FIRST_POLLS if states.unknown else Reason.NONE_UP
            return NoNode(self.why_none_up(), none_up if self._nodes else Reason.NO_NODE_KNOWN)
        text, reason = self._candidates.why_none(asked)
        if states.unknown:
            text += f"; the first polls of {states.unknown} more are not back"
        return NoNode(text, reason)

    def _view(self, node: Node, now: float) -> NodeView:
        return NodeView(
            address=node.address,
            state=node.state,
            since=node.since,
            reason=node.reason if node.state in (State.DOWN, State.SUSPECT) else "",
            containers=node.containers,
            pending=node.pending,
            quiet=node.quiet,
            report_age=None if node.reported_at is None else now - node.reported_at,
            jobs=self._loads.jobs(node.index, now),
            assigned=self._loads.assigned(node.index),
            rate=self._loads.rate(node.index),
            doubt=self._loads.doubt(node.index),
            tier=node.tier,
            weight=self._loads.share(node.index),
        )
