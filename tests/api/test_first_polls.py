"""Tests of infernet_router.api.first_polls."""

from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.api import first_polls
from infernet_router.api.first_polls import FirstPolls
from infernet_router.fleet import Fleet, NoNode, Reason
from infernet_router.process.turns import Turns
from tests.doubles import report

A, B = parse_address("192.0.2.1:4000"), parse_address("192.0.2.2:4000")


class FirstPollsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B])
        self.first_polls = FirstPolls(self.fleet, self.clock, Turns(self.clock, self.clock.seconds))
        self.first_polls.startService()
        self.attempts = 0

    def hold(self, container: str = "llm") -> Deferred[Any]:
        """The answer to a request: the address, or NoNode."""

        def attempt(is_last: bool) -> str:
            self.attempts += 1
            return str(self.fleet.pick([container]))

        return self.first_polls.hold((container,), attempt)

    def test_up(self) -> None:
        """A request is answered once a node for it is up, others wait on."""
        llm, prover = self.hold(), self.hold("prover")
        self.clock.pump([0.01] * 10)
        self.fleet.observed(A, report("llm"))
        self.clock.advance(0.01)
        self.assertEqual(self.successResultOf(llm), str(A))
        self.assertNoResult(prover)
        self.assertEqual(self.attempts, 3)
        self.fleet.observed(B, report())
        self.clock.advance(0.01)
        self.failureResultOf(prover, NoNode)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_once(self) -> None:
        """With a node for it, a request is answered at once, and any other error, too."""
        self.fleet.observed(A, report("llm"))
        self.assertEqual(self.successResultOf(self.hold()), str(A))
        self.failureResultOf(self.first_polls.hold(("x",), lambda _: 1 // 0), ZeroDivisionError)

    def test_failed_again(self) -> None:
        """A request that still has no node is held again, until a second is over."""

        def attempt(is_last: bool) -> str:
            self.attempts += 1
            raise NoNode("excluded", Reason.EXCLUDED)

        self.fleet.observed(A, report("llm"))
        held = self.first_polls.hold(("llm",), attempt)
        self.clock.pump([0.01] * 99)
        self.assertNoResult(held)
        self.clock.pump([0.01] * 2)
        self.failureResultOf(held, NoNode)
        self.assertLess(self.attempts, 105)

    def test_limited(self) -> None:
        """A node that answers its first polls with 429 holds up no request."""
        self.fleet.missed(B, "refused")
        self.fleet.limited(A)
        self.failureResultOf(self.hold(), NoNode)

    def test_empty(self) -> None:
        """A fleet that is empty at the start may get its first nodes within a second."""
        self.fleet.replace([])
        held = self.hold()
        self.clock.advance(0.5)
        self.fleet.replace([A])
        self.fleet.observed(A, report("llm"))
        self.clock.advance(0.01)
        self.assertEqual(self.successResultOf(held), str(A))
        self.fleet.replace([])
        self.clock.advance(1.0)
        self.failureResultOf(self.hold(), NoNode)

    def test_gone(self) -> None:
        """A request whose client is gone is forgotten."""
        held = [self.hold() for _ in range(2)]
        for each in held:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.clock.advance(0.01)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.attempts, 2)

    def test_most(self) -> None:
        """So many are held, and one more is answered at once."""
        self.patch(first_polls, "_MOST", 3)
        held = [self.hold() for _ in range(3)]
        self.failureResultOf(self.hold(), NoNode)
        self.fleet.observed(A, report("llm"))
        self.clock.advance(0.01)
        for each in held:
            self.assertEqual(self.successResultOf(each), str(A))

    def test_stop(self) -> None:
        """When it stops, all requests are answered."""
        held = [self.hold(), self.hold(), self.hold("x")]
        self.first_polls.stopService()
        for each in held:
            self.failureResultOf(each, NoNode)
        self.failureResultOf(self.hold(), NoNode)
        self.clock.advance(0.01)
        self.assertEqual(self.clock.getDelayedCalls(), [])
