"""Nodes for a soak test, on loopback addresses, that go up and down in many ways."""

import asyncio
from collections.abc import Collection
from random import Random

import msgspec

from benchmarks.soak.record import Record

CONTAINERS = ("llm", "prover", "painter")
EPISODE = 8.0
"""Mean seconds until a flapping node changes; many episodes are too short to be noticed."""
_UP = 0.6
"""The share of episodes in which a flapping node is up."""


def _http(status: int, body: bytes, length: int | None = None) -> bytes:
    """A response; `length` replaces the true Content-Length."""
    return b"HTTP/1.1 %d \r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body) if length is None else length,
        body,
    )


_REFUSING = "refusing connections"
_CLOSING = "closing connections without an answer"
_DOWN = {
    _REFUSING: b"",
    _CLOSING: b"",
    "hanging": b"",
    "hanging in mid-answer": _http(200, b'{"containers":[', length=1000),
    "failing": _http(500, b"<h1>Internal Server Error</h1>"),
    "elsewhere": b"HTTP/1.1 302 \r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
    "no HTTP": b"\x00\xff\r\n\r\n" * 100,
    "no JSON": _http(200, b"{" * 1000),
    "no report": _http(200, b'{"containers":[{"id":1}],"pending":{}}'),
    "too long a header": b"HTTP/1.1 200 \r\nx: " + b"x" * 20_000,
}
"""The ways to be down, and the response to a request in each."""


class _Connection(asyncio.Protocol):
    """A connection to a node."""

    transport: asyncio.Transport

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._node.connections.add(self)

    def data_received(self, data: bytes) -> None:
        *requests, self._received = (self._received + data).split(b"\r\n\r\n")
        for request in requests:
            self._node.answer(request, self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._node.connections.discard(self)


class Node:
    """
    A node that records its true state.

    :param steady: whether it is always up and runs the same containers.
    :param containers: those that it runs at first.
    """

    def __init__(
        self,
        host: str,
        port: int,
        record: Record,
        random: Random,
        steady: bool,
        containers: Collection[str] = CONTAINERS,
    ) -> None:
        self.host = host
        self._port = port
        self._record = record
        self._random = random
        self.steady = steady
        self.containers = frozenset(containers)
        self._version = 0
        self._down: str | None = None
        """The way in which it is down, or None while it is up."""
        self._server: asyncio.Server | None = None
        self.address = f"{host}:{port}"
        self.connections: set[_Connection] = set()
        self.polls = 0
        """How often it was asked GET /info."""

    async def live(self) -> None:
        """Listen, and go up and down, until cancelled."""
        try:
            while True:
                self._record.offers(
                    self.address,
                    frozenset() if self._down else self.containers,
                    self._record.now,
                )
                if self._down != _REFUSING and self._server is None:
                    self._server = await asyncio.get_running_loop().create_server(
                        lambda: _Connection(self), self.host, self._port
                    )
                await asyncio.sleep(self._random.expovariate(1 / EPISODE))
                if not self.steady:
                    self._change()
        finally:
            self._close()

    def answer(self, request: bytes, transport: asyncio.Transport) -> None:
        """Answer a request according to its state."""
        is_poll = request.startswith(b"GET /info ")
        self.polls += is_poll
        if self._down == _CLOSING:
            transport.abort()
        elif self._down:
            transport.write(_DOWN[self._down])
        else:
            transport.write(_http(200, self._info() if is_poll else b"{}"))

    def _info(self) -> bytes:
        said = [
            {"id": id, "external": True, "description": f"{id} {self._version}", "image": ""}
            for id in self.containers
        ]
        pending = {"offchain": self._random.randrange(4), "onchain": 0}
        return msgspec.json.encode({"containers": said, "pending": pending, "version": "1.4.0"})

    def _change(self) -> None:
        """Begin another episode."""
        if self._random.random() < _UP:
            self._down = None
            some = self._random.randint(1, len(CONTAINERS))
            self.containers = frozenset(self._random.sample(CONTAINERS, some))
            self._version = self._random.randrange(100)
        else:
            self._down = self._random.choice(list(_DOWN))
            if self._down == _REFUSING:
                self._close()

    def _close(self) -> None:
        """Stop listening, and close every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self.connections):
            connection.transport.abort()
