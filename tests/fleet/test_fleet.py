"""Tests of infernet_router.fleet.fleet."""

from collections import Counter
from math import ceil, inf
from random import Random

from attrs import astuple, evolve
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
from infernet_router.fleet.catalogue import RunningContainer
from infernet_router.fleet.events import CameUp, Change, Event, Outcome
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.no_node import NoNode
from infernet_router.fleet.node import State
from infernet_router.fleet.roster import States
from infernet_router.fleet.weights import Weights
from infernet_router.reports import Container, NodeReport
from tests.doubles import report

A, B, C = (parse_address(f"192.0.2.{number}:4000") for number in (1, 2, 3))


def jobs(fleet: Fleet, address: NodeAddress) -> float:
    """The estimated jobs at a node; 0 if there is no such node."""
    view = fleet.view(address)
    return view.jobs if view else 0.0


class FleetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B, C])

    def picks(self, times: int, *containers: str) -> Counter[NodeAddress]:
        """How often each node is picked."""
        return Counter(self.fleet.pick(containers) for _ in range(times))

    def assert_none(self, reason: str, *containers: str) -> None:
        """No node is picked, for this reason."""
        with self.assertRaises(NoNode) as caught:
            self.fleet.pick(containers)
        self.assertEqual(str(caught.exception), reason)

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

    def test_none_known(self) -> None:
        """When the fleet is empty, the reason says so."""
        self.fleet.replace([])
        self.assert_none("no node is known", "llm")

    def test_none_asked(self) -> None:
        """Before the first polls are back, the reason says so, even if some have failed."""
        self.assert_none("the first polls are not back yet", "llm")
        self.fleet.missed(A, "connection refused")
        self.assert_none("the first polls are not back yet", "llm")

    def test_limited(self) -> None:
        """A node that limits requests before its first report stays unknown, for this reason."""
        limited = "it limits the rate of requests (HTTP 429)"
        self.assertTrue(self.fleet.limited(A))
        self.assert_none("the first polls are not back yet", "llm")
        self.fleet.missed(B, "connection refused")
        self.assertFalse(self.fleet.limited(B))
        self.assertTrue(self.fleet.limited(A))
        self.assertTrue(self.fleet.limited(C))
        some = f"no node is up; what {A} runs is not known yet: {limited}"
        self.assert_none(f"{some}; 1 more; 1 down", "llm")
        self.fleet.replace([A])
        self.assert_none(some, "llm")
        view = self.fleet.view(A)
        assert view is not None
        self.assertEqual((view.state, view.reason), (State.UNKNOWN, limited))
        self.assertFalse(self.fleet.limited(B), "it is gone")
        self.fleet.replace([A, B, C])
        self.fleet.observed(B, report("prover"))
        self.assert_none(
            "no up node runs 'llm'; the first polls of 1 more are not back;"
            " 1 more limit the rate of requests: what they run is not known yet",
            "llm",
        )
        self.fleet.missed(A, "connection refused")
        self.fleet.missed(B, "connection refused")
        self.fleet.missed(C, "connection refused")
        self.assert_none(f"no node is up; {A} is down: connection refused; 2 more", "llm")

    def test_none_up(self) -> None:
        """When all nodes are down, the reason says so, with an example."""
        for address in (A, B, C):
            self.fleet.missed(address, "connection refused")
        self.fleet.missed(A, "HTTP 500")
        self.assert_none("no node is up; 192.0.2.1:4000 is down: HTTP 500; 2 more", "llm")
        self.fleet.replace([B])
        self.assert_none("no node is up; 192.0.2.2:4000 is down: connection refused", "llm")

    def test_none_runs(self) -> None:
        """When no node runs a container, the reason names the container."""
        for address in (A, B, C):
            self.fleet.observed(address, report("llm"))
        self.assert_none("no up node runs 'prover'", "prover", "llm")
        self.assert_none("no up node runs 'x' or 'y'", "x", "llm", "y")

    def test_none_runs_all(self) -> None:
        """When no node runs all containers together, the reason says so."""
        self.fleet.observed(A, report("llm"))
        self.fleet.observed(B, report("prover"))
        self.fleet.missed(C, "gone")
        self.assert_none(
            "no single up node runs all of 'llm', 'prover' and takes jobs for one of them",
            "llm",
            "prover",
        )

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

    def test_replace_in_steps(self) -> None:
        """In the middle of a replacement, every node that is or was in the fleet can be used."""
        for node in (A, B):
            self.fleet.observed(node, report("llm"))
        new = parse_address("192.0.2.9")
        steps = self.fleet.replacing([B, new])
        for _ in range(2):
            next(steps)
        self.assertEqual(set(self.fleet.addresses), {A, B, C, new})
        self.fleet.observed(new, report("llm"))
        self.assertEqual(set(self.picks(100, "llm")), {A, B, new})
        for _ in steps:
            self.assertEqual(len(self.fleet.addresses), sum(astuple(self.fleet.states)))
        self.assertEqual(self.fleet.addresses, (B, new))
        self.assertEqual(set(self.picks(100, "llm")), {B, new})

    def test_given_up(self) -> None:
        """A replacement that is given up in the middle leaves both lists, until the next."""
        next(self.fleet.replacing([parse_address("192.0.2.9")]))
        self.assertEqual(len(self.fleet.addresses), 4)
        self.fleet.replace([B])
        self.assertEqual(self.fleet.addresses, (B,))

    def test_twice(self) -> None:
        """An address that occurs twice has the first spelling."""
        spelled = parse_address("http://192.0.2.1:4000")
        self.fleet.replace([spelled, A])
        self.assertEqual(list(map(str, self.fleet.addresses)), ["http://192.0.2.1:4000"])

    def test_replace(self) -> None:
        """A node that stays keeps its state; one that is removed is not picked any more."""
        self.fleet.observed(A, report("llm", pending=3))
        self.fleet.observed(B, report("llm", pending=1))
        self.fleet.replace([C, A])
        self.assertEqual(self.fleet.addresses, (C, A))
        self.assertEqual(self.picks(2, "llm"), {A: 2})
        self.assertIsNone(self.fleet.observed(A, report("llm")))
        self.fleet.replace([A, B])
        self.assertEqual(self.fleet.observed(B, report("llm")), CameUp(away=None))

    def test_late_answer(self) -> None:
        """The result of a poll is ignored if the node was removed in the meantime."""
        self.fleet.replace([B])
        self.assertIsNone(self.fleet.observed(A, report("llm")))
        self.assertFalse(self.fleet.missed(A, "connection refused"))
        self.assertRaises(NoNode, self.fleet.pick, ["llm"])

    def test_respelled(self) -> None:
        """A node has the spelling of the newest list."""
        self.fleet.observed(A, report("llm"))
        self.fleet.replace([parse_address("http://192.0.2.1:4000")])
        self.assertEqual(str(self.fleet.pick(["llm"])), "http://192.0.2.1:4000")


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


