"""
Job times over real HTTP, under this router and under the same router forced to least-pending.

    python -m benchmarks.end_to_end [--seconds N]

Each of the two routers polls twelve simulated nodes of its own, with speeds from 0.5 to 2, every
three seconds. Clients ask each router for a node and submit a job there, at the same moments for
both and at 80 % load. Everything runs in one process, over loopback.
"""

import argparse
import platform
from collections.abc import Iterable
from pathlib import Path
from random import Random
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import Site

from benchmarks.loopback.machine import free_port
from benchmarks.simulation.scenario import Lognormal
from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Among, CameUp, Fleet
from infernet_router.options import Settings
from infernet_router.reports import NodeReport
from infernet_router.tap import make_router
from infernet_router.testing import SimulatedJob, SimulatedNode

NODES = 12
SLOWEST, FASTEST = 0.5, 2.0
LOAD = 0.8
WORK = Lognormal(0.7)
"""Seconds a job takes at speed 1: two on average, mostly between 0.5 and 5."""
WARM_UP = 0.2
"""The share of the time before the measurement."""


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

    def pick(self, containers: Iterable[str], among: Among | None = None) -> NodeAddress:
        return min(self._pending, key=self._pending.__getitem__)


class Node(SimulatedNode):
    """A node that remembers every job it was given."""

    def __init__(self, reactor: Any, speed: float, random: Random) -> None:
        super().__init__(reactor, ["llm"], speed=speed, work=lambda: WORK(random))
        self.jobs: list[SimulatedJob] = []

    def submit(self, containers: Iterable[str]) -> SimulatedJob:
        job = super().submit(containers)
        self.jobs.append(job)
        return job


class Side:
    """A router and its nodes."""

    def __init__(self, reactor: Any, fleet: type[Fleet], speeds: list[float], ips: Path) -> None:
        self.nodes = [Node(reactor, speed, Random(2)) for speed in speeds]
        ips.write_text("\n".join(_serve(reactor, node) for node in self.nodes))
        listen = f"tcp:{(port := free_port())}:interface=127.0.0.1"
        router = make_router(Settings(ips=ips, listen=(listen,)), reactor, fleet)
        router.privilegedStartService()
        router.startService()
        self.api = f"http://127.0.0.1:{port}/api/v1/ip?container=llm"

    def times(self, since: float) -> list[float]:
        """Seconds from submission to end of each job submitted since then, in ascending order."""
        return sorted(
            job.finished - job.submitted
            for node in self.nodes
            for job in node.jobs
            if job.finished is not None and job.submitted >= since
        )


def _serve(reactor: Any, resource: Resource) -> str:
    site = Site(resource)
    site.noisy = False
    site.log = lambda request: None  # type: ignore[method-assign]
    return f"127.0.0.1:{reactor.listenTCP(0, site, interface='127.0.0.1').getHost().port}"


async def _one_job(http: HTTPClient, side: Side) -> None:
    """Ask the router for a node, and submit a job to it."""
    address = (await (await http.get(side.api)).json())["ip"]
    job = {"containers": ["llm"], "data": {}}
    await (await http.post(f"http://{address}/api/jobs", json=job)).content()


async def _main(reactor: Any, seconds: float, folder: Path) -> None:
    console = Console()
    speeds = [SLOWEST * (FASTEST / SLOWEST) ** (n / (NODES - 1)) for n in range(NODES)]
    sides = {
        "least pending": Side(reactor, LeastPending, speeds, folder / "least-pending.txt"),
        "ours": Side(reactor, Fleet, speeds, folder / "ours.txt"),
    }
    pool = HTTPConnectionPool(reactor)
    http, random, asking = HTTPClient(Agent(reactor, pool=pool)), Random(3), []
    await deferLater(reactor, 1.0)
    began = now = reactor.seconds()
    with Progress(console=console) as progress:
        task = progress.add_task("running", total=seconds)
        while now - began < seconds:
            now += random.expovariate(LOAD * sum(speeds) / 2.0)
            await deferLater(reactor, max(0.0, now - reactor.seconds()))
            asking += [Deferred.fromCoroutine(_one_job(http, side)) for side in sides.values()]
            progress.update(task, completed=now - began)
        for asked in asking:
            await asked
        progress.update(task, description="waiting for the last jobs", total=None)
        while any(node.pending for side in sides.values() for node in side.nodes):
            await deferLater(reactor, 0.5)
    table = Table(title=f"{seconds:g} s, Python {platform.python_version()}")
    for column in ("router", "jobs", "mean, s", "p50, s", "p99, s"):
        table.add_column(column, justify="left" if column == "router" else "right")
    for name, side in sides.items():
        times = side.times(began + WARM_UP * seconds)
        table.add_row(
            name,
            str(len(times)),
            f"{fmean(times):.2f}",
            *(f"{times[int(part * len(times))]:.2f}" for part in (0.5, 0.99)),
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.end_to_end", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="[default: 180]")
    seconds = parser.parse_args().seconds
    with TemporaryDirectory() as folder:
        react(lambda reactor: Deferred.fromCoroutine(_main(reactor, seconds, Path(folder))))


if __name__ == "__main__":
    main()
