"""Tests of infernet_router.fleet.choosing."""

from collections import Counter
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet.among import Among
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.no_node import NoNode
from tests.doubles import report
from tests.fleet.case import A, B, C, FleetTestCase, HundredNodesTestCase, jobs


class PickTests(FleetTestCase):
    def test_candidates(self) -> None:
        """Only a node that is up and runs every requested container is picked."""
        self.fleet.observed(A, report("llm"))
        self.fleet.observed(B, report("llm", "prover"))
        self.fleet.observed(C, report("prover"))
        self.assertEqual(set(self.picks(20, "llm", "prover", "llm")), {B})
        self.assertEqual(set(self.picks(60, "llm")), {A, B})
        self.fleet.missed(A, "connection refused")
        self.assertEqual(set(self.picks(20, "llm")), {B})

    def test_assignments(self) -> None:
        """The journal has every node that a job was assigned to; peeking adds none."""
        cursor = self.fleet.follow_assignments()
        for address in (A, B, C):
            self.fleet.observed(address, report("llm"))
        self.fleet.peek(["llm"])
        self.fleet.rank(["llm"], 3, assign=False)
        self.assertEqual(cursor.read(), [])
        picked = [self.fleet.pick(["llm"]) for _ in range(9)]
        listed = self.fleet.rank(["llm"], 3)
        self.assertEqual(cursor.read(), [*picked, listed[0]])

    def test_external(self) -> None:
        """At least one of the containers must be external."""
        self.fleet.observed(A, report("llm", internal=("prover",)))
        self.fleet.observed(B, report(internal=("llm", "prover")))
        self.assertEqual(set(self.picks(20, "llm", "prover")), {A})
        self.assert_none(
            "no up node takes jobs for 'prover', which is not external;"
            " the first polls of 1 more are not back",
            "prover",
        )
        self.fleet.missed(A, "gone")
        self.fleet.missed(C, "gone")
        self.assert_none(
            "no single up node runs all of 'llm', 'prover' and takes jobs for one of them",
            "llm",
            "prover",
        )

    def test_fewest_jobs(self) -> None:
        """The node with the fewest jobs is picked; assigned jobs are included."""
        self.fleet.observed(A, report("llm", pending=4))
        self.fleet.observed(B, report("llm", pending=1))
        self.assertEqual(self.picks(3, "llm"), {B: 3})
        self.assertEqual(self.picks(2, "llm"), {A: 1, B: 1})

    def test_burst(self) -> None:
        """A burst between two polls is spread evenly."""
        for address in (A, B, C):
            self.fleet.observed(address, report("llm"))
        self.assertEqual(self.picks(300, "llm"), {A: 100, B: 100, C: 100})

    def test_ties(self) -> None:
        """Ties between nodes with equally few jobs are broken at random."""
        first = set()
        for _ in range(50):
            for address in (A, B, C):
                self.fleet.observed(address, report("llm"))
            first.add(self.fleet.pick(["llm"]))
        self.assertEqual(first, {A, B, C})

    def test_peek(self) -> None:
        """Peeking assigns no job."""
        self.fleet.observed(A, report("llm"))
        self.fleet.observed(B, report("llm", pending=1))
        self.assertEqual([self.fleet.peek(["llm"]) for _ in range(5)], [A] * 5)


class RankTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B, C])
        for address, pending in ((A, 4), (B, 0), (C, 2)):
            self.fleet.observed(address, report("llm", pending=pending))

    def test_best_first(self) -> None:
        """The nodes are ordered by what the job costs there, up to the requested number."""
        for count, listed in ((0, []), (1, [B]), (2, [B, C]), (3, [B, C, A]), (1000, [B, C, A])):
            self.assertEqual(self.fleet.rank(["llm"], count, assign=False), listed)

    def test_offset(self) -> None:
        """With an offset, the better nodes are skipped."""
        for offset, listed in ((1, [C, A]), (2, [A]), (3, []), (10**100, [])):
            self.assertEqual(self.fleet.rank(["llm"], 5, offset, assign=False), listed)

    def test_assigned(self) -> None:
        """The job is assigned to the first node in the result only."""
        self.assertEqual([self.fleet.rank(["llm"], 3)[0] for _ in range(2)], [B, B])
        self.assertEqual(self.fleet.rank(["llm"], 1, offset=2), [A])
        for address, expected in ((A, 5.0), (B, 2.0), (C, 2.0)):
            self.assertAlmostEqual(jobs(self.fleet, address), expected)

    def test_not_assigned(self) -> None:
        """No job is assigned when the result is empty, or with assign=False."""
        self.fleet.rank(["llm"], 0)
        self.fleet.rank(["llm"], 3, offset=3)
        self.fleet.rank(["llm"], 3, assign=False)
        self.assertEqual(sum(jobs(self.fleet, node) for node in (A, B, C)), 6.0)

    def test_none(self) -> None:
        """Without a candidate, the result is empty."""
        self.assertEqual(self.fleet.rank(["prover"], 3), [])
        self.assertEqual(self.fleet.rank(["llm", "prover"], 3), [])

    def test_pages(self) -> None:
        """Pages of a list of equally good nodes have each node once."""
        nodes = [parse_address(f"192.0.2.{number}") for number in range(100)]
        self.fleet.replace(nodes)
        for node in nodes:
            self.fleet.observed(node, report("llm"))
        pages = [self.fleet.rank(["llm"], 7, offset, assign=False) for offset in range(0, 100, 7)]
        self.assertEqual(Counter(node for page in pages for node in page), Counter(nodes))


class AmongTests(HundredNodesTestCase):
    """Picking from some of the nodes only."""

    def test_pick(self) -> None:
        """Among given nodes, the candidate with the fewest jobs is picked."""
        some = Among([A, self.nodes[9], self.nodes[7], self.nodes[8]], "none")
        self.assertEqual(self.fleet.peek(["llm"], some), self.nodes[7])
        self.assertEqual(self.fleet.pick(["llm"], some), self.nodes[7])
        self.fleet.missed(self.nodes[7], "gone")
        self.fleet.observed(self.nodes[8], report("prover"))
        self.assertEqual(self.fleet.pick(["llm"], some), self.nodes[9])

    def test_many(self) -> None:
        """Many given nodes are sampled, and the only candidate among them is found."""
        odd = Among(self.nodes[1::2], "none")
        picks = Counter(self.fleet.pick(["llm"], odd) for _ in range(300))
        self.assertEqual(set(picks) - set(self.nodes[1::2]), set())
        self.assertGreater(sum(picks[node] for node in self.nodes[:30]), 280)
        for node in self.nodes[:99]:
            self.fleet.missed(node, "gone")
        self.assertEqual(self.fleet.pick(["llm"], odd), self.nodes[99])

    def test_rank(self) -> None:
        """Of the given nodes, those that are candidates are listed."""
        some = Among([A, self.nodes[9], self.nodes[7]], "none")
        self.assertEqual(self.fleet.rank(["llm"], 3, 0, some), [self.nodes[7], self.nodes[9]])
        self.assertEqual(self.fleet.rank(["prover"], 3, 0, some), [])

    def test_none(self) -> None:
        """The reason is that of the given nodes, if other nodes are candidates."""
        for nodes in ([], [A, B]):
            with self.assertRaises(NoNode) as caught:
                self.fleet.pick(["llm"], Among(nodes, "none is good enough"))
            self.assertEqual(str(caught.exception), "none is good enough")
        with self.assertRaises(NoNode) as caught:
            self.fleet.pick(["prover"], Among(self.nodes, "none is good enough"))
        self.assertEqual(str(caught.exception), "no up node runs 'prover'")

    def test_can(self) -> None:
        """`can` says whether there is a candidate, and assigns no job."""
        self.assertTrue(self.fleet.can(["llm", "llm"]))
        self.assertFalse(self.fleet.can(["llm", "prover"]))
        self.assertFalse(self.fleet.can(["prover"]))

    def test_among_some(self) -> None:
        """Of given nodes, those that are not meant are left out."""
        self.fleet.replace([A, B, C])
        for address in (A, B, C):
            self.fleet.observed(address, report("llm"))
        among = Among((A, B, C), "none", lambda address: address != B)
        self.assertEqual(set(self.fleet.rank(["llm"], 9, 0, among)), {A, C})
        self.assertEqual({self.fleet.pick(["llm"], among) for _ in range(20)}, {A, C})


