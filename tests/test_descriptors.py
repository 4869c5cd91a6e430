"""Tests of infernet_router.descriptors."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.descriptors import limits_of

RAISED = """
import resource, sys
from twisted.logger import globalLogBeginner, textFileLogObserver
from infernet_router import descriptors
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
print(descriptors.raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""


class LimitsTests(SynchronousTestCase):
    @given(st.integers(600, 2**31))
    def test_enough(self, descriptors: int) -> None:
        """Nodes and clients together get no more descriptors than there are, but some each."""
        limits = limits_of(descriptors)
        self.assertLessEqual(limits.nodes + limits.clients, descriptors - 150)
        self.assertGreaterEqual(limits.polls, 40)
        self.assertGreaterEqual(limits.kept, 40)
        self.assertGreaterEqual(limits.clients, 200)

    @given(st.integers(0, 600))
    def test_few(self, descriptors: int) -> None:
        """However few there are, nodes are asked and clients are answered."""
        limits = limits_of(descriptors)
        self.assertGreaterEqual(min(limits.polls, limits.kept, limits.clients), 1)

    def test_usual(self) -> None:
        """Those of a login shell."""
        limits = limits_of(1024)
        self.assertEqual((limits.polls, limits.nodes, limits.clients), (127, 384, 384))

    def test_many(self) -> None:
        """Those of a container: there are limits of other kinds."""
        limits = limits_of(1024 * 1024)
        self.assertEqual((limits.polls, limits.nodes, limits.clients), (1000, 1430, 10_000))


class RaiseLimitTests(SynchronousTestCase):
    def raised(self, soft: int, hard: int) -> str:
        """What a process with these limits prints."""
        command = [sys.executable, "-c", RAISED, str(soft), str(hard)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def test_raised(self) -> None:
        """The limit is raised as far as it may be, and what that comes to is logged."""
        printed = self.raised(300, 1024)
        self.assertIn(
            "1024 descriptors, raised from 300: at most 384 connections of clients, 384 to nodes\n",
            printed,
        )
        self.assertTrue(printed.endswith("(1024, 1024)\n"), printed)

    def test_as_it_was(self) -> None:
        """A limit that is the highest already is not said to be raised."""
        self.assertIn("] 1024 descriptors: at most 384", self.raised(1024, 1024))
