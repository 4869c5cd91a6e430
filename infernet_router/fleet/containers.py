"""Containers: counts the nodes that run each container, and adds up their jobs and capacity."""

from collections.abc import Iterator
from heapq import merge
from itertools import chain
from operator import mul

from attrs import frozen

from infernet_router.fleet.groups import Tier
from infernet_router.fleet.load import Loads
from infernet_router.fleet.roster import Roster

_STEP = 8192
"""How many nodes are looked at in one step: about two milliseconds."""

_SORTED = 2000
"""How many containers are sorted in one step."""


@frozen
class ContainerView:
    """
    A container at one instant.

    A node that runs several counts in full for each of them, as it may do jobs for any.
    """

    id: str
    description: str | None
    up: int
    """Nodes that run it and are up, without drained ones."""
    suspect: int
    """Nodes that run it and are suspect, without drained ones."""
    drained: int
    """Nodes that run it and are up or suspect, but drained."""
    down: int
    """Nodes that ran it in their last report, and are down."""
    jobs: float
    """The estimated jobs at the nodes that are up or suspect, drained ones too."""
    capacity: float
    """The jobs a second that the nodes which get jobs are estimated to do while they have any,
    without nodes that seem to fail all jobs."""
    working: float
    """The jobs a second that these nodes did lately: see `utilization`."""

    @property
    def nodes(self) -> int:
        """How many nodes get jobs for it: those that are up or suspect, and not drained."""
        return self.up + self.suspect

    @property
    def utilization(self) -> float | None:
        """
        The share of the capacity that is in use, from 0 to 1; None without capacity.

        Each node counts with its rate, and with the share of the last minute in which it had jobs
        of any kind, by the estimate of its queue.
        """
        return self.working / self.capacity if self.capacity else None


class Figures:
    """
    The figures of each node at one instant, by index.

    :param now: the time, on the fleet's clock.
    """

    def __init__(self, roster: Roster, loads: Loads, now: float) -> None:
        self._roster = roster
        self._loads = loads
        self._now = now
        self.jobs: list[float] = []
        self.rates: list[float] = []
        """0 for a node that seems to fail all jobs."""
        self.working: list[float] = []
        """The rate, times the share of the time in which the node was at work."""

    def look(self) -> Iterator[None]:
        """Look at all nodes that are not looked at yet, in steps."""
        loads, records = self._loads, self._roster.records
        while (start := len(self.jobs)) < loads.size:
            stop = min(start + _STEP, loads.size)
            jobs, rates = loads.all_jobs(start, stop, self._now), loads.all_rates(start, stop)
            if records is None:
                shares = [min(here, 1.0) for here in jobs]
            else:
                shares = [
                    min(here, 1.0) if share != share else share  # NaN: it is not known yet
                    for here, share in zip(jobs, records.busy.shares(start, stop), strict=True)
                ]
            self.jobs += jobs
            self.rates += rates
            self.working += map(mul, rates, shares)
            yield


def view_containers(roster: Roster, figures: Figures) -> Iterator[ContainerView | None]:
    """Every container, as Fleet.containers describes it."""
    for _ in figures.look():
        yield None
    catalogue, parts, looked_at = roster.catalogue, [], 0
    ids = list(dict.fromkeys(roster.candidates.running + roster.absent.running))
    for start in range(0, len(ids), _SORTED):
        counts = [(-_count(roster, id), id) for id in ids[start : start + _SORTED]]
        parts.append(sorted(counts))
        yield None
    for count, id in merge(*parts):
        looked_at += 1 - count
        if looked_at > _STEP:
            looked_at = 0
            yield None
            for _ in figures.look():  # nodes that were added since
                yield None
        description = yield from catalogue.describing(id)
        yield _view(id, description, roster, figures)


def _count(roster: Roster, container: str) -> int:
    """How many nodes run a container, or ran it until they went down."""
    return roster.candidates.count(container) + roster.absent.count(container)


def _view(
    container: str, description: str | None, roster: Roster, figures: Figures
) -> ContainerView:
    groups = roster.candidates.by_container(container)
    by_tier = [sum(counts) for counts in zip(*(group.counts for group in groups), strict=True)]
    normal, full, suspect, drained = by_tier or [0] * len(Tier)
    jobs_at, rates, work_at = figures.jobs, figures.rates, figures.working
    jobs = capacity = working = 0.0
    for group in groups:
        jobs += sum(map(jobs_at.__getitem__, group.drained))
        for index in chain(*group.serving):  # in a third less time than by three sums
            jobs += jobs_at[index]
            capacity += rates[index]
            working += work_at[index]
    return ContainerView(
        id=container,
        description=description,
        up=normal + full,
        suspect=suspect,
        drained=drained,
        down=sum(map(len, roster.absent.by_container(container))),
        jobs=jobs,
        capacity=capacity,
        working=working,
    )
