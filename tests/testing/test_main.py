"""Tests of infernet_router.testing.__main__; tests.integration.test_fleet runs it as a program."""

from contextlib import redirect_stderr
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.testing.__main__ import main, spread


class OptionTests(SynchronousTestCase):
    def test_spread(self) -> None:
        """Speeds grow by equal factors from the slowest to the fastest."""
        self.assertEqual(spread([0.5, 2.0], 3), [0.5, 1.0, 2.0])
        self.assertEqual(spread([3.0], 2), [3.0, 3.0])
        self.assertEqual(spread([0.5, 2.0], 1), [0.5])

    def test_bad(self) -> None:
        """A bad option is named, with what it must be."""
        for option, value, message in (
            ("--nodes", "0", "must be a whole number from 1 to 64516, not '0'"),
            ("--nodes", "9" * 5000, "must be a whole number from 1 to 64516, not "),
            ("--port", "70000", "must be a whole number from 0 to 65535, not '70000'"),
            ("--speeds", "1,2,3", "must be one speed, or the slowest and the fastest"),
            ("--speeds", "2,1", "must have the slowest first, not '2,1'"),
            ("--speeds", "fast", "must be a number from 0.001 to 1000, not 'fast'"),
            ("--work", "nan", "must be a number from 0.001 to 1000, not 'nan'"),
            ("--containers", "a,,b", "must be container ids with a comma between two"),
        ):
            with redirect_stderr(StringIO()) as output:
                error = self.assertRaises(SystemExit, main, [option, value])
            self.assertEqual(error.code, 2)
            self.assertIn(f"argument {option}: {message}", output.getvalue())
