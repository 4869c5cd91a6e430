"""Tests of what operators read from a router started by twistd."""

import json
import re
import signal
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import TROUBLE, Node, Router, until

ADMIN = "tcp:0:interface=127.0.0.1"


class Socket(HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class AdminTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.node = Node(self, self.folder, "llm")
        (self.folder / "ips.txt").write_text(f"{self.node.address}\n127.0.0.1:1\n")

    def ports(self, router: Router) -> dict[str, int]:
        """The ports on which it listens, by purpose."""
        pattern = r"listening on 127\.0\.0\.1:(\d+) for (\w+)\n"
        found = until(lambda: re.findall(pattern, router.output()), "listening")
        return {purpose: int(port) for port, purpose in found}

    def get(self, port: int, path: str, token: str = "", method: str = "GET") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            is_json = response.headers["Content-Type"] == "application/json"
            return response.status, json.loads(body) if is_json else body.decode()
        finally:
            connection.close()

    def test_reads(self) -> None:
        """Operators read the state of the nodes and what clients were answered."""
        # Relative paths, here and below: a socket's path has 107 bytes at most.
        router = Router(self, self.folder, "--admin", ADMIN, "--metrics", "unix:metrics.sock")
        admin = self.ports(router)["operators"]
        until(lambda: self.get(admin, "/readyz")[0] == 200, "ready")
        self.assertEqual(router.pick("llm"), self.node.address)
        self.assertEqual(router.get("/livez"), (200, {"status": "alive"}))
        self.assertEqual(router.get("/admin/v1/overview")[0], 404)
        self.assertEqual(router.get("/metrics")[0], 404)
        nodes = self.get(admin, "/admin/v1/nodes?state=up")[1]["nodes"]
        self.assertEqual([node["address"] for node in nodes], [self.node.address])
        down = self.get(admin, "/admin/v1/nodes/127.0.0.1%3A1")[1]
        self.assertEqual((down["state"], down["reason"]), ("down", "connection refused"))
        self.assertEqual(down["history"][0]["state"], "down")
        for path in ("overview", "containers", "sources", "options", "overrides"):
            self.assertEqual(self.get(admin, f"/admin/v1/{path}")[0], 200, path)
        text = self.get(admin, "/metrics")[1]
        self.assertIn('infernet_router_decisions_total{container="llm"} 1.0', text)
        self.assertRegex(text, r'polls_total\{result="refused"\} [1-9]')
        self.assertIn(self.node.address, self.get(admin, "/metrics/nodes?state=up")[1])
        scraper = Socket((self.folder / "metrics.sock").relative_to(Path.cwd()))
        scraper.request("GET", "/metrics", headers={"Host": "router"})
        self.assertEqual(scraper.getresponse().status, 200)
        scraper.close()
        self.assertNotRegex(router.output(), TROUBLE)

    def test_tokens(self) -> None:
        """The file of tokens is read again on SIGHUP; a token is in no line of the log."""
        tokens = self.folder / "tokens"
        tokens.write_text("alice viewer t0psecret\n")
        tokens.chmod(0o644)
        router = Router(
            self, self.folder, "--admin", ADMIN, "--admin-tokens", str(tokens),
            variables={"INFERNET_ROUTER_ADMIN_TOKEN": "fr0menv"},
        )  # fmt: skip
        admin = self.ports(router)["operators"]
        path = "/admin/v1/options"
        self.assertIn("others may read it: chmod o-r", router.output())
        for token in ("t0psecret", "fr0menv", ""):
            self.assertEqual(self.get(admin, path, token)[0], 200)
        self.assertEqual(self.get(admin, path, "wr0ng")[0], 401)
        self.assertEqual(self.get(admin, path, "t0psecret", "PUT")[0], 403)
        tokens.write_text("bob operator an0ther\n")
        router.signal(signal.SIGHUP)
        until(lambda: self.get(admin, path, "an0ther")[0] == 200, "read again")
        self.assertEqual(self.get(admin, path, "t0psecret")[0], 401)
        tokens.write_text("bob an0ther\n")
        router.signal(signal.SIGHUP)
        until(lambda: "keeping the tokens it had" in router.output(), "refused")
        self.assertEqual(self.get(admin, path, "an0ther")[0], 200)
        self.assertNotIn("fr0menv", json.dumps(self.get(admin, path)))
        for token in ("t0psecret", "fr0menv", "an0ther", "wr0ng"):
            self.assertNotIn(token, router.output())

    def test_bad(self) -> None:
        """A bad file of tokens, or an endpoint that is taken, ends the start with the reason."""
        tokens = self.folder / "tokens"
        tokens.write_text("alice t0psecret\n")
        router = Router(self, self.folder, "--admin-tokens", str(tokens))
        self.assertEqual(router.ended(), 1)
        self.assertIn(f"{tokens}, line 1: it must be NAME ROLE TOKEN", router.output())
        self.assertNotIn("t0psecret", router.output())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for option in ("--admin", "--metrics"):
                flags = (option, f"tcp:{port}:interface=127.0.0.1")
                router = Router(self, self.folder, *flags)
                self.assertEqual(router.ended(), 1)
                self.assertIn("Address already in use", router.output())

    def test_lingers(self) -> None:
        """At SIGTERM it is not ready any more, and serves clients for as long as it lingers."""
        router = Router(self, self.folder, "--linger", "3600", "--admin", ADMIN)
        admin = self.ports(router)["operators"]
        until(lambda: router.pick("llm"), "an answer")
        router.signal(signal.SIGTERM)
        until(lambda: router.get("/readyz")[0] == 503, "not ready")
        self.assertEqual(self.get(admin, "/readyz")[1], {"error": "the router is shutting down"})
        self.assertEqual(router.pick("llm"), self.node.address)
        self.assertTrue(router.is_running)
