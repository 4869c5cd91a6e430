"""Serves a fleet of simulated nodes on loopback addresses, and prints the list of nodes."""

import argparse
import os
import sys
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater, react

from infernet_router.process import raise_limit
from infernet_router.quoting import quoted
from infernet_router.testing.fleet import MAX_NODES, loopback_hosts, serve
from infernet_router.testing.node import SimulatedNode


def main(arguments: list[str]) -> None:
    """Serve the fleet until Ctrl-C."""
    options = _parser().parse_args(arguments)
    raise_limit()
    react(lambda reactor: Deferred.fromCoroutine(_serve(reactor, options)))


async def _serve(reactor: Any, options: argparse.Namespace) -> None:
    random = Random(options.seed)
    nodes = [
        SimulatedNode(
            reactor,
            options.containers,
            speed=speed,
            slots=options.slots,
            work=lambda: random.expovariate(1 / options.work),
        )
        for speed in spread(options.speeds, options.nodes)
    ]
    await deferLater(reactor, 0)  # from then on, the reactor handles signals
    try:
        served = await serve(reactor, nodes, loopback_hosts(len(nodes)), options.port)
    except CannotListenError as error:
        why = getattr(error.socketError, "strerror", None) or error.socketError
        raise SystemExit(f"cannot listen on {error.interface}:{error.port}: {why}") from None
    try:
        print("".join(f"{one.address}\n" for one in served), end="", flush=True)
    except OSError as error:
        # Python would try to write the rest once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(f"cannot print the list of nodes: {error.strerror}") from None
    print(_summary(options), file=sys.stderr)
    stopping: Deferred[None] = Deferred()
    reactor.addSystemEventTrigger("before", "shutdown", stopping.callback, None)
    await stopping


def _summary(options: argparse.Namespace) -> str:
    count, containers = options.nodes, ", ".join(options.containers)
    nodes = "1 node listens" if count == 1 else f"{count} nodes listen"
    runs = "runs" if count == 1 else "run"
    return f"{nodes} and {runs} {containers}; Ctrl-C ends {'it' if count == 1 else 'them'}"


def spread(speeds: list[float], count: int) -> list[float]:
    """Speeds from the first to the last of these, growing by equal factors."""
    slowest, fastest = speeds[0], speeds[-1]
    return [slowest * (fastest / slowest) ** (n / max(1, count - 1)) for n in range(count)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infernet_router.testing", description=__doc__)

    def add(name: str, metavar: str, kind: Callable[[str], Any], default: str, help: str) -> None:
        parser.add_argument(
            name, metavar=metavar, type=kind, default=default, help=f"{help} [default: {default}]"
        )

    add("--nodes", "N", _whole(1, MAX_NODES), "3", "number of nodes")
    add(
        "--speeds",
        "SLOWEST,FASTEST",
        _speeds,
        "1",
        "seconds of work that a node does in a second; one number for all nodes, or two",
    )
    add("--slots", "N", _whole(1, 1000), "1", "jobs that each node runs at a time")
    add("--work", "SECONDS", _number, "1", "mean seconds a job takes at speed 1")
    add("--containers", "ID,ID", _containers, "llm", "containers that every node runs")
    add("--port", "PORT", _whole(0, 65535), "5001", "port of all nodes; 0 for a free one")
    add("--seed", "N", _whole(0, 2**32), "1", "seed of the jobs' lengths")
    return parser


def _whole(least: int, most: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text[:20]) <= most:
            return int(text)
        raise _bad(f"must be a whole number from {least} to {most}", text)

    return whole


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if 0.001 <= number <= 1000:
        return number
    raise _bad("must be a number from 0.001 to 1000", text)


def _speeds(text: str) -> list[float]:
    parts = text.split(",")
    if len(parts) > 2:
        raise _bad("must be one speed, or the slowest and the fastest", text)
    speeds = [_number(part) for part in parts]
    if speeds[0] > speeds[-1]:
        raise _bad("must have the slowest first", text)
    return speeds


def _containers(text: str) -> list[str]:
    ids = text.split(",")
    if not all(ids):
        raise _bad("must be container ids with a comma between two", text)
    return ids


def _bad(what: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{what}, not {quoted(text)}")


if __name__ == "__main__":
    main(sys.argv[1:])
