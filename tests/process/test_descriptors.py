"""Tests of infernet_router.process.descriptors."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.process.descriptors import limits_of

RAISED = """
import resource, sys
from twisted.logger import globalLogBeginner, textFileLogObserver
from infernet_router.process import descriptors
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
print(descriptors.raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""


class LimitsTests(SynchronousTestCase):
    @given(st.integers(600, 2**31))
    def test_enough(self, descriptors: int) -> None:
        """Nodes and clients get a share each, together less than all descriptors."""
        limits = limits_of(descriptors)
        self.assertLessEqual(limits.nodes + limits.clients, descriptors - 150)
        self.assertGreaterEqual(limits.polls, 40)
        self.assertGreaterEqual(limits.kept, 40)
        self.assertGreaterEqual(limits.clients, 200)

    @given(st.integers(0, 600))
    def test_few(self, descriptors: int) -> None:
        """With few descriptors, polls, kept connections and clients still get one each."""
        limits = limits_of(descriptors)
        self.assertGreaterEqual(min(limits.polls, limits.kept, limits.clients), 1)

    def test_usual(self) -> None:
        """1024 descriptors, as in a login shell, are divided in half."""
        limits = limits_of(1024)
        self.assertEqual((limits.polls, limits.nodes, limits.clients), (127, 384, 384))

    def test_many(self) -> None:
        """A million descriptors, as in a container, are not all used."""
        limits = limits_of(1024 * 1024)
        self.assertEqual((limits.polls, limits.nodes, limits.clients), (1000, 3630, 10_000))


class RaiseLimitTests(SynchronousTestCase):
    def raised(self, soft: int, hard: int) -> str:
        """The output of a process that starts with these limits."""
        command = [sys.executable, "-c", RAISED, str(soft), str(hard)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def test_raised(self) -> None:
        """The soft limit is raised to the hard limit, and the resulting limits are logged."""
        printed = self.raised(300, 1024)
        self.assertIn(
            "1024 descriptors, raised from 300: at most 384 connections of clients, 384 to nodes\n",
            printed,
        )
        self.assertTrue(printed.endswith("(1024, 1024)\n"), printed)

    def test_as_it_was(self) -> None:
        """A soft limit that equals the hard limit is not logged as raised."""
        self.assertIn("] 1024 descriptors: at most 384", self.raised(1024, 1024))
