"""Tests of the soak test: a short one that passes, and one that must fail."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import ROOT, Program

_PATIENCE = 180.0
"""The longest waits of a soak test together, in seconds."""


class SoakTests(SynchronousTestCase):
    def soak(self, *flags: str) -> Program:
        """Start a soak test; SIGTERM makes it stop its router first."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        command = (sys.executable, "-m", "benchmarks.soak", "--nodes", "150", "--rate", "200")
        program = Program(
            self,
            folder,
            *(*command, *flags),
            variables={"PYTHONPATH": str(ROOT), "COLUMNS": "160"},
        )
        self.addCleanup(self._end, program.process)
        return program

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait(_PATIENCE)

    def test_both(self) -> None:
        """The router passes; one that polls its nodes once a minute fails."""
        good = self.soak("--minutes", "0.3", "--slack", "5", "--growth", "0.2")
        rarely = ("--interval", "60", "--busy-interval", "60")
        bad = self.soak("--minutes", "0.2", "--", *rarely)
        self.assertEqual(good.process.wait(_PATIENCE), 0, good.output())
        self.assertEqual(bad.process.wait(_PATIENCE), 1, bad.output())
        self.assertNotIn("failed", good.output())
        self.assertRegex(bad.output(), r"GET /api/v1/ip\?container=.*: down for \d+\.\d+ s")
        self.assertNotIn("Traceback", bad.output())

    def test_replicas(self) -> None:
        """A router passes that shares its fleet with others, which are killed, as is Redis."""
        good = self.soak("--replicas", "3", "--minutes", "0.3", "--slack", "8", "--growth", "0.2")
        self.assertEqual(good.process.wait(_PATIENCE), 0, good.output())
