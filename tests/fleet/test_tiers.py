"""Tests of the tiers that fleets put nodes in: full, suspect and drained ones."""

from collections import Counter
from random import Random

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet.among import Among
from infernet_router.fleet.events import Change, Event
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.no_node import NoNode
from infernet_router.fleet.node import State
from infernet_router.fleet.roster import States
from tests.doubles import report
from tests.fleet.case import A, B, C, jobs


class FullTests(SynchronousTestCase):
    """Picking when some nodes are full: their utilization is over the threshold."""

    def setUp(self) -> None:
        self.fleet = Fleet(Clock().seconds, Random(1), max_utilization=0.9)
        self.fleet.replace([A, B, C])
        for address, pending in ((A, 0), (B, 5), (C, 9)):
            self.fleet.observed(address, report("llm", "prover", pending=pending))

    def many(self, count: int) -> list[NodeAddress]:
        """A fleet of this many idle, full nodes."""
        nodes = [parse_address(f"10.0.{n // 250}.{n % 250}") for n in range(count)]
        self.fleet.replace(nodes)
        for node in nodes:
            self.fleet.observed(node, report("llm", "prover"))
            self.fleet.utilized(node, 1.0)
        return nodes

    def test_left_out(self) -> None:
        """A full node is not picked while another candidate is not full."""
        self.fleet.pick(["llm", "prover"])
        self.assertTrue(self.fleet.utilized(A, 0.95))
        for asked in (["llm"], ["llm", "prover"]):
            self.assertEqual(self.fleet.peek(asked), B)
        self.assertEqual(self.fleet.pick(["llm"]), B)
        self.fleet.missed(B, "gone")
        self.assertEqual(self.fleet.pick(["llm"]), C)
        self.fleet.missed(C, "gone")
        for asked in (["llm"], ["llm", "prover"]):
            self.assertTrue(self.fleet.can(asked))
            self.assertEqual(self.fleet.pick(asked), A)

    def test_threshold(self) -> None:
        """Only a utilization over the threshold makes a node full; a change is returned once."""
        for share, change, best in (
            (0.9, None, A),
            (0.901, True, B),
            (1.0, None, B),
            (None, False, A),
            (None, None, A),
        ):
            self.assertIs(self.fleet.utilized(A, share), change)
            self.assertEqual(self.fleet.peek(["llm"]), best)

    def test_off(self) -> None:
        """By default, no node is full."""
        fleet = Fleet(Clock().seconds, Random(1))
        fleet.replace([A])
        self.assertIsNone(fleet.utilized(A, 1.0))

    def test_unknown_node(self) -> None:
        """The utilization of a node that is not in the fleet is ignored."""
        self.fleet.replace([A])
        self.assertIsNone(self.fleet.utilized(B, 1.0))

    def test_rank(self) -> None:
        """Full nodes are listed after all others, best first."""
        self.fleet.utilized(A, 1.0)
        self.fleet.utilized(B, 1.0)
        for count, offset, listed in (
            (9, 0, [C, A, B]),
            (1, 0, [C]),
            (2, 0, [C, A]),
            (1, 1, [A]),
            (9, 1, [A, B]),
            (9, 2, [B]),
            (9, 3, []),
            (0, 0, []),
        ):
            among = Among([A, B, C], "none")
            for some in (None, among):
                ranked = self.fleet.rank(["llm"], count, offset, some, assign=False)
                self.assertEqual(ranked, listed)
        self.assertEqual(self.fleet.rank(["llm"], 3), [C, A, B])
        self.assertEqual(self.fleet.rank(["llm"], 3, 0, Among([B, A], "none")), [A, B])
        self.assertAlmostEqual(jobs(self.fleet, C), 10.0)

    def test_down(self) -> None:
        """A node stays full while it is down, but not when it is removed and added again."""
        self.fleet.utilized(A, 1.0)
        self.fleet.missed(A, "gone")
        self.fleet.observed(A, report("llm"))
        self.assertEqual(self.fleet.peek(["llm"]), B)
        self.fleet.missed(A, "gone")
        self.fleet.utilized(A, 0.1)
        self.fleet.observed(A, report("llm"))
        self.assertEqual(self.fleet.peek(["llm"]), A)
        self.fleet.utilized(A, 1.0)
        self.fleet.replace([B, C])
        self.fleet.replace([A, B, C])
        self.fleet.observed(A, report("llm"))
        self.assertEqual(self.fleet.peek(["llm"]), A)

    def test_running(self) -> None:
        """The containers of full nodes are still listed as running."""
        before = self.fleet.running
        self.fleet.utilized(A, 1.0)
        self.assertEqual(self.fleet.running, before)

    def test_all_full(self) -> None:
        """When all of many candidates are full, they are all picked from as usual."""
        nodes = self.many(100)
        picks = Counter(self.fleet.pick(["llm"]) for _ in range(2000))
        self.assertEqual(set(picks), set(nodes))
        self.assertGreaterEqual(min(picks.values()), 17)

    def test_few_not_full(self) -> None:
        """Of many candidates, the few that are not full get all jobs, in every kind of pick."""
        nodes = self.many(250)
        not_full = {nodes[7], nodes[200]}
        for node in not_full:
            self.fleet.utilized(node, 0.5)
        among = Among(nodes, "none")
        for asked in (["llm"], ["llm", "prover"]):
            for some in (None, among):
                self.assertEqual({self.fleet.pick(asked, some) for _ in range(20)}, not_full)

    def test_search_ends(self) -> None:
        """Among very many given nodes, the search for one that is not full ends."""
        nodes = self.many(2000)
        for node in nodes[1000:]:
            self.fleet.utilized(node, 0.5)
        full = Among(nodes[:1000], "none")
        self.assertGreater(len({self.fleet.pick(["llm"], full) for _ in range(500)}), 300)
        for node in nodes[:100]:
            self.fleet.utilized(node, 0.5)
        picked = {self.fleet.pick(["llm"], full) for _ in range(500)}
        self.assertEqual(picked - set(nodes[:100]), set())


