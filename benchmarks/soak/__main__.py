"""
A soak test: a million requests and a million polls while the router's surroundings misbehave.

    python -m benchmarks.soak [--minutes N] [--nodes N] [--rate N] [--slack N] [--growth N]
        [--replicas N] [-- ROUTER OPTIONS]

The router runs unmodified, in a process of its own. Two thirds of its nodes flap and fail in many
ways; clients disconnect in the middle of a request or send garbage; its list of nodes is edited,
replaced, corrupted and deleted; host names of nodes move to another host while the old one lives;
it is stopped for seconds, and its clock is set. Every response is checked against the true state:
an address may be handed out for a few seconds after it leaves the list or its node fails, and for a
minute after its name has moved, and never later. Seconds in which the router was stopped do not
count. The exit code is 0 only if every check passes. Linux only.
"""

import argparse
import asyncio
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.loopback.machine import (
    descriptors,
    free_port,
    machine,
    memory,
    processor_seconds,
)
from benchmarks.loopback.programs import Router
from benchmarks.soak.changing_list import ChangingList
from benchmarks.soak.flapping import Node
from benchmarks.soak.interrupting import PRELOADED, Interruptions
from benchmarks.soak.moving import MovingNames
from benchmarks.soak.record import Fault, Record
from benchmarks.soak.vanishing import Clients
from benchmarks.soak.verdicts import MAX_GROWTH, Measured, Verdict, verdicts

if TYPE_CHECKING:
    from benchmarks.soak.peers import Peers

MILLION = 1_000_000
LONGEST = 60.0
"""Minutes after which a run ends in any case."""
INTERVAL, TIMEOUT = 1.0, 2.0
"""The router's options, in seconds: short, for many polls."""
ALLOWED = {
    Fault.REMOVED: 2.0,
    Fault.DOWN: INTERVAL + TIMEOUT,
    Fault.WITHOUT: INTERVAL + TIMEOUT,
    Fault.MOVED: 60.0 + INTERVAL + TIMEOUT,
}
"""Seconds for which an address may still be handed out. The 2 and the 60 seconds are documented: a
connection to a host name is used for no longer than these."""
SLACK = 1.0
"""Seconds added to each of these, as the machine has other work."""
PATIENCE = 30.0
"""Seconds to wait for a condition."""
UNREACHABLE = "127.1.255.1:1"
"""The one address in the list while the router is at rest."""
ERROR = re.compile(r"Unhandled|Traceback|#(?:error|critical)\]")
SHOWN = 20
"""Errors of the log to print."""


