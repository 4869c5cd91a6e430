"""Tests of infernet_router.admin.draining."""

import json

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from infernet_router.fleet import Tier
from tests.admin.case import A, AdminTestCase, C, parsed
from tests.doubles import report

WAIT = "/admin/v1/nodes/192.0.2.1%3A4000?wait=drained&timeout=10"


class DrainingTests(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fleet.pick(["llm"], exclude=[*set(self.fleet.addresses) - {A}])
        self.fleet.override(A, Tier.DRAINED)

    def report(self, pending: int = 0) -> None:
        """A report of the node, a second after the last."""
        self.clock.advance(1)
        self.fleet.observed(A, report("llm", pending=pending))
        self.clock.pump([0.25] * 2)

    def test_drained(self) -> None:
        """It is drained when two reports in a row show no job, after the last one it got."""
        waiting = self.send(WAIT)
        for pending in (1, 0, 1, 0):
            self.report(pending)
            self.assertEqual(waiting.value(), b"")
        self.report()
        body = json.loads(parsed(waiting).body)
        self.assertEqual((body["drained"], body["state"]), (True, "drained"))
        self.assertTrue(self.read(WAIT)["drained"])

    def test_last_job(self) -> None:
        """The report that follows the last job is the first that counts."""
        waiting = self.send(WAIT)
        self.report()
        self.assertEqual(waiting.value(), b"")
        self.report()
        self.assertTrue(json.loads(parsed(waiting).body)["drained"])

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
