"""Tests of infernet_router.__main__; tests.integration.test_command runs it as a program."""

import sys
from contextlib import redirect_stdout
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from infernet_router import __version__
from infernet_router.__main__ import main
from infernet_router.options import CannotStart


class MainTests(SynchronousTestCase):
    def setUp(self) -> None:
        for name in ("stdout", "stderr"):  # which the program replaces
            self.patch(sys, name, getattr(sys, name))

    def printed(self, option: str) -> str:
        """The output of an option that ends the program successfully."""
        with redirect_stdout(StringIO()) as output, self.assertRaises(SystemExit) as caught:
            main([option])
        self.assertIn(caught.exception.code, (0, None))
        return output.getvalue()

    def test_version(self) -> None:
        """It has the router's options."""
        self.assertEqual(self.printed("--version"), f"infernet-router {__version__}\n")

    def test_help(self) -> None:
        """The help shows the command as it is typed."""
        self.assertTrue(self.printed("--help").startswith("Usage: infernet-router [options]\n"))

    def test_wrong(self) -> None:
        """An invalid option ends the program with the router's message."""
        with self.assertRaises(CannotStart) as caught:
            main(["--port", "x"])
        self.assertEqual(
            caught.exception.code,
            "infernet-router: --port must be a whole number from 1 to 65535, not 'x'",
        )
