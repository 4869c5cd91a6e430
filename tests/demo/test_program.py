"""Tests of infernet_router.demo.program; tests.integration.test_demo runs it as a program."""

from contextlib import redirect_stderr
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.demo.program import run


class OptionTests(SynchronousTestCase):
    def test_bad(self) -> None:
        """A bad option is named, with what it must be."""
        for arguments, message in (
            (
                ["--port", "70000"],
                "argument --port: must be a whole number up to 65535",
            ),
            (["--port", "-1"], "argument --port: "),
            (["--seed", "x"], "argument --seed: "),
            (["--twice"], "unrecognized arguments: --twice"),
        ):
            with redirect_stderr(StringIO()) as output:
                error = self.assertRaises(SystemExit, run, arguments)
            self.assertEqual(error.code, 2)
            self.assertIn(message, output.getvalue())
