"""Tests of the commands that start a router in the foreground: they all behave the same."""

import signal
import sys
from http.client import HTTPConnection
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import FOREGROUND, TWISTD, listening_ports
from tests.integration.programs import TROUBLE, Program, until

COMMANDS = (
    (TWISTD, *FOREGROUND),
    (str(Path(sys.executable).with_name("infernet-router")),),
    (sys.executable, "-m", "infernet_router"),
)


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def port(self, router: Program) -> int:
        """Wait until a router listens; returns its port."""
        return until(lambda: listening_ports(router.output()), "listening")[0]

    def test_serves(self) -> None:
        """Each command serves in the foreground, passes its options on, and ends on SIGTERM."""
        (self.folder / "nodes").write_text("127.0.0.1:1\n")
        flags = ("--ips", "nodes", "--listen", "tcp:0:interface=127.0.0.1")
        routers = [Program(self, self.folder, *command, *flags) for command in COMMANDS]
        for router in routers:
            client = HTTPConnection("127.0.0.1", self.port(router))
            client.request("GET", "/api/v1/ip")
            self.assertEqual(client.getresponse().status, 400)
            client.close()
            router.signal(signal.SIGTERM)
        self.assertEqual([router.ended() for router in routers], [-signal.SIGTERM] * 3)
        for router in routers:
            self.assertNotRegex(router.output(), TROUBLE)
        self.assertFalse((self.folder / "twistd.pid").exists())

    def test_cannot_start(self) -> None:
        """Each command prints the same reason why it cannot start, and exits with code 1."""
        programs = [Program(self, self.folder, *command) for command in COMMANDS]
        self.assertEqual([program.ended() for program in programs], [1, 1, 1])
        (said,) = {program.output() for program in programs}
        self.assertTrue(
            said.startswith(f"infernet-router: there is no {self.folder}/ips.txt: write "), said
        )
