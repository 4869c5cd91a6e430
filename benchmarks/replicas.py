"""
What it costs to share a fleet, and how fast routers hear of each other's jobs.

    python -m benchmarks.replicas [--seconds N] [--rate N] [--cases 3x100 ...]
    python -m benchmarks.replicas --ports [--seconds N]

Each case has a number of routers and of nodes, half of which are in use, a real Redis (Valkey), and
clients that ask each router --rate times a second. The first form prints the polls of all routers
as a ratio to those of one, the longest time between two polls of a node, what Redis carries, and
after how long a job that one router assigned counts at another.

The second form measures two routers that share a port: what a request costs them, as a ratio to
what it costs one router. On two free processors, two routers answer twice as much as one, divided
by that ratio. Linux only.
"""

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic, sleep

from rich.console import Console
from rich.table import Table

from benchmarks.loopback.machine import (
    PROCESSORS,
    free_port,
    machine,
    memory,
    processor_seconds,
    until,
)
from benchmarks.loopback.nodes import PlayedFleet
from benchmarks.loopback.programs import Router
from benchmarks.loopback.redis_server import Redis
from benchmarks.loopback.served import PATH, Served

INTERVAL = 3.0
"""The routers' default, in seconds."""
CASES = ("1x100", "3x100", "10x100", "1x1000", "3x1000")
LOST = 2.0
"""Seconds after which it is given up to wait for a job: its node reported in between."""
JOBS = 200
"""Jobs after which it is measured how soon the other router knows of them."""


class Replica:
    """A router that shares a fleet, and its endpoints."""

    def __init__(self, folder: Path, redis: Redis, *flags: str) -> None:
        folder.mkdir()
        self.port, self.admin = free_port(), free_port()
        listen = f"--listen=tcp:{self.port}:interface=127.0.0.1"
        self.program = Router(
            folder,
            *((listen,) if "--reuse-port" not in flags else ()),
            *("--ips=../ips.txt", f"--admin=tcp:{self.admin}:interface=127.0.0.1", *flags),
            variables={"INFERNET_ROUTER_REDIS": redis.url},
        )

    def get(self, path: str, port: int = 0) -> str:
        connection = HTTPConnection("127.0.0.1", port or self.admin, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def members(self) -> int:
        try:
            overview = json.loads(self.get("/admin/v1/overview"))
        except OSError:
            return 0
        up: int = overview["nodes"]["up"]
        return int(overview["replicas"]["members"]) if up == sum(overview["nodes"].values()) else 0

    def polls(self) -> float:
        """How many polls it has sent."""
        found = re.findall(r"^infernet_router_polls_total\S* (\S+)$", self.get("/metrics"), re.M)
        return sum(map(float, found))


class Clients(Thread):
    """Ask one router for nodes, so many times a second."""

    def __init__(self, replica: Replica, rate: float) -> None:
        super().__init__(daemon=True)
        self._replica = replica
        self._rate = rate
        self.end = Event()

    def run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._replica.port, timeout=30)
        began, sent = monotonic(), 0
        while self._rate and not self.end.is_set():
            for _ in range(int((monotonic() - began) * self._rate) - sent):
                connection.request("GET", PATH)
                connection.getresponse().read()
                sent += 1
            sleep(0.005)
        connection.close()


