"""A simulated fleet of healthy nodes, which records when each is polled."""

import asyncio
from collections import defaultdict
from itertools import pairwise
from threading import Thread
from time import monotonic

from benchmarks.loopback.machine import free_port, until

_INFO = (
    b'{"chain":{"address":"","enabled":false},"containers":['
    b'{"description":"A language model","external":true,"id":"llm","image":"org/llm:1"},'
    b'{"description":"","external":true,"id":"prover","image":"org/prover:1"}],'
    b'"pending":{"offchain":%d,"onchain":0},"version":"1.4.0"}'
)


class PlayedFleet:
    """
    Nodes on 127.1.0.0/16 that are always up, simulated by a thread of this process.

    :param count: the number of nodes, up to 65,535.
    :param in_use: the share of the nodes that report pending jobs: one or two, in turn.
    """

    def __init__(self, count: int, in_use: float = 0.0) -> None:
        self._in_use = in_use
        self._port = free_port()
        self.addresses = [
            f"127.1.{number >> 8}.{number & 255}:{self._port}" for number in range(1, count + 1)
        ]
        self._polls: dict[str, list[float]] = defaultdict(list)
        """The times of the polls of each IP address."""
        self._listening = False
        Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        until(lambda: self._listening, "the nodes to listen")

    async def _serve(self) -> None:
        serve = asyncio.get_running_loop().create_server
        server = await serve(lambda: _Node(self), "0.0.0.0", self._port, backlog=4096)
        self._listening = True
        await server.serve_forever()

    def asked(self, address: str) -> None:
        """Record a poll of a node."""
        self._polls[address].append(monotonic())

    def pending(self, address: str) -> int:
        """The pending jobs that a node reports."""
        number = int(address.rpartition(".")[2])
        return 1 + len(self._polls[address]) % 2 if number % 100 < 100 * self._in_use else 0

    def forget(self) -> None:
        """Discard the recorded polls."""
        self._polls = defaultdict(list)

    def gaps(self) -> list[float]:
        """The seconds between consecutive polls of each node, in ascending order."""
        polls = self._polls.values()
        return sorted(after - before for times in polls for before, after in pairwise(times))


class _Node(asyncio.Protocol):
    """A connection to one of the nodes."""

    transport: asyncio.Transport

    def __init__(self, fleet: PlayedFleet) -> None:
        self._fleet = fleet
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        status, body = b"404 Not Found", b""
        if self._received.startswith(b"GET /info "):
            address = self.transport.get_extra_info("sockname")[0]
            self._fleet.asked(address)
            status, body = b"200 OK", _INFO % self._fleet.pending(address)
        closes = b"\r\nconnection: close\r\n" in self._received.lower()
        self._received = b""
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: %s\r\n\r\n%s"
            % (status, len(body), b"close" if closes else b"keep-alive", body)
        )
        if closes:
            self.transport.close()
