"""Clients for a soak test: they check every response, and many disconnect without one."""

import asyncio
import re
from array import array
from collections.abc import Sequence
from random import Random
from urllib.parse import urlencode

import msgspec
from attrs import frozen

from benchmarks.soak.flapping import CONTAINERS
from benchmarks.soak.record import Record

CLIENTS = 100
"""The number of concurrent clients."""
_PATIENCE = 10.0
"""Seconds to wait for a response."""
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_SHOWN = 20
"""Wrong responses to keep as examples."""


@frozen
class Question:
    """A request, and the status that its response must have."""

    path: str
    containers: Sequence[str] = ()
    status: int = 200
    method: str = "GET"

    def __str__(self) -> str:
        query = urlencode([("container", container) for container in self.containers])
        return f"{self.method} {self.path}{'?' if query else ''}{query}"

    def encode(self) -> bytes:
        """The request as it is sent."""
        return f"{self} HTTP/1.1\r\nhost: router.invalid\r\n\r\n".encode()

    def wrongs(self, status: int, body: bytes, asked: float, record: Record) -> list[str]:
        """
        What is wrong with a response to it.

        :param asked: when the request was sent, on the record's clock.
        """
        if status != self.status:
            return [f"{status} {body!r}"]
        if self.method == "HEAD":
            return []
        try:
            content = msgspec.json.decode(body)
            match self.path, status:
                case "/api/v1/ip", 200:
                    addresses = [content["ip"]]
                case "/api/v1/ips", 200:
                    addresses = content
                case "/api/v1/containers", 200:
                    ids = [running["id"] for running in content]
                    return [] if ids == sorted(CONTAINERS) else [f"{body!r}"]
                case "/health", 200:
                    return [] if content["status"] == "healthy" else [f"{body!r}"]
                case _:
                    return [] if list(content) == ["error"] else [f"{body!r}"]
        except (msgspec.DecodeError, LookupError, TypeError) as error:
            return [f"{body!r} ({error!r})"]
        containers = frozenset(self.containers)
        checked = (record.handed_out(str(each), containers, asked) for each in addresses)
        return [wrong for wrong in checked if wrong]


_QUESTIONS = {
    Question("/api/v1/ip", CONTAINERS[:1]): 40,
    Question("/api/v1/ip", CONTAINERS[2:]): 20,
    Question("/api/v1/ip", CONTAINERS[:2]): 10,
    Question("/api/v1/ip", CONTAINERS): 5,
    Question("/api/v1/ips", CONTAINERS[1:]): 5,
    Question("/api/v1/containers"): 5,
    Question("/health"): 5,
    Question("/api/v1/ip", CONTAINERS[:1], method="HEAD"): 3,
    Question("/health", method="HEAD"): 2,
    Question("/api/v1/ip", (CONTAINERS[0], "absent"), status=503): 2,
    Question("/api/v1/ip", status=400): 1,
    Question("/api/v1/nothing", status=404): 1,
    Question("/api/v1/ip", CONTAINERS, method="POST", status=405): 1,
}
"""The requests, and how many of a hundred are of each kind. Steady nodes run all containers."""

_GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\xff\xfe\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /health HTTP/9.9\r\n\r\n",
    b"GET /api/v1/ip?container=%ff%00 HTTP/1.1\r\nhost: \xff\r\n\r\n",
    b"GET /health HTTP/1.1\r\nno header\r\n\r\n",
    b"GET /" + b"a" * 20_000,
    b"POST /api/v1/ip HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    b"POST /api/v1/ip HTTP/1.1\r\ncontent-length: 1000000000\r\n\r\n{",
    b"POST /api/v1/ip HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
)


class Clients:
    """
    Clients of the router on a port.

    :param rate: requests per second of all clients together, not counting the time that responses
        and new connections take.
    """

    def __init__(self, port: int, record: Record, random: Random, rate: float) -> None:
        self._port = port
        self._record = record
        self._random = random
        self._rate = rate
        self._questions = list(_QUESTIONS)
        self._weights = list(_QUESTIONS.values())
        self.times = array("d")
        """Seconds from request to response, for each response."""
        self.left = 0
        """How often a client disconnected without waiting for a response."""
        self.wrong = 0
        """Responses that were wrong or missing."""
        self.examples: list[str] = []
        """Descriptions of the first of them."""

    async def run(self) -> None:
        """Send requests until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._one_after_another())

    async def _one_after_another(self) -> None:
        while True:
            try:
                await self._visit()
            except (OSError, EOFError, TimeoutError) as error:
                self._complain(f"no response: {error!r}")

    async def _visit(self) -> None:
        """Connect, send some requests, and disconnect in a random way."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for _ in range(self._random.choice((0, 1, 1, 5, 50))):
                await self._pause()
                await self._ask(reader, writer)
            await self._leave(writer)
        finally:
            writer.transport.abort()

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.expovariate(self._rate / CLIENTS))

    def _question(self) -> Question:
        return self._random.choices(self._questions, self._weights)[0]

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send one request, and check the response."""
        question, asked = self._question(), self._record.now
        sent = asyncio.get_running_loop().time()
        writer.write(question.encode())
        async with asyncio.timeout(_PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = b""
            if length and question.method != "HEAD":
                body = await reader.readexactly(int(length[1]))
        self.times.append(asyncio.get_running_loop().time() - sent)
        for wrong in question.wrongs(int(head[9:12]), body, asked, self._record):
            self._complain(f"{question}: {wrong}")

    async def _leave(self, writer: asyncio.StreamWriter) -> None:
        """Perhaps send something, perhaps pause, and wait for no response."""
        request = self._question().encode()
        last_words = self._random.choice(
            (
                b"",
                request,
                request * 5,
                request[: self._random.randrange(1, len(request))],
                self._random.choice(_GARBAGE),
                self._random.randbytes(100),
            )
        )
        self.left += bool(last_words)
        writer.write(last_words)
        await asyncio.sleep(self._random.choice((0, 0, 0.01, 0.5)))

    def _complain(self, wrong: str) -> None:
        self.wrong += 1
        if len(self.examples) < _SHOWN:
            self.examples.append(wrong)
