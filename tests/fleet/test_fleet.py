"""Tests of infernet_router.fleet.fleet."""

from collections import Counter
from math import ceil, inf
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import candidates as candidates_module
from infernet_router.fleet.among import Among
from infernet_router.fleet.events import CameUp, Outcome
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.no_node import NoNode
from infernet_router.fleet.roster import States
from infernet_router.fleet.weights import Weights
from infernet_router.reports import Container, NodeReport
from tests.doubles import report
from tests.fleet.case import A, B, C, FleetTestCase, jobs


class FleetTests(FleetTestCase):
    def test_changes(self) -> None:
        """Coming up and going down are returned once, and for how long the node was down."""
        self.assertEqual(self.fleet.observed(A, report("llm")), CameUp(away=None))
        self.assertIsNone(self.fleet.observed(A, report("llm")))
        self.clock.advance(5)
        self.assertTrue(self.fleet.missed(A, "connection refused"))
        self.clock.advance(2)
        self.assertFalse(self.fleet.missed(A, "connection refused"))
        self.clock.advance(2)
        self.assertEqual(self.fleet.observed(A, report("llm")), CameUp(away=4))

    def test_report_of_before(self) -> None:
        """A report may be from the past, but one that is older than the last is ignored."""
        self.clock.advance(10)
        self.fleet.observed(A, report("llm", pending=4), at=8.0)
        self.assertAlmostEqual(jobs(self.fleet, A), 2.0)
        self.assertIsNone(self.fleet.observed(A, report("prover"), at=7.9))
        self.assertEqual(self.picks(1, "llm"), {A: 1})

    def test_report_from_before_a_failure(self) -> None:
        """A report that is older than what made the node down or suspect is ignored."""
        self.fleet.observed(A, report("llm"))
        for timed_out in (True, False):
            self.clock.advance(5)
            self.fleet.missed(A, "gone", timed_out=timed_out)
            before = self.fleet.view(A)
            self.assertIsNone(self.fleet.observed(A, report("llm"), at=self.clock.seconds() - 1))
            self.assertEqual(self.fleet.view(A), before)
        self.assertEqual(self.fleet.observed(A, report("llm"), at=99.0), CameUp(away=0.0))
        self.assertIsNone(self.fleet.observed(A, report("prover")))
        self.assertEqual(self.picks(1, "prover"), {A: 1})

    def test_other_containers(self) -> None:
        """A new report replaces the containers of the last one."""
        self.fleet.observed(A, report("llm"))
        self.fleet.observed(A, report("prover"))
        self.assertEqual(self.picks(1, "prover"), {A: 1})
        self.assertRaises(NoNode, self.fleet.pick, ["llm"])

    def test_late_answer(self) -> None:
        """The result of a poll is ignored if the node was removed in the meantime."""
        self.fleet.replace([B])
        self.assertIsNone(self.fleet.observed(A, report("llm")))
        self.assertFalse(self.fleet.missed(A, "connection refused"))
        self.assertRaises(NoNode, self.fleet.pick, ["llm"])


