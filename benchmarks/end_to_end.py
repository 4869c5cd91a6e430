"""
Job times over real HTTP, under this router and under the same router forced to least-pending.

    python -m benchmarks.end_to_end [--crash | --stall] [--seconds N]

Each of the two routers polls simulated nodes of its own, at its default interval. Clients ask each
router for a node and submit a job there, at the same moments for both. Everything runs in one
process, over loopback.

By default, there are twelve nodes with speeds from 0.5 to 2, at 80 % load. With --crash, the first
of two nodes begins to fail every job. With --stall, the first of ten nodes stands still for a
minute with 20 phantom jobs pending.
"""

import argparse
import platform
from collections.abc import Callable, Iterable
from itertools import pairwise
from math import inf
from pathlib import Path
from random import Random
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve, frozen
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.web.client import Agent, HTTPConnectionPool

from benchmarks.loopback.machine import free_port
from benchmarks.simulation.scenario import MEAN_WORK, Lognormal
from infernet_router.addresses import NodeAddress
from infernet_router.fleet import CameUp, Fleet
from infernet_router.reports import NodeReport
from infernet_router.settings import Settings
from infernet_router.tap import make_router
from infernet_router.testing import SimulatedJob, SimulatedNode, loopback_hosts, serve

WORK = Lognormal(0.7)
"""Seconds a job takes at speed 1: two on average, mostly between 0.5 and 5."""
PHANTOMS = 20
"""The jobs that a node reports while it stands still, but that do not exist."""
STALL = 60.0
"""Seconds for which it stands still."""


class LeastPending(Fleet):
    """A fleet that hands out the node whose last report has the fewest pending jobs."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._pending: dict[NodeAddress, int] = {}

    def observed(
        self, address: NodeAddress, report: NodeReport, at: float | None = None
    ) -> CameUp | None:
        self._pending[address] = sum(report.pending.values())
        return super().observed(address, report, at)

    def pick(self, containers: Iterable[str], *arguments: Any, **options: Any) -> NodeAddress:
        return min(self._pending, key=self._pending.__getitem__)


class Node(SimulatedNode):
    """A node that remembers every job it was given, and that can stand still."""

    def __init__(self, reactor: Any, speed: float, slots: int, random: Random) -> None:
        self._stands_until = 0.0
        self._reactor = reactor
        self.jobs: list[SimulatedJob] = []

        def work() -> float:
            stands: float = max(0.0, self._stands_until - reactor.seconds())
            return WORK(random) + stands * speed

        super().__init__(reactor, ["llm"], speed=speed, slots=slots, work=work)

    @property
    def pending(self) -> int:
        stands = self._reactor.seconds() < self._stands_until
        return super().pending + (PHANTOMS if stands else 0)

    def submit(self, containers: Iterable[str], work: float | None = None) -> SimulatedJob:
        job = super().submit(containers, work)
        self.jobs.append(job)
        return job

    def crash(self) -> None:
        """Fail every job from now on."""
        self.failing = 1.0

    def stall(self) -> None:
        """Start no job for a minute, and report phantom jobs."""
        self._stands_until = self._reactor.seconds() + STALL


@frozen
class Experiment:
    """A fleet, its load, and what happens to its first node. Times are in seconds."""

    speeds: list[float]
    load: float
    """Arriving work as a share of the capacity of all nodes."""
    seconds: float
    """Time from the first job to the last."""
    changes_after: float
    """Time from the first job to the change. Only jobs after it are measured."""
    slots: int = 1
    """Jobs a node runs concurrently."""
    change: Callable[[Node], None] = lambda node: None
    """What happens to the first node."""
    figure: "Figure | None" = None
    """What is printed for each part of the time after the change, instead of job times."""
    title: str = "job times"
    part: float = 0.0
    """The length of a part."""

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.load * sum(self.speeds) * self.slots / MEAN_WORK


class Side:
    """A router and its nodes."""

    def __init__(
        self,
        reactor: Any,
        fleet: type[Fleet],
        nodes: list[Node],
        addresses: Iterable[str],
        ips: Path,
    ) -> None:
        self.nodes = nodes
        ips.write_text("\n".join(addresses))
        listen = f"tcp:{(port := free_port())}:interface=127.0.0.1"
        router = make_router(Settings(ips=ips, listen=(listen,), admin=None), reactor, fleet)
        router.privilegedStartService()
        router.startService()
        self.api = f"http://127.0.0.1:{port}/api/v1/ip?container=llm"

    def jobs(self, since: float, until: float = inf) -> list[SimulatedJob]:
        """The jobs submitted between these times."""
        return _between(since, until, *self.nodes)

    def times(self, since: float) -> list[float]:
        """Seconds from submission to end of each job submitted since then, in ascending order."""
        jobs = self.jobs(since)
        return sorted(job.finished - job.submitted for job in jobs if job.finished is not None)

    def failed(self, since: float, until: float) -> str:
        """The share of the jobs submitted between these times that failed."""
        jobs = self.jobs(since, until)
        return f"{sum(job.status == 'failed' for job in jobs) / len(jobs):.0%}"

    def share(self, since: float, until: float) -> str:
        """The first node's share of those jobs, as a multiple of an equal share."""
        at_first = _between(since, until, self.nodes[0])
        return f"{len(at_first) * len(self.nodes) / len(self.jobs(since, until)):.2f}"


