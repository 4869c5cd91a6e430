"""Tests of infernet_router.fleet.records; those of decisions and accuracy are in their modules."""

from collections.abc import Sequence
from math import isnan
from random import Random

from infernet_router.fleet import records as records_module
from infernet_router.fleet.among import Among
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.node import State
from infernet_router.fleet.steps import finish
from tests.doubles import report
from tests.fleet.case import A, B, C, FleetTestCase, HundredNodesTestCase


class SameDecisionsTests(HundredNodesTestCase):
    def test_same(self) -> None:
        """A fleet decides in the same way with records and without."""
        other = Fleet(self.clock.seconds, Random(1))
        other.replace(self.nodes)
        other.keep_records(Random(2))
        for number, node in enumerate(self.nodes):
            other.observed(node, report("llm", pending=number))
        for _ in range(300):
            self.assertEqual(other.pick(["llm"]), self.fleet.pick(["llm"]))
            exclude = self.nodes[:3]
            picks = [fleet.pick(["llm"], exclude=exclude) for fleet in (other, self.fleet)]
            self.assertEqual(*picks)

    def test_cheapest_kept(self) -> None:
        """Of more nodes than are kept, the cheapest are, the chosen one first."""
        records = self.fleet.keep_records(Random(2))
        ranked = self.fleet.rank(["llm"], 100)
        decision = records.decisions.get(self.fleet.decided)
        assert decision is not None
        compared = [each.node for each in decision.compared]
        self.assertEqual(compared, ranked[: len(compared)])

    def test_among(self) -> None:
        """Candidates are counted among the nodes that the job may go to."""
        records = self.fleet.keep_records(Random(2))
        for exclude, among, candidates in (
            ((), None, 100),
            (self.nodes[:30], None, 70),
            ((), Among(self.nodes[:20], "none"), 20),
            (self.nodes[:5], Among(self.nodes[:20], "none"), 15),
        ):
            self.fleet.pick(["llm"], among, exclude=exclude)
            decision = records.decisions.get(self.fleet.decided)
            assert decision is not None
            self.assertEqual(decision.candidates, candidates)


class RecordsTests(FleetTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(records_module, "_SAMPLED", 1)  # look at each decision closely
        self.fleet.observed(A, report("llm"))
        self.fleet.pick(["llm"])
        self.records = self.fleet.keep_records(Random(2))

    def numbers(self) -> Sequence[int]:
        return [each.number for each in finish(self.records.decisions.newest(limit=9))]

    def test_from_now_on(self) -> None:
        """What was decided before is not there; the numbers go on."""
        self.assertEqual(self.numbers(), [])
        self.fleet.pick(["llm"])
        self.assertEqual(self.numbers(), [2])

    def test_reported(self) -> None:
        """A report shows what became of a decision, how right it was, and the time at work."""
        self.fleet.observed(A, report("llm", pending=1))
        self.fleet.pick(["llm"])
        self.clock.advance(1)
        self.fleet.observed(A, report("llm", pending=5))
        decision = self.records.decisions.get(2)
        assert decision is not None
        assert decision.after is not None
        self.assertEqual(decision.after.reported_jobs, 5.0)
        (busy,) = self.records.busy.shares(0, 1)
        self.assertFalse(isnan(busy))

    def test_removed(self) -> None:
        """A node that takes the place of a removed one has no past; the decision is kept."""
        self.fleet.pick(["llm"])
        self.fleet.missed(A, "gone")
        self.assertEqual([each.state for each in self.fleet.history(A)], [State.DOWN])
        self.fleet.replace([])
        self.fleet.replace([C])
        self.assertEqual(self.fleet.history(C), [])
        decision = self.records.decisions.get(2)
        assert decision is not None
        self.assertEqual((decision.node, decision.after), (A, None))

    def test_shadow(self) -> None:
        """Decisions that are looked at closely are compared with other rules."""
        self.fleet.observed(B, report("llm", pending=9))
        for _ in range(5):
            self.fleet.pick(["llm"])
        self.assertGreater(self.records.shadow.samples, 0)
