"""Tests of infernet_router.fleet.candidates."""

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import combinations
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.candidates import Candidates
from infernet_router.fleet.groups import Candidate, Tier
from infernet_router.fleet.steps import finish


class CandidatesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.nodes: list[Candidate] = []
        self.candidates = Candidates(self.nodes, Random(1))

    def add(self, count: int = 1, tier: Tier = Tier.NORMAL, **containers: bool) -> None:
        """Add nodes that run these containers, each external or not."""
        for _ in range(count):
            node = Candidate(len(self.nodes))
            self.nodes.append(node)
            self.candidates.set_tier(node, tier)
            self.candidates.set_containers(node, containers)

    def serving(self, *asked: str) -> list[set[int]]:
        """The candidates that get jobs, by tier."""
        return [set(tier) for tier in self.candidates.classes(asked) if tier]

    def sample(self, *asked: str) -> set[int]:
        """All nodes that appear in many samples."""
        group = self.candidates.of(asked)
        assert group is not None
        return {index for _ in range(200) for index in group.sample(Random(_))}

    def test_one(self) -> None:
        """For one container, the candidates are the nodes that run it as external."""
        self.add(llm=True)
        self.add(llm=False)
        self.assertEqual(self.serving("llm"), [{0}])
        self.assertEqual(self.serving("prover"), [])

    def test_several(self) -> None:
        """For several, the candidates are the nodes that run all, at least one as external."""
        self.add(llm=True, prover=False)
        self.add(llm=False, prover=False)
        self.add(llm=True)
        self.add(llm=False, prover=True)
        self.assertEqual(self.serving("llm", "prover"), [{0}, {3}])
        self.assertEqual(self.serving("prover", "llm"), [{3}, {0}])
        self.assertEqual(self.serving("llm", "x"), [])

    def test_changes(self) -> None:
        """Nodes become candidates, or stop being candidates, as their containers change."""
        self.add(3, llm=True, prover=True)
        self.assertEqual(self.serving("llm", "prover"), [{0, 1, 2}])
        self.candidates.set_containers(self.nodes[0], {"llm": True})
        self.candidates.set_containers(self.nodes[1], {})
        self.assertEqual(self.serving("llm", "prover"), [{2}])
        self.assertEqual(self.serving("llm"), [{0, 2}])
        self.candidates.set_containers(self.nodes[1], {"llm": False, "prover": True})
        self.assertEqual(self.serving("llm", "prover"), [{2}, {1}])
        self.assertEqual(self.serving("llm"), [{0, 2}])

    def test_many_combinations(self) -> None:
        """However many combinations are asked for, each has its candidates, also after a change."""
        names = [chr(ord("a") + number) for number in range(24)]
        everything: dict[str, Any] = dict.fromkeys(names, True)
        self.add(2, **everything)
        for _ in range(2):
            for pair in combinations(names, 2):
                self.assertEqual(self.serving(*pair), [{0, 1}])
        self.candidates.set_containers(self.nodes[0], {})
        for pair in combinations(names, 2):
            self.assertEqual(self.serving(*pair), [{1}])

    def test_cached(self) -> None:
        """A combination is searched for once; a single container never is."""
        self.add(llm=True, prover=True)
        asked = ["llm", "prover"]
        self.assertFalse(self.candidates.is_cached(asked))
        self.candidates.of(("llm", "prover"))
        self.assertTrue(self.candidates.is_cached(asked))
        self.assertFalse(self.candidates.is_cached(asked[::-1]))
        self.assertTrue(self.candidates.is_cached(["painter"]))

    def test_tiers(self) -> None:
        """Candidates are sampled from the best tier that has any; drained ones never are."""
        self.add(llm=True)
        self.add(tier=Tier.FULL, llm=True)
        self.add(tier=Tier.DRAINED, llm=True)
        self.assertEqual(self.serving("llm"), [{0}, {1}])
        self.assertEqual(self.sample("llm"), {0})
        self.candidates.set_tier(self.nodes[0], Tier.DRAINED)
        self.assertEqual(self.sample("llm"), {1})
        self.candidates.set_tier(self.nodes[1], Tier.DRAINED)
        self.assertEqual(self.sample("llm"), set())
        self.candidates.set_tier(self.nodes[2], Tier.NORMAL)
        self.assertEqual(self.sample("llm"), {2})

    def test_counts(self) -> None:
        """Every node that runs a container is counted, whatever its tier."""
        self.add(llm=True, prover=False)
        self.add(tier=Tier.DRAINED, llm=False)
        running = {id: self.candidates.count(id) for id in self.candidates.running}
        self.assertEqual(running, {"llm": 2, "prover": 1})

    def test_why_none(self) -> None:
        """Without a candidate, the reason names what is missing."""
        self.add(tier=Tier.DRAINED, llm=True)
        self.add(prover=False)
        for asked, why in (
            (("llm", "x", "y"), "no up node runs 'x' or 'y'"),
            (("prover",), "no up node takes jobs for 'prover', which is not external"),
            (("llm",), "every up node that runs 'llm' is drained"),
            (
                ("llm", "prover"),
                "no single up node runs all of 'llm', 'prover' and takes jobs for one of them",
            ),
        ):
            self.assertEqual(self.candidates.why_none(asked)[0], why)

    def test_fair(self) -> None:
        """Of many candidates, each is equally likely to be sampled."""
        self.add(100, llm=True)
        group = self.candidates.of(("llm",))
        assert group is not None
        random = Random(7)
        seen = Counter(index for _ in range(20_000) for index in group.sample(random))
        self.assertEqual(set(seen), set(range(100)))
        self.assertGreater(min(seen.values()), 5000)
        self.assertLess(max(seen.values()), 6000)

    def sample_of(self, indices: Iterable[int], excluded: Collection[int] = ()) -> set[int]:
        """All nodes that appear in many samples of these nodes."""
        some, find = tuple(indices), self.nodes.__getitem__
        found = (
            finish(self.candidates.sample_among(("llm",), some, find, excluded)) for _ in range(200)
        )
        return {index for sample in found for index in sample}

    def test_some(self) -> None:
        """Among given nodes, the sample is of candidates in the best tier that is found."""
        self.add(1000, tier=Tier.FULL, llm=True)
        self.add(10, llm=True)
        self.add(10, prover=True)
        self.assertEqual(self.sample_of([3, 1001, 1015]), {1001})
        self.assertEqual(self.sample_of([3, 1015]), {3})
        self.assertEqual(self.sample_of([1015]), set())
        self.assertEqual(self.sample_of(range(900, 1010)), set(range(1000, 1010)))
        self.assertTrue(self.sample_of(range(1000)) <= set(range(1000)))
        self.assertEqual(self.sample_of([3, 1001, 1015], excluded=[1001]), {3})
        nodes = [self.nodes[1001], None, self.nodes[3]]
        among = self.candidates.classes_among(("llm",), range(3), nodes.__getitem__)
        self.assertEqual([found for found in finish(among) if found], [[1001], [3]])

    def test_excluded(self) -> None:
        """Without some nodes, the sample is of the best class that has others."""
        self.add(3, llm=True)
        self.add(1000, tier=Tier.FULL, llm=True)
        sample = self.candidates.sample_without
        self.assertEqual(list(sample({0, 2}, ("llm",))), [1])
        self.assertEqual(len(sample({0, 1, 2, 3, 4}, ("llm",))), 32)
        self.assertEqual(list(sample(set(range(1002)), ("llm",))), [1002])
        self.assertEqual(list(sample(set(range(1003)), ("llm",))), [])

    def test_large(self) -> None:
        """Combinations of containers that many nodes run have exactly the nodes that run all."""
        random = Random(5)
        names = ("a", "b", "c")
        for _ in range(3000):
            chosen = {name: random.random() < 0.5 for name in names if random.random() < 0.7}
            self.add(tier=random.choice(list(Tier)), **chosen)
        for change in range(3):
            for asked in (("a", "b"), ("b", "a"), ("c", "a", "b")):
                every = [node for node in self.nodes if node.takes(asked)]
                first = [node for node in every if node.containers[asked[0]]]
                rest = [node for node in every if not node.containers[asked[0]]]
                expected = [
                    {node.index for node in part if node.tier is tier}
                    for part in (first, rest)
                    for tier in list(Tier)[:-1]
                ]
                self.assertEqual([set(found) for found in self.candidates.classes(asked)], expected)
                group = self.candidates.of(asked)
                self.assertEqual(set(group or ()), {node.index for node in first})
            for node in random.sample(self.nodes, 2600 if change else 100):
                self.candidates.set_containers(node, {"a": True, "b": True} if change else {})

    def test_few_kept(self) -> None:
        """Combinations with many nodes are not all kept, but each has its nodes."""
        names = [chr(ord("a") + number) for number in range(8)]
        everything: dict[str, Any] = dict.fromkeys(names, True)
        self.add(20_000, **everything)
        for pair in combinations(names, 2):
            self.assertEqual(len(self.candidates.of(pair) or ()), 20_000)
        self.candidates.set_containers(self.nodes[0], {})
        for pair in combinations(names, 2):
            self.assertEqual(len(self.candidates.of(pair) or ()), 19_999)

    def test_rare(self) -> None:
        """A single candidate among many nodes is found."""
        self.add(5000, prover=True)
        self.add(1, llm=True)
        self.assertEqual(self.sample_of(range(5001)), {5000})
