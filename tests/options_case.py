"""A base class of tests of the options."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.options import CannotStart, Options
from infernet_router.settings import Settings


def parsed(*flags: str, **environ: str) -> Settings:
    """The settings that these flags and variables make."""
    options = Options(environ)
    options.parseOptions(list(flags))
    return options.settings


class OptionsTestCase(SynchronousTestCase):
    """Base class: checks that options are refused."""

    def assert_bad(self, reason: str, *flags: str, **environ: str) -> None:
        """These options are refused with this reason, in one line, which makes the exit code 1."""
        with self.assertRaises(CannotStart) as caught:
            parsed(*flags, **environ)
        self.assertEqual(caught.exception.code, f"infernet-router: {reason}")