class HundredNodesTestCase(SynchronousTestCase):
    """Base class: a fleet of a hundred nodes, each with one pending job more than the last."""

    def setUp(self) -> None:
        self.fleet = Fleet(Clock().seconds, Random(1))
        self.nodes = [parse_address(f"192.0.2.{number}") for number in range(100)]
        self.fleet.replace(self.nodes)
        for number, node in enumerate(self.nodes):
            self.fleet.observed(node, report("llm", pending=number))


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


class RunningTests(SynchronousTestCase):
    """The containers that run on up nodes."""

    def setUp(self) -> None:
        self.fleet = Fleet(Clock().seconds, Random(1))
        self.fleet.replace([A, B, C])

    def test_counted(self) -> None:
        """Every container of an up node is listed, by id, with the number of nodes that run it."""
        self.assertEqual(self.fleet.running, ())
        self.fleet.observed(A, report("llm", internal=("b",)))
        self.fleet.observed(B, report("b", "a"))
        self.assertEqual(
            self.fleet.running,
            (
                RunningContainer("a", 1, None),
                RunningContainer("b", 2, None),
                RunningContainer("llm", 1, None),
            ),
        )
        self.fleet.missed(B, "gone")
        self.fleet.replace([B, C])
        self.assertEqual(self.fleet.running, ())

    def test_among_some(self) -> None:
        """Of given nodes, those that are not meant are left out."""
        self.fleet.replace([A, B, C])
        for address in (A, B, C):
            self.fleet.observed(address, report("llm"))
        among = Among((A, B, C), "none", lambda address: address != B)
        self.assertEqual(set(self.fleet.rank(["llm"], 9, 0, among)), {A, C})
        self.assertEqual({self.fleet.pick(["llm"], among) for _ in range(20)}, {A, C})

    def test_index_used_again(self) -> None:
        """A node that takes the place of one that was suspect is not suspect."""
        many = tuple(parse_address(f"10.0.{n // 250}.{n % 250}") for n in range(600))
        self.fleet.replace(many)
        for address in many:
            self.fleet.observed(address, report("llm", "x"))
        for address in many[:300]:
            self.fleet.missed(address, "timeout", timed_out=True)
        self.fleet.replace([*many[300:], A])
        self.fleet.observed(A, report("llm", "x"))
        ranked = self.fleet.rank(["llm", "x"], 1000)
        self.assertEqual(set(ranked), {*many[300:], A})
        for address in many[300:]:
            self.fleet.missed(address, "timeout", timed_out=True)
        self.assertEqual(self.fleet.rank(["llm", "x"], 1), [A])

    def test_described(self) -> None:
        """A container has its most frequent description; of several, the alphabetically first."""
        for said, description in (
            (("", "", ""), None),
            (("y", "", ""), "y"),
            (("y", "x", ""), "x"),
            (("y", "x", "y"), "y"),
            (("z", "x", "y"), "x"),
        ):
            for address, text in zip((A, B, C), said, strict=True):
                self.fleet.observed(address, report("llm", description=text))
            self.assertEqual(self.fleet.running, (RunningContainer("llm", 3, description),))
        self.fleet.missed(B, "gone")
        self.assertEqual(self.fleet.running, (RunningContainer("llm", 2, "y"),))

    def test_up(self) -> None:
        """The up nodes are listed in the order of the fleet."""
        for address in (C, A):
            self.fleet.observed(address, report())
        self.assertEqual(self.fleet.up, [A, C])
        self.assertEqual([self.fleet.is_up(node) for node in (A, B, C)], [True, False, True])
        self.fleet.missed(A, "gone")
        self.fleet.replace([B, C])
        self.assertEqual(self.fleet.up, [C])
        self.assertFalse(self.fleet.is_up(A))


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
