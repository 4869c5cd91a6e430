"""
How hostile nodes affect the latency of the API.

    python -m benchmarks.hostile [--copies N] [--good N] [--seconds N]

The hostile nodes are those of the tests (tests/integration/hostile_nodes.py), some copies of each
kind. The router is measured with good nodes only, with good and hostile nodes, and with the same
total number of good nodes, as their polls take time too. It has one processor. A client sends 200
requests a second over one connection; the latency of a request counts from when it was due, even
if an earlier response was late.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from attrs import frozen
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.loopback.machine import leave_first_processor, machine, memory, processor_seconds
from benchmarks.loopback.served import PATH, router

ROOT = Path(__file__).parents[1]
HOSTILE = str(ROOT / "tests" / "integration" / "hostile_nodes.py")
EVERY = 0.005
"""Seconds between two requests."""
WARM_UP = 12.0
"""Seconds until every node has been polled a few times, and those that hang have timed out."""

GOOD = ("-m", "infernet_router.testing", "--port", "0", "--nodes")
"""The arguments of Python that serve good nodes; their number follows."""


@frozen
class Measured:
    """The measurements of a router with some nodes."""

    nodes: str
    times: Sequence[float]
    """The latency of each request, in seconds."""
    processor: float
    """The share of a processor that it used."""
    grown: int
    """Growth of its peak memory after the warm-up, in bytes."""
    lost: int
    """How often a good node went down."""


@contextmanager
def running(*command: str, folder: str) -> Iterator[subprocess.Popen[str]]:
    """A program that is killed at the end; it yields to the client where CPU time is short."""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        ("nice", *command), cwd=folder, env=variables, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def first_line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline()


def measure(nodes: str, addresses: Sequence[str], good: set[str], seconds: float) -> Measured:
    """Measure a router with these nodes."""
    with router(addresses, "--ca-file", str(Path("authority.pem").absolute())) as served:
        connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
        ask(connection, WARM_UP, nodes)
        settled, used = memory(served.program.id, "VmRSS"), processor_seconds(served.program.id)
        times = ask(connection, seconds, nodes)
        used = processor_seconds(served.program.id) - used
        grown = memory(served.program.id, "VmHWM") - settled
        connection.close()
        down = re.findall(r"#warn\] (\S+) is down: ", served.program.output())
    return Measured(nodes, times, used / seconds, grown, sum(node in good for node in down))


def ask(connection: HTTPConnection, seconds: float, nodes: str) -> list[float]:
    """Send requests for this many seconds; gives the latency of each."""
    times = []
    began = monotonic()
    for number in track(range(int(seconds / EVERY)), nodes, transient=True):
        due = began + number * EVERY
        sleep(max(0.0, due - monotonic()))
        connection.request("GET", PATH)
        connection.getresponse().read()
        times.append(monotonic() - due)
    return times


def show(console: Console, runs: Sequence[Measured]) -> None:
    table = Table(title=machine(), title_justify="left")
    figures: dict[str, Callable[[Measured], str]] = {
        "median": lambda run: f"{quantiles(run.times, n=100)[49] * 1e3:.2f} ms",
        "p99": lambda run: f"{quantiles(run.times, n=100)[98] * 1e3:.2f} ms",
        "longest": lambda run: f"{max(run.times) * 1e3:.1f} ms",
        "processor": lambda run: f"{run.processor:.0%}",
        "memory grown": lambda run: f"{run.grown / 2**20:.1f} MiB",
        "good nodes lost": lambda run: str(run.lost),
    }
    table.add_column("nodes")
    for figure in figures:
        table.add_column(figure, justify="right")
    for run in runs:
        table.add_row(run.nodes, *(show_figure(run) for show_figure in figures.values()))
    console.print(table)
    alone, among, *_ = (quantiles(run.times, n=100)[98] for run in runs)
    console.print(f"p99 with hostile nodes: {among / alone:.2f} times the p99 without")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.hostile", description=__doc__)
    parser.add_argument(
        "--copies", type=int, default=5, help="copies of each hostile node [default: 5]"
    )
    parser.add_argument("--good", type=int, default=100, help="number of good nodes [default: 100]")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="duration of each run [default: 60]"
    )
    options = parser.parse_args()
    leave_first_processor()
    with (
        TemporaryDirectory() as folder,
        running(sys.executable, HOSTILE, str(options.copies), folder=folder) as bad_ones,
    ):
        os.chdir(folder)
        hostile = list(json.loads(first_line(bad_ones)).values())
        count = options.good + len(hostile)
        with running(sys.executable, *GOOD, str(count), folder=folder) as good_ones:
            all_good = [first_line(good_ones).strip() for _ in range(count)]
            good = all_good[: options.good]
            runs = [
                measure(nodes, addresses, set(all_good), options.seconds)
                for nodes, addresses in (
                    (f"{len(good)} good", good),
                    (f"{len(good)} good, {len(hostile)} hostile", [*good, *hostile]),
                    (f"{len(all_good)} good", all_good),
                )
            ]
        os.chdir(ROOT)
    show(Console(), runs)


if __name__ == "__main__":
    main()
