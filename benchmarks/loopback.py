"""What is measured over loopback: a fleet of nodes, the router in front of it, and load on that."""

import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic, sleep

from attrs import define, frozen

PATH = "/api/v1/ip?container=llm"
"""What clients ask for."""

_INFO = (
    b'{"chain":{"address":"","enabled":false},"containers":['
    b'{"description":"A language model","external":true,"id":"llm","image":"org/llm:1"},'
    b'{"description":"","external":true,"id":"prover","image":"org/prover:1"}],'
    b'"pending":{"offchain":2,"onchain":0},"version":"1.4.0"}'
)

_CONSTANT = """
import sys
from klein import Klein
from twisted.internet import reactor
from twisted.web.server import Site
app = Klein()

@app.route("/api/v1/ip")
def ip(request):
    request.setHeader(b"content-type", b"application/json")
    return b'{"ip":"10.0.0.7:4000"}'

site = Site(app.resource())
site.log = lambda request: None
reactor.listenTCP(int(sys.argv[1]), site, interface="127.0.0.1")
reactor.run()
"""

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

_PROCESSORS = sorted(os.sched_getaffinity(0))

_PATIENCE = 120.0
"""Seconds after which what has not happened is taken not to happen."""


class CannotMeasure(SystemExit):
    """Something is missing, or did not happen; the message says what."""


class PlayedFleet:
    """
    Nodes that are all well, on 127.1.0.0/16, played by a thread of this process.

    :param count: how many, up to 65,535.
    """

    def __init__(self, count: int) -> None:
        self._port = free_port()
        self.addresses = [
            f"127.1.{number >> 8}.{number & 255}:{self._port}" for number in range(1, count + 1)
        ]
        self._polls: dict[str, list[float]] = defaultdict(list)
        """By IP address, when it was asked for its report."""
        self._listening = False
        Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        until(lambda: self._listening, "the fleet")

    async def _serve(self) -> None:
        serve = asyncio.get_running_loop().create_server
        server = await serve(lambda: _Node(self), "0.0.0.0", self._port, backlog=4096)
        self._listening = True
        await server.serve_forever()

    def asked(self, address: str) -> None:
        """A node was asked for its report."""
        self._polls[address].append(monotonic())

    def forget(self) -> None:
        """Count no poll that was."""
        self._polls = defaultdict(list)

    def gaps(self) -> list[float]:
        """The seconds between two polls of a node, the shortest first."""
        polls = self._polls.values()
        return sorted(after - before for times in polls for before, after in pairwise(times))


class _Node(asyncio.Protocol):
    """A connection to a node of a fleet."""

    transport: asyncio.Transport

    def __init__(self, fleet: PlayedFleet) -> None:
        self._fleet = fleet
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        status, body = b"404 Not Found", b""
        if self._received.startswith(b"GET /info "):
            self._fleet.asked(self.transport.get_extra_info("sockname")[0])
            status, body = b"200 OK", _INFO
        closes = b"\r\nconnection: close\r\n" in self._received.lower()
        self._received = b""
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: %s\r\n\r\n%s"
            % (status, len(body), b"close" if closes else b"keep-alive", body)
        )
        if closes:
            self.transport.close()


