"""Tests of infernet_router.fleet.situations."""

from random import Random
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import situations as situations_module
from infernet_router.fleet.candidates import Candidates
from infernet_router.fleet.groups import Candidate, Tier
from infernet_router.fleet.situations import Situation, Situations

LLM = ("llm",)


class SituationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.nodes = {index: Candidate(index) for index in range(9)}
        self.up, self.absent = (Candidates(self.nodes, Random(1)) for _ in range(2))
        self.situations = Situations(self.up, self.absent)

    def runs(self, index: int, *containers: str, tier: Tier = Tier.NORMAL) -> None:
        """A node runs these containers, which are external; it is in this tier."""
        node = self.nodes[index]
        self.up.set_containers(node, dict.fromkeys(containers, True))
        if tier is not node.tier:
            self.up.set_tier(node, tier)
        self.situations.changed()

    def now(self, *asked: str) -> Situation | None:
        return self.situations.at(self.situations.number(asked))

    def test_counted_once(self) -> None:
        """Each node is counted once, as a candidate or for the reason why it is none."""
        for index, tier in enumerate((Tier.NORMAL, Tier.NORMAL, Tier.NORMAL, *Tier)):
            self.runs(index, "llm", tier=tier)
        self.runs(7, "other")
        self.absent.set_containers(self.nodes[8], {"llm": True})
        number = self.situations.add(LLM, excluded={0, 4, 6})
        found = Situation(LLM, candidates=3, down=1, drained=1, full=0, suspect=1, excluded=2)
        self.assertEqual(self.situations.at(number), found)

    def test_worse_class(self) -> None:
        """Nodes of the best class there is are the candidates, whatever its tier."""
        self.runs(0, "llm", tier=Tier.FULL)
        self.runs(1, "llm", tier=Tier.SUSPECT)
        self.assertEqual(self.now("llm"), Situation(LLM, 1, 0, 0, 0, 1, 0))
        self.runs(0, "other", tier=Tier.FULL)
        self.assertEqual(self.now("llm"), Situation(LLM, 1, 0, 0, 0, 0, 0))

    def test_none(self) -> None:
        """There may be no node at all."""
        self.assertEqual(self.now("llm"), Situation(LLM, 0, 0, 0, 0, 0, 0))

    def test_among(self) -> None:
        """Of given nodes, no more can be candidates than are given, or than are counted."""
        for index in range(4):
            self.runs(index, "llm")
        for among, counted, candidates in ((2, None, 2), (9, None, 4), (9, 1, 1)):
            situation = self.situations.at(self.situations.add(LLM, (), among, counted))
            assert situation is not None
            self.assertEqual(situation.candidates, candidates)

    def test_kept(self) -> None:
        """A situation has one number until a node changes, and keeps its counts then."""
        self.runs(0, "llm")
        number = self.situations.number(LLM)
        self.assertEqual(self.situations.number(LLM), number)
        self.runs(1, "llm")
        self.assertNotEqual(self.situations.number(LLM), number)
        before, after = self.situations.at(number), self.now("llm")
        assert before is not None
        assert after is not None
        self.assertEqual((before.candidates, after.candidates), (1, 2))

    def test_ring(self) -> None:
        """One that is in use is counted again before its place in the ring is taken."""
        with patch.multiple(situations_module, _USED=3, _KEPT=6):
            situations = Situations(self.up, self.absent)
            numbers = []
            for _ in range(20):
                numbers.append(situations.number(LLM))
                situations.add(("other",))
                self.assertEqual(situations.at(numbers[-1]), Situation(LLM, 0, 0, 0, 0, 0, 0))
        self.assertGreater(len(set(numbers)), 5)

    def test_forgotten(self) -> None:
        """Of too many combinations, those asked for longest ago are forgotten."""
        with patch.object(situations_module, "_MAX_COMBINATIONS", 2):
            first, second = self.situations.number(LLM), self.situations.number(("a",))
            self.situations.add(LLM)
            self.situations.number(("b",))
            self.assertIsNotNone(self.situations.at(first))
            self.assertIsNone(self.situations.at(second))