class SeveralJobsTests(SynchronousTestCase):
    """Batches, outcomes and looks."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B])
        for address in (A, B):
            self.fleet.observed(address, report("llm"))

    def test_jobs(self) -> None:
        """So many jobs are assigned at once, of which each weighs as one."""
        first = self.fleet.pick(["llm"], jobs=20)
        self.assertAlmostEqual(jobs(self.fleet, first), 20.0)
        (other,) = {A, B} - {first}
        self.assertEqual({self.fleet.pick(["llm"]) for _ in range(19)}, {other})

    def test_outcomes(self) -> None:
        """Failed jobs make a node doubted and looked at; a job that is done ends that."""
        for outcome in (Outcome.FAILED, Outcome.UNREACHABLE, Outcome.FAILED):
            self.fleet.told(A, outcome)
        self.assertEqual({self.fleet.pick(["llm"]) for _ in range(20)}, {B})
        self.assertEqual((len(self.fleet.looks(A)), self.fleet.looks(B)), (3, ()))
        self.fleet.told(A, Outcome.DONE)
        self.assertEqual(self.fleet.pick(["llm"]), A)

    def test_unknown_node(self) -> None:
        """The outcome of a job on a node that is gone is ignored."""
        self.fleet.told(C, Outcome.FAILED)
        self.assertEqual(self.fleet.looks(C), ())


class ManyNodesTests(SynchronousTestCase):
    """A fleet of more nodes than a pick compares."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(3))
        self.nodes = [parse_address(f"192.0.2.{number}:4000") for number in range(100)]
        self.fleet.replace(self.nodes)
        for node in self.nodes:
            self.fleet.observed(node, report("llm", "prover"))

    def test_fair(self) -> None:
        """Each node is equally likely to be compared, including the first and the last."""
        picks = Counter(self.fleet.peek(["llm"]) for _ in range(20_000))
        self.assertEqual(set(picks), set(self.nodes))
        self.assertGreater(min(picks.values()), 120)
        self.assertLess(max(picks.values()), 350)

    def test_spread(self) -> None:
        """A burst between two polls is spread almost evenly over all nodes."""
        picks = Counter(self.fleet.pick(["llm"]) for _ in range(2000))
        self.assertEqual(len(picks), 100)
        self.assertGreaterEqual(min(picks.values()), 17)
        self.assertLessEqual(max(picks.values()), 22)

    def test_changes(self) -> None:
        """Nodes that go down, or run other containers, are immediately not picked any more."""
        for asked in (["llm"], ["llm", "prover"]):
            self.assertTrue(self.fleet.pick(asked))
        for node in self.nodes[:40]:
            self.fleet.missed(node, "gone")
        for node in self.nodes[40:80]:
            self.fleet.observed(node, report("prover", internal=("other",)))
        for asked in (["llm"], ["llm", "prover"], ["prover", "llm"]):
            picked = {self.fleet.pick(asked) for _ in range(500)}
            self.assertEqual(picked, set(self.nodes[80:]))

    def test_new_node(self) -> None:
        """A node that is new or back gets as many jobs as it takes to catch up, and no more."""
        for node in self.nodes[1:]:
            self.fleet.observed(node, report("llm", pending=3))
        self.fleet.missed(self.nodes[0], "gone")
        self.fleet.observed(self.nodes[0], report("llm"))
        new = parse_address("192.0.2.200:4000")
        self.fleet.replace([*self.nodes, new])
        self.fleet.observed(new, report("llm"))
        picks = Counter(self.fleet.pick(["llm"]) for _ in range(300))
        for node in (new, self.nodes[0]):
            self.assertTrue(3 <= picks[node] <= 8, picks[node])

    def test_away(self) -> None:
        """A node that could not be polled for a while is not assumed to be slow."""
        for node in self.nodes:
            self.fleet.observed(node, report("llm", pending=9))
        self.fleet.missed(self.nodes[0], "gone")
        self.clock.advance(60)
        for node in self.nodes:
            self.fleet.observed(node, report("llm", pending=9 if node is self.nodes[0] else 0))
        self.clock.advance(1)
        self.assertAlmostEqual(jobs(self.fleet, self.nodes[0]), 8.0)

    def test_fast_node(self) -> None:
        """A node that is twice as fast gets about twice as many jobs."""
        fast, pending = set(self.nodes[:50]), dict.fromkeys(self.nodes, 0.0)
        picks: Counter[NodeAddress] = Counter()
        for tenth in range(1500):
            for _ in range(12):
                node = self.fleet.pick(["llm"])
                pending[node] += 1
                picks[node] += tenth >= 600
            self.clock.advance(0.1)
            for number, node in enumerate(self.nodes):
                pending[node] = max(0.0, pending[node] - (0.2 if node in fast else 0.1))
                if number % 30 == tenth % 30:
                    self.fleet.observed(node, report("llm", pending=ceil(pending[node])))
        ratio = sum(picks[node] for node in fast) / (picks.total() / 3)
        self.assertTrue(1.5 < ratio < 2.4, ratio)


class WeightsTests(SynchronousTestCase):
    def test_weights(self) -> None:
        """Weights apply to assigned jobs and to pending ones."""
        weights = Weights(jobs={"llm": 3.0}, pending={"onchain": 2.0})
        fleet = Fleet(Clock().seconds, Random(1), weights)
        fleet.replace([A, B])
        fleet.observed(A, report("llm", "prover"))
        fleet.observed(
            B, NodeReport((Container("prover", external=True),), {"offchain": 1, "onchain": 1})
        )
        self.assertEqual((jobs(fleet, A), jobs(fleet, B), jobs(fleet, C)), (0.0, 3.0, 0.0))
        fleet.pick(["llm", "prover"])
        self.assertAlmostEqual(jobs(fleet, A), 4.0)
        self.assertEqual(fleet.pick(["prover"]), B)


NODES = [parse_address(f"192.0.2.{number}") for number in range(25)]
CONTAINERS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3)


