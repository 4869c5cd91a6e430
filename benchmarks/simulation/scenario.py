"""A scenario to simulate: a fleet, its load, how it is polled, and what happens to its nodes."""

from collections.abc import Callable, Sequence
from math import log
from random import Random

from attrs import evolve, frozen

MEAN_WORK = 2.0
"""Mean seconds a job takes at speed 1."""


@frozen
class Lognormal:
    """Lognormal job sizes, whose coefficient of variation is sqrt(exp(sigma²) - 1)."""

    sigma: float

    def __call__(self, random: Random) -> float:
        """The size of the next job."""
        return random.lognormvariate(log(MEAN_WORK) - self.sigma**2 / 2, self.sigma)


@frozen
class Scenario:
    """A fleet and its load. Times are in seconds; work is in seconds at speed 1."""

    name: str
    nodes: int = 50
    load: float = 0.8
    """Arriving work as a share of the capacity of all nodes."""
    interval: float = 5.0
    """Time between two polls of a node."""
    busy_interval: float | None = None
    """Time between two polls of a node in use; by default, the same as for other nodes."""
    work: Callable[[Random], float] = Lognormal(0.7)
    speeds: tuple[float, float] = (0.4, 2.5)
    """The slowest and the fastest; speeds are log-uniform between them."""
    slots: int = 1
    """Jobs a node runs concurrently."""
    around: float = 0.0
    """The share of jobs that reach random nodes without asking the router."""
    watching: float = 0.0
    """Time at the start in which all jobs reach the nodes without asking the router."""
    ghosts: float = 0.0
    """The share of clients that ask the router but never submit a job."""
    late: float = 0.0
    """Time from the router's response to the submission of the job."""
    failing: int = 0
    """Nodes that fail every job immediately."""
    crashing: int = 0
    """Nodes that fail every job from halfway through the run on."""
    stalling: int = 0
    """Nodes that stand still for a minute halfway through the run, and report phantom jobs."""
    slowing: int = 0
    """Nodes that become eight times slower halfway through the run."""
    quickening: int = 0
    """Nodes that become eight times faster halfway through the run: as fast as `speeds` says."""
    boosted: int = 0
    """Nodes that become ten times faster than `speeds` says halfway through the run."""
    full: float = 0.0
    """The share of nodes whose GPU memory is permanently in use, without slowing their jobs."""
    thrashing: float = 0.0
    """The share of nodes that thrash at any time: their GPU memory is in use, and jobs take three
    times as long."""
    episode: float = 300.0
    """Mean time for which a node thrashes."""
    burst: float = 0.0
    """The load alternates every ten seconds between this share more and this share less."""
    asked: Sequence[frozenset[str]] = (frozenset({"a"}),)
    """The sets of containers that jobs need, all equally likely."""
    placed: float = 1.0
    """The share of nodes that run a given container."""
    jobs: int = 50_000
    """Jobs in a run."""
    unmeasured: float = 0.2
    """The share of the jobs, at the start, that is not measured."""

    def at_defaults(self) -> "Scenario":
        """The same scenario, with nodes polled as often as the router does by default."""
        return evolve(self, interval=3.0, busy_interval=1.1)
