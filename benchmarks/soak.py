"""
A soak: a million requests and a million polls, while all that is around the router misbehaves.

    python -m benchmarks.soak [--minutes N] [--nodes N] [--rate N] [--slack N] [--growth N]
        [-- ROUTER OPTIONS]

The router runs as ever, in a process of its own. Two thirds of its nodes flap, and are down in
every way there is; clients leave in mid-request, or send what is no request; its list is edited,
replaced, spoiled and lost. All of these know the truth, and every answer is checked against it: an
address may be handed out for some seconds after it was taken from the list, or no poll can have
found it good; never later. Ends with 1 unless all is well. Linux only.
"""

import argparse
import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from attrs import define, field, frozen
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.flapping import Node
from benchmarks.loopback import descriptors, free_port, machine, memory, processor_seconds
from benchmarks.record import Fault, Record
from benchmarks.vanishing import Clients

MILLION = 1_000_000
LONGEST = 60.0
"""Minutes after which a run ends though it has not done its millions."""
INTERVAL, TIMEOUT = 1.0, 2.0
"""Seconds, as the router is told them: short, for many polls."""
ALLOWED = {
    Fault.REMOVED: 2.0,
    Fault.DOWN: INTERVAL + TIMEOUT,
    Fault.WITHOUT: INTERVAL + TIMEOUT,
}
"""Seconds after the fact in which an address may be handed out: README promises the 2 seconds."""
SLACK = 1.0
"""Seconds that each of these may take longer, because others use the machine as well."""
MAX_GROWTH = 0.05
"""The part by which memory may grow."""
PATIENCE = 30.0
"""Seconds after which what has not happened is taken not to happen."""
NOBODY = "127.1.255.1:1"
"""Stands in the list while the router is at rest."""
ERROR = re.compile(r"Unhandled|Traceback|#(?:error|critical)\]")
SHOWN = 20
"""Errors of the log that are printed."""
SPOILT = ("", "# nothing\n", "127.1.0.1:4000\nhttp://a b/\n", "\xff\0\n", None)
"""Lists that change nothing; the last is no file at all."""


