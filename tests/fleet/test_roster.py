"""Tests of infernet_router.fleet.roster."""

from attrs import astuple, evolve

from infernet_router.addresses import parse_address
from infernet_router.fleet.events import CameUp
from infernet_router.fleet.node import State
from tests.doubles import report
from tests.fleet.case import A, B, C, FleetTestCase


class ReplaceTests(FleetTestCase):
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

    def test_respelled(self) -> None:
        """A node has the spelling of the newest list."""
        self.fleet.observed(A, report("llm"))
        self.fleet.replace([parse_address("http://192.0.2.1:4000")])
        self.assertEqual(str(self.fleet.pick(["llm"])), "http://192.0.2.1:4000")

    def test_respelled_and_weighted(self) -> None:
        """A node can get another spelling and another weight, or lose one, at the same time."""
        for text, weight in (("http://192.0.2.1:4000", 2.0), ("192.0.2.1:4000", None)):
            address = evolve(parse_address(text), weight=weight)
            self.fleet.replace([address])
            view = self.fleet.view(address)
            assert view is not None
            self.assertEqual((view.address.text, view.weight), (text, weight or 1.0))

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


class NoNodeTests(FleetTestCase):
    """Why no node is picked."""

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
        some = f"no node is up; {A} has not reported yet: {limited}"
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
            " 1 more limit the rate of requests and have not reported yet",
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
