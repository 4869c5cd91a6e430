"""Tests of infernet_router.demo.router_client."""

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.demo.router_client import RouterClient
from infernet_router.demo.sides import Problem, Unable


class Router(Resource):
    """Answers as the test says, or not at all."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.body: object = {"ip": "192.0.2.1:4000"}
        self.asked: list[tuple[bytes, bytes, bytes, str | None]] = []

    def render(self, request: Request) -> Any:
        body = request.content.read() if request.content else b""
        token = request.getHeader("authorization")
        self.asked.append((request.method, request.uri, body, token))
        if self.body is None:
            return NOT_DONE_YET
        request.setResponseCode(self.status)
        return json.dumps(self.body).encode()


class RouterClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.router = Clock(), Router()
        http: Any = StubTreq(self.router)
        self.client = RouterClient(
            http, self.clock, "http://r.invalid/api/v1/ip", "http://r.invalid/", "secret"
        )

    def ask(self, *avoid: str) -> Deferred[str]:
        return Deferred.fromCoroutine(self.client.ask(["llm", "prover"], avoid))

    def test_ask(self) -> None:
        """It asks for a node with these containers, and without those to avoid."""
        self.assertEqual(self.successResultOf(self.ask("192.0.2.2:4000")), "192.0.2.1:4000")
        [(_, uri, _, token)] = self.router.asked
        path, _, query = uri.decode().partition("?")
        self.assertEqual(path, "/api/v1/ip")
        self.assertEqual(
            query.replace("%3A", ":"), "container=llm&container=prover&exclude=192.0.2.2:4000"
        )
        self.assertIsNone(token)

    def test_unable(self) -> None:
        """A 503 says that there is no node."""
        self.router.status, self.router.body = 503, {"error": "no node is up"}
        self.failureResultOf(self.ask(), Unable)

    def test_problems(self) -> None:
        """Any other answer is a problem, and so is none."""
        for status, body in ((500, {"error": "no"}), (200, {}), (200, [1]), (200, "x")):
            self.router.status, self.router.body = status, body
            self.failureResultOf(self.ask(), Problem)
        self.router.body = None
        asked = self.ask()
        self.assertNoResult(asked)
        self.clock.advance(5.0)
        self.failureResultOf(asked, Problem)

    def test_drain(self) -> None:
        """It orders a node to be drained for some seconds, with its token; or tells why not."""
        self.router.body = {}
        draining = self.client.drain("192.0.2.1:4000", 10.0)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(draining)), "")
        [(method, uri, body, token)] = self.router.asked
        self.assertEqual((method, token), (b"PUT", "Bearer secret"))
        self.assertEqual(uri, b"/admin/v1/nodes/192.0.2.1:4000/override")
        self.assertEqual(
            json.loads(body), {"drain": True, "reason": "key d of the demo", "for": "10s"}
        )
        self.router.status, self.router.body = 409, {"error": "no other node runs 'llm'"}
        draining = self.client.drain("192.0.2.1:4000", 10.0)
        refusal = self.successResultOf(Deferred.fromCoroutine(draining))
        self.assertEqual(refusal, "no other node runs 'llm'")
