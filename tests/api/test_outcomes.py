"""Tests of infernet_router.api.outcomes."""

from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.api.decisions import Decisions
from infernet_router.api.outcomes import PAUSE, Outcomes
from infernet_router.fleet import Fleet, Outcome
from infernet_router.serving.errors import HTTPError

A, B = parse_address("192.0.2.1:4000"), parse_address("192.0.2.2:4000")
DONE, FAILED = Outcome.DONE, Outcome.FAILED


class RecordingFleet(Fleet):
    """A fleet that remembers what it is told."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.heard: list[tuple[NodeAddress, Outcome]] = []

    def told(self, address: NodeAddress, outcome: Outcome) -> None:
        self.heard.append((address, outcome))


class OutcomesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = RecordingFleet(self.clock.seconds, Random(1))
        self.decisions = Decisions(self.clock.seconds, b"secret")
        self.count = 0
        self.client: bytes | None = b"one"
        self.outcomes = Outcomes(
            self.fleet, self.decisions, lambda _: self.client, self.clock.seconds
        )

    def tell(self, address: NodeAddress, outcome: Outcome) -> None:
        """Tell the outcome of a new decision."""
        request: Any = None
        self.count += 1
        id = self.decisions.made(address, self.count, self.clock.seconds()).decode()
        self.outcomes.tell(request, id, outcome)

    def test_passed_on(self) -> None:
        """The fleet is told the outcome, and at which node."""
        self.tell(A, FAILED)
        self.tell(B, DONE)
        self.assertEqual(self.fleet.heard, [(A, FAILED), (B, DONE)])

    def test_bounded(self) -> None:
        """Of each client, one outcome for a node is passed on in 5 seconds: the first."""
        for client in (b"one", b"two", None):
            self.client = client
            for outcome in (DONE, FAILED, FAILED):
                self.tell(A, outcome)
        self.assertEqual(self.fleet.heard, [(A, DONE)] * 3)
        self.clock.advance(PAUSE - 0.1)
        self.tell(A, FAILED)
        self.assertEqual(len(self.fleet.heard), 3)
        self.clock.advance(0.1)
        for _ in range(3):
            self.tell(A, FAILED)
        self.assertEqual(self.fleet.heard[3:], [(A, FAILED)])

    def test_respelled(self) -> None:
        """A node is the same however its address is written."""
        self.tell(A, FAILED)
        self.tell(parse_address("HTTP://192.0.2.1:4000"), FAILED)
        self.assertEqual(self.fleet.heard, [(A, FAILED)])

    def test_unknown(self) -> None:
        """The outcome of an unknown decision is refused, and not passed on."""
        request: Any = None
        with self.assertRaises(HTTPError):
            self.outcomes.tell(request, "0-0-0-0", DONE)
        self.assertEqual(self.fleet.heard, [])


class PassedTests(SynchronousTestCase):
    """Two routers share a fleet."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleets = [RecordingFleet(self.clock.seconds, Random(1)) for _ in range(2)]
        self.decisions = [
            Decisions(self.clock.seconds, name.encode(), name * 16) for name in ("1", "2")
        ]
        self.client: bytes | None = b"one"
        self.one, self.two = (
            Outcomes(fleet, decisions, lambda _: self.client, self.clock.seconds)
            for fleet, decisions in zip(self.fleets, self.decisions, strict=True)
        )
        self.passed: list[tuple[bytes, str, Outcome, bytes]] = []
        self.one.pass_on = self.pass_on
        self.is_member = True

    def pass_on(self, member: bytes, decision: str, outcome: Outcome, client: bytes) -> bool:
        self.passed.append((member, decision, outcome, client))
        return self.is_member

    def made(self, by: int, number: int) -> str:
        return self.decisions[by].made(A, number, self.clock.seconds()).decode()

    def tell(self, id: str, outcome: Outcome = FAILED) -> None:
        request: Any = None
        self.one.tell(request, id, outcome)

    def test_passed_on(self) -> None:
        """An outcome counts at the router that made the decision, once, and per client."""
        ids = [self.made(1, number) for number in (1, 2, 3)]
        for id, client in zip(ids, (b"one", b"one", None), strict=True):
            self.client = client
            self.tell(id)
        self.tell(ids[0])
        self.assertEqual(self.fleets[0].heard, [])
        self.assertEqual({member for member, *_ in self.passed}, {b"\x22" * 8})
        self.assertEqual([id for _, id, *_ in self.passed], [*ids, ids[0]])
        for _, id, outcome, stands_for in self.passed:
            self.assertEqual(len(stands_for), 8)
            self.two.hear(id, outcome, stands_for)
        self.assertEqual(self.fleets[1].heard, [(A, FAILED)] * 2, "one of each client")
        self.two.hear("made up", DONE, b"")

    def test_own(self) -> None:
        """The outcome of a decision that was made here stays here."""
        self.tell(self.made(0, 1))
        self.assertEqual((self.fleets[0].heard, self.passed), ([(A, FAILED)], []))

    def test_no_member(self) -> None:
        """The outcome of a decision of a router that is gone is for an unknown decision."""
        self.is_member = False
        with self.assertRaises(HTTPError) as caught:
            self.tell(self.made(1, 1))
        self.assertEqual(caught.exception.status, 404)
        self.one.pass_on = None
        with self.assertRaises(HTTPError):
            self.tell(self.made(1, 1))

    def test_both(self) -> None:
        """A client that tells two routers of one node counts once."""
        here, there = self.made(1, 1), self.made(1, 2)
        self.tell(there)
        ((_, _, _, client),) = self.passed
        self.two.hear(there, FAILED, client)
        request: Any = None
        self.two.tell(request, here, FAILED)
        self.assertEqual(self.fleets[1].heard, [(A, FAILED)])
