"""Tests of infernet_router.fleet.accuracy and shadow, and of the records that feed them."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import records as records_module
from infernet_router.fleet.accuracy import BOUNDS, Accuracy, RecentError
from infernet_router.fleet.among import Among
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.no_node import NoNode, Reason
from tests.doubles import addresses, report

A, B, C = addresses("192.0.2.1:4000", "192.0.2.2:4000", "192.0.2.3:4000")
NAN = float("nan")


class AccuracyTests(SynchronousTestCase):
    """How right estimates were."""

    def setUp(self) -> None:
        self.accuracy = Accuracy()

    def test_errors(self) -> None:
        """Each report that can be compared is in one bucket of a histogram."""
        for expected, reported in ((0, 0), (0.2, 3), (5, 4.5), (0, 1e6), (NAN, 4)):
            self.accuracy.reported(0, expected, reported, 1.0)
        counts = dict(zip((*BOUNDS, None), self.accuracy.errors, strict=True))
        self.assertEqual(
            {bound: count for bound, count in counts.items() if count},
            {0.1: 1, 3.0: 1, 0.5: 1, None: 1},
        )
        self.assertEqual(self.accuracy.reports, 4)
        self.assertAlmostEqual(self.accuracy.error_sum, 1_000_003.3)

    def test_recent(self) -> None:
        """The recent error is that of nodes with jobs, in the last thousand reports of such."""
        self.assertIsNone(self.accuracy.recent)
        self.accuracy.reported(0, 0.1, 0, 1.0)
        self.assertIsNone(self.accuracy.recent)
        for reported in (1, 2, 3, 8):
            self.accuracy.reported(0, 1, reported, 1.0)
        self.assertEqual(self.accuracy.recent, RecentError(2.5, 1.5, 0.5))
        for _ in range(1000):
            self.accuracy.reported(0, 1, 5, 1.0)
        self.assertEqual(self.accuracy.recent, RecentError(4.0, 4.0, 0.0))

    def test_still_best(self) -> None:
        """A choice is still best if no other was cheaper, as the next reports show."""
        for errors, still in (
            ((0, 0), 1),
            ((3, 0), 1),
            ((0, -1), 1),
            ((0, 3), 2),
            ((1, 1), 3),
        ):
            self.accuracy.watch([7, 8], [2.0, 2.5], [1.0, 1.0])
            for index, error in zip((7, 8), errors, strict=True):
                self.accuracy.reported(index, 5, 5 + error, 1.0)
            self.assertEqual(self.accuracy.still_best, still)
        self.assertEqual((self.accuracy.choices, self.accuracy.still_best), (5, 3))
        self.assertEqual(self.accuracy.still_best_share, 0.6)

    def test_never_reported(self) -> None:
        """Nodes that fail to report are left out, and without the chosen one nothing is said."""
        self.assertIsNone(self.accuracy.still_best_share)
        for first, second in ((7, 8), (8, 7)):
            self.accuracy.watch([7, 8, 9], [2.0, 2.5, 3.0], [1.0, 1.0, 1.0])
            self.accuracy.lost(first)
            self.accuracy.reported(second, 1, 1, 1.0)
            self.accuracy.reported(9, 1, 1, 1.0)
        self.assertEqual((self.accuracy.choices, self.accuracy.still_best), (1, 1))
        self.accuracy.watch([7], [1.0], [1.0])
        self.accuracy.reported(7, 1, 1, 1.0)
        self.accuracy.lost(7)
        self.assertEqual(self.accuracy.choices, 1)

    def test_few(self) -> None:
        """Only a few choices wait at a time."""
        while self.accuracy.has_room:
            self.accuracy.watch([1, 2], [1.0, 2.0], [1.0, 1.0])
        for index in (1, 2):
            self.accuracy.reported(index, 0, 0, 1.0)
        self.assertEqual(self.accuracy.choices, 16)
        self.assertTrue(self.accuracy.has_room)


class RecordsTests(SynchronousTestCase):
    """What a fleet tells its records."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B, C])
        self.records = self.fleet.keep_records(Random(2))

    def test_error(self) -> None:
        """The error of a report is in jobs, whatever these weigh."""
        self.fleet.observed(A, report("llm", "prover", pending=2))
        self.assertEqual(self.records.accuracy.reports, 0)
        self.clock.advance(0.001)
        self.fleet.observed(A, report("llm", "prover", pending=6))
        self.assertEqual(self.records.accuracy.reports, 1)
        self.assertAlmostEqual(self.records.accuracy.error_sum, 4.0, 2)

    def test_sampled(self) -> None:
        """About one pick in a hundred is compared with other rules and with later reports."""
        nodes = addresses(*(f"192.0.2.{number}:5000" for number in range(1, 101)))
        self.fleet.replace(nodes)
        for pending, node in enumerate(nodes):
            self.fleet.observed(node, report("llm", pending=pending % 9))
        for _ in range(10):
            for _ in range(1000):
                self.fleet.pick(["llm"])
            self.clock.advance(1)
            for node in nodes:
                self.fleet.observed(node, report("llm", pending=3))
        shadow = self.records.shadow
        self.assertGreater(shadow.samples, 60)
        self.assertLess(shadow.samples, 140)
        self.assertGreater(self.records.accuracy.choices, 60)
        waits = shadow.wait_seconds
        self.assertEqual(set(waits), {"router", "two_choices", "least_pending"})
        self.assertLess(waits["router"], waits["two_choices"])
        self.assertLess(waits["router"], waits["least_pending"])

    def test_first(self) -> None:
        """The wait is that of the jobs before this one, at the rates that are learned."""
        self.fleet.observed(A, report("llm", pending=4))
        self.fleet.observed(B, report("llm", pending=4))
        self.fleet.pick(["llm"])
        for wait in self.records.shadow.wait_seconds.values():
            self.assertAlmostEqual(wait, 4.0)

    def test_doubted(self) -> None:
        """Other rules are not blamed, nor praised, for nodes that fail all jobs."""
        self.patch(records_module, "_SAMPLED", 0.5)
        self.fleet.observed(A, report("llm"))
        for _ in range(30):
            self.fleet.pick(["llm"])
            self.clock.advance(1)
            self.fleet.observed(A, report("llm"))
        samples = self.records.shadow.samples
        self.assertLess(samples, 25)
        self.fleet.observed(B, report("llm", pending=1))
        self.fleet.pick(["llm"])
        self.assertEqual(self.records.shadow.samples, samples + 1)
        self.assertEqual(len(set(self.records.shadow.wait_seconds.values())), 1)

    def test_lost(self) -> None:
        """A choice does not wait for a node that is down or removed."""
        self.fleet.observed(A, report("llm"))
        self.fleet.observed(B, report("llm"))
        self.fleet.observed(C, report("llm"))
        self.fleet.pick(["llm"])
        chosen = self.fleet.decided
        self.assertEqual(chosen, 1)
        decision = self.records.decisions.get(1)
        assert decision is not None
        first, second = {A, B, C} - {decision.node}
        self.fleet.missed(first, "gone")
        self.fleet.observed(second, report("llm"))
        self.fleet.observed(decision.node, report("llm"))
        self.assertEqual(self.records.accuracy.choices, 1)

    def test_no_node(self) -> None:
        """Each error has a stable reason."""
        expected = []

        def fails(reason: Reason, *asked: str, **options: object) -> None:
            with self.assertRaises(NoNode) as caught:
                self.fleet.pick(asked, **options)  # type: ignore[arg-type]
            self.assertEqual(caught.exception.reason, reason)
            expected.append(reason)

        self.fleet.replace([])
        fails(Reason.NO_NODE_KNOWN, "llm")
        self.fleet.replace([A, B])
        fails(Reason.FIRST_POLLS, "llm")
        self.fleet.missed(A, "gone")
        self.fleet.missed(B, "gone")
        fails(Reason.NONE_UP, "llm")
        self.fleet.observed(A, report("llm", internal=("prover",)))
        self.fleet.observed(B, report("other"))
        fails(Reason.NOT_RUNNING, "x")
        fails(Reason.NOT_EXTERNAL, "prover")
        fails(Reason.NOT_TOGETHER, "llm", "other")
        fails(Reason.MODEL, "llm", among=Among([B], "no model"))
        fails(Reason.EXCLUDED, "llm", exclude=[A])
        self.fleet.override(A, Tier.DRAINED)
        fails(Reason.DRAINED, "llm")
        self.assertEqual(set(expected), set(Reason))
