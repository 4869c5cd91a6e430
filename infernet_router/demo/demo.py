"""The demo: two equal fleets, this router, the rule of the public one, and the jobs for both."""

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from typing import Any

from treq.client import HTTPClient
from twisted.application.service import IService
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.web.client import Agent, HTTPConnectionPool
from zope.interface import implementer

from infernet_router.demo.router_client import RouterClient
from infernet_router.demo.rule import LeastPending
from infernet_router.demo.sides import Job, Side, Unable
from infernet_router.demo.story import Pair, Story
from infernet_router.settings import Settings
from infernet_router.tap import make_router
from infernet_router.testing import ServedNode, SimulatedNode, loopback_hosts, serve

SPEEDS = (2.0, 1.6, 1.3, 1.0, 1.0, 0.8, 0.6, 0.5)
"""The speeds of the nodes of each fleet."""
PORT = 4000
_PORTS = PORT, 4001
_NODE_PORT = 5001
_MEAN_WORK = 0.8
"""Mean seconds a job takes at speed 1, before the longest are cut."""
_MOST_WORK = 3.0
_JOBS = (("llm",), ("llm",), ("llm",), ("prover",))
"""The containers that jobs need; each entry is equally likely."""
_LOAD = 0.6
_STEP = 0.1
_KEPT = 50


