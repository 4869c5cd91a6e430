"""A base class of test cases that ask the endpoint for operators."""

import json
from collections.abc import Mapping
from email import message_from_bytes
from pathlib import Path
from random import Random
from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from infernet_router.admin.access import Access, Grant, Role, grant
from infernet_router.admin.audit import Audit
from infernet_router.admin.census import Census
from infernet_router.admin.choices import Choices
from infernet_router.admin.demand import Demand
from infernet_router.admin.draining import Drainer
from infernet_router.admin.metrics import Exposition, Gauges
from infernet_router.admin.node_map import NodeMap
from infernet_router.admin.overview import Overview
from infernet_router.admin.results import Results
from infernet_router.admin.routes import AdminRoot
from infernet_router.admin.scraped import MetricsRoot, Scraped
from infernet_router.admin.shown import Viewer
from infernet_router.admin.steering import Steering
from infernet_router.admin.traffic import Traffic
from infernet_router.api.decisions import Decisions
from infernet_router.api.probes import Readiness
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet, Overrides
from infernet_router.nodes import Surveyor
from infernet_router.process import Slices
from infernet_router.process.turns import Turns
from infernet_router.sources import Sources
from tests.doubles import Answer, addresses, report

A, B, C = addresses("192.0.2.1:4000", "https://node.invalid/b", "192.0.2.3:4000")
LOCAL = "127.0.0.1"
FILE = Path("/ips.txt")


class AdminTestCase(SynchronousTestCase):
    """A fleet of three nodes: A is up with the container llm, B with llm and prover; C is down."""

    replication: Any = None
    """What shares the fleet with other routers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.counts = Counts()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.sources = Sources(
            self.fleet,
            Slices(self.clock, seconds=self.clock.seconds),
            self.counts,
            self.clock.seconds,
        )
        self.sources.named(FILE, [A, B, C])
        self.readiness = Readiness(self.fleet, self.clock.seconds)
        self.readiness.listening()
        self.records = self.fleet.keep_records(Random(2))
        self.results = Results(Turns(self.clock, self.clock.seconds), self.clock)
        self.census = Census(self.fleet, self.results)
        overrides = Overrides(self.fleet, self.clock.seconds, self.clock.seconds, "0" * 16)
        audit = Audit(None, self.clock, self.clock.seconds)
        self.steering = Steering(self.fleet, overrides, None, audit, self.counts, self.clock)
        self.steering.startService()
        self.viewer = Viewer(
            self.sources.naming, self.clock.seconds, self.clock.seconds, self.steering.shown_of
        )
        self.traffic = Traffic(
            self.counts, lambda: self.fleet.decided, lambda: self.fleet.states.up, self.clock
        )
        self.interval = 3.0
        self.demand = Demand(self.clock.seconds)
        self.overview = Overview(
            census=self.census,
            results=self.results,
            fleet=self.fleet,
            traffic=self.traffic,
            sources=self.sources,
            viewer=self.viewer,
            started=1000.0,
            poll_interval=lambda: self.interval,
            least_interval=3.0,
            page_interval=lambda: self.demand.interval,
            replication=self.replication,
        )
        gauges = Gauges(
            connections={"client": lambda: 2, "node": lambda: 3},
            poll_interval=lambda: self.interval,
            fleet=self.fleet,
            lines_dropped=lambda: 7,
            delay=self.traffic.delay,
            sources=self.sources,
            replication=self.replication,
        )
        self.ids = Decisions(self.clock.seconds, b"secret")
        self.surveyor = Surveyor(self.fleet, cast(Any, StubTreq(Resource())), self.clock)
        self.choices = Choices(
            self.fleet,
            self.records,
            self.ids,
            self.surveyor,
            self.results,
            self.viewer,
            self.clock.seconds,
        )
        self.exposition = Exposition(self.counts, gauges)
        self.scraped = Scraped(self.exposition, self.census, self.readiness)
        self.grants: list[Grant] = []
        self.fleet.observed(A, report("llm", pending=2, description="a model"))
        self.fleet.observed(B, report("llm", "prover"))
        self.fleet.utilized(B, 0.5)
        self.fleet.missed(C, "HTTP 500")

    def give(self, name: str, role: Role, token: str) -> None:
        """Make a token valid."""
        self.grants.append(grant(name, role, token))

    def root(self) -> AdminRoot:
        """The endpoint for operators."""
        return AdminRoot(
            Access(lambda: self.grants, ("r.invalid",), self.clock.seconds),
            self.scraped,
            fleet=self.fleet,
            results=self.results,
            viewer=self.viewer,
            overview=self.overview,
            node_map=NodeMap(self.fleet, self.results, 1000.0),
            demand=self.demand,
            choices=self.choices,
            drainer=Drainer(self.fleet, self.clock, self.replication),
            steering=self.steering,
            sources=self.sources,
            options={"interval": 3.0},
        )

    def metrics_root(self) -> MetricsRoot:
        """The endpoint for programs only."""
        return MetricsRoot(Access(lambda: self.grants), self.scraped)

    def send(
        self,
        path: str,
        *,
        root: Resource | None = None,
        method: str = "GET",
        peer: str = LOCAL,
        host: str | None = "r.invalid",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Any:
        """The transport of a request that was sent."""
        kind = IPv6Address if ":" in peer else IPv4Address
        address = UNIXAddress(None) if peer == "unix" else kind("TCP", peer, 1234)
        protocol: Any = Site(root or self.root(), reactor=Clock()).buildProtocol(address)
        transport: Any = StringTransport(peerAddress=address)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        lines = [f"{method} {path} HTTP/1.{0 if host is None else 1}", "Connection: close"]
        lines += [] if host is None else [f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return transport

    def ask(self, path: str, **options: Any) -> Answer:
        """The response to a request."""
        transport = self.send(path, **options)
        for _ in range(1000):
            if not transport.disconnecting:
                self.clock.advance(0)
        return parsed(transport)

    def read(self, path: str, **options: Any) -> Any:
        """The decoded body of a response with status 200."""
        answer = self.ask(path, **options)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/json")
        return json.loads(answer.body)

    def assert_error(self, path: str, status: int, error: str, **options: Any) -> Answer:
        answer = self.ask(path, **options)
        self.assertEqual((answer.status, json.loads(answer.body)), (status, {"error": error}))
        return answer


def parsed(transport: StringTransport) -> Answer:
    """The response on a connection."""
    head, _, body = transport.value().partition(b"\r\n\r\n")
    status, _, rest = head.partition(b"\r\n")
    return Answer(int(status.split()[1]), message_from_bytes(rest), body)
