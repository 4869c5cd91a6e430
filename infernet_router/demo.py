"""A live demo: three simulated nodes, a router, and a client that sends jobs through it."""

import argparse
import sys
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path
from random import Random
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from treq.client import HTTPClient
from twisted.application.service import IService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogBeginner
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.server import Site
from zope.interface import provider

from infernet_router.settings import Settings
from infernet_router.tap import make_router
from infernet_router.testing import SimulatedNode

_PORT = 4000
_JOBS_A_SECOND = 4.0
_WORK = 0.6
"""Mean seconds a job takes at speed 1."""
_JOBS = (("llm",),) * 5 + (("classifier",),) * 3 + (("prover",),) + (("llm", "classifier"),)
"""The containers that jobs need; each entry is equally likely."""
_ONCE = 8.0
"""Seconds the demo runs with --once."""
_PATIENCE = 20.0
"""Seconds to wait at the end for jobs that still run."""


@frozen
class _Place:
    """A simulated node and its address."""

    address: str
    node: SimulatedNode


class Demo:
    """
    The nodes, the router and the client of the demo.

    :param reactor: a running reactor.
    :param folder: an empty folder for the list of nodes.
    :param port: the router's port; if it is in use, another one is chosen.
    :param random: decides when jobs arrive and which containers they need.
    """

    def __init__(
        self, reactor: Any, folder: Path, port: int = _PORT, random: Random | None = None
    ) -> None:
        self._reactor = reactor
        self._random = random or Random()
        self._folder = folder
        self._pool = HTTPConnectionPool(reactor)
        self._http = HTTPClient(Agent(reactor, pool=self._pool))
        self._ports: list[Any] = []
        self._router: IService | None = None
        self._running: set[Deferred[None]] = set()
        self._stopping = False
        self.api = f"http://127.0.0.1:{_free_port(port)}/api/v1/ip"
        self.places: list[_Place] = []
        self.handed_out: Counter[str] = Counter()
        """How often the router handed out each address."""
        self.seconds: list[float] = []
        """Seconds from request to end of each job that succeeded."""
        self.problems: list[str] = []
        """One line for each job that failed, with the reason."""
        self.events: deque[str] = deque(maxlen=4)
        """The router's latest log messages."""

    async def start(self) -> None:
        """Start the nodes and the router, and wait until it has polled them all."""
        self._serve(["llm"], speed=2.0, slots=2)
        self._serve(["llm", "classifier"], speed=1.0, slots=1)
        self._serve(["classifier", "prover"], speed=0.5, slots=2)
        ips = self._folder / "ips.txt"
        ips.write_text("".join(f"{place.address}\n" for place in self.places))
        port = self.api.partition("127.0.0.1:")[2].partition("/")[0]
        settings = Settings(ips=ips, listen=(f"tcp:{port}:interface=127.0.0.1",), admin=None)
        self._router = make_router(settings, self._reactor)
        self._router.privilegedStartService()
        self._router.startService()
        while not all(place.node.polls for place in self.places):
            await deferLater(self._reactor, 0.05)
        await deferLater(self._reactor, 0.1)

    async def submit_jobs(self, seconds: float | None) -> None:
        """Submit jobs for this many seconds, or without end; then wait for those that still run."""
        end = None if seconds is None else self._reactor.seconds() + seconds
        while end is None or self._reactor.seconds() < end:
            job = Deferred.fromCoroutine(self._one_job())
            self._running.add(job)
            job.addBoth(lambda _, job: self._running.discard(job), job)
            await deferLater(self._reactor, self._random.expovariate(_JOBS_A_SECOND))
        patience = self._reactor.seconds() + _PATIENCE
        while self._running and self._reactor.seconds() < patience:
            await deferLater(self._reactor, 0.05)
        self.problems += ["a job did not end"] * len(self._running)

    async def stop(self) -> None:
        """Stop everything; jobs that this interrupts are not problems."""
        self._stopping = True
        for job in tuple(self._running):
            job.cancel()
        if self._router is not None and self._router.running:
            await self._router.stopService()
        await self._pool.closeCachedConnections()
        while self._ports:
            await self._ports.pop().stopListening()

    def log(self, event: LogEvent) -> None:
        """Keep a log message for the view."""
        if str(event.get("log_namespace")).startswith("infernet_router"):
            self.events.append(formatEvent(event))

    def _serve(self, containers: list[str], speed: float, slots: int) -> None:
        """Serve a simulated node on a free port."""
        node = SimulatedNode(
            self._reactor,
            containers,
            speed=speed,
            slots=slots,
            work=lambda: self._random.expovariate(1 / _WORK),
        )
        site = Site(node)
        site.noisy = False
        site.log = lambda request: None  # type: ignore[method-assign]
        port = self._reactor.listenTCP(0, site, interface="127.0.0.1")
        self._ports.append(port)
        self.places.append(_Place(f"127.0.0.1:{port.getHost().port}", node))

    async def _one_job(self) -> None:
        """Ask the router for a node, submit a job to it, and wait for its end."""
        containers = self._random.choice(_JOBS)
        asked = self._reactor.seconds()
        try:
            answer = await self._http.get(self.api, params=[("container", c) for c in containers])
            address = (await answer.json())["ip"]
            self.handed_out[address] += 1
            jobs = f"http://{address}/api/jobs"
            answer = await self._http.post(jobs, json={"containers": containers, "data": {}})
            job = (await answer.json())["id"]
            status = "running"
            while status == "running":
                await deferLater(self._reactor, 0.1)
                answer = await self._http.get(jobs, params={"id": job})
                status = (await answer.json())[0]["status"]
            if status != "success":
                self.problems.append(f"a job for {', '.join(containers)} {status}")
            else:
                self.seconds.append(self._reactor.seconds() - asked)
        except Exception as error:
            if not self._stopping:
                self.problems.append(f"a job for {', '.join(containers)}: {error!r}")


