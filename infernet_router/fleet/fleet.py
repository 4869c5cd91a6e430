"""The fleet: what is learned of any node goes in here, and the best node for a job comes out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from random import Random

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.candidates import Candidates, without
from infernet_router.fleet.catalogue import Catalogue, RunningContainer
from infernet_router.fleet.events import CameUp, Change, Event, Outcome
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.journal import Cursor, Journal
from infernet_router.fleet.load import Loads, Weights
from infernet_router.fleet.node import Node, State
from infernet_router.fleet.steps import Steps, finish
from infernet_router.fleet.view import NodeView
from infernet_router.quoting import quoted
from infernet_router.reports import NodeReport


class NoNode(Exception):
    """No node can do the job; the message tells the client why."""


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
    includes: Callable[[NodeAddress], bool] | None = None
    """Whether an address is meant; by default, all are."""


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
        self._catalogue = Catalogue(lambda: self._candidates.running, self._candidates.count)
        self._counts = Counter[State]()
        """How many nodes are in which state."""
        self._down: dict[Node, None] = {}
        """The nodes that are down, in the order in which they went down."""
        self._limited: dict[Node, None] = {}
        """The unknown nodes that have refused a poll, as they limit the rate of requests."""
        self._page_order = random.getrandbits(32)
        """Breaks ties in `rank`: random, but the same for all pages of a list."""
        self._changes = Journal[Change]()
        self._assignments = Journal[NodeAddress]()

    def replace(self, addresses: Iterable[NodeAddress]) -> None:
        """Replace the nodes; those that stay keep their state and load."""
        for _ in self.replacing(addresses):
            pass

    def replacing(self, addresses: Iterable[NodeAddress]) -> Iterator[None]:
        """
        Replace the nodes in steps of one node each; one replacement at a time.

        New nodes come first, so that those they replace are there until then. Of an address that
        occurs more than once, the first spelling is used.
        """
        nodes: dict[NodeAddress, Node] = {}
        for address in addresses:
            if address not in nodes:
                node = self._nodes.get(address)
                if node is None:
                    node = self._nodes[address] = self._add(address)
                nodes[address] = node
                if node.address.text != address.text:
                    node.address = address
                    self._changes.write(Change(Event.RESPELLED, address))
            yield
        rest = list(self._nodes)
        while rest:
            address = rest.pop()
            if address not in nodes:
                self._remove(self._nodes.pop(address))
            yield
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

    def limited(self, address: NodeAddress) -> bool:
        """
        Record a poll that was refused as the node limits the rate of requests, while no report of
        it is valid. Returns whether it stays unknown, as it never made a report.
        """
        node = self._nodes.get(address)
        if node is None or node.state is not State.UNKNOWN:
            return False
        node.reason = "it limits the rate of requests (HTTP 429)"
        self._limited[node] = None
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
        if among is not None:
            return finish(self.picking(containers, among, exclude=exclude, jobs=jobs))
        asked, now = tuple(dict.fromkeys(containers)), self._seconds()
        weight = self._weights.of_job(asked)
        return self._assign(self._best(asked, now, weight * jobs, exclude), now, weight, jobs)

    def picking(
        self,
        containers: Iterable[str],
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
        jobs: int = 1,
    ) -> Steps[NodeAddress]:
        """
        The same in steps, as `among` may have many nodes.

        :param jobs: 0 for a node that `pick` might choose now.
        """
        asked = tuple(dict.fromkeys(containers))
        weight = self._weights.of_job(asked)
        sample: Sequence[int] | None = None
        if among is not None:
            sample = yield from self._sample_among(asked, among, self._indices(exclude))
        now = self._seconds()
        index = self._best(asked, now, weight * max(jobs, 1), exclude, sample)
        return self._assign(index, now, weight, jobs) if jobs else self._address(index)

    def peek(
        self,
        containers: Iterable[str],
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
    ) -> NodeAddress:
        """A node that `pick` might choose now, without assigning the job. Raises as `pick` does."""
        return finish(self.picking(containers, among, exclude=exclude, jobs=0))

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

        This compares all candidates, not a sample: that takes 3 ms for 10,000.

        :param count: the most nodes to return.
        :param offset: how many better ones to skip.
        :param exclude: nodes to leave out.
        :param assign: whether to assign the job to the first node returned.
        """
        return finish(
            self.ranking(containers, count, offset, among, exclude=exclude, assign=assign)
        )

    def ranking(
        self,
        containers: Iterable[str],
        count: int,
        offset: int = 0,
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
        assign: bool = True,
    ) -> Steps[list[NodeAddress]]:
        """The same in steps. Nodes that go down, or away, while they are compared are left out."""
        asked, now = tuple(dict.fromkeys(containers)), self._seconds()
        weight = self._weights.of_job(asked)
        classes: Iterable[Sequence[int]] = self._candidates.classes(asked)
        if among is not None:
            some, find = among.addresses, self._finder(among)
            classes = yield from self._candidates.classes_among(asked, some, find)
        excluded = self._indices(exclude)
        best: list[int] = []
        for equals in classes if count else ():
            yield
            left = without(excluded, equals)
            if offset < len(left):
                ranked = yield from self._loads.cheapest_first(
                    left, now, weight, offset + count - len(best), self._page_order
                )
                best += ranked[offset:]
            offset = max(0, offset - len(left))
            if len(best) == count:
                break
        there = [index for index in best if self._candidates.gets(index, asked)]
        if assign and there:
            self._assign(there[0], self._seconds(), weight, 1)
        return [self._address(index) for index in there]

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

    def is_quick(self, containers: Sequence[str]) -> bool:
        """Whether to pick a node takes microseconds: such jobs are usual. Otherwise, use steps."""
        return self._candidates.is_cached(containers)

    def can(self, containers: Iterable[str]) -> bool:
        """Whether any node can do a job that needs all these containers."""
        return self._candidates.can(tuple(dict.fromkeys(containers)))

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
        states, limited = self.states, len(self._limited)
        if self.awaited:
            return "the first polls are not back yet"
        if limited:
            example = next(iter(self._limited))
            more = f"; {limited - 1} more" if limited > 1 else ""
            more += f"; {states.down} down" if states.down else ""
            return (
                f"no node is up; what {example.address} runs is not known yet:"
                f" {example.reason}{more}"
            )
        example = next(iter(self._down))
        more = f"; {states.down - 1} more" if states.down > 1 else ""
        return f"no node is up; {example.address} is down: {example.reason}{more}"

    @property
    def now(self) -> float:
        """The time on the fleet's clock."""
        return self._seconds()

    @property
    def running(self) -> tuple[RunningContainer, ...]:
        """Every container that an up node runs, sorted by id."""
        return tuple(filter(None, self._catalogue.list_running()))

    def list_running(self) -> Iterator[RunningContainer | None]:
        """The same, as each is when the iteration reaches it; None after each step."""
        return self._catalogue.list_running()

    @property
    def addresses(self) -> tuple[NodeAddress, ...]:
        """The addresses of all nodes, as they are written now."""
        return tuple(node.address for node in self._nodes.values())

    @property
    def up(self) -> list[NodeAddress]:
        """The nodes that are up or suspect."""
        up, suspect = State.UP, State.SUSPECT
        return [
            node.address
            for node in self._nodes.values()
            if node.state is up or node.state is suspect
        ]

    def is_up(self, address: NodeAddress) -> bool:
        """Whether a node is up or suspect; False if there is no such node."""
        node = self._nodes.get(address)
        return node is not None and node.is_there

    @property
    def awaited(self) -> int:
        """How many nodes' first polls are not back."""
        return self._counts[State.UNKNOWN] - len(self._limited)

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
        self._candidates.set_tier(node, Tier.NORMAL)  # another may get its index
        self._counts[node.state] -= 1
        self._down.pop(node, None)
        self._limited.pop(node, None)
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
        self._limited.pop(node, None)
        node.state, node.since = state, self._seconds()
        self._set_tier(node)
        self._changes.write(Change(Event[state.name], node.address))

    def _set_containers(self, node: Node, containers: dict[str, bool]) -> None:
        """Set the containers that a node runs."""
        self._candidates.set_containers(node, containers)

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
        exclude: Collection[NodeAddress],
        sample: Sequence[int] | None = None,
    ) -> int:
        """The index of the node where the job costs least, of a sample of the candidates."""
        if sample is None:
            candidates = self._candidates.of(asked)
            sample = candidates.sample(self._random) if candidates else ()
            if not sample:
                raise NoNode(self._why_none(asked))
            if exclude:
                excluded = self._indices(exclude)
                sample = without(excluded, sample)
                sample = sample or self._candidates.sample_without(excluded, asked)
                if not sample:
                    raise NoNode(_all_excluded(asked))
        return self._loads.cheapest(sample, now, weight, self._random)

    def _sample_among(
        self, asked: tuple[str, ...], among: Among, excluded: set[int]
    ) -> Steps[Sequence[int]]:
        """
        A sample of the candidates among these nodes without the excluded ones.

        :raises NoNode: when there are none.
        """
        if not self._candidates.can(asked):
            raise NoNode(self._why_none(asked))
        yield
        some, find = among.addresses, self._finder(among)
        sample = yield from self._candidates.sample_among(asked, some, find, excluded)
        if sample:
            return sample
        if excluded and (yield from self._candidates.sample_among(asked, some, find)):
            raise NoNode(_all_excluded(asked))
        raise NoNode(among.otherwise)

    def _finder(self, among: Among) -> Callable[[NodeAddress], Node | None]:
        """Finds the node of an address, if it is meant."""
        nodes, includes = self._nodes, among.includes
        if includes is None:
            return nodes.get
        return lambda address: nodes.get(address) if includes(address) else None

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

    def _why_none(self, asked: tuple[str, ...]) -> str:
        """Why no node is a candidate for these containers."""
        states = self.states
        if not states.up and not states.suspect:
            return self.why_none_up()
        why, limited = self._candidates.why_none(asked), len(self._limited)
        if waiting := self.awaited:
            why += f"; the first polls of {waiting} more are not back"
        if limited:
            why += f"; {limited} more limit the rate of requests: what they run is not known yet"
        return why

    def _view(self, node: Node, now: float) -> NodeView:
        return NodeView(
            address=node.address,
            state=node.state,
            since=node.since,
            reason="" if node.state is State.UP else node.reason,
            containers=node.containers,
            pending=node.pending,
            report_age=None if node.reported_at is None else now - node.reported_at,
            jobs=self._loads.jobs(node.index, now),
            assigned=self._loads.assigned(node.index),
            rate=self._loads.rate(node.index),
            doubt=self._loads.doubt(node.index),
            tier=node.tier,
            weight=self._loads.share(node.index),
        )


def _all_excluded(asked: tuple[str, ...]) -> str:
    """The error message when a client excludes all candidates."""
    return f"every up node that runs {', '.join(map(quoted, asked))} is excluded"
