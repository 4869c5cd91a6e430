"""Tests of infernet_router.ctl.asking."""

import socket
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.ctl import asking
from infernet_router.ctl.asking import BadUrl, CannotReach, Refused, Router, node_path


class Answering:
    """A server that gives one connection a fixed answer, and keeps what it was sent."""

    def __init__(self, test: SynchronousTestCase, answer: bytes, path: str = "") -> None:
        self._answer = answer
        self.received = b""
        if path:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(path)
            self._socket.listen()
            self.url = f"unix:{path}"
        else:
            self._socket = socket.create_server(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        thread = Thread(target=self._serve, daemon=True)
        thread.start()
        test.addCleanup(thread.join)
        test.addCleanup(self._socket.close)

    def _serve(self) -> None:
        try:
            connection = self._socket.accept()[0]
        except OSError:
            return
        with connection:
            while b"\r\n\r\n" not in self.received:
                self.received += connection.recv(65536)
            connection.sendall(self._answer)


def response(status: int, body: str) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class RouterTests(SynchronousTestCase):
    def test_get(self) -> None:
        """What a router says is decoded; the token is sent as a header."""
        server = Answering(self, response(200, '{"nodes": []}'))
        router = Router(server.url + "/prefix/", "secret")
        query = {"container": ["a b", "c"], "state": None, "limit": 3}
        self.assertEqual(router.get("nodes", query), {"nodes": []})
        lines = server.received.decode().split("\r\n")
        path = "/prefix/admin/v1/nodes?container=a+b&container=c&limit=3"
        self.assertEqual(lines[0], f"GET {path} HTTP/1.1")
        self.assertIn("Authorization: Bearer secret", lines)

    def test_change(self) -> None:
        """A change is JSON; its end has no body."""
        server = Answering(self, response(200, "{}"))
        Router(server.url, None).put("nodes/a/override", {"drain": True})
        self.assertIn(b"Content-Type: application/json\r\n", server.received)
        self.assertNotIn(b"Authorization", server.received)
        server = Answering(self, b"HTTP/1.1 204 No Content\r\n\r\n")
        Router(server.url, None).delete("nodes/a/override")
        self.assertTrue(server.received.startswith(b"DELETE /admin/v1/nodes/a/override "))

    def test_unix(self) -> None:
        """A router can be reached through a Unix socket."""
        server = Answering(self, response(200, "{}"), self.mktemp())
        self.assertEqual(Router(server.url, None).get("options"), {})
        self.assertIn(b"Host: localhost\r\n", server.received)

    def test_refused(self) -> None:
        """What the router refuses, it says itself."""
        server = Answering(self, response(409, '{"error": "no"}'))
        with self.assertRaises(Refused) as caught:
            Router(server.url, None).get("nodes")
        self.assertEqual((caught.exception.status, str(caught.exception)), (409, "no"))

    def test_no_router(self) -> None:
        """What is no answer of a router is said in words."""
        for answer, reason in (
            (response(200, "<html>"), "is not the endpoint of a router: HTTP 200"),
            (response(200, "[]"), "is not the endpoint of a router: HTTP 200"),
            (response(301, '{"a": 1}'), "is not the endpoint of a router: HTTP 301"),
            (response(500, '{"error": 1}'), "is not the endpoint of a router: HTTP 500"),
            (response(502, "[" * 100_000), "is not the endpoint of a router: HTTP 502"),
            (b"SSH-2.0\r\n", "does not speak HTTP: BadStatusLine"),
            (b"", "cannot reach"),
        ):
            server = Answering(self, answer)
            with self.assertRaises(CannotReach) as caught:
                Router(server.url, None).get("nodes")
            self.assertIn(reason, str(caught.exception))

    def test_unreachable(self) -> None:
        """Where nobody listens, or answers, the reason is one line."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            self.patch(asking, "_PATIENCE", 0.01)
            self.assert_unreachable(f"http://127.0.0.1:{port}", "it does not answer")
        self.assert_unreachable(f"http://127.0.0.1:{port}", "Connection refused")
        self.assert_unreachable(f"https://127.0.0.1:{port}", "Connection refused")
        self.assert_unreachable("unix:/nowhere", "No such file or directory")

    def assert_unreachable(self, url: str, reason: str) -> None:
        with self.assertRaises(CannotReach) as caught:
            Router(url, None).get("nodes")
        self.assertEqual(str(caught.exception), f"cannot reach {url}: {reason}")

    def test_bad_url(self) -> None:
        """A URL that leads nowhere is refused before it is used."""
        for url in ("", "a", "ftp://a", "http://", "http://a:x", "http://u:p@a", "unix:"):
            self.assertRaises(BadUrl, Router, url, None)
        for url in ("http://a b", "http://[a", "http://a\n"):
            self.assertRaises(BadUrl, Router, url, None)

    def test_path(self) -> None:
        """An address is percent-encoded as a whole."""
        self.assertEqual(node_path("http://a:1/b"), "nodes/http%3A%2F%2Fa%3A1%2Fb")
