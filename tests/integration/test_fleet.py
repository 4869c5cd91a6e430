"""Tests of the simulated fleet as a program, with a router."""

import signal
import sys
from pathlib import Path
from socket import create_server

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import Program, Router, until


class FleetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def fleet(self, flags: str, output: str = "ips.txt") -> Program:
        """The fleet, with its standard output in a file."""
        command = f'exec "{sys.executable}" -m infernet_router.testing {flags} > {output}'
        return Program(self, self.folder, "/bin/sh", "-c", command)

    def test_router(self) -> None:
        """A router takes its output as the list of nodes; Ctrl-C ends it."""
        fleet = self.fleet("--nodes 12 --speeds 0.5,2 --containers llm,prover --port 0")
        until(lambda: "12 nodes listen and run llm, prover" in fleet.output(), "listening")
        addresses = (self.folder / "ips.txt").read_text().splitlines()
        self.assertEqual(len(addresses), 12)
        router = Router(self, self.folder)
        until(lambda: router.get("/health")[1].get("up") == 12, "polls")
        self.assertIn(router.pick("llm", "prover"), addresses)
        fleet.signal(signal.SIGINT)
        self.assertEqual(fleet.ended(), 0, fleet.output())
        self.assertEqual(fleet.output().count("\n"), 1, fleet.output())

    def test_taken(self) -> None:
        """A port that is taken is named, and ends it with exit code 1."""
        with create_server(("127.0.1.2", 0)) as taken:
            port = taken.getsockname()[1]
            fleet = self.fleet(f"--port {port}")
            self.assertEqual(fleet.ended(), 1)
        message = f"cannot listen on 127.0.1.2:{port}: Address already in use\n"
        self.assertEqual(fleet.output(), message)
        self.assertEqual((self.folder / "ips.txt").read_text(), "")

    def test_full_disk(self) -> None:
        """A list that cannot be written ends it with exit code 1."""
        fleet = self.fleet("--port 0", output="/dev/full")
        self.assertEqual(fleet.ended(), 1)
        message = "cannot print the list of nodes: No space left on device\n"
        self.assertEqual(fleet.output(), message)