@implementer(ILogObserver)
class Demo:
    """
    Everything that the demo runs.

    :param reactor: a running reactor.
    :param folder: an empty folder for the list of nodes.
    :param random: decides when jobs arrive, and what they are.
    :param port: the router's port; 0 for free ones of everything. By default, it is the first of
        `ports`.
    :param tell: called with each line that tells what happens.
    :param ports: those of the router and of its status page, unless they are taken.
    """

    def __init__(
        self,
        reactor: Any,
        folder: Path,
        random: Random,
        port: int | None = None,
        tell: Callable[[str], object] = lambda line: None,
        ports: tuple[int, int] = _PORTS,
    ) -> None:
        self._reactor = reactor
        self._random = random
        self._folder = folder
        self._tell = tell
        self._pool = HTTPConnectionPool(reactor)
        self._http = HTTPClient(Agent(reactor, pool=self._pool))
        self._served: list[ServedNode] = []
        self._router: IService | None = None
        self._rule: LeastPending | None = None
        self._port = port
        self._ports = ports
        self._names: dict[str, str] = {}
        self._sampling = LoopingCall(self._sample)
        self._sampling.clock = reactor
        self._arrivals: Any = None
        self._addresses: dict[str, str] = {}
        self.token = secrets.token_hex(4)
        """What operators need to change something on the status page."""
        self.load = _LOAD
        """Arriving work as a share of the capacity of all nodes."""
        self.notes: list[str] = []
        """What is not as one would expect: ports that were taken."""
        self.log: deque[str] = deque(maxlen=_KEPT)
        """The router's last log messages."""
        self.problems: list[str] = []
        """What went wrong with the router, or with its jobs."""
        self.began = 0.0

    @property
    def api(self) -> str:
        """The URL that tells clients a node."""
        return f"http://{self._addresses['']}/api/v1/ip"

    @property
    def status_page(self) -> str:
        """The URL of the status page."""
        return f"http://{self._addresses['operators']}/"

    @property
    def seconds(self) -> float:
        """Seconds since the first job."""
        return float(self._reactor.seconds() - self.began) if self.is_running else 0.0

    @property
    def is_running(self) -> bool:
        """Whether everything has started."""
        return self.began > 0

    async def start(self) -> None:
        """
        Start the nodes and the router, and wait until it has polled them all.

        :raises CannotListenError: when the nodes cannot listen.
        :raises CannotStart: when the router cannot.
        """
        globalLogPublisher.addObserver(self)
        ours, others = await self._serve_nodes()
        (self._folder / "ips.txt").write_text("".join(f"{one.address}\n" for one in ours))
        port, admin_port = self._chosen_ports()
        settings = Settings(
            ips=self._folder / "ips.txt",
            listen=(_loopback(port),),
            admin=_loopback(admin_port),
            admin_given=True,
            admin_token=self.token,
        )
        self._router = make_router(settings, self._reactor)
        self._router.privilegedStartService()
        self._router.startService()
        self._rule = LeastPending((one.address for one in others), self._http, self._reactor)
        self._rule.start()
        while not all(one.node.polls for one in self._served):
            await deferLater(self._reactor, 0.05)
        await deferLater(self._reactor, 0.1)
        self.log.clear()
        router = RouterClient(self._http, self._reactor, self.api, self.status_page, self.token)
        self.ours = Side(ours, router.ask, self._http, self._reactor, self.problems)
        self.others = Side(others, self._ask_rule, self._http, self._reactor, [])
        self.pairs = [
            Pair(number, one, other)
            for number, (one, other) in enumerate(zip(ours, others, strict=True), 1)
        ]
        self.story = Story(self.pairs, router.drain, self._tell, self._reactor)
        self.began = self._reactor.seconds()
        self._sampling.start(1.0, now=False)

    def submit_jobs(self) -> None:
        """Submit jobs to both sides, from now until `end_jobs`."""
        rate = self.load * sum(SPEEDS) / _MEAN_WORK
        self._arrivals = self._reactor.callLater(self._random.expovariate(rate), self._submit)

    def change_load(self, steps: int) -> None:
        """Change the load by so many steps, up to all that the nodes can do."""
        self.load = min(1.0, max(_STEP, round(self.load + steps * _STEP, 1)))
        self._tell(f"load: {self.load:.0%} of what the nodes can do")

    def end_jobs(self) -> None:
        """Submit no more jobs."""
        if self._arrivals is not None and self._arrivals.active():
            self._arrivals.cancel()

    async def stop(self) -> None:
        """Stop everything; jobs that this interrupts are not problems."""
        self.end_jobs()
        if self.is_running:
            self.story.stop()
            self._sampling.stop()
            self.ours.stop()
            self.others.stop()
        if self._rule is not None:
            self._rule.stop()
        if self._router is not None and self._router.running:
            await self._router.stopService()
        await self._pool.closeCachedConnections()
        for one in self._served:
            await one.kill()
        globalLogPublisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """Observe the log: keep the router's messages, find where it listens, and see bugs."""
        if event.get("log_level") is LogLevel.critical:
            self.problems.append(formatEvent(event) or "an error")
        if not str(event.get("log_namespace")).startswith("infernet_router"):
            return
        if event.get("event") == "listening":
            self._addresses[event.get("purpose", "")] = event["address"]
            return
        line = formatEvent(event)
        for address, name in self._names.items():
            line = line.replace(address, name)
        self.log.append(line)
        if self.is_running:
            self._tell(f"log: {line}")

    async def _serve_nodes(self) -> tuple[Sequence[ServedNode], Sequence[ServedNode]]:
        """Serve both fleets; returns the router's, and the other."""
        nodes = [
            SimulatedNode(self._reactor, ["llm", "prover"] if n % 2 else ["llm"], speed=speed)
            for _ in range(2)
            for n, speed in enumerate(SPEEDS, 1)
        ]
        count = len(SPEEDS)
        hosts = [*loopback_hosts(count), *loopback_hosts(count, network=2)]
        try:
            port = _NODE_PORT if self._port is None else 0
            self._served = await serve(self._reactor, nodes, hosts, port)
        except CannotListenError:
            self._served = await serve(self._reactor, nodes, hosts)
        ours, others = self._served[:count], self._served[count:]
        self._names = {one.address: f"node {number}" for number, one in enumerate(ours, 1)}
        return ours, others

    def _chosen_ports(self) -> tuple[int, int]:
        """The ports of the router and of its status page; 0 stands for a free one."""
        if self._port == 0:
            return 0, 0
        port, admin_port = self._ports
        chosen = self._free("the router", port) if self._port is None else self._port
        return chosen, self._free("the status page", admin_port)

    def _free(self, what: str, port: int) -> int:
        """This port if it is free, or else 0, which stands for a free one."""
        if _is_free(port):
            return port
        self.notes.append(f"port {port} is taken, so {what} has another one")
        return 0

    def _sample(self) -> None:
        self.ours.sample()
        self.others.sample()

    def _submit(self) -> None:
        work = min(self._random.expovariate(1 / _MEAN_WORK), _MOST_WORK)
        job = Job(self._random.choice(_JOBS), work)
        self.ours.submit(job)
        self.others.submit(job)
        self.submit_jobs()

    async def _ask_rule(self, containers: Sequence[str], avoid: Sequence[str]) -> str:
        assert self._rule is not None
        address = self._rule.pick(containers)
        if address is None:
            raise Unable
        return address


def _loopback(port: int) -> str:
    return f"tcp:{port}:interface=127.0.0.1"


def _is_free(port: int) -> bool:
    """Whether a port of 127.0.0.1 is free."""
    with socket() as probe:
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
