"""Tests of what is released: the wheel, installed where there is no checkout."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import environment
from infernet_router import __version__
from tests.integration.programs import ROOT, Node, Router, until


class WheelTests(SynchronousTestCase):
    def run_in(self, folder: Path, *command: str) -> str:
        """What a command prints that ends well."""
        done = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_wheel(self) -> None:
        """Built from the source release and installed alone, it runs under twistd."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.run_in(folder, sys.executable, "-m", "build", "--outdir", "dist", str(ROOT))
        (wheel,) = (folder / "dist").glob("*.whl")
        self.run_in(folder, sys.executable, "-m", "venv", "venv")
        python, twistd = str(folder / "venv/bin/python"), str(folder / "venv/bin/twistd")
        self.run_in(folder, python, "-m", "pip", "install", "--quiet", str(wheel))
        self.run_in(folder, python, "-m", "pip", "check")
        self.assertIn("infernet-router", self.run_in(folder, twistd, "--help"))
        version = self.run_in(folder, twistd, "infernet-router", "--version")
        self.assertEqual(version, f"infernet-router {__version__}\n")
        node = Node(self, folder, "llm")
        (folder / "ips.txt").write_text(node.address)
        router = Router(self, folder, twistd=twistd)
        self.assertEqual(until(lambda: router.pick("llm"), "an answer"), node.address)
