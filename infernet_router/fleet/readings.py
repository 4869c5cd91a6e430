"""Readings: what can be read of a fleet, which changes nothing and assigns no job."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from random import Random

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.among import Among
from infernet_router.fleet.catalogue import RunningContainer
from infernet_router.fleet.containers import ContainerView, Figures, view_containers
from infernet_router.fleet.events import Change
from infernet_router.fleet.explanations import Explanation, explain
from infernet_router.fleet.history import Transition
from infernet_router.fleet.journal import Cursor
from infernet_router.fleet.load import Loads
from infernet_router.fleet.map import Grouping, Map, draw, group
from infernet_router.fleet.node import Node, State
from infernet_router.fleet.records import Records
from infernet_router.fleet.roster import Roster, States
from infernet_router.fleet.steps import Steps
from infernet_router.fleet.summary import Summary, summarize
from infernet_router.fleet.view import NodeView
from infernet_router.fleet.weights import Weights
from infernet_router.fleet.whatif import Forecast, forecast


class Readings:
    """The part of a Fleet that is read; its parameters are those of Fleet."""

    def __init__(
        self,
        seconds: Callable[[], float],
        random: Random,
        weights: Weights,
        max_utilization: float,
    ) -> None:
        self._seconds = seconds
        self._random = random
        self._weights = weights
        self._max_utilization = max_utilization
        self._loads = Loads()
        self._roster = Roster(seconds, random, self._loads)
        self._candidates = self._roster.candidates
        self._by_index = self._roster.by_index
        self.records: Records | None = None
        """What is remembered for operators; None unless keep_records was called."""
        self.decided = 0
        """How many decisions were made, which is also the number of the last one. Each pick is one,
        for whatever number of jobs, and each rank that assigns a job."""
        self.decided_at = seconds()
        """When the last decision was made."""
        self._page_order = random.getrandbits(32)
        """Breaks ties in `rank`: random, but the same for all pages of a list."""

    def view(self, address: NodeAddress) -> NodeView | None:
        """A node as it is now; None if there is no such node."""
        node = self._roster.nodes.get(address)
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
        return self._roster.follow_changes()

    def why_none_up(self) -> str:
        """Why no node is up; call it only when that is so."""
        return str(self._roster.none_up())

    def explain(
        self,
        containers: Iterable[str],
        among: Among | None = None,
        *,
        exclude: Collection[NodeAddress] = (),
        node: NodeAddress | None = None,
        limit: int = 50,
    ) -> Steps[Explanation]:
        """
        Explain which node would get a job that needs all these containers, without assigning it.

        This looks at all nodes, in steps of a few milliseconds.

        :param among: the nodes to choose from; all by default.
        :param exclude: nodes not to choose.
        :param node: the node to explain in particular.
        :param limit: the most candidates to list.
        """
        asked = tuple(dict.fromkeys(containers))
        return explain(
            self._roster,
            self._loads,
            asked,
            self._seconds(),
            self._weights.of_job(asked),
            among,
            exclude,
            node,
            limit,
            self._page_order,
            self._max_utilization,
        )

    def whatif(self, drained: Iterable[NodeAddress]) -> Steps[Forecast]:
        """What would change if these nodes were drained; in steps of a few milliseconds."""
        return forecast(self._roster, self._loads, self._seconds(), drained)

    def map(self) -> Steps[Map]:
        """The state of every node and how long a job would wait there: 10 ms for 10,000 nodes."""
        return draw(self._roster, self._loads, self._seconds())

    def grouping(self, drawn: Map) -> Steps[Grouping]:
        """The nodes of a map by the containers that they run."""
        return group(self._roster, drawn.nodes)

    def summary(self) -> Steps[Summary]:
        """How many nodes are in which state, in steps of a millisecond."""
        return summarize(self._roster, self._seconds())

    def containers(self) -> Iterator[ContainerView | None]:
        """
        Every container that nodes run, or ran until they went down: the most common first.

        The iteration takes a few milliseconds in a fleet of 10,000 nodes. It yields None from time
        to time, so that the caller can let others run.
        """
        return view_containers(self._roster, Figures(self._roster, self._loads, self._seconds()))

    @property
    def now(self) -> float:
        """The time on the fleet's clock."""
        return self._seconds()

    @property
    def running(self) -> tuple[RunningContainer, ...]:
        """Every container that an up node runs, sorted by id."""
        return tuple(filter(None, self.list_running()))

    def list_running(self) -> Iterator[RunningContainer | None]:
        """The same, as each is when the iteration reaches it; None after each step."""
        return self._roster.catalogue.list_running()

    @property
    def addresses(self) -> tuple[NodeAddress, ...]:
        """The addresses of all nodes, as they are written now."""
        return self._roster.addresses

    @property
    def up(self) -> list[NodeAddress]:
        """The nodes that are up or suspect."""
        return self._roster.up

    def is_up(self, address: NodeAddress) -> bool:
        """Whether a node is up or suspect; False if there is no such node."""
        node = self._roster.nodes.get(address)
        return node is not None and node.is_there

    @property
    def doubted(self) -> list[NodeAddress]:
        """The nodes that are up or suspect and seem to fail their jobs."""
        nodes = (self._by_index[index] for index in self._loads.in_doubt)
        return [node.address for node in nodes if node is not None and node.is_there]

    def in_doubt(self, address: NodeAddress) -> str:
        """Why a node seems to fail its jobs; empty if it does not, or if it is not known."""
        node = self._roster.nodes.get(address)
        return "" if node is None else self._in_doubt(node)

    def _in_doubt(self, node: Node) -> str:
        index = node.index
        return self._loads.evidence(index) if index in self._loads.in_doubt else ""

    @property
    def awaited(self) -> int:
        """How many nodes' first polls are not back."""
        return self._roster.awaited

    @property
    def states(self) -> States:
        """How many nodes are in which state."""
        return self._roster.states

    @property
    def drained(self) -> int:
        """How many nodes are up or suspect, and get no job by an operator's order."""
        return sum(node.is_there for node in self._roster.drained)

    def history(self, address: NodeAddress) -> list[Transition]:
        """The last 20 ups and downs of a node, newest first; empty without records."""
        node = self._roster.nodes.get(address)
        return [] if self.records is None or node is None else self.records.history.of(node.index)

    @property
    def transitions(self) -> Mapping[State, int]:
        """How often a node entered each state: up, suspect or down."""
        return self._roster.transitions

    def _view(self, node: Node, now: float) -> NodeView:
        return NodeView(
            address=node.address,
            state=node.state,
            since=node.since,
            reason="" if node.state is State.UP else node.reason,
            containers=node.containers,
            pending=node.pending,
            quiet_since=node.quiet_since,
            report_age=None if node.reported_at is None else now - node.reported_at,
            jobs=self._loads.jobs(node.index, now),
            assigned=self._loads.assigned(node.index),
            assigned_at=self._loads.assigned_at(node.index),
            rate=self._loads.rate(node.index),
            doubt=self._loads.doubt(node.index),
            in_doubt=self._in_doubt(node),
            utilization=node.utilization,
            tier=node.tier,
            override=node.override,
            weight=self._loads.share(node.index),
        )
