"""Tests of infernet_router.serving.listening."""

from pathlib import Path
from socket import AF_UNIX, EAI_NONAME, gaierror, socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.python import log
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from zope.interface import implementer

from infernet_router.serving.listening import CannotServe, LoggedEndpoint, Server
from infernet_router.serving.site import ClosableSite
from tests.doubles import DeafReactor


class Port:
    """A listening port with a fixed address."""

    def __init__(self, address: IAddress) -> None:
        self._address = address

    def getHost(self) -> IAddress:
        return self._address


@implementer(IStreamServerEndpoint)
class Endpoint:
    """An endpoint that listens on one port, and logs as Twisted's do; or one that cannot."""

    def __init__(self, port: Port | None) -> None:
        self._port = port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        if self._port is None:
            raise CannotListenError("", 4000, OSError())
        log.msg("Factory starting on 4000")
        return succeed(self._port)


class LoggedEndpointTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """The only line is the address: host and port, or the path of a Unix socket."""
        for address, shown in (
            (IPv4Address("TCP", "192.0.2.1", 4000), "192.0.2.1:4000"),
            (IPv6Address("TCP", "2001:db8::1", 4000), "[2001:db8::1]:4000"),
            (UNIXAddress("/run/router.sock"), "/run/router.sock"),
            (UNIXAddress("\0router"), r"'\x00router'"),
            (UNIXAddress(None), "'UNIXAddress(None)'"),
        ):
            port = Port(address)
            with capturedLogs() as events:
                listening = LoggedEndpoint(Endpoint(port)).listen(Factory())
            self.assertIs(self.successResultOf(listening), port)
            lines = [line for event in events if (line := formatEvent(event))]
            self.assertEqual(lines, [f"listening on {shown}"])

    def test_who(self) -> None:
        """The line of a Unix socket says who can connect."""
        path = self.mktemp()
        with socket(AF_UNIX) as bound:
            bound.bind(path)
        Path(path).chmod(0o666)
        with capturedLogs() as events:
            LoggedEndpoint(Endpoint(Port(UNIXAddress(path)))).listen(Factory())
        self.assertEqual(formatEvent(events[-1]), f"listening on {path} (everyone can connect)")

    def test_failure(self) -> None:
        """An endpoint that cannot listen raises, and logs nothing."""
        with capturedLogs() as events, self.assertRaises(CannotListenError):
            LoggedEndpoint(Endpoint(None)).listen(Factory())
        self.assertEqual(events, [])


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.site = ClosableSite(Resource(), self.reactor, 100)

    def test_listens(self) -> None:
        """A server listens on all its endpoints."""
        server = Server(self.site, ["tcp:4000", "tcp6:4001:interface=\\:\\:1"], self.reactor)
        server.privilegedStartService()
        server.startService()
        self.assertEqual([listening[0] for listening in self.reactor.tcpServers], [4000, 4001])
        self.successResultOf(server.stopService())

    def test_bad_endpoint(self) -> None:
        """A malformed endpoint is refused, and named."""
        for endpoint in ("nonsense:1", "tcp:x", "", "ssl:1:privateKey=/nowhere"):
            with self.assertRaises(CannotServe) as caught:
                Server(self.site, ["tcp:4000", endpoint], self.reactor)
            self.assertIn(f"cannot listen on {endpoint!r}: ", str(caught.exception))

    def test_no_systemd(self) -> None:
        """The error for a missing systemd socket says so."""
        for which in ("index=0", "name=router"):
            with self.assertRaises(CannotServe) as caught:
                Server(self.site, [f"systemd:domain=INET:{which}"], self.reactor)
            self.assertIn("systemd passed no such socket", str(caught.exception))

    def test_endless_key(self) -> None:
        """A key or certificate that is no regular file is refused, and not read."""
        for endpoint in (
            "ssl:0:privateKey=/dev/zero",
            "ssl:0:/dev/zero:/dev/zero",
            "haproxy:ssl:0:certKey=/dev/zero",
        ):
            with self.assertRaises(CannotServe) as caught:
                Server(self.site, [endpoint], self.reactor)
            self.assertEqual(
                str(caught.exception),
                f"cannot listen on {endpoint!r}: /dev/zero is a pipe, a socket or a device, not a"
                " file",
            )

    def assert_deaf(self, reactor: Any, endpoint: str, why: str) -> None:
        """A server cannot listen on this endpoint, for this reason."""
        server = Server(self.site, [endpoint], reactor)
        with self.assertRaises(CannotServe) as caught:
            server.privilegedStartService()
        self.assertEqual(str(caught.exception), f"cannot listen on {endpoint!r}: {why}")

    def test_taken(self) -> None:
        """The error for a port in use says so."""
        self.assert_deaf(DeafReactor(), "tcp:4000", "Address already in use")

    def test_cannot_listen(self) -> None:
        """Any other error of listening is reported with its endpoint."""
        from twisted.internet import reactor

        for endpoint, why in (
            ("unix:/nowhere/at/all", "No such file or directory"),
            ("unix:" + "x" * 108, "AF_UNIX path too long"),
            ("tcp:99999", "bind(): port must be 0-65535."),
            ("tcp:-5", "bind(): port must be 0-65535."),
        ):
            self.assert_deaf(reactor, endpoint, why)
        nobody = gaierror(EAI_NONAME, "Name or service not known")
        self.assert_deaf(
            DeafReactor(nobody), "tcp:0:interface=node.invalid", "Name or service not known"
        )
