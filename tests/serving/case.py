"""A base class of test cases with one connection of a client."""

import json
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.fleet import finish
from infernet_router.serving.site import ClosableSite
from infernet_router.serving.streaming import BUFFER_SIZE, send
from tests.doubles import Socket

GET = b"GET / HTTP/1.1\r\nHost: r.invalid\r\n\r\n"
SLOW = GET.replace(b"/", b"/slow", 1)
LONG = GET.replace(b"/", b"/long", 1)
LONG_CHUNK = b"x" * (BUFFER_SIZE + 1)
SIZED = b"Content-Length: 2"
CHUNKED = b"Transfer-Encoding: chunked"
EXPECT = b"Expect: 100-continue"


def with_fields(*fields: bytes, request: bytes = GET) -> bytes:
    """The head of a request with more header fields."""
    return b"\r\n".join((request[:-4], *fields, b"", b""))


class Answering(Resource):
    """Answers at once, when told to, or with a long response."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []
        self.waiting: list[Request] = []

    def render(self, request: Request) -> bytes | int:
        self.asked.append(request.uri)
        if request.path == b"/slow":
            self.waiting.append(request)
            return NOT_DONE_YET
        if request.path == b"/long" and request.method != b"HEAD":
            sent = send(request, LONG_CHUNK, iter([LONG_CHUNK] * 2), finish)
            sent.addCallback(lambda _: request.finish())
            return NOT_DONE_YET
        if request.path == b"/nothing":
            request.setResponseCode(204)
            return b""
        return b"answer"

    def answer(self) -> None:
        request = self.waiting.pop()
        request.write(b"late answer")
        request.finish()


class ChannelTestCase(SynchronousTestCase):
    most_connections = 1000

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.resource = Answering()
        self.site = ClosableSite(self.resource, self.reactor, self.most_connections)
        self.socket = Socket()
        self.channel = self.connect(self.socket)

    def connect(self, socket: Socket) -> Any:
        channel: Any = self.site.buildProtocol(None)
        channel.makeConnection(socket)
        return channel

    def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.channel.dataReceived(chunk)

    def wait(self, seconds: float) -> None:
        """Advance the clock in small steps, as in a real reactor."""
        self.reactor.pump([0.25] * round(seconds / 0.25))

    def assert_refused(self, status: int, socket: Socket | None = None) -> str:
        """The last response is a complete JSON error with this status; returns its message."""
        head, _, body = (socket or self.socket).value().rpartition(b"\r\n\r\n")
        line, *fields = head[head.rindex(b"HTTP/1.1 ") :].decode("ascii").split("\r\n")
        self.assertTrue(line.startswith(f"HTTP/1.1 {status} "), line)
        headers = dict(field.split(": ") for field in fields)
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertTrue(body.endswith(b"}\n"), body)
        self.assertEqual(headers["Content-Length"], str(len(body)))
        self.assertEqual(headers["Cache-Control"], "no-store")
        self.assertEqual(headers["Connection"], "close")
        self.assertEqual("Retry-After" in headers, status == 503)
        (error,) = json.loads(body).items()
        self.assertEqual(error[0], "error")
        return str(error[1])

    def assert_gone(self) -> None:
        """The connection was closed, and leaves no delayed call."""
        self.assertTrue(self.socket.disconnecting)
        self.channel.connectionLost(None)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
