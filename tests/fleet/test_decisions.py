"""Tests of infernet_router.fleet.decisions, and of what it needs: past and situations."""

import gc
from array import array
from random import Random
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import decisions as decisions_module
from infernet_router.fleet import past as past_module
from infernet_router.fleet import situations as situations_module
from infernet_router.fleet.among import Among
from infernet_router.fleet.decisions import After, Decision
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.steps import finish
from tests.doubles import addresses, report

A, B, C, D, E, F = addresses(*(f"192.0.2.{number}:4000" for number in range(1, 7)))
MANY = addresses(*(f"192.0.2.{number}:5000" for number in range(1, 101)))


class DecisionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(50)
        self.fleet = Fleet(self.clock.seconds, Random(1), max_utilization=0.9)
        self.fleet.replace([A, B, C])
        self.records = self.fleet.keep_records(Random(2))

    def up(self, *nodes: NodeAddress, pending: int = 0) -> None:
        for node in nodes:
            self.fleet.observed(node, report("llm", "prover", pending=pending))

    def last(self) -> Decision:
        decision = self.records.decisions.get(self.fleet.decided)
        assert decision is not None
        return decision

    def newest(
        self, container: str | None = None, node: NodeAddress | None = None, limit: int = 50
    ) -> list[int]:
        found = finish(self.records.decisions.newest(container, node, limit))
        return [decision.number for decision in found]

    def test_pick(self) -> None:
        """A decision has its time, the nodes compared with costs, jobs and rates, and a margin."""
        self.up(A, pending=2)
        self.up(B)
        self.up(C, pending=7)
        self.clock.advance(0.5)
        views = {view.address: view for view in self.fleet.views()}
        self.assertEqual(self.fleet.pick(["llm"]), B)
        decision = self.last()
        self.assertEqual((decision.number, decision.time, decision.node), (1, 50.5, B))
        self.assertEqual((decision.containers, decision.candidates), (("llm",), 3))
        self.assertEqual([compared.node for compared in decision.compared], [B, A, C])
        for compared in decision.compared:
            view = views[compared.node]
            self.assertAlmostEqual(compared.jobs, view.jobs, 4)
            self.assertAlmostEqual(compared.rate, view.rate, 4)
            self.assertAlmostEqual(compared.cost, (view.jobs + 1) * view.rate**-0.6, 4)
        best, second, _ = decision.compared
        self.assertAlmostEqual(decision.margin or 0.0, second.cost - best.cost)
        self.assertIsNone(decision.after)

    def test_which(self) -> None:
        """Picks and lists that assign a job are decisions; peeking and empty lists are none."""
        self.up(A, B, C)
        self.fleet.peek(["llm"])
        self.fleet.rank(["llm"], 2, assign=False)
        self.fleet.rank(["llm"], 0)
        self.fleet.rank(["llm"], 2, 9)
        self.assertEqual((self.fleet.decided, self.newest()), (0, []))
        self.fleet.pick(["llm"], jobs=5)
        best = self.fleet.rank(["llm"], 2)
        self.assertEqual(self.newest(), [2, 1])
        self.assertEqual([compared.node for compared in self.last().compared], best)
        self.assertIsNone(self.records.decisions.get(0))
        self.assertIsNone(self.records.decisions.get(3))

    def test_same(self) -> None:
        """The same nodes are picked with and without records."""
        picked = []
        for keeps in (False, True):
            fleet = Fleet(self.clock.seconds, Random(3))
            if keeps:
                fleet.keep_records(Random(4))
            fleet.replace(MANY)
            for node in MANY:
                fleet.observed(node, report("llm"))
            picked.append([fleet.pick(["llm"]) for _ in range(1000)])
        self.assertEqual(picked[0], picked[1])

    def test_after(self) -> None:
        """The chosen node's next report shows how right the estimate was, for all its decisions."""
        self.fleet.replace([A])
        self.up(A)
        self.fleet.pick(["llm"])
        self.clock.advance(0.25)
        self.fleet.pick(["llm"])
        self.clock.advance(2)
        self.fleet.observed(A, report("llm", pending=5))
        first, second = (self.records.decisions.get(number) for number in (1, 2))
        assert first is not None and first.after is not None
        assert second is not None and second.after is not None
        self.assertEqual((first.after.age, second.after.age), (2.25, 2.0))
        self.assertEqual(first.after.reported_jobs, 5.0)
        self.assertGreater(first.after.expected_jobs, 0.0)
        self.assertLess(first.after.expected_jobs, 1.0)
        self.fleet.pick(["llm"])
        self.assertIsNone(self.last().after)
        self.clock.advance(3)
        self.up(A)
        after = self.last().after
        self.assertEqual(after and after.reported_jobs, 0.0)

    def test_no_after(self) -> None:
        """The report of a node that was down in between, or was removed and added, is not it."""
        self.fleet.replace([A])
        self.up(A)
        self.fleet.pick(["llm"])
        self.fleet.missed(A, "gone")
        self.up(A)
        self.up(A, pending=3)
        self.assertIsNone(self.last().after)
        self.fleet.pick(["llm"])
        self.fleet.replace([])
        self.fleet.replace([A])
        self.up(A)
        self.fleet.pick(["llm"])
        self.up(A)
        self.assertIsInstance(self.last().after, After)
        self.assertIsNone(getattr(self.records.decisions.get(2), "after", 0))

    def test_past(self) -> None:
        """Later reports do not change what a decision was based on."""
        self.up(A, pending=8)
        self.up(B, pending=9)
        self.fleet.pick(["llm"])
        before = self.last()
        for count in (1, 40, 2, 60):
            self.clock.advance(5)
            self.up(A, B, pending=count)
            self.fleet.pick(["llm"])
        after = self.records.decisions.get(1)
        assert after is not None
        self.assertNotAlmostEqual(self.last().compared[0].rate, after.compared[0].rate, 2)
        for now, then in zip(after.compared, before.compared, strict=True):
            self.assertAlmostEqual(now.jobs, then.jobs, 1)
            self.assertAlmostEqual(now.rate, then.rate, 2)
            self.assertEqual(now.cost, then.cost)

    def test_removed(self) -> None:
        """A decision names its nodes also when others took their indices; forgotten ones lack."""
        self.up(A, B)
        self.fleet.pick(["llm"])
        self.fleet.replace([C])
        self.assertEqual({each.node for each in self.last().compared}, {A, B})
        self.fleet.replace([C, D, E])
        self.up(D, E)
        self.assertEqual({each.node for each in self.last().compared}, {A, B})
        self.assertEqual(self.last().node, {A: A, B: B}[self.last().node])
        self.fleet.pick(["llm"])
        self.fleet.replace([C, F])
        self.fleet.replace([C, A])
        for number, nodes in ((1, {A, B}), (2, {D, E})):
            decision = self.records.decisions.get(number)
            assert decision is not None
            self.assertEqual({each.node for each in decision.compared}, nodes)

    def test_forgotten(self) -> None:
        """Of removed nodes, the last ones are remembered; the chosen node always is."""
        self.patch(past_module, "_REMOVED", 1)
        self.up(A, B)
        chosen = self.fleet.pick(["llm"])
        for nodes in ([D, E], [A, B], [D, E]):
            self.fleet.replace(nodes)
            self.up(*nodes)
            self.fleet.pick(["llm"])
        decision = self.records.decisions.get(1)
        assert decision is not None
        self.assertEqual(decision.node, chosen)
        self.assertEqual([each.node for each in decision.compared], [chosen])

    def test_left_out(self) -> None:
        """A decision counts the nodes that got no job, each for one reason."""
        nodes = [A, B, C, D, E, F]
        self.fleet.replace(nodes)
        self.up(*nodes)
        self.fleet.missed(A, "gone")
        self.fleet.override(A, Tier.DRAINED)
        self.fleet.override(B, Tier.DRAINED)
        self.fleet.utilized(C, 0.95)
        self.fleet.missed(D, "slow", timed_out=True)
        self.fleet.pick(["llm"], exclude=[E])
        for asked in (["llm"], ["llm", "prover"]):
            self.fleet.pick(asked, exclude=[E])
            decision = self.last()
            left = decision.left_out
            self.assertEqual((decision.candidates, decision.node), (1, F))
            self.assertEqual((left.down, left.drained, left.full), (1, 1, 1))
            self.assertEqual((left.suspect, left.excluded), (1, 1))
            self.fleet.pick(asked)
            self.assertEqual((self.last().candidates, self.last().left_out.excluded), (2, 0))
        self.fleet.pick(["llm"], exclude=[E, F])
        self.assertEqual((self.last().node, self.last().left_out.full), (C, 0))
        self.fleet.observed(A, report("other"))
        self.fleet.missed(A, "gone")
        self.fleet.pick(["llm"])
        self.assertEqual(self.last().left_out.down, 0)
        self.fleet.replace([A, B, C, D, F])
        self.fleet.missed(F, "gone")
        self.fleet.pick(["llm"])
        self.assertEqual((self.last().left_out.down, self.last().candidates), (1, 1))
        self.fleet.replace([C])
        self.fleet.pick(["llm"])
        self.assertEqual((self.last().left_out.down, self.last().left_out.drained), (0, 0))

    def test_internal(self) -> None:
        """Candidates are those in the class chosen from, by which container is external."""
        self.fleet.observed(A, report("llm", internal=("prover",)))
        self.fleet.observed(B, report("prover", internal=("llm",)))
        self.fleet.pick(["prover", "llm"])
        self.assertEqual((self.last().node, self.last().candidates), (B, 1))
        self.fleet.rank(["prover", "llm"], 5)
        self.assertEqual([each.node for each in self.last().compared], [B])

    def test_among(self) -> None:
        """With a model, the candidates are among the nodes that support it."""
        self.up(A, B, C)
        self.fleet.missed(C, "gone")
        self.fleet.pick(["llm"], Among([A, C], "none"))
        self.assertEqual((self.last().node, self.last().candidates), (A, 1))
        self.fleet.replace(MANY)
        self.up(*MANY)
        self.fleet.pick(["llm"], Among(MANY[:40], "none"))
        self.assertEqual((self.last().candidates, len(self.last().compared)), (40, 32))

    def test_many(self) -> None:
        """At most 32 compared nodes are kept, the chosen one first."""
        self.fleet.replace(MANY)
        self.up(*MANY)
        for decide in (
            lambda: self.fleet.pick(["llm"]),
            lambda: self.fleet.rank(["llm"], 100)[0],
            lambda: self.fleet.pick(["llm"], exclude=[A]),
        ):
            chosen = decide()
            self.assertEqual((self.last().node, self.last().compared[0].node), (chosen, chosen))
            self.assertEqual(self.last().candidates, 100)
            self.assertLessEqual(len(self.last().compared), 32)
            self.assertGreater(len(self.last().compared), 10)

    def test_alone(self) -> None:
        """Without another node there is no margin."""
        self.up(A)
        self.fleet.pick(["llm"])
        self.assertIsNone(self.last().margin)

    def test_newest(self) -> None:
        """Decisions are found by container and node, the newest first."""
        self.up(A)
        self.fleet.observed(B, report("prover", "x"))
        for asked in (["llm"], ["x"], ["prover", "x"], ["llm", "prover"], ["llm"]):
            self.fleet.pick(asked)
        self.assertEqual(self.newest(), [5, 4, 3, 2, 1])
        self.assertEqual(self.newest(limit=2), [5, 4])
        self.assertEqual(self.newest(container="prover"), [4, 3])
        self.assertEqual(self.newest(node=B), [3, 2])
        self.assertEqual(self.newest(container="x", node=A), [])
        self.assertEqual(self.records.decisions.by_container, {"llm": 3, "x": 1, "prover": 1})

    def test_kept(self) -> None:
        """The last 20,000 decisions are kept, and no object for any of them."""
        self.up(A, B)
        self.fleet.pick(["llm"])
        gc.collect()
        before = len(gc.get_objects())
        for count in range(20_050):
            self.fleet.pick(["llm"])
            if not count % 100:
                self.up(A, B)
        gc.collect()
        self.assertLess(len(gc.get_objects()) - before, 500)
        decisions = self.records.decisions
        self.assertIsNone(decisions.get(51))
        oldest = decisions.get(52)
        assert oldest is not None and oldest.after is not None
        self.assertEqual(len(self.newest(limit=30_000)), 20_000)

    def test_ring_of_reports(self) -> None:
        """What came after is found across the end of the ring."""
        self.patch(decisions_module, "KEPT", 7)
        self.up(A, B, C)
        for count in range(30):
            self.fleet.pick(["llm"])
            self.up(A, B, C, pending=count)
            after = self.last().after
            self.assertEqual(after and after.reported_jobs, count)
        self.assertEqual(len(self.newest()), 7)

    def test_wrapped(self) -> None:
        """What came after is found behind the end of the ring too, or is not there yet."""
        self.patch(decisions_module, "KEPT", 5)
        self.fleet.replace([A, B])
        self.up(A, B)
        for before in range(1, 12):
            for _ in range(before):
                self.fleet.pick(["llm"], exclude=[A])
                self.up(B)
            self.fleet.pick(["llm"], exclude=[B])
            for _ in range(3):
                self.fleet.pick(["llm"], exclude=[A])
                self.up(B)
            chose_a = self.fleet.decided - 3
            decision = self.records.decisions.get(chose_a)
            assert decision is not None
            self.assertEqual((decision.node, decision.after), (A, None))
            self.up(A, pending=7)
            decision = self.records.decisions.get(chose_a)
            assert decision is not None and decision.after is not None
            self.assertEqual(decision.after.reported_jobs, 7.0)

    def test_steps(self) -> None:
        """A long search is interrupted often, and new decisions may be made meanwhile."""
        self.up(A)
        with patch.multiple(decisions_module, _STEP=2, _SCANNED=3, KEPT=10):
            for _ in range(10):
                self.fleet.pick(["llm"])
            search, slices = self.records.decisions.newest(), 0
            try:
                while True:
                    next(search)
                    slices += 1
                    self.fleet.pick(["llm"])
            except StopIteration as end:
                numbers = [decision.number for decision in end.value]
        self.assertGreater(slices, 2)
        self.assertEqual(numbers[:3], [10, 9, 8])
        self.assertLess(len(numbers), 10)

    def test_combinations(self) -> None:
        """Of very many combinations of containers, those used last are remembered."""
        self.patch(situations_module, "_MAX_COMBINATIONS", 3)
        self.patch(situations_module, "_MAX_CURRENT", 2)
        names = [f"c{number}" for number in range(5)]
        self.fleet.observed(A, report(*names))
        for name in names:
            self.fleet.pick([name])
        self.assertEqual(self.newest(), [5, 4, 3])
        self.patch(situations_module, "_MAX_NAMES", 4)
        self.fleet.pick(["c0", "c1", "c2"])
        self.assertEqual(self.newest(), [6, 5])
        self.patch(decisions_module, "_NAMES", 5)
        self.fleet.observed(A, report("new"))
        self.fleet.pick(["new"])
        self.assertEqual(self.records.decisions.of_others, 1)

    def test_renewed(self) -> None:
        """A situation is counted again before its place in the ring is needed."""
        with (
            patch.multiple(situations_module, _USED=3, _KEPT=9),
            patch.object(decisions_module, "KEPT", 6),
        ):
            self.fleet = Fleet(self.clock.seconds, Random(1))
            self.records = self.fleet.keep_records(Random(2))
            self.fleet.replace([A, B])
            self.up(A, B)
            for count in range(60):
                self.fleet.pick(["llm"], exclude=[A] if count % 2 else [])
                for number in self.newest():
                    decision = self.records.decisions.get(number)
                    assert decision is not None
                    self.assertEqual(decision.candidates, 1 if number % 2 == 0 else 2)

    def test_huge(self) -> None:
        """A cost beyond all measure is kept as the highest number there is room for."""
        self.up(A)
        self.records.decisions.add(1, 0.0, ("llm",), 1e300, 0, array("i", [0]), [1e300])
        self.fleet.decided = 1
        self.assertGreater(self.last().compared[0].cost, 1e38)
