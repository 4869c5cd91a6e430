"""What-if: which nodes and how much capacity would be left if some nodes were drained."""

from collections.abc import Iterable
from itertools import chain

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.containers import Figures, view_containers
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.load import Loads
from infernet_router.fleet.node import Node
from infernet_router.fleet.roster import Roster
from infernet_router.fleet.steps import Steps
from infernet_router.quoting import quoted

_HIGH = 0.9
"""The utilization from which on queues grow long."""


@frozen
class ContainerForecast:
    """A container now, and once nodes are drained; each pair is (now, then)."""

    id: str
    nodes: tuple[int, int]
    """How many nodes get jobs for it."""
    capacity: tuple[float, float]
    """Jobs a second that these nodes are estimated to do."""
    utilization: tuple[float | None, float | None]
    """The share of the capacity that is in use; None without capacity. Above 1, the jobs that these
    nodes do now are more than would be possible then."""


@frozen
class Forecast:
    """What would change if nodes were drained."""

    containers: tuple[ContainerForecast, ...]
    """The containers that would have the highest utilization first."""
    notes: tuple[str, ...]
    """What to know before relying on this."""


def forecast(
    roster: Roster, loads: Loads, now: float, drained: Iterable[NodeAddress]
) -> Steps[Forecast]:
    """What would change, as Fleet.whatif describes it."""
    notes: list[str] = []
    removed: list[Node] = []
    for address in dict.fromkeys(drained):
        node = roster.nodes.get(address)
        if node is None:
            notes.append(f"{address} is not known")
        elif node.override is Tier.DRAINED:
            notes.append(f"{address} is drained already")
        elif not node.is_there:
            notes.append(f"{address} is {node.state}, so it does no jobs now either")
        else:
            removed.append(node)
    figures = Figures(roster, loads, now)
    views = []
    for view in view_containers(roster, figures):
        if view is None:
            yield
        elif view.nodes:
            views.append(view)
    lost: dict[str, list[int]] = {}
    """By container, the indices of its nodes that would be drained."""
    for node in removed:
        for container in node.containers:
            lost.setdefault(container, []).append(node.index)
    containers = []
    for view in views:
        indices = lost.get(view.id, [])
        left = view.nodes - len(indices)
        capacity = max(view.capacity - sum(figures.rates[index] for index in indices), 0.0)
        if not left:
            capacity = 0.0  # not what rounding leaves of it
        then = view.working / capacity if capacity else None
        containers.append(
            ContainerForecast(
                view.id, (view.nodes, left), (view.capacity, capacity), (view.utilization, then)
            )
        )
        if indices:
            notes += _notes(view.id, left, then)
    for container, indices in lost.items():
        left_nodes = [
            index
            for group in roster.candidates.by_container(container)
            for index in chain(*group.serving)
        ]
        unlearned = {index for index in left_nodes if not loads.is_learned(index)} - set(indices)
        if unlearned:
            notes.append(
                f"too few jobs were seen at {len(unlearned)} of the nodes that would be left for"
                f" {quoted(container)}: they are taken to be about as fast as the others"
            )
        yield
    containers.sort(key=lambda each: (-(each.utilization[1] or 0.0), each.id))
    return Forecast(tuple(containers), tuple(notes))


def _notes(container: str, left: int, then: float | None) -> list[str]:
    """What to know of a container of which some nodes would be drained."""
    if not left:
        return [f"no up node would be left that runs {quoted(container)}"]
    if then is None:
        return [f"the nodes that would be left for {quoted(container)} seem to fail all jobs"]
    if then > 1.0:
        return [f"the nodes left for {quoted(container)} could not do its jobs: queues would grow"]
    if then > _HIGH:
        return [f"the nodes left for {quoted(container)} would be busy {then:.0%} of the time"]
    return []
