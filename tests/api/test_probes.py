"""Tests of infernet_router.api.probes."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.api.probes import Readiness
from infernet_router.fleet import Fleet
from infernet_router.serving.errors import HTTPError
from tests.doubles import OTHER, ApiTestCase, addresses, report

A, B = addresses("192.0.2.1", "192.0.2.2")


class ReadinessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.readiness = Readiness(self.fleet, self.clock.seconds)

    def assert_not(self, why: str) -> None:
        """It is not ready, for this reason."""
        with self.assertRaises(HTTPError) as caught:
            self.readiness.check()
        self.assertEqual((caught.exception.status, str(caught.exception)), (503, why))

    def test_polls(self) -> None:
        """It is ready once every node answered or failed, and stays so when a node is added."""
        self.fleet.replace([A, B])
        self.assert_not("the router is starting")
        self.readiness.listening()
        self.fleet.observed(A, report("llm"))
        self.assert_not("the first polls are not back yet: 1 of 2")
        self.fleet.missed(B, "HTTP 500")
        self.assertEqual(self.readiness.check(), "the first polls are back: 1 of 2 nodes are up")
        self.fleet.replace([A])
        self.fleet.missed(A, "HTTP 500")
        self.fleet.replace([A, B])
        self.assertEqual(self.readiness.check(), "the first polls are back: 0 of 2 nodes are up")

    def test_patience(self) -> None:
        """It is ready after 5 seconds in any case, also while no node is known."""
        self.readiness.listening()
        self.clock.advance(4.9)
        self.assert_not("the first polls are not back yet: no node is known")
        self.clock.advance(0.1)
        why = "it started more than 5 seconds ago: 0 of 0 nodes are up"
        for _ in range(2):
            self.assertEqual(self.readiness.check(), why)

    def test_closing(self) -> None:
        """It is not ready while the router shuts down."""
        self.fleet.replace([A])
        self.fleet.missed(A, "HTTP 500")
        self.readiness.listening()
        self.readiness.check()
        self.readiness.closing()
        self.assert_not("the router is shutting down")


class ProbeTests(ApiTestCase):
    def test_clients(self) -> None:
        """Clients' endpoints have the probes, and nothing else that is for operators."""
        self.assertEqual(self.ask("/livez").decoded, {"status": "alive"})
        self.assertEqual(
            self.ask("/livez?verbose").decoded, {"status": "alive", "why": "the reactor turns"}
        )
        self.assert_error("/readyz", 503, "the router is starting")
        self.readiness.listening()
        self.fleet.missed(OTHER, "HTTP 500")
        self.assertEqual(self.ask("/readyz").decoded, {"status": "ready"})
        self.assertEqual(
            self.ask("/readyz?verbose=1").decoded["why"],
            "the first polls are back: 1 of 2 nodes are up",
        )
        self.readiness.closing()
        for path in ("/readyz", "/health"):
            self.assert_error(path, 503, "the router is shutting down")
        for path in ("/metrics", "/admin/v1/overview", "/metrics/nodes"):
            self.assertEqual(self.ask(path).code, 404)

    def test_counted(self) -> None:
        """Decisions, and requests without a node, are counted by container and reason."""
        for path in (
            *("ip?container=llm", "ip?container=llm&jobs=3", "ips?container=llm", "ip"),
            *("ip?container=x", "ips?container=x"),
            "ip?container=llm&exclude=https://node.invalid/prefix",
        ):
            self.ask(f"/api/v1/{path}")
        self.ask("/api/v1/ip?container=llm", "HEAD")
        self.assertEqual(self.fleet.decided, 3)
        self.assertEqual(self.counts.no_node, {"not_running": 1, "excluded": 1})