class Router:
    """A router started by twistd, which is ended with the block."""

    def __init__(self, folder: Path, flags: Sequence[str]) -> None:
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                (
                    str(Path(sys.executable).with_name("twistd")),
                    *("-n", "--pidfile=", "infernet-router"),
                    "--listen=tcp:0:interface=127.0.0.1",
                    f"--interval={INTERVAL}",
                    f"--timeout={TIMEOUT}",
                    *flags,
                ),
                cwd=folder,
                env={"PATH": os.environ.get("PATH", os.defpath)},  # none of the router's variables
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.id = self.process.pid

    def __enter__(self) -> "Router":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def port(self) -> int | None:
        """The port it serves on, once it does."""
        self.check()
        found = re.search(r"listening on \S+:(\d+)\n", self._log.read_text())
        return int(found[1]) if found else None

    def hang_up(self) -> None:
        """Have it read its list."""
        self.process.send_signal(signal.SIGHUP)

    @property
    def errors(self) -> list[str]:
        """What is an error in its log."""
        with self._log.open(errors="replace") as lines:
            return [line.rstrip() for line in lines if ERROR.search(line)]

    def check(self) -> None:
        """
        See that it still runs.

        :raises RuntimeError: when it does not.
        """
        if self.process.poll() is not None:
            raise RuntimeError(f"the router ended: {self._log.read_text()[-2000:]}")

    def end(self) -> int | None:
        """Ask it to end; gives its exit code, or None if it goes on."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(PATIENCE)
        return None


@frozen
class ChangingList:
    """The router's list of nodes, which changes all the time."""

    path: Path
    addresses: Sequence[str]
    """Of all nodes."""
    record: Record
    random: Random

    def write(self, addresses: Sequence[str], replace: bool = False) -> None:
        """List these nodes, in a file that is written anew or replaced."""
        self.record.listed(addresses)
        target = self.path.with_suffix(".new") if replace else self.path
        target.write_text("".join(f"{address}  # a node\n\n" for address in addresses))
        target.replace(self.path)
        gone = set(self.addresses).difference(addresses)
        self.record.removed(gone, asyncio.get_running_loop().time())

    async def keep_changing(self, hang_up: Callable[[], None]) -> None:
        """Another tenth of the nodes is away each time; but now and then the list is spoilt."""
        while True:
            # Longer than the router takes to see a change: one that is gone again is none.
            await asyncio.sleep(self.random.uniform(3.0, 5.0))
            if self.random.random() < 0.3:
                spoilt = self.random.choice(SPOILT)
                if spoilt is None:
                    self.path.unlink(missing_ok=True)
                else:
                    self.path.write_text(spoilt)
            else:
                stay = self.random.sample(self.addresses, len(self.addresses) * 9 // 10)
                self.write(stay, replace=self.random.random() < 0.5)
            if self.random.random() < 0.3:
                hang_up()


@define
class Measured:
    """What a run came to."""

    record: Record
    clients: Clients
    nodes: Sequence[Node]
    before: int
    """Descriptors of the router at rest, before."""
    after: int = 0
    resident: list[int] = field(factory=list)
    """Bytes of memory of the router, each second."""
    seconds: float = 0.0
    processor_seconds: float = 0.0
    """Of the router."""
    errors: Sequence[str] = ()
    """From the router's log."""
    exit_code: int | None = None

    @property
    def requests(self) -> int:
        """Answers that came."""
        return len(self.clients.times)

    @property
    def polls(self) -> int:
        """Those that reached a node: one that refuses connections counts none."""
        return sum(node.polls for node in self.nodes)

    @property
    def windows(self) -> tuple[float, float]:
        """Bytes of memory of the router after the first tenth and at the end: medians."""
        tenth, window = len(self.resident) // 10, max(1, len(self.resident) // 20)
        return (
            median(self.resident[tenth : tenth + window]),
            median(self.resident[-window:]),
        )


async def until(condition: Callable[[], object], what: str) -> None:
    """
    Wait for a condition.

    :raises TimeoutError: when it does not come to hold; `what` says what did not happen.
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
    Run it.

    :param show: called each second.
    """
    clock, port, random, record = (
        asyncio.get_running_loop(),
        free_port(),
        Random(1),
        Record({fault: allowed + arguments.slack for fault, allowed in ALLOWED.items()}),
    )
    nodes = [
        Node(f"127.1.{n >> 8}.{n & 255}", port, record, random, steady=n % 3 == 0)
        for n in range(1, arguments.nodes + 1)
    ]
    listed = ChangingList(folder / "ips.txt", [node.address for node in nodes], record, random)
    listed.path.write_text(NOBODY)
    flags = [f"--max-polls={int(2 * arguments.nodes / INTERVAL)}", *arguments.router]
    with Router(folder, flags) as router:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(node.live()) for node in nodes]
            await until(lambda: router.port, "the router did not start")
            clients = Clients(router.port or 0, record, random, arguments.rate)
            measured = Measured(record, clients, nodes, await _at_rest(router))
            listed.write(listed.addresses)
            await until(lambda: all(node.polls for node in nodes if node.steady), "not all polled")
            await asyncio.sleep(TIMEOUT)
            began, spent = clock.time(), processor_seconds(router.id)
            changing = [
                group.create_task(listed.keep_changing(router.hang_up)),
                group.create_task(clients.run()),
            ]
            while not _is_over(measured, arguments.minutes):
                await asyncio.sleep(1.0)
                router.check()
                measured.seconds = clock.time() - began
                measured.resident.append(memory(router.id, "VmRSS"))
                show(measured)
            measured.processor_seconds = processor_seconds(router.id) - spent
            for task in changing:
                task.cancel()
            listed.path.write_text(NOBODY)
            with suppress(TimeoutError):
                await until(lambda: descriptors(router.id) <= measured.before, "no rest")
            measured.after = await _at_rest(router)
            for task in tasks:
                task.cancel()
        measured.exit_code = router.end()
        measured.errors = router.errors
    return measured


