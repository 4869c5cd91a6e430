"""The census: counts the nodes by state and by container, in slices."""

from attrs import Factory, define
from twisted.internet.defer import Deferred

from infernet_router.admin.results import Results
from infernet_router.admin.shown import Shown, shown
from infernet_router.fleet import ContainerView, Fleet, Steps

_STEP = 64
"""Containers between two points where the count may be interrupted."""


@define
class Count:
    """All nodes of the fleet."""

    nodes: dict[Shown, int] = Factory(lambda: dict.fromkeys(Shown, 0))
    """How many are in each state."""
    containers: list[ContainerView] = Factory(list)
    """The containers, those on most nodes first."""
    oldest_report: float = 0.0
    """The age in seconds of the oldest report of a node that is not down; 0 without any."""
    overridden: int = 0
    """How many overrides there are."""


class Census:
    """Counts the nodes of a fleet, at most once a second."""

    def __init__(self, fleet: Fleet, results: Results) -> None:
        self._fleet = fleet
        self._results = results

    def count(self) -> Deferred[Count]:
        """The nodes as they were within the last second."""
        return self._results.once(Census, lambda: counted(self._fleet))


def counted(fleet: Fleet) -> Steps[Count]:
    """Count the nodes of a fleet."""
    summary = yield from fleet.summary()
    count = Count(oldest_report=summary.oldest_report, overridden=summary.overridden)
    for drained, states in ((False, summary.serving), (True, summary.drained)):
        for state, number in states.items():
            count.nodes[shown(state, is_drained=drained)] += number
    for number, container in enumerate(fleet.containers()):
        if container is not None:
            count.containers.append(container)
        if container is None or number % _STEP == 0:
            yield
    return count


def nodes_of(container: ContainerView) -> dict[Shown, int]:
    """How many nodes that run a container are in each state, but for states without any."""
    counts = {
        Shown.UP: container.up,
        Shown.SUSPECT: container.suspect,
        Shown.DRAINED: container.drained,
        Shown.DOWN: container.down,
    }
    return {state: count for state, count in counts.items() if count}
