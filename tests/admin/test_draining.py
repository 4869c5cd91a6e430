"""Tests of infernet_router.admin.draining."""

import json

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from infernet_router.fleet import Tier
from tests.admin.case import A, AdminTestCase, C, parsed
from tests.admin.test_replication import Replicas
from tests.doubles import report

WAIT = "/admin/v1/nodes/192.0.2.1%3A4000?wait=drained&timeout=10"


class DrainingTests(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fleet.pick(["llm"], exclude=[*set(self.fleet.addresses) - {A}])
        self.fleet.override(A, Tier.DRAINED)

    def report(self, pending: int = 0, after: float = 1.0) -> None:
        """A report of the node, so long after the last."""
        self.clock.advance(after)
        self.fleet.observed(A, report("llm", pending=pending))
        self.clock.pump([0.25] * 2)

    def test_drained(self) -> None:
        """It is drained when two reports in a row show no job, 2 s after the last one it got."""
        self.clock.advance(2)
        waiting = self.send(WAIT)
        for pending in (1, 0, 1, 0):
            self.report(pending)
            self.assertEqual(waiting.value(), b"")
        self.report()
        body = json.loads(parsed(waiting).body)
        self.assertEqual((body["drained"], body["state"]), (True, "drained"))
        self.assertIsNone(body["waits_for"])
        self.assertTrue(self.read(WAIT)["drained"])

    def test_last_job(self) -> None:
        """Reports count from 2 s after the last job on: its client may not have sent it before."""
        waiting = self.send(WAIT)
        self.report()
        self.report(after=0.4)  # after 1.9 s
        self.report(after=0.4)  # after 2.8 s
        self.assertEqual(waiting.value(), b"")
        words = "it needs two reports without a job, made 2 s or more after its last job was handed"
        self.assertEqual(self.waits_for(), f"{words} out")
        self.report()
        self.assertTrue(json.loads(parsed(waiting).body)["drained"])

    def waits_for(self) -> object:
        return self.read(WAIT.replace("=10", "=0"))["waits_for"]

    def test_waits_for(self) -> None:
        """It is said why a node is not drained."""
        self.report(1)
        self.assertEqual(self.waits_for(), "1 job was pending in its last report")
        self.report(3)
        self.assertEqual(self.waits_for(), "3 jobs were pending in its last report")
        self.fleet.missed(A, "it took too long", timed_out=True)
        self.assertEqual(self.waits_for(), "it is suspect: it took too long")

    def test_time_up(self) -> None:
        """When the time is up, the answer has the state; a node that is down is never drained."""
        self.report()
        self.report()
        self.fleet.missed(A, "HTTP 500")
        waiting = self.send(WAIT)
        self.clock.pump([0.25] * 39)
        self.assertEqual(waiting.value(), b"")
        self.clock.advance(0.25)
        body = json.loads(parsed(waiting).body)
        self.assertEqual((body["drained"], body["state"]), (False, "down"))
        self.assertEqual(body["waits_for"], "it is down: HTTP 500")

    def test_gone(self) -> None:
        """A client that goes away is not waited for."""
        waiting = self.send(WAIT)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        waiting.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lifted(self) -> None:
        """Nobody waits for an order that is lifted, or for a node that is gone."""
        waiting, later = self.send(WAIT), self.send(WAIT)
        self.fleet.override(A)
        self.clock.advance(0.25)
        self.assertFalse(json.loads(parsed(waiting).body)["drained"])
        self.fleet.override(A, Tier.DRAINED)
        later = self.send(WAIT)
        self.fleet.replace([C])
        self.clock.advance(0.25)
        self.assertEqual(parsed(later).status, 404)

    def test_bad(self) -> None:
        """Without an order there is nothing to wait for; nor is there anything else to wait for."""
        error = "192.0.2.3:4000 is not to be drained: there is no such order"
        self.assert_error("/admin/v1/nodes/192.0.2.3:4000?wait=drained", 409, error)
        self.assert_error("/admin/v1/nodes/192.0.2.1:4000?wait=up", 400, "wait must be drained")
        self.assertEqual(self.ask(WAIT + "x").status, 400)


class SharedDrainingTests(AdminTestCase):
    def setUp(self) -> None:
        self.replication = self.replicas = Replicas()
        super().setUp()
        self.fleet.override(A, Tier.DRAINED)
        self.clock.advance(60)

    def waits_for(self) -> object:
        for _ in range(2):
            self.clock.advance(1)
            self.fleet.observed(A, report("llm"))
        return self.read(WAIT.replace("=10", "=0"))["waits_for"]

    def test_all_know(self) -> None:
        """Reports count from 2 s after all routers knew the order on."""
        words = "not all routers have said that they know the order"
        self.assertEqual(self.waits_for(), words)
        self.replicas.known_at = self.clock.seconds()
        self.assertRegex(str(self.waits_for()), "it needs two reports")
        self.clock.advance(2)
        self.assertIsNone(self.waits_for())

    def test_alone(self) -> None:
        """A router that is alone does not know what others hand out."""
        self.replicas.lose()
        words = "this router is alone, and others may not know the order: connection refused"
        self.assertEqual(self.waits_for(), words)