async def until(condition: Callable[[], object], what: str) -> None:
    """
    Wait for a condition.

    :raises TimeoutError: when it does not hold in time; `what` is the message.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimeoutError(f"{what} within {PATIENCE:g} s") from None


async def soak(
    folder: Path, arguments: argparse.Namespace, show: Callable[[Measured], None]
) -> Measured:
    """
    Run the soak test.

    :param show: called once a second with the measurements so far.
    """
    port, random = free_port(), Random(1)
    record = Record({fault: allowed + arguments.slack for fault, allowed in ALLOWED.items()})
    ips = [(f"127.1.{n >> 8}.{n & 255}", n % 3 == 0) for n in range(1, arguments.nodes + 1)]
    nodes = [Node(ip, port, record, random, steady=steady) for ip, steady in ips]
    names = MovingNames(folder / "hosts", port, record, random)
    addresses = [node.address for node in nodes]
    listed = ChangingList(folder / "ips.txt", addresses, names.addresses, record, random)
    listed.path.write_text(UNREACHABLE)
    flags: tuple[str, ...] = (
        f"--interval={INTERVAL}",
        f"--timeout={TIMEOUT}",
        f"--max-polls={int(2 * arguments.nodes / INTERVAL)}",
    )
    flags = (*flags, *arguments.router)
    preload = {"PYTHONPATH": PRELOADED, "SOAK_HOSTS": str(folder / "hosts")}
    everyone = [*nodes, *names.hosts]
    peers = _peers(folder, arguments.replicas - 1, flags, preload, random)
    if peers is not None:
        flags = (*flags, f"--redis={peers.redis.url}")
    with (
        closing(peers) if peers else nullcontext(),
        Router(folder, *flags, variables=preload) as router,
    ):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(node.live()) for node in everyone]
            await until(lambda: _running(router).port, "the router did not start")
            clients = Clients(router.port or 0, record, random, arguments.rate)
            interruptions = Interruptions(router.signal, record, random)
            before = await _at_rest(router)
            measured = Measured(record, clients, everyone, interruptions, before)
            listed.write(listed.addresses)
            await until(
                lambda: all(node.polls for node in nodes if node.steady),
                "some nodes were not polled",
            )
            await asyncio.sleep(TIMEOUT)
            changing = [
                group.create_task(listed.keep_changing(lambda: router.signal(signal.SIGHUP))),
                group.create_task(clients.run()),
                group.create_task(interruptions.keep_interrupting()),
                group.create_task(names.keep_moving()),
            ]
            changing += [group.create_task(peers.keep_disturbing())] if peers else []
            await _measure(router, measured, names, arguments.minutes, show)
            for task in changing:
                task.cancel()
            await asyncio.wait(changing)
            listed.path.write_text(UNREACHABLE)
            await _end(router, measured)
            for task in tasks:
                task.cancel()
    return measured


def _peers(folder: Path, count: int, flags: tuple[str, ...], *more: Any) -> "Peers | None":
    """The routers that share the fleet with the one that is tested, if there are any."""
    if count < 1:
        return None
    from benchmarks.soak.peers import Peers  # it needs the extra `bench`

    return Peers(folder, count, flags, *more)


async def _measure(
    router: Router,
    measured: Measured,
    names: MovingNames,
    minutes: float | None,
    show: Callable[[Measured], None],
) -> None:
    """Measure the router once a second, until the run is over."""
    clock = asyncio.get_running_loop()
    began, spent = clock.time(), processor_seconds(router.id)
    while not _is_over(measured, minutes):
        await asyncio.sleep(1.0)
        _running(router)
        measured.seconds = clock.time() - began
        measured.resident.append(memory(router.id, "VmRSS"))
        measured.moves = names.took
        show(measured)
    measured.processor_seconds = processor_seconds(router.id) - spent


async def _end(router: Router, measured: Measured) -> None:
    """Measure what is left open, end the router, and read its log."""
    with suppress(TimeoutError):
        await until(lambda: descriptors(router.id) <= measured.before, "connections stayed open")
    measured.after = await _at_rest(router)
    router.signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        measured.exit_code = router.ended()
    measured.errors = [line for line in router.output().splitlines() if ERROR.search(line)]


def _running(router: Router) -> Router:
    """
    Check that the router still runs, and return it.

    :raises RuntimeError: when it has ended.
    """
    if not router.is_running:
        raise RuntimeError(f"the router ended: {router.output()[-2000:]}")
    return router


async def _at_rest(router: Router) -> int:
    """The fewest descriptors in a second of a router whose one node is unreachable."""
    seen = []
    for _ in range(20):
        await asyncio.sleep(0.05)
        seen.append(descriptors(router.id))
    return min(seen)


def _is_over(measured: Measured, minutes: float | None) -> bool:
    if minutes is not None:
        return measured.seconds >= minutes * 60
    done = min(measured.requests, measured.polls) >= MILLION
    return done or measured.seconds >= LONGEST * 60


def _print(measured: Measured, rows: Sequence[Verdict], console: Console) -> None:
    times, seconds = sorted(measured.clients.times), measured.seconds
    share = measured.processor_seconds / seconds
    console.print(
        f"{seconds / 60:.1f} min, {len(measured.nodes):,} nodes: {measured.requests / seconds:,.0f}"
        f" requests and {measured.polls / seconds:,.0f} polls a second used {share:.0%} of a core;"
        f" responses after {times[len(times) // 2] * 1e3:.1f} ms, p99"
        f" {times[int(0.99 * len(times))] * 1e3:.0f} ms; {measured.clients.left:,} clients left"
        f" without a response; {measured.record.checked:,} addresses handed out;"
        f" {measured.interruptions.stops} times stopped, {measured.interruptions.steps} times the"
        f" clock set, {len(measured.moves)} times a name moved"
    )
    console.print(machine())
    table = Table()
    for column in ("check", "allowed", "measured", ""):
        table.add_column(column)
    for row in rows:
        result = "passed" if row.good else "[bold red]failed"
        table.add_row(row.criterion, row.allowed, row.measured, result)
    console.print(table)
    for line in (*measured.clients.examples, *measured.errors[:SHOWN]):
        console.print(line, markup=False)


async def _main(arguments: argparse.Namespace, console: Console) -> bool:
    """Run the soak test and print the results; gives whether every check passed."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    with TemporaryDirectory() as folder, Progress(console=console) as progress:
        bar = progress.add_task("starting", total=1.0)

        def show(measured: Measured) -> None:
            progress.update(
                bar,
                completed=measured.seconds / 60 / arguments.minutes
                if arguments.minutes
                else min(measured.requests, measured.polls) / MILLION,
                description=f"{measured.requests:,} requests, {measured.polls:,} polls,"
                f" {measured.resident[-1] / 1e6:.0f} MB, {measured.clients.wrong:,} wrong",
            )

        measured = await soak(Path(folder), arguments, show)
    rows = verdicts(measured, 1 if arguments.minutes else MILLION, arguments.growth)
    _print(measured, rows, console)
    return all(row.good for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, help="duration [default: until a million of each is done]"
    )
    parser.add_argument("--nodes", type=int, default=1200, help="number of nodes [default: 1200]")
    parser.add_argument(
        "--rate", type=float, default=1600.0, help="maximum requests per second [default: 1600]"
    )
    parser.add_argument(
        "--slack", type=float, default=SLACK, help="seconds added to what is allowed [default: 1]"
    )
    parser.add_argument(
        "--growth", type=float, default=MAX_GROWTH, help="allowed growth of memory [default: 0.05]"
    )
    parser.add_argument(
        "--replicas", type=int, default=1, help="routers that share the fleet [default: 1]"
    )
    parser.add_argument("router", nargs="*", help="further options of the router, after --")
    arguments = parser.parse_args()
    if arguments.replicas > 1:  # there are up to two intervals from one poll of a node to the next
        arguments.slack += INTERVAL
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        sys.exit(0 if asyncio.run(_main(arguments, Console())) else 1)
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