class FleetMachine(RuleBasedStateMachine):
    """Compares the fleet with a simple model: a list of the nodes that are up and what they run."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(2), max_utilization=0.5)
        self.known: set[NodeAddress] = set()
        self.up: dict[NodeAddress, dict[str, bool]] = {}
        self.down: set[NodeAddress] = set()
        self.says: dict[NodeAddress, str] = {}
        self.full: set[NodeAddress] = set()
        self.drained: set[NodeAddress] = set()

    def candidates(self, containers: list[str]) -> set[NodeAddress]:
        return {
            node
            for node, runs in self.up.items()
            if node not in self.drained
            and all(id in runs for id in containers)
            and any(runs[id] for id in containers)
        }

    @rule(numbers=st.sets(st.integers(0, 24)) | st.just(set(range(25))))
    def replace(self, numbers: set[int]) -> None:
        self.known = {NODES[number] for number in numbers}
        self.fleet.replace(self.known)
        self.up = {node: runs for node, runs in self.up.items() if node in self.known}
        self.down &= self.known
        self.full &= self.known

    @rule(
        numbers=st.sets(st.integers(0, 24), max_size=3) | st.just(set(range(25))),
        tier=st.sampled_from([Tier.NORMAL, Tier.DRAINED]),
        weight=st.sampled_from([0.1, 1.0, 10.0]),
    )
    def order(self, numbers: set[int], tier: Tier, weight: float) -> None:
        for node in (NODES[number] for number in numbers):
            assert self.fleet.override(node, tier, weight) == (node in self.known)
            (self.drained.add if tier is Tier.DRAINED else self.drained.discard)(node)

    @rule(
        numbers=st.sets(st.integers(0, 24), max_size=3) | st.just(set(range(25))),
        share=st.none() | st.sampled_from([0.0, 0.5, 0.51, 1.0]),
    )
    def utilized(self, numbers: set[int], share: float | None) -> None:
        full = share is not None and share > 0.5
        for node in (NODES[number] for number in numbers):
            changes = node in self.known and full != (node in self.full)
            assert self.fleet.utilized(node, share) == (full if changes else None)
            if changes:
                self.full ^= {node}

    @rule(
        numbers=st.sets(st.integers(0, 24), max_size=3) | st.just(set(range(25))),
        runs=st.dictionaries(st.sampled_from("abc"), st.booleans()),
        pending=st.integers(0, 5),
        says=st.sampled_from(["", "x", "y"]),
    )
    def observed(self, numbers: set[int], runs: dict[str, bool], pending: int, says: str) -> None:
        containers = tuple(Container(id, external, says) for id, external in runs.items())
        for node in (NODES[number] for number in numbers):
            self.fleet.observed(node, NodeReport(containers, {"offchain": pending, "onchain": 0}))
            if node in self.known:
                self.up[node] = runs
                self.says[node] = says
                self.down.discard(node)
                assert pending - 1e-6 < jobs(self.fleet, node)

    @rule(number=st.integers(0, 24))
    def missed(self, number: int) -> None:
        node = NODES[number]
        self.fleet.missed(node, "connection refused")
        self.up.pop(node, None)
        if node in self.known:
            self.down.add(node)

    @rule(seconds=st.floats(0, 100))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(containers=CONTAINERS, times=st.integers(1, 5))
    def pick(self, containers: list[str], times: int) -> None:
        candidates = self.candidates(containers)
        for _ in range(times):
            before = {node: jobs(self.fleet, node) for node in candidates}
            try:
                picked = self.fleet.pick(containers)
            except NoNode:
                assert not candidates
            else:
                assert picked in (candidates - self.full or candidates)
                more = jobs(self.fleet, picked) - before[picked]
                assert abs(more - len(set(containers))) < 1e-6

    @rule(containers=CONTAINERS, numbers=st.sets(st.integers(0, 24)))
    def peek_among(self, containers: list[str], numbers: set[int]) -> None:
        some = [NODES[number] for number in numbers]
        candidates = self.candidates(containers) & set(some)
        try:
            picked = self.fleet.peek(containers, Among(some, "none"))
        except NoNode:
            assert not candidates
        else:
            assert picked in (candidates - self.full or candidates)

    @rule(containers=CONTAINERS, count=st.integers(0, 9), offset=st.integers(0, 9))
    def rank(self, containers: list[str], count: int, offset: int) -> None:
        page = self.fleet.rank(containers, count, offset, assign=False)
        full = self.fleet.rank(containers, 25, assign=False)
        assert page == full[offset : offset + count]
        assert self.fleet.can(containers) == bool(full)
        candidates = self.candidates(containers)
        assert sorted(map(str, full)) == sorted(map(str, candidates))
        assert set(full[: len(candidates - self.full)]) == candidates - self.full
        among = Among(full[:20], "none")
        assert set(self.fleet.rank(containers, 25, 0, among, assign=False)) == set(full[:20])

    @invariant()
    def running(self) -> None:
        counts = Counter(id for runs in self.up.values() for id in runs)
        assert {each.id: each.count for each in self.fleet.running} == counts
        for each in self.fleet.running:
            texts = Counter(self.says[node] for node, runs in self.up.items() if each.id in runs)
            del texts[""]
            most = sorted(texts, key=lambda text: (-texts[text], text))
            assert each.description == (most[0] if most else None)

    @invariant()
    def addresses(self) -> None:
        assert set(self.fleet.addresses) == self.known

    @invariant()
    def counts(self) -> None:
        unknown = len(self.known) - len(self.up) - len(self.down)
        assert self.fleet.states == States(len(self.up), 0, len(self.down), unknown)

    @invariant()
    def loads(self) -> None:
        assert all(0 <= jobs(self.fleet, node) < inf for node in NODES)


class FleetPropertyTests(SynchronousTestCase):
    def test_agrees(self) -> None:
        """After any sequence of events, the nodes that may be picked are those of the model."""
        self.patch(candidates_module, "_MAX_COMBINATIONS", 2)
        run_state_machine_as_test(FleetMachine)
