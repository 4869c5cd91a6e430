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
        """With few descriptors, each purpose still gets some."""
        limits = limits_of(descriptors)
        least = min(limits.polls, limits.kept, limits.clients, limits.resources, limits.surveys)
        self.assertGreaterEqual(min(least, limits.lookups), 1)

    def test_very_few(self) -> None:
        """256 descriptors, as on some systems, are enough for a small fleet."""
        limits = limits_of(256)
        self.assertEqual((limits.polls, limits.nodes, limits.clients), (23, 96, 96))
        self.assertLess(limits.nodes + limits.clients + limits.lookups, 256)

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

    def test_warned(self) -> None:
        """With less than 1024, a warning says what that means, and what to do."""
        self.assertIn(
            "256 descriptors are few: clients have 96 connections at most, and 23 nodes are polled"
            " at the same time; allow 1024 or more (ulimit -n, LimitNOFILE= in systemd, --ulimit"
            " nofile= in Docker)",
            self.raised(256, 256),
        )
        self.assertNotIn("few", self.raised(256, 1024))

    def test_as_it_was(self) -> None:
        """A soft limit that equals the hard limit is not logged as raised."""
        self.assertIn("] 1024 descriptors: at most 384", self.raised(1024, 1024))
