"""
The router with fleets of many sizes: how often it polls a node, and what that costs.

    python -m benchmarks.scale [--nodes N …] [--max-polls N …] [--in-use SHARE] [--seconds N]
        [--descriptors N]

All nodes are healthy, so none may ever be down. The router has one processor; the nodes and 16
clients that send requests as fast as they can (wrk, from apt) have the other. "At rest" is without
clients. "Stalest" is the longest time between two polls of a node.
"""

import argparse
from collections.abc import Callable, Sequence

from attrs import frozen
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.loopback.machine import descriptors, leave_first_processor, machine, memory, until
from benchmarks.loopback.nodes import PlayedFleet
from benchmarks.loopback.served import Load, router
from infernet_router.nodes.polling import MAX_POLLS

NODES = (10, 100, 1_000, 2_000, 5_000, 10_000)

WARM_UP = 2
"""Seconds of load before the measurement."""

SHORTEST_REST = 10.0
"""Minimum seconds at rest; longer where polling every node twice takes longer."""


@frozen
class Measured:
    """The measurements of a router with one fleet."""

    nodes: int
    max_polls: int
    first_answer: float
    """Seconds from its start to its first response with status 200."""
    all_up: float
    """Seconds from its start until all nodes were up."""
    usual: float
    stalest: float
    """Seconds between two polls of a node at rest: the median and the maximum."""
    at_rest: float
    """The share of a processor that it uses at rest."""
    load: Load
    stalest_under_load: float
    peak: int
    """Peak memory in bytes."""
    descriptors: int
    """Open descriptors after the load."""
    lost: int
    """How often a node went down."""


def measure(
    fleet: PlayedFleet, nodes: int, max_polls: int, seconds: int, most_descriptors: int
) -> Measured:
    addresses = fleet.addresses[:nodes]
    with router(addresses, f"--max-polls={max_polls}", most_descriptors=most_descriptors) as served:
        until(lambda: served.up() == nodes, "all nodes to be up")
        all_up = served.age
        fleet.forget()
        at_rest = served.at_rest(max(SHORTEST_REST, 2.5 * nodes / max_polls))
        gaps = fleet.gaps()
        served.load(WARM_UP)
        fleet.forget()
        load = served.load(seconds)
        return Measured(
            nodes=nodes,
            max_polls=max_polls,
            first_answer=served.first_answer,
            all_up=all_up,
            usual=gaps[len(gaps) // 2],
            stalest=gaps[-1],
            at_rest=at_rest,
            load=load,
            stalest_under_load=max(fleet.gaps(), default=0.0),
            peak=memory(served.program.id, "VmHWM"),
            descriptors=descriptors(served.program.id),
            lost=served.program.output().count(" is down: "),
        )


def show(console: Console, runs: Sequence[Measured]) -> None:
    columns: dict[str, Callable[[Measured], str]] = {
        "nodes": lambda run: f"{run.nodes:,}",
        "max-polls": lambda run: f"{run.max_polls:,}",
        "first answer": lambda run: f"{run.first_answer:.1f} s",
        "all up": lambda run: f"{run.all_up:.1f} s",
        "interval": lambda run: f"{run.usual:.1f} s",
        "stalest": lambda run: f"{run.stalest:.1f} s",
        "under load": lambda run: f"{run.stalest_under_load:.1f} s",
        "CPU at rest": lambda run: f"{run.at_rest:.1%}",
        "requests/s": lambda run: f"{run.load.rate:,.0f}",
        "of the first": lambda run: f"{run.load.rate / runs[0].load.rate:.2f}",
        "p99": lambda run: f"{run.load.p99 * 1e3:.1f} ms",
        "of that": lambda run: f"{run.load.p99 / runs[0].load.p99:.1f}",
        "failed": lambda run: str(run.load.failed),
        "lost": lambda run: str(run.lost),
        "peak": lambda run: f"{run.peak / 1e6:.0f} MB",
        "descriptors": lambda run: str(run.descriptors),
    }
    table = Table(title=machine(), title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for run in runs:
        table.add_row(*(figure(run) for figure in columns.values()))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES)
    parser.add_argument("--in-use", type=float, default=0.0, help="share of nodes with jobs")
    parser.add_argument("--max-polls", type=int, nargs="+", default=[MAX_POLLS])
    parser.add_argument(
        "--seconds", type=int, default=15, help="duration of the load [default: 15]"
    )
    parser.add_argument("--descriptors", type=int, default=0, help="descriptor limit of the router")
    options = parser.parse_args(arguments)
    leave_first_processor()
    console = Console(width=180)
    fleet = PlayedFleet(max(options.nodes), options.in_use)
    runs = []
    with Progress(console=console) as progress:
        task = progress.add_task("", total=len(options.nodes) * len(options.max_polls))
        for nodes in options.nodes:
            for max_polls in options.max_polls:
                progress.update(task, description=f"{nodes:,} nodes, {max_polls:,} polls a second")
                runs.append(measure(fleet, nodes, max_polls, options.seconds, options.descriptors))
                progress.advance(task)
    show(console, runs)


if __name__ == "__main__":
    main()
