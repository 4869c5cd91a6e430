"""Tests of infernet_router.serving.listening."""

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.python import log
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from infernet_router.serving.listening import LoggedEndpoint


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

    def test_failure(self) -> None:
        """An endpoint that cannot listen raises, and logs nothing."""
        with capturedLogs() as events, self.assertRaises(CannotListenError):
            LoggedEndpoint(Endpoint(None)).listen(Factory())
        self.assertEqual(events, [])