@contextmanager
def sharing(
    count: int, addresses: Sequence[str], *flags: str
) -> Iterator[tuple[Redis, list[Replica]]]:
    """So many routers that share these nodes, once all nodes are up and all routers are there."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        (Path(name) / "ips.txt").write_text("\n".join(addresses))
        redis = Redis()
        stack.callback(redis.close)
        replicas = []
        for number in range(count):
            replicas.append(Replica(Path(name) / str(number), redis, *flags))
            stack.callback(replicas[-1].program.kill)
        for replica in replicas:
            until(lambda one=replica: one.members() == count, "all to share")  # type: ignore[misc]
        yield redis, replicas


def carried(redis: Redis) -> tuple[int, int, int]:
    """The messages that were published so far, and the bytes that Redis has received and sent."""
    text = redis.ask("INFO", "all").decode()
    calls = re.search(r"cmdstat_publish:calls=(\d+)", text)
    received, sent = (
        int(found[1])
        for direction in ("input", "output")
        if (found := re.search(rf"total_net_{direction}_bytes:(\d+)", text))
    )
    return int(calls[1]) if calls else 0, received, sent


def applied(rate: float) -> list[float]:
    """
    The seconds from the answer that assigned a job to when it counts at another router.

    There is one node, so that it is known which one the job is for. What is measured includes the
    request that asks the other router, which is repeated until the job counts.
    """
    address = PlayedFleet(1).addresses[0]
    times: list[float] = []
    with sharing(3, [address]) as (_, replicas), under(replicas[1:2], rate):
        connection = HTTPConnection("127.0.0.1", replicas[2].admin, timeout=30)

        def assigned() -> float:
            connection.request("GET", f"/admin/v1/nodes/{address}")
            return float(json.loads(connection.getresponse().read())["assigned"])

        while len(times) < JOBS:
            sleep(0.02)
            before = assigned()
            replicas[0].get(PATH, replicas[0].port)
            began = monotonic()
            while (now := assigned()) == before and monotonic() < began + LOST:
                pass
            if now > before:  # otherwise the node reported meanwhile
                times.append(monotonic() - began)
    return times


@contextmanager
def under(replicas: Sequence[Replica], rate: float) -> Iterator[None]:
    """Let clients ask each of these routers so many times a second."""
    clients = [Clients(replica, rate) for replica in replicas]
    for client in clients:
        client.start()
    yield
    for client in clients:
        client.end.set()
        client.join()


def measure(count: int, nodes: int, rate: float, seconds: float) -> list[str]:
    """The row of a case."""
    fleet = PlayedFleet(nodes, in_use=0.5)
    with sharing(count, fleet.addresses) as (redis, replicas), under(replicas, rate):
        sleep(2 * INTERVAL)
        fleet.forget()
        before, polls, began = carried(redis), polls_of(replicas), monotonic()
        used = [processor_seconds(replica.program.id) for replica in replicas]
        sleep(seconds)
        took = monotonic() - began
        messages, received, sent = (
            (after - earlier) / took for after, earlier in zip(carried(redis), before, strict=True)
        )
        busy = [
            (processor_seconds(replica.program.id) - earlier) / took
            for replica, earlier in zip(replicas, used, strict=True)
        ]
        gaps = fleet.gaps()
        return [
            f"{count} x {nodes:,}",
            f"{(polls_of(replicas) - polls) / took:,.0f}",
            f"{max(gaps, default=0.0):.1f} s",
            f"{messages:,.0f}",
            f"{received / 1000:,.0f}",
            f"{sent / 1000:,.0f}",
            f"{max(busy):.0%}",
            f"{max(memory(replica.program.id, 'VmRSS') for replica in replicas) / 2**20:,.0f} MiB",
        ]


def polls_of(replicas: Sequence[Replica]) -> float:
    return sum(replica.polls() for replica in replicas)


def request_costs(rounds: int, seconds: int) -> list[tuple[float, float, float]]:
    """
    In each round: the processor seconds of a request to one router and to two that share a port,
    and the smaller one's share of the latter.
    """
    fleet, results = PlayedFleet(100, in_use=0.5), []
    for _ in range(rounds):
        costs, least = [], 0.5
        for count in (1, 2):
            port = str(free_port())
            with sharing(count, fleet.addresses, "--reuse-port", "--port", port) as (_, replicas):
                ids = [replica.program.id for replica in replicas]
                for id, processor in zip(ids, PROCESSORS, strict=False):
                    os.sched_setaffinity(id, [processor])
                served = Served(replicas[0].program, int(port), monotonic())
                served.load(1)
                before = [processor_seconds(id) for id in ids]
                load = served.load(seconds)
                used = [processor_seconds(id) - b for id, b in zip(ids, before, strict=True)]
                costs.append(sum(used) / (load.rate * seconds))
                least = min(used) / sum(used)
        results.append((costs[0], costs[1], least))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rate", type=float, default=50, help="requests a second to each router")
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="ROUTERSxNODES")
    parser.add_argument("--ports", action="store_true", help="measure routers that share a port")
    arguments = parser.parse_args()
    console = Console()
    console.print(machine())
    if arguments.ports:
        rounds = request_costs(5, arguments.seconds)
        for one, two, least in rounds:
            console.print(
                f"a request costs one router {one * 1e6:.0f} us, two {two * 1e6:.0f} us; two answer"
                f" {2 * one / two:.2f} times as much; the less busy one did {least:.0%}"
            )
        console.print(f"median: {median(2 * one / two for one, two, _ in rounds):.2f} times")
        return
    titles = ("routers x nodes", "polls/s", "longest gap", "messages/s", "kB/s to Redis")
    table = Table(*titles, "kB/s from Redis", "busiest router", "memory")
    for case in arguments.cases:
        count, nodes = map(int, case.split("x"))
        table.add_row(*measure(count, nodes, arguments.rate, arguments.seconds))
    console.print(table)
    for rate in (0, arguments.rate, 10 * arguments.rate):
        cuts = quantiles(applied(rate), n=100)
        console.print(
            f"a job counts at the other router after {cuts[49] * 1000:.0f} ms (median),"
            f" {cuts[98] * 1000:.0f} ms (p99); a third one answers {rate:.0f} requests a second"
        )


if __name__ == "__main__":
    main()
