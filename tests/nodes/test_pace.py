"""Tests of infernet_router.nodes.pace."""

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.nodes.pace import Pace, Paces
from infernet_router.nodes.rate_fields import NO_LIMIT, RateLimit

A = parse_address("192.0.2.1:4000")


class PaceTests(SynchronousTestCase):
    def answered(self, pace: float | None, before: float = 0.0) -> float:
        """The pause after an answer."""
        one = Pace()
        one.pause = before
        one.answered(RateLimit(pace=pace), 1.1, 6.0)
        return one.pause

    def test_answered(self) -> None:
        """The pause follows what a node says, up to a bound; one that is usual anyway is none."""
        self.assertEqual(self.answered(2.5), 2.5)
        self.assertEqual(self.answered(86400.0), 6.0)
        self.assertEqual(self.answered(1.1), 0.0)
        self.assertEqual(self.answered(0.5, before=6.0), 0.0)

    def test_recovery(self) -> None:
        """The pause of a node that says nothing gets shorter, and ends."""
        self.assertAlmostEqual(self.answered(None, before=4.0), 3.6)
        self.assertEqual(self.answered(None, before=1.2), 0.0)

    def test_refused(self) -> None:
        """Each 429 doubles the pause, up to a bound."""
        pace = Pace()
        pauses = []
        for now in (0.0, 10.0, 20.0):
            pace.refused(NO_LIMIT, now, 6.0)
            pauses.append((pace.pause, pace.until - now))
        self.assertEqual(pauses, [(2.0, 2.0), (4.0, 4.0), (6.0, 6.0)])

    def test_good_report(self) -> None:
        """The router's own pause ends before the last report is too old; a node's own need not."""
        pace = Pace()
        pace.refused(NO_LIMIT, 100.0, 6.0, good_until=101.0)
        self.assertAlmostEqual(pace.until, 102.0)  # the shortest that any 429 asks for
        pace.refused(NO_LIMIT, 110.0, 6.0, good_until=113.0)
        self.assertAlmostEqual(pace.until, 112.7)
        pace.refused(RateLimit(retry_after=5.0), 120.0, 6.0, good_until=123.0)
        self.assertEqual(pace.until, 125.0)

    def test_retry_after(self) -> None:
        """A node is left alone for as long as it says, but never for hours."""
        for limit, seconds in (
            (RateLimit(retry_after=30.0, pace=50.0), 30.0),
            (RateLimit(pace=50.0), 50.0),
            (RateLimit(retry_after=0.0, pace=50.0), 2.0),
            (RateLimit(retry_after=86400.0), 300.0),
        ):
            pace = Pace()
            pace.refused(limit, 100.0, 6.0)
            self.assertEqual(pace.until, 100.0 + seconds)
            self.assertLessEqual(pace.pause, 6.0)


class PacesTests(SynchronousTestCase):
    def test_others(self) -> None:
        """A node that refuses a poll or another question is asked no other question meanwhile."""
        paces = Paces()
        self.assertEqual(paces.others_until(A), -inf)
        pace = paces.add(A)
        paces.refused(A, RateLimit(retry_after=30.0), 100.0)
        self.assertEqual((paces.others_until(A), pace.until), (130.0, -inf))
        pace.refused(RateLimit(retry_after=50.0), 100.0, 6.0)
        self.assertEqual(paces.others_until(A), 150.0)

    def test_dropped(self) -> None:
        """Nothing is kept of a node that is gone."""
        paces = Paces()
        paces.add(A)
        paces.drop(A)
        paces.drop(A)
        paces.refused(A, RateLimit(retry_after=30.0), 100.0)
        self.assertEqual(paces.others_until(A), -inf)