async def _at_rest(router: Router) -> int:
    """Descriptors of a router that has no node and no client; it asks in vain each second."""
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


@frozen
class Verdict:
    """What came of one criterion."""

    criterion: str
    allowed: str
    measured: str
    good: bool


def verdicts(measured: Measured, least: int, max_growth: float = MAX_GROWTH) -> list[Verdict]:
    """
    What comes of every criterion.

    :param least: requests, and polls, that are enough.
    :param max_growth: the part by which memory may grow after the first tenth.
    """
    counts = {"requests": measured.requests, "polls": measured.polls}
    late, allowed = measured.record.late, measured.record.allowed
    first, last = measured.windows
    return [
        *(Verdict(what, f"{least:,}", f"{n:,}", n >= least) for what, n in counts.items()),
        *(
            Verdict(
                f"handed out though {fault}",
                f"{allowed[fault]:g} s",
                _spread(late[fault]),
                not measured.record.wrong(fault),
            )
            for fault in Fault
        ),
        Verdict(
            "wrong answers of any kind",
            "0",
            f"{measured.clients.wrong:,}",
            not measured.clients.wrong,
        ),
        Verdict(
            "memory, after a tenth",
            f"{max_growth:+.0%}",
            f"{first / 1e6:.1f} MB, {last / first - 1:+.1%} at the end",
            last <= first * (1 + max_growth),
        ),
        Verdict(
            "descriptors at rest",
            f"{measured.before}",
            f"{measured.after}",
            measured.after <= measured.before,
        ),
        Verdict("errors logged", "0", f"{len(measured.errors)}", not measured.errors),
        Verdict(
            "exit code, of SIGTERM",
            f"{-signal.SIGTERM}",
            f"{measured.exit_code}",
            measured.exit_code == -signal.SIGTERM,
        ),
    ]


def _spread(seconds: Sequence[float]) -> str:
    """How late addresses were, in words."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(part * len(ordered))] for part in (0.5, 0.99))
    return f"{len(ordered):,}: p50 {p50:.2f} s, p99 {p99:.2f} s, max {ordered[-1]:.2f} s"


def _print(measured: Measured, rows: Sequence[Verdict], console: Console) -> None:
    times, seconds = sorted(measured.clients.times), measured.seconds
    share = measured.processor_seconds / seconds
    console.print(
        f"{seconds / 60:.1f} min, {len(measured.nodes):,} nodes: {measured.requests / seconds:,.0f}"
        f" requests and {measured.polls / seconds:,.0f} polls a second took {share:.0%} of a core;"
        f" answers after {times[len(times) // 2] * 1e3:.1f} ms, p99"
        f" {times[int(0.99 * len(times))] * 1e3:.0f} ms; {measured.clients.left:,} clients left"
        f" without one; {measured.record.checked:,} addresses handed out"
    )
    console.print(machine())
    table = Table()
    for column in ("", "allowed", "measured", ""):
        table.add_column(column)
    for row in rows:
        well = "well" if row.good else "[bold red]not well"
        table.add_row(row.criterion, row.allowed, row.measured, well)
    console.print(table)
    for line in (*measured.clients.examples, *measured.errors[:SHOWN]):
        console.print(line, markup=False)


async def _main(arguments: argparse.Namespace, console: Console) -> bool:
    """Whether all was well."""
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
    parser.add_argument("--minutes", type=float, help="how long [default: till all is done]")
    parser.add_argument("--nodes", type=int, default=1200, help="in all [default: 1200]")
    parser.add_argument("--rate", type=float, default=1600.0, help="requests a second, at most")
    parser.add_argument(
        "--slack", type=float, default=SLACK, help="seconds more that are allowed [default: 1]"
    )
    parser.add_argument(
        "--growth", type=float, default=MAX_GROWTH, help="of memory [default: 0.05]"
    )
    parser.add_argument("router", nargs="*", help="more options for the router, after --")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        sys.exit(0 if asyncio.run(_main(arguments, Console())) else 1)
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit("ended before its time")


if __name__ == "__main__":
    main()
