"""
What it costs a router to hear of what others do: the share of one processor.

    python -m benchmarks.hearing [--peers 9] [--rate 1000] [--seconds 5]

Each of the peers assigns --rate jobs a second to random nodes, and polls its share of the nodes
every 3 seconds, or as often as --max-polls allows. The router hears all their batches, and tells of
its own jobs, at the same rate. The reactor and Redis are left out.
"""

import argparse
from random import Random
from time import process_time
from typing import Any

from rich.console import Console
from rich.table import Table
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from infernet_router.addresses import parse_address
from infernet_router.fleet.shared import SharedFleet
from infernet_router.nodes.polling import MAX_POLLS
from infernet_router.replicas.link import Link
from infernet_router.replicas.outgoing import Outgoing
from infernet_router.replicas.shares import Shares
from infernet_router.replicas.sharing import Sharing
from infernet_router.reports import Container, NodeReport

_INTERVAL = 3.0

_CONTAINERS = (Container("llm", external=True, description="a model"),)


class _Nowhere(Link):
    """A link that leads nowhere."""

    def start(self, listener: Any) -> None:
        listener.connected()

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def publish(self, message: bytes) -> Deferred[Any]:
        return succeed(None)

    def read_orders(self) -> Any:
        raise NotImplementedError

    def write_orders(self, orders: object) -> Any:
        raise NotImplementedError

    def forget_orders(self, fields: object) -> Any:
        raise NotImplementedError


def _report(random: Random) -> NodeReport:
    return NodeReport(_CONTAINERS, {"offchain": random.randrange(5), "onchain": 0})


def measure(nodes: int, peers: int, rate: int, seconds: int) -> tuple[float, float]:
    """The seconds of processor time a second, for what is heard and for what is told."""
    clock, random = Clock(), Random(1)
    addresses = [parse_address(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(nodes)]
    fleet = SharedFleet(clock.seconds, random)
    fleet.replace(addresses)
    senders = [random.randbytes(8) for _ in range(peers + 1)]
    shares = Shares(int.from_bytes(senders[0], "big"))
    sharing = Sharing(fleet, _Nowhere(), clock, shares, senders[0])
    nobody: Any = StubTreq(Resource())
    poller = sharing.make_poller(fleet, nobody, clock, max_polls=MAX_POLLS)
    poller.startService()
    sharing.startService()
    poller.ticked(0.0)
    for address in addresses:
        fleet.observed(address, _report(random))
        if shares.of(address) is None:
            shares.add(address)
    shares.set_members([int.from_bytes(sender, "big") for sender in senders[1:]])
    known = list(shares.each())
    window = max(0.01, 0.0025 * (peers + 1))
    polls = min(MAX_POLLS, nodes / (peers + 1) / _INTERVAL)
    heard = told = 0.0
    numbers = dict.fromkeys(senders, 0)
    for turn in range(round(seconds / window)):
        now = turn * window
        messages = []
        for sender in senders[1:]:
            outgoing = Outgoing()
            for share in random.choices(known, k=round(rate * window)):
                outgoing.assigned(share, 1.0, 1, now)
            for share in random.sample(known, min(nodes, _rounded(polls * window, random))):
                outgoing.reported(share, _report(random), now)
            messages += outgoing.take(sender, numbers[sender], now, 0)
            numbers[sender] += 1
        began = process_time()
        for message in messages:
            sharing.heard(message)
        clock.advance(0)
        poller.ticked(now)
        heard += process_time() - began
        picked = random.choices(addresses, k=round(rate * window))
        began = process_time()
        for address in picked:
            sharing.assigned(address, 1.0, 1)
        sharing._send()
        told += process_time() - began
    assert sharing.batches["heard"] == sum(numbers.values()), sharing.batches
    return heard / seconds, told / seconds


def _rounded(number: float, random: Random) -> int:
    """A whole number, up or down at random."""
    return int(number + random.random())


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.hearing", description=__doc__)
    parser.add_argument("--peers", type=int, default=9)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=5)
    arguments = parser.parse_args()
    table = Table(title=f"{arguments.peers} peers, {arguments.rate} jobs a second each")
    for column in ("nodes", "hearing", "telling"):
        table.add_column(column, justify="right")
    for nodes in (10, 10_000):
        heard, told = measure(nodes, arguments.peers, arguments.rate, arguments.seconds)
        table.add_row(f"{nodes:,}", f"{heard:.1%}", f"{told:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
