"""
The time of a pick, a list and a report, and the memory per node, with 10 to 1,000,000 nodes.

    python -m benchmarks.pick [--largest N]

Times are medians over rounds. Each round measures every fleet, so that other load on the machine
affects all of them alike. A whole request is one to a Klein route that returns a constant, over a
persistent connection on loopback, in CPU time of the server.
"""

import argparse
import gc
import os
import platform
from collections.abc import Callable
from http.client import HTTPConnection
from random import Random
from statistics import median
from time import monotonic, perf_counter

from attrs import define, field
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.loopback.machine import memory, processor_seconds
from benchmarks.loopback.served import PATH, constant
from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import Fleet
from infernet_router.reports import Container, NodeReport

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
ROUNDS = 15
CALLS = 2_000
"""Calls in each round."""
REQUESTS = 5_000
CONTAINERS = (Container("llm", external=True), Container("prover", external=True))


@define
class Measured:
    """One fleet, and the seconds of one call in each round."""

    fleet: Fleet
    addresses: list[NodeAddress]
    bytes_a_node: float
    pick: list[float] = field(factory=list)
    pick_two: list[float] = field(factory=list)
    report: list[float] = field(factory=list)
    rank: list[float] = field(factory=list)


def fleet_of(count: int) -> Measured:
    """A fleet of nodes that have all reported."""
    gc.collect()
    before = memory(os.getpid(), "VmRSS")
    addresses = [
        parse_address(f"10.{node >> 16}.{node >> 8 & 255}.{node & 255}:4000")
        for node in range(count)
    ]
    fleet = Fleet(monotonic, Random(1))
    fleet.replace(addresses)
    for node, address in enumerate(addresses):
        fleet.observed(address, _report(node % 4))
    fleet.pick(["llm", "prover"])
    return Measured(fleet, addresses, (memory(os.getpid(), "VmRSS") - before) / count)


def one_round(measured: Measured, random: Random) -> None:
    """Measure each kind of call."""
    fleet = measured.fleet
    measured.pick.append(_seconds(lambda: fleet.pick(("llm",))))
    measured.pick_two.append(_seconds(lambda: fleet.pick(("llm", "prover"))))
    polls = iter([(random.choice(measured.addresses), _report(1)) for _ in range(CALLS)])
    measured.report.append(_seconds(lambda: fleet.observed(*next(polls))))
    measured.rank.append(_seconds(lambda: fleet.rank(("llm",), 3, assign=False), calls=1))


def whole_request() -> float:
    """The CPU time of one request to a constant Klein route, in seconds."""
    with constant() as served:
        connection = HTTPConnection("127.0.0.1", served.port, timeout=10)
        for count in (REQUESTS // 5, REQUESTS):  # the first ones warm it up
            before = processor_seconds(served.program.id)
            for _ in range(count):
                connection.request("GET", PATH)
                connection.getresponse().read()
            spent = processor_seconds(served.program.id) - before
        connection.close()
    return spent / REQUESTS


def _report(pending: int) -> NodeReport:
    return NodeReport(CONTAINERS, {"offchain": pending, "onchain": 0}, "1.4.0")


def _seconds(call: Callable[[], object], calls: int = CALLS) -> float:
    """The time of one call, in seconds."""
    began = perf_counter()
    for _ in range(calls):
        call()
    return (perf_counter() - began) / calls


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.pick", description=__doc__)
    parser.add_argument(
        "--largest", type=int, default=SIZES[-1], help="largest fleet [default: 1000000]"
    )
    largest = parser.parse_args().largest
    console = Console()
    sizes = [size for size in SIZES if size <= largest]
    fleets = {size: fleet_of(size) for size in track(sizes, "making fleets", console=console)}
    gc.freeze()
    random = Random(2)
    for _ in track(range(ROUNDS), "measuring", console=console):
        for measured in fleets.values():
            one_round(measured, random)
    request = whole_request()
    table = Table(title=f"Python {platform.python_version()}, {platform.machine()}")
    table.add_column("nodes", justify="right")
    columns = (
        "pick",
        "of that at 10",
        "of a request",
        "of two",
        "best 3",
        "report",
        "bytes a node",
    )
    for column in columns:
        table.add_column(column, justify="right")
    first = median(fleets[sizes[0]].pick)
    for size, measured in fleets.items():
        pick = median(measured.pick)
        table.add_row(
            f"{size:,}",
            f"{pick * 1e6:.1f} µs",
            f"{pick / first:.2f} ×",
            f"{pick / request:.1%}",
            f"{median(measured.pick_two) * 1e6:.1f} µs",
            f"{median(measured.rank) * 1e3:.2f} ms",
            f"{median(measured.report) * 1e6:.1f} µs",
            f"{measured.bytes_a_node:,.0f}" if size >= 1000 else "",
        )
    console.print(table)
    console.print(f"a whole request to a constant Klein route: {request * 1e6:.0f} µs")


if __name__ == "__main__":
    main()
