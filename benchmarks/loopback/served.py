"""Servers to measure over loopback, each in a process of its own, and the load on them."""

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
"""The path that clients request."""

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
    """A running server."""

    program: Program
    port: int
    began: float
    first_answer: float = 0.0
    """Seconds from its start to its first response with status 200."""

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return monotonic() - self.began

    def up(self) -> int:
        """The number of nodes that are up."""
        return int(json.loads(self._get("/health")[1]).get("up", 0))

    def answers(self) -> bool:
        """Whether it responds with status 200 now."""
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
        """Measure it under 16 clients that send requests as fast as they can, with keep-alive."""
        before = processor_seconds(self.program.id)
        wrk = subprocess.run(
            ("wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", self.url),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        used = processor_seconds(self.program.id) - before
        failed = sum(map(int, re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", wrk)))
        found = re.search(
            r"50%\s+([\d.]+)(\w+).*99%\s+([\d.]+)(\w+).* (\d+) requests in.*Requests/sec:\s+(\S+)",
            wrk,
            re.S,
        )
        if found is None:
            raise CannotMeasure(f"wrk printed:\n{wrk}")
        return Load(
            rate=float(found[6]),
            p50=float(found[1]) * _SECONDS[found[2]],
            p99=float(found[3]) * _SECONDS[found[4]],
            failed=failed,
            cost=used / int(found[5]),
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def at_rest(self, seconds: float) -> float:
        """The share of a processor that it uses for this many seconds without requests."""
        before = processor_seconds(self.program.id)
        sleep(seconds)
        return (processor_seconds(self.program.id) - before) / seconds


@frozen
class Load:
    """What clients measured that send requests as fast as they can."""

    rate: float
    """Requests a second."""
    p50: float
    p99: float
    """Seconds from request to response: the median and the 99th percentile."""
    failed: int
    """Requests without a response, or with a status other than 200."""
    cost: float
    """Seconds of CPU time that the server used for each request, polls included."""


@contextmanager
def router(addresses: Iterable[str], *flags: str, most_descriptors: int = 0) -> Iterator[Served]:
    """
    A router for these nodes, once it hands out the first address.

    :param most_descriptors: its descriptor limit, by default that of this process.
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
    """A Klein route that returns a constant, once it responds."""
    with TemporaryDirectory() as folder:
        port = free_port()
        program = Program(Path(folder), sys.executable, "-c", _CONSTANT, str(port))
        with _serving(program, port) as served:
            yield served


@contextmanager
def _serving(program: Program, port: int) -> Iterator[Served]:
    """A server, pinned to the first processor, once it responds."""
    with program:
        os.sched_setaffinity(program.id, PROCESSORS[:1])
        served = Served(program, port, monotonic())
        until(lambda: served.answers() or not program.is_running, "the first response")
        if not program.is_running:
            raise CannotMeasure(program.output())
        served.first_answer = served.age
        yield served
