"""Tests of infernet_router.admin.endpoints."""

from typing import Any, cast

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport

from infernet_router.admin.endpoints import Endpoints, Parts
from infernet_router.admin.tokens import Tokens
from infernet_router.files import OffLoop
from infernet_router.serving import CannotServe
from tests.admin.case import AdminTestCase


@frozen
class Intervals:
    """What endpoints read of a poller."""

    interval: float = 4.0
    least_interval: float = 3.0


class EndpointsTests(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor: Any = MemoryReactorClock()

    def endpoints(self, admin: str | None, metrics: str | None) -> Endpoints:
        """Endpoints at these places."""
        parts = Parts(
            fleet=self.fleet,
            poller=cast(Any, Intervals()),
            records=self.records,
            steering=self.steering,
            surveyor=self.surveyor,
            sources=self.sources,
            readiness=self.readiness,
            counts=self.counts,
            decisions=self.ids,
            lines_dropped=lambda: 0,
            connections={"client": lambda: 5},
            options={"interval": 3.0},
        )
        return Endpoints(
            parts,
            Tokens(None, None, OffLoop[Any](maybeDeferred, self.clock)),
            self.reactor,
            admin=admin,
            metrics=metrics,
            required=True,
            hosts=("r.invalid",),
            most_connections=10,
        )

    def start(self, admin: str | None, metrics: str | None) -> Endpoints:
        """Running endpoints at these places."""
        endpoints = self.endpoints(admin, metrics)
        endpoints.privilegedStartService()
        endpoints.startService()
        return endpoints

    def get(self, port: int, path: str, before: bytes = b"") -> bytes:
        """The response of what listens on a port to a local client."""
        peer = IPv4Address("TCP", "127.0.0.1", 1234)
        (factory,) = (server[1] for server in self.reactor.tcpServers if server[0] == port)
        protocol, transport = factory.buildProtocol(peer), StringTransport(peerAddress=peer)
        protocol.makeConnection(transport)
        protocol.dataReceived(before + f"GET {path} HTTP/1.1\r\nHost: r.invalid\r\n\r\n".encode())
        self.reactor.advance(0)
        protocol.connectionLost(connectionDone)
        response: bytes = transport.value()
        return response

    def assert_status(self, response: bytes, status: int) -> None:
        self.assertTrue(response.startswith(b"HTTP/1.1 %d " % status), response)

    def test_both(self) -> None:
        """Operators get everything at their endpoint; programs get metrics and probes at theirs."""
        endpoints = self.start("tcp:1", "tcp:2")
        for port in (1, 2):
            metrics = self.get(port, "/metrics")
            self.assertIn(b'\ninfernet_router_connections{side="client"} 5.0\n', metrics)
            self.assertIn(b"\ninfernet_router_poll_interval_seconds 4.0\n", metrics)
        self.assert_status(self.get(1, "/admin/v1/overview"), 200)
        self.assert_status(self.get(2, "/admin/v1/overview"), 404)
        reads_bodies = [server[1].reads_bodies for server in self.reactor.tcpServers]
        self.assertEqual(reads_bodies, [True, False])
        self.successResultOf(endpoints.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one(self) -> None:
        """Either may be missing."""
        self.start("tcp:1", None)
        self.start(None, "tcp:2")
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [1, 2])

    def test_proxied(self) -> None:
        """The address that a proxy names is not trusted to be a local one."""
        self.start("haproxy:tcp:1", None)
        proxy = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"
        self.assert_status(self.get(1, "/admin/v1/overview", proxy), 401)
        self.assert_status(self.get(1, "/livez", proxy), 200)

    def test_malformed(self) -> None:
        """An endpoint that is none is an error, before anything listens."""
        for places in (("nonsense:1", None), (None, "nonsense:1")):
            with self.assertRaises(CannotServe):
                self.endpoints(*places)
        self.assertEqual(self.reactor.tcpServers, [])
