"""Tests of the demo as a program."""

import re
import signal
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import Program, until


class DemoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def demo(self, *flags: str) -> Program:
        command = (sys.executable, "-m", "infernet_router.demo", *flags)
        return Program(self, self.folder, *command, variables={"COLUMNS": "120"})

    def test_once(self) -> None:
        """With --once it ends by itself with exit code 0 and prints a summary."""
        demo = self.demo("--once")
        self.assertEqual(demo.ended(), 0, demo.output())
        self.assertRegex(demo.output(), r"\n\d+ jobs done, median \d+\.\d s; 0 failed\n$")
        self.assertRegex(demo.output(), r'curl "http://127\.0\.0\.1:\d+/api/v1/ip\?container=llm"')
        self.assertNotIn("Traceback", demo.output())

    def test_interrupted(self) -> None:
        """Ctrl-C ends it with exit code 0 and a summary, even while jobs run."""
        demo = self.demo()
        until(lambda: re.search("curl", demo.output()), "start")
        demo.signal(signal.SIGINT)
        self.assertEqual(demo.ended(), 0, demo.output())
        self.assertIn("; 0 failed\n", demo.output())
        self.assertNotIn("Traceback", demo.output())