def view(demo: Demo) -> Group:
    """The state of the demo, as a table."""
    table = Table(title="Infernet Router: jobs per node", title_justify="left")
    table.add_column("node", no_wrap=True)
    table.add_column("runs")
    table.add_column("speed")
    table.add_column("handed out", justify="right")
    table.add_column("done", justify="right")
    table.add_column("pending", no_wrap=True)
    for place in demo.places:
        node = place.node
        table.add_row(
            place.address,
            ", ".join(container.id for container in node.containers),
            f"{node.speed:g} × {node.slots}",
            str(demo.handed_out[place.address]),
            str(node.done),
            f"{node.pending:<3}{'█' * min(node.pending, 15)}",
        )
    return Group(
        table,
        Text(summary(demo)),
        *(Text(f"  router: {line}", style="dim", no_wrap=True) for line in demo.events),
        Text(f'Try it:  curl "{demo.api}?container=llm"', style="bold"),
    )


def summary(demo: Demo) -> str:
    """The result so far, in one line."""
    times = f", median {median(demo.seconds):.1f} s" if demo.seconds else ""
    return f"{len(demo.seconds)} jobs done{times}; {len(demo.problems)} failed"


def _free_port(preferred: int) -> int:
    """`preferred` if it is free on loopback, or else a free port."""
    for port in (preferred, 0):
        with socket() as probe:
            probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("there is no free port")


async def _main(reactor: Any, once: bool) -> None:
    console = Console()
    with TemporaryDirectory() as folder:
        demo = Demo(reactor, Path(folder))

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            demo.log(event)

        globalLogBeginner.beginLoggingTo([observe], redirectStandardIO=False, discardBuffer=True)
        try:
            await demo.start()
            if not console.is_terminal:
                console.print(f'curl "{demo.api}?container=llm"', soft_wrap=True)
            with Live(view(demo), console=console, auto_refresh=False) as live:
                drawing = LoopingCall(lambda: live.update(view(demo), refresh=True))
                drawing.start(0.25).addErrback(lambda failure: demo.problems.append(str(failure)))
                with suppress(CancelledError):
                    await demo.submit_jobs(_ONCE if once else None)
                drawing.stop()
                live.update(view(demo))
            if not console.is_terminal:
                console.line()
        finally:
            await demo.stop()
        for problem in demo.problems[:10]:
            console.print(f"failed: {problem}", style="red", soft_wrap=True)
        console.print(summary(demo), soft_wrap=True)
        if demo.problems or (once and not demo.seconds):
            raise SystemExit(1)


def main(arguments: list[str]) -> None:
    """Run the demo until Ctrl-C, or for some seconds with --once."""
    parser = argparse.ArgumentParser(prog="infernet_router.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help=f"stop after {_ONCE:g} seconds")
    once = parser.parse_args(arguments).once

    def run(reactor: Any) -> Deferred[None]:
        demo = Deferred.fromCoroutine(_main(reactor, once))

        def wind_up() -> Deferred[None]:
            """Cancel the demo and wait for its clean-up when Ctrl-C stops the reactor."""
            ended: Deferred[None] = Deferred()

            def tell(result: None) -> None:
                ended.callback(None)
                return result

            demo.cancel()
            demo.addBoth(tell)
            return ended

        reactor.addSystemEventTrigger("before", "shutdown", wind_up)
        return demo

    react(run)


if __name__ == "__main__":
    main(sys.argv[1:])
