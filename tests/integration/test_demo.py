"""Tests of the demo as a program."""

import re
import signal
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import Program, until


class DemoTests(SynchronousTestCase):
    def demo(self, *flags: str) -> Program:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        command = (sys.executable, "-m", "infernet_router.demo", *flags)
        return Program(self, folder, *command, variables={"COLUMNS": "120"})

    def test_ends(self) -> None:
        """It ends with exit code 0 and a summary, by itself with --once, else by Ctrl-C."""
        # One test, as demos that start at the same moment may choose the same port.
        demo = self.demo("--once")
        self.assertEqual(demo.ended(), 0, demo.output())
        self.assertRegex(demo.output(), r"\n\d+ jobs done, median \d+\.\d s; 0 failed\n$")
        self.assertRegex(demo.output(), r'curl "http://127\.0\.0\.1:\d+/api/v1/ip\?container=llm"')
        interrupted = self.demo()
        until(lambda: re.search("curl", interrupted.output()), "start")
        interrupted.signal(signal.SIGINT)
        self.assertEqual(interrupted.ended(), 0, interrupted.output())
        self.assertIn("; 0 failed\n", interrupted.output())
        for output in (demo.output(), interrupted.output()):
            self.assertNotIn("Traceback", output)
