"""Servers that are measured over loopback, each a process, and the load on them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from attrs import define, frozen

from benchmarks.loopback.machine import (
    PROCESSORS,
    CannotMeasure,
    free_port,
    processor_seconds,
    until,
)
from benchmarks.loopback.programs import TWISTD, Program, Router, limited_twistd

PATH = "/api/v1/ip?container=llm"
"""What clients ask for."""

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


@define
class Served:
    """A process that serves on a port."""

    program: Program
    port: int
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
        before = processor_seconds(self.program.id)
        sleep(seconds)
        return (processor_seconds(self.program.id) - before) / seconds


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
    A router for these nodes, from the first address it hands out.

    :param most_descriptors: how many it may have, if not as many as this process.
    """
    with TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "ips.txt").write_text("\n".join(addresses))
        twistd = limited_twistd(folder, most_descriptors) if most_descriptors else TWISTD
        listen = f"--listen=tcp:{port}:interface=127.0.0.1"
        with _serving(Router(folder, listen, *flags, twistd=twistd), port) as served:
            yield served


@contextmanager
def constant() -> Iterator[Served]:
    """A Klein route that always answers the same, served as the router is."""
    with TemporaryDirectory() as folder:
        port = free_port()
        program = Program(Path(folder), sys.executable, "-c", _CONSTANT, str(port))
        with _serving(program, port) as served:
            yield served


@contextmanager
def _serving(program: Program, port: int) -> Iterator[Served]:
    """A server from its first response on; it has the first processor for itself."""
    with program:
        os.sched_setaffinity(program.id, PROCESSORS[:1])
        served = Served(program, port, monotonic())
        until(lambda: served.answers() or not program.is_running, "answer")
        if not program.is_running:
            raise CannotMeasure(program.output())
        served.first_answer = served.age
        yield served
