"""Tests of the rate limit, trusted proxies and CORS of a router started by twistd."""

import json
import socket
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import Router, until


class LimitingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "ips.txt").write_text("127.0.0.1:1\n")

    def router(self, *flags: str, **variables: str) -> Router:
        return Router(self, self.folder, *flags, variables=variables)

    def ask(
        self, router: Router, path: str = "/api/v1/ip", method: str = "GET", **headers: str
    ) -> HTTPResponse:
        """The response, before its body is read."""
        connection = HTTPConnection("127.0.0.1", router.port)
        self.addCleanup(connection.close)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        return connection.getresponse()

    def test_limit(self) -> None:
        """The variable sets the limit for each path; X-Forwarded-For does not evade it."""
        router = self.router(RATELIMIT_REQS_PER_MIN="3")
        for number in range(3):
            answer = self.ask(router, X_Forwarded_For=f"198.51.100.{number}")
            self.assertEqual(answer.status, 400)
        answer = self.ask(router, X_Forwarded_For="198.51.100.3")
        self.assertEqual((answer.status, answer.reason), (429, "Too Many Requests"))
        self.assertEqual(
            json.loads(answer.read()),
            {"error": "too many requests: the limit is 3 a minute for a path"},
        )
        (seconds,) = answer.headers.get_all("Retry-After", [])
        self.assertTrue(1 <= int(seconds) <= 20, seconds)
        self.assertEqual(self.ask(router, "/api/v1/containers").status, 200)
        for _ in range(10):
            self.assertEqual(self.ask(router, "/health").status, 503)

    def test_trusted_proxy(self) -> None:
        """Each client of a trusted proxy has its own limit."""
        router = self.router("--rate-limit", "1", "--trust-proxy", "127.0.0.0/8")
        for claimed, status in (
            ("198.51.100.1", 400),
            ("198.51.100.2", 400),
            ("198.51.100.3, 198.51.100.2", 429),
            ("198.51.100.1, 127.0.0.9", 429),
        ):
            self.assertEqual(self.ask(router, X_Forwarded_For=claimed).status, status, claimed)

    def test_unix(self) -> None:
        """So does each client of a trusted proxy on a unix socket."""
        router = self.router(
            *("--rate-limit", "1", "--trust-proxy", "unix", "--listen", "unix:r.sock")
        )
        until(lambda: "listening on " in router.output(), "listening")
        statuses = []
        for client in ("198.51.100.1", "198.51.100.2", "198.51.100.1"):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str((self.folder / "r.sock").relative_to(Path.cwd())))
                head = f"GET /x HTTP/1.1\r\nHost: r\r\nX-Forwarded-For: {client}\r\n\r\n"
                peer.sendall(head.encode())
                statuses.append(peer.recv(12))
        self.assertEqual(statuses, [b"HTTP/1.1 404", b"HTTP/1.1 404", b"HTTP/1.1 429"])

    def test_proxy_protocol(self) -> None:
        """So does each client of a proxy that uses the PROXY protocol."""
        router = self.router(
            *("--rate-limit", "1", "--listen", "haproxy:tcp:0:interface=127.0.0.1")
        )
        statuses = []
        for client in ("198.51.100.1", "198.51.100.2", "198.51.100.1"):
            with socket.create_connection(("127.0.0.1", router.port)) as peer:
                peer.sendall(f"PROXY TCP4 {client} 127.0.0.1 1 2\r\n".encode())
                peer.sendall(b"GET /x HTTP/1.1\r\nHost: r\r\n\r\n")
                statuses.append(peer.recv(12))
        self.assertEqual(statuses, [b"HTTP/1.1 404", b"HTTP/1.1 404", b"HTTP/1.1 429"])

    def test_cors(self) -> None:
        """A page of a listed origin may read every response; without a list, no page may."""
        router = self.router("--rate-limit", "1", "--cors-origin", "https://app.invalid")
        page = {"Origin": "https://app.invalid"}
        preflight = {**page, "Access-Control-Request-Method": "GET"}
        for status in (400, 429):
            answer = self.ask(router, method="OPTIONS", **preflight)
            self.assertEqual((answer.status, answer.read()), (204, b""))
            self.assertIsNone(answer.headers["Content-Length"])
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://app.invalid")
            self.assertEqual(answer.headers["Access-Control-Allow-Methods"], "GET, HEAD, POST")
            answer = self.ask(router, **page)
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://app.invalid")
            self.assertEqual(
                answer.headers["Access-Control-Expose-Headers"], "Retry-After, Infernet-Decision"
            )
        closed = self.router()
        answer = self.ask(closed, method="OPTIONS", **preflight)
        self.assertEqual(answer.status, 405)
        self.assertNotIn("access-control", str(answer.headers).lower())
        self.assertNotIn("Vary", answer.headers)

    def test_bad(self) -> None:
        """An invalid value ends the start with one line that names the option."""
        for flag in ("--rate-limit=0", "--trust-proxy=10.0.0.0/33", "--cors-origin=app.invalid"):
            option, _, value = flag.partition("=")
            router = self.router(flag)
            self.assertEqual(router.ended(), 1)
            found = [line for line in router.output().splitlines() if option in line]
            self.assertEqual(len(found), 1, router.output())
            self.assertIn(f"infernet-router: {option} must be ", found[0])
            self.assertIn(f"not '{value}'", found[0])