Figure = Callable[[Side, float, float], str]
"""A figure of the jobs submitted between two times."""

SPEEDS = Experiment([0.5 * 4 ** (n / 11) for n in range(12)], 0.8, 180.0, 36.0)
CRASH = Experiment(
    [10.0] * 2, 0.4, 180.0, 60.0, 2, Node.crash, Side.failed, "share of jobs that failed", 10.0
)
"""8 jobs of 0.2 s a second, which keep one node alone busy for 80 % of the time."""
STALLS = Experiment(
    [4.0] * 10, 0.4, 360.0, 120.0, 1, Node.stall, Side.share, "jobs over an equal share", 30.0
)
"""8 jobs of 0.5 s a second."""


def _between(since: float, until: float, *nodes: Node) -> list[SimulatedJob]:
    return [job for node in nodes for job in node.jobs if since <= job.submitted < until]


async def _side(reactor: Any, fleet: type[Fleet], experiment: Experiment, ips: Path) -> Side:
    """A router and its nodes, which are served."""
    nodes = [Node(reactor, speed, experiment.slots, Random(2)) for speed in experiment.speeds]
    served = await serve(reactor, nodes, loopback_hosts(len(nodes)))
    return Side(reactor, fleet, nodes, (one.address for one in served), ips)


async def _one_job(http: HTTPClient, side: Side) -> None:
    """Ask the router for a node, and submit a job to it."""
    address = (await (await http.get(side.api)).json())["ip"]
    job = {"containers": ["llm"], "data": {}}
    await (await http.post(f"http://{address}/api/jobs", json=job)).content()


async def _main(reactor: Any, experiment: Experiment, folder: Path) -> None:
    console = Console()
    sides = {
        "least pending": await _side(reactor, LeastPending, experiment, folder / "least.txt"),
        "ours": await _side(reactor, Fleet, experiment, folder / "ours.txt"),
    }
    pool = HTTPConnectionPool(reactor)
    http, random, asking = HTTPClient(Agent(reactor, pool=pool)), Random(3), []
    await deferLater(reactor, 1.0)
    began = now = reactor.seconds()
    for side in sides.values():
        reactor.callLater(experiment.changes_after, experiment.change, side.nodes[0])
    with Progress(console=console) as progress:
        task = progress.add_task("running", total=experiment.seconds)
        while now - began < experiment.seconds:
            now += random.expovariate(experiment.rate)
            await deferLater(reactor, max(0.0, now - reactor.seconds()))
            asking += [Deferred.fromCoroutine(_one_job(http, side)) for side in sides.values()]
            progress.update(task, completed=now - began)
        for asked in asking:
            await asked
        progress.update(task, description="waiting for the last jobs", total=None)
        while any(node.pending for side in sides.values() for node in side.nodes):
            await deferLater(reactor, 0.5)
    since = began + experiment.changes_after
    table = Table(title=f"{experiment.title}, Python {platform.python_version()}")
    if experiment.figure:
        parts = int((experiment.seconds - experiment.changes_after) / experiment.part)
        bounds = [experiment.part * number for number in range(parts + 1)]
        _add_parts(table, sides, experiment.figure, since, bounds)
    else:
        _add_times(table, sides, since)
    console.print(table)


def _add_parts(
    table: Table, sides: dict[str, Side], figure: Figure, since: float, bounds: list[float]
) -> None:
    """Add a figure for each part of the time after the change, between two bounds."""
    for column in ("seconds after the change", *sides):
        table.add_column(column, justify="right")
    for start, end in pairwise(bounds):
        figures = (figure(side, since + start, since + end) for side in sides.values())
        table.add_row(f"{start:.0f} - {end:.0f}", *figures)


def _add_times(table: Table, sides: dict[str, Side], since: float) -> None:
    """Add how long jobs took that were submitted since then."""
    for column in ("router", "jobs", "mean, s", "p50, s", "p99, s"):
        table.add_column(column, justify="left" if column == "router" else "right")
    for name, side in sides.items():
        times = side.times(since)
        table.add_row(
            name,
            str(len(times)),
            f"{fmean(times):.2f}",
            *(f"{times[int(part * len(times))]:.2f}" for part in (0.5, 0.99)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.end_to_end", description=__doc__)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--crash", action="store_const", const=CRASH, dest="chosen")
    one.add_argument("--stall", action="store_const", const=STALLS, dest="chosen")
    parser.add_argument("--seconds", type=float, help="[default: 180; with --stall, 360]")
    arguments = parser.parse_args()
    experiment = arguments.chosen or SPEEDS
    if arguments.seconds:
        scale = arguments.seconds / experiment.seconds
        experiment = evolve(
            experiment,
            seconds=arguments.seconds,
            changes_after=experiment.changes_after * scale,
        )
    with TemporaryDirectory() as folder:
        react(lambda reactor: Deferred.fromCoroutine(_main(reactor, experiment, Path(folder))))


if __name__ == "__main__":
    main()
