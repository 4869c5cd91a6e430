"""Tests of infernet_router.fleet.explanations."""

from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import explanations as explanations_module
from infernet_router.fleet.among import Among
from infernet_router.fleet.events import Outcome
from infernet_router.fleet.explanations import Explanation
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.steps import finish
from infernet_router.fleet.weights import Weights
from tests.doubles import addresses, report

A, B, C, D = addresses(*(f"192.0.2.{number}:4000" for number in range(1, 5)))


class ExplainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1), max_utilization=0.9)
        self.fleet.replace([A, B, C])
        for pending, node in enumerate((A, B, C)):
            self.fleet.observed(node, report("llm", "prover", pending=pending))

    def explain(self, *asked: str, **options: Any) -> Explanation:
        return finish(self.fleet.explain(asked or ["llm"], **options))

    def why(self, node: NodeAddress, *asked: str, **options: Any) -> tuple[int | None, str]:
        """The rank of a node, and why."""
        about = self.explain(*asked, node=node, **options).node
        assert about is not None and about.node == node
        return about.rank, about.why

    def test_best_first(self) -> None:
        """All candidates are listed with what a job would cost there, the best first."""
        explanation = self.explain()
        self.assertEqual([each.node for each in explanation.nodes], [A, B, C])
        self.assertEqual((explanation.candidates, explanation.node), (3, None))
        self.assertEqual([each.jobs for each in explanation.nodes], [0.0, 1.0, 2.0])
        self.assertEqual([each.cost for each in explanation.nodes], [1.0, 2.0, 3.0])
        few = self.explain(limit=1)
        self.assertEqual(([each.node for each in few.nodes], few.candidates), ([A], 3))
        self.assertEqual(self.explain("x").candidates, 0)

    def test_none(self) -> None:
        """When there is no candidate, it is said why, in the words that clients get."""
        self.assertIsNone(self.explain().why)
        self.assertEqual(self.explain("x").why, "no up node runs 'x'")
        all_excluded = "every up node that runs 'llm' is excluded"
        self.assertEqual(self.explain(exclude=[A, B, C]).why, all_excluded)
        some = Among([A], "no node supports it")
        self.assertEqual(self.explain(among=some, exclude=[A]).why, all_excluded)
        self.assertEqual(
            self.explain(among=Among([], "none has it"), exclude=[A]).why, "none has it"
        )
        for node in (A, B, C):
            self.fleet.override(node, Tier.DRAINED)
        self.assertEqual(self.explain().why, "every up node that runs 'llm' is drained")

    def test_counts_nothing(self) -> None:
        """No job is assigned, and no decision is made."""
        self.explain(node=A)
        self.assertEqual(self.fleet.decided, 0)
        self.assertEqual(self.explain().nodes[0].jobs, 0.0)

    def test_order(self) -> None:
        """The order is that of a list of the best nodes, also of equals and in worse classes."""
        nodes = addresses(*(f"192.0.2.{number}:5000" for number in range(1, 61)))
        self.patch(explanations_module, "_STEP", 7)
        self.fleet.replace(nodes)
        for number, node in enumerate(nodes):
            internal = ("prover",) if number % 3 else ()
            external = ("llm",) if number % 3 else ("llm", "prover")
            self.fleet.observed(node, report(*external, internal=internal, pending=number % 4))
        self.fleet.utilized(nodes[0], 1.0)
        self.fleet.missed(nodes[1], "slow", timed_out=True)
        best = self.fleet.rank(["prover", "llm"], 60, assign=False)
        explanation = self.explain("prover", "llm", limit=60)
        self.assertEqual([each.node for each in explanation.nodes], best)
        for node in (nodes[0], nodes[1], nodes[3]):
            rank, _ = self.why(node, "prover", "llm")
            self.assertEqual(rank, best.index(node) + 1)

    def test_steps(self) -> None:
        """A large fleet is looked at in slices; nodes may go meanwhile."""
        self.patch(explanations_module, "_STEP", 1)
        slices = self.fleet.explain(["llm"])
        next(slices)
        self.fleet.replace([B, C])
        explanation = finish(slices)
        self.assertEqual([each.node for each in explanation.nodes], [B, C])

    def test_nothing_costs(self) -> None:
        """Jobs that cost next to nothing at the best node are not compared by a ratio."""
        fleet = Fleet(self.clock.seconds, Random(1), Weights({"llm": 0.0}))
        fleet.replace([A, B])
        fleet.observed(A, report("llm"))
        fleet.observed(B, report("llm", pending=1))
        about = finish(fleet.explain(["llm"], node=B)).node
        assert about is not None
        self.assertEqual((about.rank, about.why), (2, "a job costs more than at the best node"))

    def test_ranks(self) -> None:
        """A candidate has a rank, and words that say why it is not the best."""
        self.assertEqual(self.why(A), (1, "a job costs least there"))
        self.assertEqual(self.why(C), (3, "a job costs 3 times as much as at the best node"))

    def test_no_candidate(self) -> None:
        """A node that is no candidate has no rank, and words that say why."""
        self.fleet.replace([A, B, C, D])
        self.assertEqual(self.why(D), (None, "its first poll is not back yet"))
        self.assertEqual(self.why(A, "x", "llm"), (None, "it does not run 'x'"))
        self.fleet.missed(D, "refused")
        why = "it has been down for 0 seconds: refused; it has never reported what it runs"
        self.assertEqual(self.why(D), (None, why))
        self.fleet.observed(D, report(internal=("llm",)))
        why = "'llm' is not external there, so it takes no jobs for it"
        self.assertEqual(self.why(D), (None, why))
        self.assertEqual(self.why(A, exclude=[A]), (None, "it is excluded by the request"))
        among = Among([B], "")
        why = "it is not known to support the model"
        self.assertEqual(self.why(A, among=among), (None, why))
        self.assertEqual(self.explain(among=among).candidates, 1)
        self.fleet.override(A, Tier.DRAINED)
        self.assertEqual(self.why(A), (None, "an operator drained it"))
        self.fleet.missed(A, "connection refused")
        self.clock.advance(150)
        why = "it has been down for 2 minutes: connection refused; an operator drained it"
        self.assertEqual(self.why(A), (None, why))
        why = "it has been down for 2 minutes: connection refused; it does not run 'x' in its last"
        self.assertIn(why, self.why(A, "x")[1])
        gone = addresses("192.0.2.9:1")[0]
        why = "192.0.2.9:1 is not known: no source names it"
        self.assertEqual(self.why(gone), (None, why))

    def test_worse_class(self) -> None:
        """A suspect or full node, or one where the first container is internal, comes later."""
        self.fleet.missed(A, "no answer", timed_out=True)
        self.clock.advance(1)
        self.fleet.utilized(B, 0.97)
        why = "it has been suspect for 1 second: no answer; others come first"
        self.assertEqual(self.why(A), (3, why))
        why = "it is full: 97% of its GPU memory is in use, over 90%; others come first"
        self.assertEqual(self.why(B), (2, why))
        self.fleet.observed(B, report("prover", internal=("llm",)))
        why = "'llm' is not external there, and nodes where it is come first; it is full"
        rank, words = self.why(B, "llm", "prover")
        self.assertEqual((rank, words.startswith(why)), (3, True))

    def test_adjusted(self) -> None:
        """Doubt of a node and an operator's weight are among the reasons."""
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
        self.fleet.suspected(A, ["llm"])
        rank, why = self.why(A)
        self.assertEqual(rank, 3)
        self.assertIn("it is doubted, so it costs 1000 times as much: clients reported 3 fai", why)
        self.assertIn("containers stopped to report resources 1 times", why)
        self.fleet.told(A, Outcome.DONE)
        why = ""
        for _ in range(20):
            self.fleet.pick(["llm"], exclude=[B, C])
            self.clock.advance(0.3)
            self.fleet.observed(A, report("llm"))
            why += self.why(A)[1]
        self.assertIn("its reports do not show the jobs that it was sent", why)
        self.fleet.override(B, weight=2.0)
        self.assertIn("it has 2 times the usual share of jobs", self.why(B)[1])

    def test_durations(self) -> None:
        """Times are given in a unit that says enough."""
        self.fleet.missed(A, "gone")
        for passed, words in ((0, "0 seconds"), (119, "119 seconds"), (120, "3 minutes")):
            self.clock.advance(passed)
            self.assertIn(f"for {words}: gone", self.why(A)[1])
        self.clock.advance(7200)
        self.assertIn("for 2 hours", self.why(A)[1])
        self.clock.advance(200_000)
        self.assertIn("for 2 days", self.why(A)[1])
