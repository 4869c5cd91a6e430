"""Tests of infernet_router.serving.request."""

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.serving.site import ClosableSite
from tests.doubles import Socket


class Shown(Resource):
    """Answers with what it sees of a request."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        if request.path == b"/fails":
            raise ValueError
        seen = request.path, request.prepath, request.postpath, request.args, request.content
        return repr((*seen, request.received_cookies)).encode()


class LeanRequestTests(SynchronousTestCase):
    def ask(self, target: bytes, resource: Resource, method: bytes = b"GET") -> bytes:
        """The response to a request."""
        reactor: Any = MemoryReactorClock()
        protocol: Any = ClosableSite(resource, reactor, 10).buildProtocol(None)
        transport = Socket()
        protocol.makeConnection(transport)
        sent = b"%b %b HTTP/1.1\r\nHost: r.invalid\r\nCookie: a=b\r\n\r\n" % (method, target)
        protocol.dataReceived(sent)
        response: bytes = transport.value()
        return response

    def test_leaf(self) -> None:
        """A leaf gets the path in segments; there is no body, cookie or argument."""
        head, _, body = self.ask(b"/a%2Fb//c?d=e", Shown()).partition(b"\r\n\r\n")
        seen: tuple[object, ...] = b"/a%2Fb//c", [], [b"a/b", b"", b"c"], {}, None, {}
        self.assertEqual(body, repr(seen).encode())
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 200 OK")
        names = [line.partition(b":")[0] for line in lines[1:]]
        self.assertEqual(names, [b"Server", b"Date", b"Content-Length"])
        self.assertEqual(lines[1], b"Server: infernet-router")

    def test_children(self) -> None:
        """A resource with children is looked through for the one that is meant."""
        root = Resource()
        root.putChild(b"child", Shown())
        body = self.ask(b"/child/x", root).partition(b"\r\n\r\n")[2]
        seen: tuple[object, ...] = b"/child/x", [b"child"], [b"x"], {}, None, {}
        self.assertEqual(body, repr(seen).encode())

    def test_star(self) -> None:
        """OPTIONS * is answered without the resource."""
        response = self.ask(b"*", Shown(), b"OPTIONS")
        self.assertTrue(response.startswith(b"HTTP/1.1 200 "), response)
        self.assertTrue(response.endswith(b"\r\n\r\n"), response)

    def test_failed(self) -> None:
        """A resource that fails is answered 500, and logged."""
        response = self.ask(b"/fails", Shown())
        self.assertTrue(response.startswith(b"HTTP/1.1 500 "), response)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
