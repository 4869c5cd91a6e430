"""
The router's requests per second, relative to a Klein route that returns a constant.

    python -m benchmarks.throughput [--admin] [--rounds N] [--seconds N]

The router has one processor; 16 clients on the other send requests as fast as they can (wrk, from
apt). The constant route is measured in the same way before and after each case; the result of a
case is its ratio to the mean of these two. The table shows medians over the rounds.

With --admin, it measures instead what the endpoint for operators costs clients, with its metrics
and records of decisions: the same router with and without it, in turn.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, median
from time import sleep

from attrs import evolve, frozen
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.loopback.machine import leave_first_processor, machine
from benchmarks.loopback.nodes import PlayedFleet
from benchmarks.loopback.served import Load, Served, constant, router

WARM_UP = 2
"""Seconds of load before the measurement."""

AT_REST = 0.02
"""The share of a processor below which a router without clients is idle."""


@frozen
class Case:
    """One configuration of the router."""

    name: str
    nodes: int
    flags: tuple[str, ...]
    settles: float
    """Seconds until every node has been polled."""


POLLING_IDLE = ("--interval=86400", "--resources-interval=86400", "--max-polls=5000")

CASES = (
    Case("10 nodes", 10, (), 2),
    Case("10,000 nodes, polling idle", 10_000, POLLING_IDLE, 10),
    Case("10,000 nodes", 10_000, (), 25),
)


WITHOUT, WITH = "--admin=none", "--admin=tcp:0:interface=127.0.0.1"
"""Whether there is an endpoint for operators."""


def measured(served: Served, seconds: int) -> Load:
    served.load(WARM_UP)
    return served.load(seconds)


def measured_constant(seconds: int) -> Load:
    with constant() as served:
        return measured(served, seconds)


def measured_case(case: Case, fleet: PlayedFleet, seconds: int) -> Load:
    with router(fleet.addresses[: case.nodes], *case.flags) as served:
        sleep(case.settles)
        while case.flags == POLLING_IDLE and served.at_rest(2) > AT_REST:
            pass
        return measured(served, seconds)


def compare_admin(console: Console, fleet: PlayedFleet, rounds: int, seconds: int) -> None:
    """Print what the endpoint for operators costs, with few nodes and with many."""
    table = Table(title=machine(), title_justify="left")
    for column in ("", "for operators", "requests a second", "ratio", "CPU for each", "ratio"):
        table.add_column(column, justify="right")
    for case in (CASES[0], CASES[-1]):
        found: dict[str, list[Load]] = {WITHOUT: [], WITH: []}
        for number in range(rounds):
            for flag in sorted(found, reverse=bool(number % 2)):
                found[flag].append(measured_case(evolve(case, flags=(flag,)), fleet, seconds))
        for flag, loads in found.items():
            pairs = list(zip(loads, found[WITHOUT], strict=True))
            table.add_row(
                case.name,
                "nothing" if flag is WITHOUT else "all",
                f"{median(load.rate for load in loads):,.0f}",
                f"{median(load.rate / without.rate for load, without in pairs):.3f}",
                f"{median(load.cost for load in loads) * 1e6:.1f} µs",
                f"{median(load.cost / without.cost for load, without in pairs):.3f}",
            )
    console.print(table)


def show(console: Console, cases: dict[str, list[Load]], ratios: dict[str, list[float]]) -> None:
    table = Table(title=machine(), title_justify="left")
    table.add_column("")
    for column in ("requests a second", "of constant", "from", "to", "median", "p99", "failed"):
        table.add_column(column, justify="right")
    for name, loads in cases.items():
        shares = ratios[name]
        table.add_row(
            name,
            f"{median(load.rate for load in loads):,.0f}",
            f"{median(shares):.2f}",
            f"{min(shares):.2f}",
            f"{max(shares):.2f}",
            f"{median(load.p50 for load in loads) * 1e3:.1f} ms",
            f"{median(load.p99 for load in loads) * 1e3:.1f} ms",
            str(sum(load.failed for load in loads)),
        )
    console.print(table)
    few, *_, many = (cases[case.name] for case in CASES)
    longer = median(b.p99 / a.p99 for a, b in zip(few, many, strict=True))
    console.print(f"p99 with 10,000 polled nodes: {longer:.1f} times the p99 with 10")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.throughput", description=__doc__)
    parser.add_argument("--admin", action="store_true", help="with and without that endpoint")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all cases [default: 5]")
    parser.add_argument("--seconds", type=int, default=8, help="duration of each load [default: 8]")
    options = parser.parse_args(arguments)
    leave_first_processor()
    console = Console()
    fleet = PlayedFleet(max(case.nodes for case in CASES))
    if options.admin:
        compare_admin(console, fleet, options.rounds, options.seconds)
        return
    cases: dict[str, list[Load]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    with Progress(console=console) as progress:
        task = progress.add_task("", total=options.rounds * len(CASES))
        for _ in range(options.rounds):
            before = measured_constant(options.seconds)
            for case in CASES:
                progress.update(task, description=case.name)
                load = measured_case(case, fleet, options.seconds)
                after = measured_constant(options.seconds)
                cases["constant"].append(after)
                cases[case.name].append(load)
                ratios["constant"].append(after.rate / fmean([before.rate, after.rate]))
                ratios[case.name].append(load.rate / fmean([before.rate, after.rate]))
                before = after
                progress.advance(task)
    show(console, cases, ratios)


if __name__ == "__main__":
    main()
