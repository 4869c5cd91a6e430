"""Tests of a router with few descriptors: hanging nodes leave enough of them for clients."""

import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import limited_twistd
from tests.integration.programs import Node, Router, until

HANGING = 300
CLIENTS = 100


class FewDescriptorsTests(SynchronousTestCase):
    def test_nodes_that_hang(self) -> None:
        """While many nodes hang, the others are still polled and clients are answered."""
        folder = Path(self.mktemp())
        folder.mkdir()
        hanging = socket.create_server(("", 0), backlog=4096)
        self.addCleanup(hanging.close)
        port = hanging.getsockname()[1]
        node = Node(self, folder, "llm")
        addresses = [f"127.2.{n // 250}.{n % 250}:{port}" for n in range(1, HANGING + 1)]
        (folder / "ips.txt").write_text("\n".join([*addresses, node.address]))

        router = Router(self, folder, "--timeout=1", twistd=limited_twistd(folder, 600))
        for _ in range(CLIENTS):
            client = socket.create_connection(("127.0.0.1", router.port))
            self.addCleanup(client.close)
        until(lambda: router.pick("llm") == node.address, "the good node")
        most = 0

        def all_down() -> bool:
            nonlocal most
            self.assertEqual(router.pick("llm"), node.address)
            most = max(most, router.descriptors())
            return router.output().count(" is down: timeout after 1 s") == HANGING

        until(all_down, "the end of all that hang")
        self.assertIn(
            "600 descriptors: at most 225 connections of clients, 225 to nodes", router.output()
        )
        self.assertIn(most, range(CLIENTS, 300))
        self.assertNotIn("Too many open files", router.output())
        self.assertNotIn(f"{node.address} is down", router.output())