class SuspectTests(SynchronousTestCase):
    """Nodes whose last poll ran out of time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B])
        self.fleet.observed(A, report("llm", "prover"))
        self.fleet.observed(B, report("llm", pending=50))

    def test_last_resort(self) -> None:
        """A suspect gets no job while another candidate is up, however busy."""
        self.assertFalse(self.fleet.missed(A, "timeout after 3 s", timed_out=True))
        self.assertEqual(self.fleet.peek(["llm"]), B)
        self.assertEqual(self.fleet.rank(["llm"], 9), [B, A])
        for asked in (["prover"], ["llm", "prover"]):
            self.assertEqual(self.fleet.pick(asked), A)
        self.fleet.missed(B, "connection refused")
        self.assertEqual(self.fleet.pick(["llm"]), A)

    def test_states(self) -> None:
        """It counts as a suspect, and its view says why."""
        self.clock.advance(7)
        self.fleet.missed(A, "timeout after 3 s", timed_out=True)
        self.assertEqual(self.fleet.states, States(up=1, suspect=1, down=0, unknown=0))
        view = self.fleet.view(A)
        assert view is not None
        self.assertEqual(
            (view.state, view.since, view.reason, view.tier),
            (State.SUSPECT, 7.0, "timeout after 3 s", Tier.SUSPECT),
        )
        self.assertEqual(self.fleet.up, [A, B])
        self.assertTrue(self.fleet.is_up(A))

    def test_down(self) -> None:
        """A second failure of any kind makes it down."""
        for timed_out in (True, False):
            self.fleet.observed(A, report("prover"))
            self.fleet.missed(A, "timeout after 3 s", timed_out=True)
            self.assertTrue(self.fleet.missed(A, "timeout after 3 s", timed_out=timed_out))
            self.assertRaises(NoNode, self.fleet.pick, ["prover"])

    def test_back(self) -> None:
        """A report makes it as good as before; it was never down."""
        cursor = self.fleet.follow_changes()
        cursor.read()
        self.fleet.missed(A, "timeout after 3 s", timed_out=True)
        self.assertIsNone(self.fleet.observed(A, report("llm")))
        self.assertEqual(self.fleet.peek(["llm"]), A)
        self.assertEqual(cursor.read(), [Change(Event.SUSPECT, A), Change(Event.UP, A)])

    def test_never_up(self) -> None:
        """A node that never gave a report is down at the first timeout."""
        self.fleet.replace([A, C])
        self.assertTrue(self.fleet.missed(C, "timeout after 3 s", timed_out=True))

    def test_only_suspects(self) -> None:
        """When all nodes are suspect, the reason for a missing container is still that."""
        for address in (A, B):
            self.fleet.missed(address, "timeout after 3 s", timed_out=True)
        with self.assertRaises(NoNode) as caught:
            self.fleet.pick(["painter"])
        self.assertEqual(str(caught.exception), "no up node runs 'painter'")


class OrderTests(SynchronousTestCase):
    """An operator's orders: a tier and a weight."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1), max_utilization=0.9)
        self.fleet.replace([A, B])
        self.fleet.observed(A, report("llm", "prover"))
        self.fleet.observed(B, report("llm", pending=5))

    def test_drained(self) -> None:
        """A drained node gets no job, and is not listed, until the order ends."""
        self.assertTrue(self.fleet.override(A, Tier.DRAINED))
        self.assertEqual({self.fleet.pick(["llm"]) for _ in range(30)}, {B})
        self.assertEqual(self.fleet.rank(["llm"], 9), [B])
        self.assertEqual(self.fleet.rank(["llm"], 9, among=Among([A, B], "none")), [B])
        self.assertTrue(self.fleet.override(A))
        self.assertEqual(self.fleet.peek(["llm"]), A)

    def test_all_drained(self) -> None:
        """When every candidate is drained, the reason says so."""
        self.fleet.override(A, Tier.DRAINED)
        for asked, named in ((["prover"], "'prover'"), (["llm", "prover"], "'llm', 'prover'")):
            with self.assertRaises(NoNode) as caught:
                self.fleet.pick(asked)
            self.assertEqual(str(caught.exception), f"every up node that runs {named} is drained")
            self.assertFalse(self.fleet.can(asked))
            self.assertEqual(self.fleet.rank(asked, 9), [])
        with self.assertRaises(NoNode) as caught:
            self.fleet.pick(["llm"], Among([A], "none"))
        self.assertEqual(str(caught.exception), "none")

    def test_worse_tier(self) -> None:
        """A node that is full and drained is drained, and full again when the order ends."""
        self.fleet.utilized(A, 1.0)
        self.fleet.override(A, Tier.DRAINED)
        self.assertRaises(NoNode, self.fleet.pick, ["prover"])
        self.fleet.override(A)
        self.assertEqual(self.fleet.peek(["llm"]), B)
        self.assertEqual(self.fleet.peek(["prover"]), A)

    def test_weight(self) -> None:
        """A node of weight 3 gets three times the jobs of one of weight 1."""
        light, heavy = (parse_address(f"192.0.2.{number}") for number in (10, 11))
        self.fleet.replace([light, heavy])
        for address in (light, heavy):
            self.fleet.observed(address, report("llm"))
        self.fleet.override(heavy, weight=3.0)
        picks = Counter(self.fleet.pick(["llm"]) for _ in range(400))
        self.assertTrue(295 <= picks[heavy] <= 305, picks)

    def test_unknown_node(self) -> None:
        """An order applies to a node that appears later, and to one that comes back."""
        self.assertFalse(self.fleet.override(C, Tier.DRAINED, 2.0))
        for others in ([A, B], [A]):
            self.fleet.replace([*others, C])
            self.fleet.observed(C, report("only"))
            self.assertRaises(NoNode, self.fleet.pick, ["only"])
            self.fleet.replace([A, B])
        self.assertFalse(self.fleet.override(C))
        self.fleet.replace([A, C])
        self.fleet.observed(C, report("only"))
        self.assertEqual(self.fleet.pick(["only"]), C)

    def test_address_weight(self) -> None:
        """The weight in an address list holds unless an order has another one."""
        for weight in (2.0, 3.0, None):
            self.fleet.replace([A, evolve(B, weight=weight)])
            for ordered, expected in ((0.5, 0.5), (1.0, 1.0), (None, weight or 1.0)):
                self.fleet.override(B, weight=ordered)
                view = self.fleet.view(B)
                assert view is not None
                self.assertEqual(view.weight, expected)

    def test_serves_alone(self) -> None:
        """The containers that no other node serves which is up and not drained."""
        self.assertEqual(self.fleet.serves_alone(A), ["prover"])
        self.assertEqual(self.fleet.serves_alone(B), [])
        self.fleet.missed(B, "slow", timed_out=True)
        self.assertEqual(self.fleet.serves_alone(A), ["llm", "prover"])
        self.assertEqual(self.fleet.serves_alone(B), [])
        self.fleet.override(A, Tier.DRAINED)
        self.assertEqual(self.fleet.serves_alone(A), [])
        self.assertEqual(self.fleet.serves_alone(B), ["llm"])
        self.fleet.missed(B, "gone")
        self.assertEqual(self.fleet.serves_alone(B), [])
        self.assertEqual(self.fleet.serves_alone(C), [])