@define
class Served:
    """A process that serves on a port."""

    process: int
    port: int
    log: Path
    began: float
    first_answer: float = 0.0
    """Seconds from its start to its first answer."""

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return monotonic() - self.began

    def up(self) -> int:
        """How many nodes are up."""
        return int(json.loads(self._get("/health")[1]).get("up", 0))

    def answers(self) -> bool:
        """Whether it answers a client with 200 now."""
        with suppress(OSError):
            return self._get(PATH)[0] == 200
        return False

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def load(self, seconds: int) -> "Load":
        """Let 16 clients ask it as fast as they can, each on a connection that it keeps."""
        wrk = subprocess.run(
            ("wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", self.url),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        failed = sum(map(int, re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", wrk)))
        found = re.search(
            r"50%\s+([\d.]+)(\w+).*99%\s+([\d.]+)(\w+).*Requests/sec:\s+(\S+)", wrk, re.S
        )
        if found is None:
            raise CannotMeasure(f"wrk printed:\n{wrk}")
        return Load(
            rate=float(found[5]),
            p50=float(found[1]) * _SECONDS[found[2]],
            p99=float(found[3]) * _SECONDS[found[4]],
            failed=failed,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def at_rest(self, seconds: float) -> float:
        """The share of a processor that it uses in so many seconds in which nobody asks it."""
        before = processor_seconds(self.process)
        sleep(seconds)
        return (processor_seconds(self.process) - before) / seconds


@frozen
class Load:
    """How clients that ask as fast as they can were served."""

    rate: float
    """Requests a second."""
    p50: float
    p99: float
    """Seconds from a request to its answer: the median, and the 99th percentile."""
    failed: int
    """Requests without an answer, or with another status than 200."""


@contextmanager
def router(addresses: Iterable[str], *flags: str, most_descriptors: int = 0) -> Iterator[Served]:
    """
    A router for these nodes, once it hands one out.

    :param most_descriptors: how many it may have, if it is not as many as this process.
    """
    with TemporaryDirectory() as folder:
        Path(folder, "ips.txt").write_text("\n".join(addresses))
        twistd = str(Path(sys.executable).with_name("twistd"))
        listen = f"tcp:{(port := free_port())}:interface=127.0.0.1"
        command = [twistd, "-n", "--pidfile=", "infernet-router", "--listen", listen, *flags]
        if most_descriptors:
            command = ["sh", "-c", f'ulimit -n {most_descriptors}; exec "$0" "$@"', *command]
        with _serving(command, port, folder) as served:
            yield served


@contextmanager
def constant() -> Iterator[Served]:
    """A Klein route that always answers the same, served as the router is."""
    with TemporaryDirectory() as folder:
        port = free_port()
        with _serving([sys.executable, "-c", _CONSTANT, str(port)], port, folder) as served:
            yield served


@contextmanager
def _serving(command: list[str], port: int, folder: str) -> Iterator[Served]:
    """A server in this folder, from its first answer on; it has the first processor for itself."""
    log = Path(folder, "log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        os.sched_setaffinity(process.pid, _PROCESSORS[:1])
        served = Served(process.pid, port, log, monotonic())
        until(lambda: served.answers() or process.poll() is not None, "an answer")
        if process.poll() is not None:
            raise CannotMeasure(log.read_text())
        served.first_answer = served.age
        yield served
    finally:
        process.kill()
        process.wait()


def leave_first_processor() -> None:
    """
    Let this process and what it starts run on all processors but the first.

    :raises CannotMeasure: when there is just one, or wrk is not installed.
    """
    if len(_PROCESSORS) < 2:
        raise CannotMeasure("there must be two processors: one for the router, one for clients")
    if shutil.which("wrk") is None:
        raise CannotMeasure("wrk is missing: apt-get install wrk")
    os.sched_setaffinity(0, _PROCESSORS[1:])


def machine() -> str:
    """What it is that was measured, and on what."""
    parts = [f"{name} {version(name)}" for name in ("infernet-router", "twisted", "klein", "treq")]
    python = f"Python {platform.python_version()}"
    return ", ".join([*parts, python, f"{platform.system()} {platform.machine()}", _processor()])


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} × {found[1] if found else 'processor'}"


def memory(process: int, name: str) -> int:
    """A figure of a process's memory in /proc, such as VmRSS or VmHWM, in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def descriptors(process: int) -> int:
    """Descriptors that a process has open."""
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def processor_seconds(process: int) -> float:
    """Seconds of a processor's time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port on which nobody listens."""
    with create_server(("", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def until(condition: Callable[[], object], what: str) -> None:
    """
    Wait until the condition holds.

    :raises CannotMeasure: when it does not for long.
    """
    end = monotonic() + _PATIENCE
    while not condition():
        if monotonic() > end:
            raise CannotMeasure(f"there was no {what}")
        sleep(0.01)
