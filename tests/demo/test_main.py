"""Tests of infernet_router.demo.__main__; tests.integration.test_demo runs it as a program."""

import signal
from contextlib import redirect_stdout
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.demo.__main__ import main


class MainTests(SynchronousTestCase):
    def test_loads(self) -> None:
        """It loads the program and runs it; the handler of Ctrl-C is then as before."""
        before = signal.getsignal(signal.SIGINT)
        with redirect_stdout(StringIO()) as output:
            error = self.assertRaises(SystemExit, main, ["--help"])
        self.assertEqual(error.code, 0)
        self.assertIn("--once", output.getvalue())
        self.assertEqual(signal.getsignal(signal.SIGINT), before)
