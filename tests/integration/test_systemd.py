"""Tests of a router that systemd starts."""

import json
import signal
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import Node, Router, until


class SystemdTests(SynchronousTestCase):
    def test_notifies(self) -> None:
        """systemd is told when the router is ready, how it is, that it lives, and that it stops."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        node = Node(self, folder, "llm")
        (folder / "ips.txt").write_text(f"{node.address}\n127.0.0.1:1\n")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            # A path of a unix socket is short.
            systemd.bind(b"\0infernet-router-test-%d" % node.port)
            systemd.settimeout(60)
            router = Router(
                self, folder, "--log-format=json",
                variables={
                    "NOTIFY_SOCKET": f"@infernet-router-test-{node.port}",
                    "WATCHDOG_USEC": "1000000",
                },
            )  # fmt: skip
            said: list[str] = []

            def heard(line: str) -> bool:
                said.extend(systemd.recv(4096).decode().splitlines())
                return line in said

            for line in ("READY=1", "STATUS=1 of 2 nodes up", "WATCHDOG=1"):
                until(lambda line=line: line in said or heard(line), line)  # type: ignore[misc]
            router.signal(signal.SIGTERM)
            until(lambda: heard("STOPPING=1"), "stopping")
        router.ended()
        lines = [json.loads(line) for line in router.output().splitlines()]
        self.assertEqual(lines[0]["event"], "router.starting")
        self.assertLessEqual({"listening", "node.up", "node.down"}, {one["event"] for one in lines})
