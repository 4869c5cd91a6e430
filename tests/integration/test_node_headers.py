"""Tests of a router that sends headers to its nodes."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import Router, until

REPORT = {
    "containers": [{"id": "llm", "external": True}],
    "pending": {"offchain": 0, "onchain": 0},
}


class Handler(BaseHTTPRequestHandler):
    """A node, and a Node Explorer that lists it; it records the keys of requests."""

    server: "Server"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.keys.setdefault(self.path, set()).add(self.headers["x-key"])
        answers: dict[str, Any] = {
            "/info": REPORT,
            "/resources": {"llm": {"supported": True}},
            "/api/nodes": {"data": [{"ip": "127.0.0.1", "port": self.server.server_port}]},
        }
        body = json.dumps(answers[path]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.keys: dict[str, set[str | None]] = {}
        """By path, the values of X-Key, with None for requests without."""


class NodeHeadersTests(SynchronousTestCase):
    def test_to_nodes_only(self) -> None:
        """Each request to a node has the header, other requests have not; it is never logged."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        server = Server()
        Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        explorer = f"http://127.0.0.1:{server.server_port}"
        variables = {"INFERNET_ROUTER_NODE_HEADER": "X-Key: secret"}
        router = Router(self, folder, "--node-explorer", explorer, variables=variables)
        until(lambda: router.get("/api/v1/ip?container=llm&model_id=m")[0] == 200, "a node")
        until(lambda: "/resources" in server.keys, "resources")
        self.assertEqual(server.keys.pop("/api/nodes?minutes_past=60"), {None})
        self.assertEqual(set(server.keys), {"/info", "/resources", "/resources?model_id=m"})
        self.assertEqual(set().union(*server.keys.values()), {"secret"})
        self.assertNotIn("secret", router.output())
