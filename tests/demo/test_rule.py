"""Tests of infernet_router.demo.rule."""

from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.demo.rule import INTERVAL, LeastPending
from infernet_router.testing import SimulatedNode


class Hosts(Resource):
    """Nodes by host name."""

    isLeaf = True

    def __init__(self, nodes: dict[str, SimulatedNode]) -> None:
        super().__init__()
        self._nodes = nodes

    def render(self, request: Request) -> Any:
        return self._nodes[request.getRequestHostname().decode()].render(request)


class LeastPendingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes = {
            "a.invalid": SimulatedNode(self.clock, ["llm", "prover"]),
            "b.invalid": SimulatedNode(self.clock, ["llm"]),
            "c.invalid": SimulatedNode(self.clock, ["llm"]),
        }
        http: Any = StubTreq(Hosts(self.nodes))
        self.rule = LeastPending(self.nodes, http, self.clock)

    def give(self, name: str, jobs: int) -> None:
        for _ in range(jobs):
            self.nodes[name].submit(["llm"], work=1000.0)

    def test_picks(self) -> None:
        """The least busy node of the last poll gets everything until the next."""
        self.give("a.invalid", 3)
        self.give("b.invalid", 1)
        self.give("c.invalid", 2)
        self.assertIsNone(self.rule.pick(["llm"]))
        self.rule.start()
        self.assertEqual(self.rule.pick(["llm"]), "b.invalid")
        self.give("b.invalid", 5)
        self.clock.advance(INTERVAL - 0.1)
        self.assertEqual(self.rule.pick(["llm"]), "b.invalid")
        self.clock.advance(0.1)
        self.assertEqual(self.rule.pick(["llm"]), "c.invalid")
        self.assertEqual(self.rule.pick(["prover"]), "a.invalid")
        self.assertIsNone(self.rule.pick(["other"]))

    def test_ties(self) -> None:
        """Of nodes with equally many jobs, the first in the list is picked."""
        self.give("a.invalid", 1)
        self.rule.start()
        self.assertEqual(self.rule.pick(["llm"]), "b.invalid")

    def test_failures(self) -> None:
        """A node that fails a poll is left out until a poll succeeds."""
        self.rule.start()
        self.nodes["a.invalid"].status = 500
        self.nodes["b.invalid"].info = b"<html>"
        self.nodes["c.invalid"].silent = True
        self.clock.advance(INTERVAL)
        self.assertEqual(self.rule.pick(["llm"]), "c.invalid")
        self.clock.advance(3.0)
        self.assertIsNone(self.rule.pick(["llm"]))
        self.nodes["b.invalid"].info = None
        self.clock.advance(2.0)
        self.assertEqual(self.rule.pick(["llm"]), "b.invalid")

    def test_stop(self) -> None:
        """Once stopped, nothing is polled or timed; it may be stopped twice."""
        self.nodes["c.invalid"].silent = True
        self.rule.start()
        self.rule.stop()
        self.rule.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
