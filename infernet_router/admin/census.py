"""The census: counts the nodes by state and by container, in slices."""

from collections.abc import Iterable

from attrs import Factory, define
from twisted.internet.defer import Deferred

from infernet_router.admin.shown import Shown, state_of
from infernet_router.admin.turns import Turns, Work
from infernet_router.fleet import Fleet, NodeView

_STEP = 8
"""Nodes between two points where the count may be interrupted; each may run 1000 containers."""

_SERVING = (Shown.UP, Shown.SUSPECT)


@define
class ContainerCount:
    """The nodes that run one container."""

    nodes: dict[Shown, int] = Factory(dict)
    """How many are in each state."""
    jobs: float = 0.0
    """The estimated jobs there, those for other containers of these nodes included."""
    capacity: float = 0.0
    """The jobs a second that those of them which get jobs finish while they have any."""
    busy: float = 0.0
    """The part of that which they use now."""

    @property
    def utilization(self) -> float | None:
        """The share of the capacity that is used now; None without any."""
        return self.busy / self.capacity if self.capacity else None

    def add(self, view: NodeView, state: Shown) -> None:
        """Count a node."""
        self.nodes[state] = self.nodes.get(state, 0) + 1
        self.jobs += view.jobs
        if state in _SERVING:
            self.capacity += view.rate
            self.busy += view.rate * min(1.0, view.jobs)

    @property
    def count(self) -> int:
        """How many nodes run it."""
        return sum(self.nodes.values())


@define
class Count:
    """All nodes of the fleet."""

    nodes: dict[Shown, int]
    containers: dict[str, ContainerCount]
    oldest_report: float = 0.0
    """The age in seconds of the oldest report of a node that is not down; 0 without any."""
    overridden: int = 0
    """How many nodes an operator's order applies to."""

    def most_common(self, most: int) -> list[str]:
        """The containers that most nodes run, in that order."""
        counts = self.containers
        return sorted(counts, key=lambda id: (-counts[id].count, id))[:most]


class Census:
    """Counts the nodes of a fleet, at most once a second."""

    def __init__(self, fleet: Fleet, turns: Turns) -> None:
        self._fleet = fleet
        self._turns = turns

    def count(self) -> Deferred[Count]:
        """The nodes as they were within the last second."""
        return self._turns.once(Census, lambda: counted(self._fleet.views()))


def counted(views: Iterable[NodeView]) -> Work[Count]:
    """Count nodes."""
    count = Count(dict.fromkeys(Shown, 0), {})
    for number, view in enumerate(views):
        if number % _STEP == 0:
            yield
        state = state_of(view)
        count.nodes[state] += 1
        count.overridden += state is Shown.DRAINED or view.weight != 1.0
        if view.report_age is not None and state is not Shown.DOWN:
            count.oldest_report = max(count.oldest_report, view.report_age)
        for id in view.containers:
            container = count.containers.get(id)
            if container is None:
                container = count.containers[id] = ContainerCount()
            container.add(view, state)
    return count