class FirstContainerTests(SynchronousTestCase):
    """Jobs for several containers: a node takes one whose first container is external."""

    def setUp(self) -> None:
        self.fleet = Fleet(Clock().seconds, Random(1))
        self.fleet.replace([A, B])
        self.fleet.observed(A, report("a", internal=("b",), pending=9))
        self.fleet.observed(B, report("b", internal=("a",)))

    def test_first(self) -> None:
        """The first container asked for is external on the node picked, however busy that is."""
        for asked, node in ((["a", "b"], A), (["b", "a"], B)):
            self.assertEqual({self.fleet.peek(asked) for _ in range(20)}, {node})
            self.assertEqual(self.fleet.rank(asked, 1, assign=False), [node])
            self.assertEqual(self.fleet.peek(asked, Among([A, B], "none")), node)

    def test_others_last(self) -> None:
        """A list has the other nodes after those."""
        self.assertEqual(self.fleet.rank(["a", "b"], 9, assign=False), [A, B])
        some = Among([A, B], "none")
        self.assertEqual(self.fleet.rank(["b", "a"], 9, 0, some, assign=False), [B, A])

    def test_fallback(self) -> None:
        """Where the first is external on no node, any other container may be."""
        self.fleet.missed(A, "gone")
        self.assertEqual(self.fleet.pick(["a", "b"]), B)
        self.assertEqual(self.fleet.pick(["a", "b"], Among([A, B], "none")), B)


class ExcludeTests(HundredNodesTestCase):
    """Nodes that a client does not want."""

    def test_excluded(self) -> None:
        """An excluded node is not picked or listed, even if it is the best by far."""
        gone = parse_address("192.0.2.200")
        for _ in range(50):
            self.assertNotIn(
                self.fleet.peek(["llm"], exclude=[gone, *self.nodes[:16]]), self.nodes[:16]
            )
        listed = self.fleet.rank(["llm"], 2, exclude=self.nodes[:3], assign=False)
        self.assertEqual(listed, self.nodes[3:5])

    def test_few(self) -> None:
        """When all that would be compared are excluded, another candidate is found."""
        for node in self.nodes[17:]:
            self.fleet.missed(node, "gone")
        self.assertEqual(self.fleet.pick(["llm"], exclude=self.nodes[:16]), self.nodes[16])
        some = Among(self.nodes[:18], "none")
        self.assertEqual(self.fleet.pick(["llm"], some, exclude=self.nodes[:16]), self.nodes[16])

    def test_worse_tier(self) -> None:
        """It may be one of a worse tier."""
        self.fleet.missed(self.nodes[1], "timeout after 3 s", timed_out=True)
        self.fleet.replace(self.nodes[:2])
        self.assertEqual(self.fleet.pick(["llm"], exclude=self.nodes[:1]), self.nodes[1])

    def test_all(self) -> None:
        """When every candidate is excluded, the reason says so."""
        self.fleet.replace(self.nodes[:2])
        with self.assertRaises(NoNode) as caught:
            self.fleet.pick(["llm"], exclude=self.nodes[:2])
        self.assertEqual(str(caught.exception), "every up node that runs 'llm' is excluded")
        self.assertEqual(self.fleet.rank(["llm"], 9, exclude=self.nodes[:2]), [])
